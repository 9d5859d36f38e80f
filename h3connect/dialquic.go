package h3connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/altsvc"
	"github.com/wsmux/websocket/internal/handshake"
)

// dialQUIC opens a QUIC connection to addr and waits for its handshake. A peer
// that does not speak HTTP/3 over QUIC, or does not answer, is an error that wraps
// websocket.ErrNotSupported. Where ctx names an alternative service the connection
// leads there:
//
//	"Clients MUST have reasonable assurances that the alternative service is
//	under control of and valid for the whole origin."
//
// https://www.rfc-editor.org/rfc/rfc7838#section-2.1
//
// That its certificate is valid for the origin's host is such an assurance.
func (t *Transport) dialQUIC(ctx context.Context, addr string, tlsConf *tls.Config) (*quic.Conn, error) {
	tr, err := t.transport()
	if err != nil {
		return nil, err
	}
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	to := addr
	if elsewhere := altsvc.Addr(ctx); elsewhere != "" {
		to = elsewhere
	}
	host, service, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if tlsConf == nil {
		tlsConf = altsvc.TLS(ctx)
	}
	if tlsConf == nil {
		tlsConf = new(tls.Config)
	}
	tlsConf = tlsConf.Clone()
	tlsConf.NextProtos = []string{http3.NextProtoH3}
	if tlsConf.ServerName == "" {
		tlsConf.ServerName = handshake.WithoutZone(name)
	}
	conf := quicConfig(t.QUICConfig)
	// "Clients MUST treat receipt of a server-initiated bidirectional stream
	// as a connection error" (RFC 9114 §6.1); we do not even allow one.
	setDefault(&conf.MaxIncomingStreams, -1)
	dial := func(ctx context.Context, ip netip.Addr) (*quic.Conn, error) {
		at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		return tr.Dial(ctx, at, tlsConf, conf)
	}
	qc, err := race(ctx, ips, dial)
	if errors.Is(err, quic.ErrTransportClosed) {
		t.drop(tr)
		if tr, err = t.transport(); err != nil {
			return nil, err
		}
		qc, err = race(ctx, ips, dial)
	}
	if err != nil && ctx.Err() == nil && !speaksQUIC(err) {
		err = fmt.Errorf("%w: %w", err, websocket.ErrNotSupported)
	}
	return qc, err
}

// transport returns the UDP socket that all connections share, which it opens at
// first.
func (t *Transport) transport() (*quic.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if t.quic == nil {
		udp, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, err
		}
		t.udp, t.quic = udp, &quic.Transport{Conn: udp}
	}
	return t.quic, nil
}

// drop forgets a UDP socket that has failed, and all connections on it with it.
func (t *Transport) drop(tr *quic.Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quic == tr {
		_ = tr.Close()
		_ = t.udp.Close()
		t.quic, t.udp = nil, nil
	}
}

// speaksQUIC says whether a failure to connect shows a peer that speaks HTTP/3:
// one whose certificate we do not like, or that does not like ours.
func speaksQUIC(err error) bool {
	const (
		cryptoError           = 0x100 // RFC 9001 §4.8: plus the alert
		noApplicationProtocol = 120   // RFC 7301 §3.2
	)
	e, ok := errors.AsType[*quic.TransportError](err)
	return ok && e.ErrorCode.IsCryptoError() && e.ErrorCode != cryptoError+noApplicationProtocol
}

// stagger is the time after which an attempt to connect gets company (RFC 8305
// §5).
const stagger = 250 * time.Millisecond

// race tries addresses one after the other, the next one when one has failed or
// has been at it for the time of stagger, and returns the first connection. Each
// attempt is a goroutine that ends when another has won.
func race(ctx context.Context, ips []netip.Addr, dial func(context.Context, netip.Addr) (*quic.Conn, error)) (*quic.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		qc  *quic.Conn
		err error
	}
	results := make(chan result)
	running := 0
	var failures []error
	next := time.NewTimer(0)
	defer next.Stop()
	for len(ips) > 0 || running > 0 {
		var due <-chan time.Time
		if len(ips) > 0 {
			due = next.C
		}
		select {
		case <-due:
			ip := ips[0]
			ips = ips[1:]
			running++
			next.Reset(stagger)
			go func() {
				qc, err := dial(ctx, ip)
				select {
				case results <- result{qc, err}:
				case <-ctx.Done():
					if qc != nil {
						_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
					}
				}
			}()
		case r := <-results:
			running--
			if r.err == nil {
				return r.qc, nil
			}
			failures = append(failures, r.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if len(failures) == 0 {
		return nil, errors.New("no address")
	}
	return nil, mostTelling(failures)
}

// mostTelling returns a failure in which the peer had a say, if there is one.
func mostTelling(failures []error) error {
	i := slices.IndexFunc(failures, speaksQUIC)
	return failures[max(i, 0)]
}
