package e2e

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
)

// dialTCP connects to a server, with TLS if there is a protocol for ALPN.
func dialTCP(t testing.TB, authority, alpn string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", authority)
	require.NoError(t, err)
	if alpn != "" {
		_, client := wstest.Certificates()
		client.ServerName = "127.0.0.1"
		client.NextProtos = []string{alpn}
		tc := tls.Client(nc, client)
		require.NoError(t, tc.HandshakeContext(soon(t)))
		nc = tc
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// acceptTCP accepts connections until the test ends, and passes each to f.
func acceptTCP(t testing.TB, alpn string, f func(net.Conn)) string {
	t.Helper()
	l := listener(t)
	if alpn != "" {
		server, _ := wstest.Certificates()
		server.NextProtos = []string{alpn}
		l = tls.NewListener(l, server)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				f(nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// An h1Stream is a connection that has been upgraded by hand.
type h1Stream struct {
	net.Conn
	*bufio.Reader
}

func (s h1Stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func (s h1Stream) CloseWrite() error {
	return s.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (s h1Stream) Abort() error {
	nc := s.Conn
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	nc.(*net.TCPConn).SetLinger(0)
	return nc.Close()
}

func alpnH1(overTLS bool) string {
	if overTLS {
		return "http/1.1"
	}
	return ""
}

func rawDialH1(overTLS bool) func(testing.TB, string) rawStream {
	return func(t testing.TB, authority string) rawStream {
		t.Helper()
		nc := dialTCP(t, authority, alpnH1(overTLS))
		_, err := fmt.Fprintf(nc, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", authority, offerField(t))
		require.NoError(t, err)
		r := bufio.NewReader(nc)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", resp.Header.Get("Sec-WebSocket-Accept"), "RFC 6455 §1.3")
		return h1Stream{nc, r}
	}
}

func rawListenH1(overTLS bool) func(testing.TB, func(rawStream)) string {
	return func(t testing.TB, f func(rawStream)) string {
		return acceptTCP(t, alpnH1(overTLS), func(nc net.Conn) {
			r := bufio.NewReader(nc)
			req, err := http.ReadRequest(r)
			if !assert.NoError(t, err) {
				return
			}
			sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: %s\r\n%s\r\n", base64.StdEncoding.EncodeToString(sum[:]), offerField(t))
			f(h1Stream{nc, r})
		})
	}
}

// deflateOffers are the tests whose raw ends offer, or agree on, deflate.
var deflateOffers sync.Map // testing.TB to string

// offerDeflate makes t's raw ends negotiate permessage-deflate with these
// parameters.
func offerDeflate(t testing.TB, params string) {
	deflateOffers.Store(t, params)
	t.Cleanup(func() { deflateOffers.Delete(t) })
}

func offer(t testing.TB) string {
	v, _ := deflateOffers.Load(t)
	s, _ := v.(string)
	return s
}

func offerField(t testing.TB) string {
	if o := offer(t); o != "" {
		return "Sec-WebSocket-Extensions: " + o + "\r\n"
	}
	return ""
}

// An h3Stream is a request stream of HTTP/3 that was opened by hand.
type h3Stream struct{ requestStream }

// A requestStream is what http3's streams of both sides have in common.
type requestStream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

func (s h3Stream) CloseWrite() error { return s.Close() }

func (s h3Stream) Abort() error {
	s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	return nil
}

func rawDialH3(t testing.TB, authority string) rawStream {
	t.Helper()
	_, client := wstest.Certificates()
	client.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(soon(t), authority, client, nil)
	require.NoError(t, err)
	tr := new(http3.Transport)
	cc := tr.NewClientConn(qc)
	t.Cleanup(func() {
		cc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		tr.Close()
	})
	return openH3(t, cc, "https://"+authority)
}

// openH3 opens a socket by hand on a connection that is there.
func openH3(t testing.TB, cc *http3.ClientConn, origin string) rawStream {
	t.Helper()
	st, err := cc.OpenRequestStream(soon(t))
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodConnect, origin+"/socket", nil)
	require.NoError(t, err)
	req.Proto = "websocket"
	req.Header.Set("Sec-WebSocket-Version", "13")
	if o := offer(t); o != "" {
		req.Header.Set("Sec-WebSocket-Extensions", o)
	}
	require.NoError(t, st.SendRequestHeader(req))
	resp, err := st.ReadResponse()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return h3Stream{st}
}

func rawListenH3(t testing.TB, f func(rawStream)) string {
	t.Helper()
	server, _ := wstest.Certificates()
	server.NextProtos = []string{http3.NextProtoH3}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	var all sync.WaitGroup
	srv := &http3.Server{TLSConfig: server, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		defer all.Done()
		if o := offer(t); o != "" {
			w.Header().Set("Sec-WebSocket-Extensions", o)
		}
		w.WriteHeader(http.StatusOK)
		st, err := w.(http3.HTTPStreamer).HTTPStream()
		if assert.NoError(t, err) {
			f(h3Stream{st})
		}
	})}
	all.Go(func() { srv.Serve(pc) })
	t.Cleanup(func() {
		srv.Close()
		all.Wait()
		pc.Close()
	})
	return pc.LocalAddr().String()
}
