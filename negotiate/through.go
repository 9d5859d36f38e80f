package negotiate

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wsmux/websocket/internal/handshake"
	"golang.org/x/net/proxy"
)

// This file leads connections through proxies.

// proxyFor returns the proxy on the way to t, nil for none. It is asked about the
// origin alone: neither path nor query nor credentials are its business.
func (d *Dialer) proxyFor(ctx context.Context, t target) (*url.URL, error) {
	choose := d.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	u := &url.URL{Scheme: t.url.Scheme, Host: t.url.Host}
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	via, err := choose(req.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("choosing a proxy: %w", err)
	}
	if via != nil && via.Hostname() == "" {
		return nil, errors.New("the proxy's URL has no host")
	}
	return via, nil
}

// proxyName returns a proxy's URL without its secrets, "" for no proxy.
func proxyName(via *url.URL) string {
	if via == nil {
		return ""
	}
	return via.Scheme + "://" + via.Host
}

// dialTarget opens a connection to t, through a proxy if there is one.
func (d *Dialer) dialTarget(ctx context.Context, t target) (net.Conn, error) {
	return d.dialThrough(ctx, t, d.dialDirect)
}

// dialThrough is dialTarget with dial to open TCP connections.
func (d *Dialer) dialThrough(ctx context.Context, t target, dial dialFunc) (net.Conn, error) {
	via, err := d.proxyFor(ctx, t)
	if err != nil {
		return nil, err
	}
	var nc net.Conn
	there := handshake.WithoutZone(t.addr)
	switch {
	case via == nil:
		nc, err = dial(ctx, "tcp", t.addr)
		return nc, handshake.ConnectError(ctx, err)
	case via.Scheme == "http" || via.Scheme == "https":
		nc, err = d.dialTunnel(ctx, via, there, dial)
	case via.Scheme == "socks5" || via.Scheme == "socks5h":
		nc, err = dialSOCKS(ctx, via, there, dial)
	default:
		err = errors.New("the proxy's scheme is not known")
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxyName(via), handshake.ConnectError(ctx, err))
	}
	return nc, nil
}

// proxyAddr returns a proxy's host and port.
func proxyAddr(via *url.URL) string {
	port := via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	if port == "" {
		port = "1080" // RFC 1928 §3
	}
	return net.JoinHostPort(via.Hostname(), port)
}

// dialSOCKS opens a connection to addr through a SOCKS5 proxy (RFC 1928), which
// resolves the name.
func dialSOCKS(ctx context.Context, via *url.URL, addr string, dial dialFunc) (net.Conn, error) {
	var auth *proxy.Auth
	if via.User != nil {
		auth = &proxy.Auth{User: via.User.Username()}
		auth.Password, _ = via.User.Password()
	}
	// The library's connection hides the methods of the one below, which is as
	// good.
	var below net.Conn
	keep := func(ctx context.Context, network, addr string) (nc net.Conn, err error) {
		below, err = dial(ctx, network, addr)
		return below, err
	}
	socks, err := proxy.SOCKS5("tcp", proxyAddr(via), auth, forward(keep))
	if err != nil {
		return nil, err
	}
	_, err = socks.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return below, nil
}

// forward makes a dialFunc what package proxy dials with.
type forward dialFunc

func (f forward) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// What a proxy can make a client read and wait for.
const (
	maxProxyAnswer  = 16 << 10 // bytes of one response's header
	maxProxyInforms = 5        // responses of class 1xx before the final one
)

// dialTunnel opens a connection to addr through a proxy of HTTP:
//
//	"CONNECT is intended for use in requests to a proxy. The recipient can
//	establish a tunnel either by directly connecting to the server
//	identified by the request target or, if configured to use another proxy,
//	by forwarding the CONNECT request to the next inbound proxy."
//
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
//
// A cleartext socket takes a tunnel too (RFC 6455 §4.1, item 3).
func (d *Dialer) dialTunnel(ctx context.Context, via *url.URL, addr string, dial dialFunc) (net.Conn, error) {
	authorization, err := proxyAuthorization(via.User)
	if err != nil {
		return nil, err
	}
	nc, err := dial(ctx, "tcp", proxyAddr(via))
	if err != nil {
		return nil, err
	}
	if via.Scheme == "https" {
		config := d.tlsConfig("", "http/1.1")
		config.ServerName = handshake.WithoutZone(via.Hostname()) // a name in TLSClientConfig is the target's
		tc := tls.Client(nc, config)
		if err := handshakeTLS(ctx, tc, nil); err != nil {
			nc.Close()
			return nil, err
		}
		nc = tc
	}
	// The end of ctx is a deadline in the past, set by a goroutine of ctx that
	// ends at once.
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	err = openTunnel(nc, addr, authorization)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// proxyAuthorization returns the value of Proxy-Authorization for a proxy's
// userinfo (RFC 7617 §2), "" for none.
func proxyAuthorization(user *url.Userinfo) (string, error) {
	if user == nil {
		return "", nil
	}
	password, _ := user.Password()
	credentials := user.Username() + ":" + password
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if strings.Contains(user.Username(), ":") || strings.ContainsFunc(credentials, control) {
		return "", errors.New("invalid credentials")
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)), nil
}

// openTunnel asks for a tunnel to addr on nc. Not a byte is sent before the answer
// and none may come behind it: it is the client who speaks first, in TLS as in
// HTTP.
func openTunnel(nc net.Conn, addr, authorization string) error {
	request := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if authorization != "" {
		request += "Proxy-Authorization: " + authorization + "\r\n"
	}
	if _, err := io.WriteString(nc, request+"\r\n"); err != nil {
		return err
	}
	limited := &io.LimitedReader{R: nc}
	in := bufio.NewReader(limited)
	for range maxProxyInforms + 1 {
		limited.N = int64(maxProxyAnswer - in.Buffered())
		resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
		switch {
		case err != nil && limited.N <= 0:
			return errors.New("the answer's header is too large")
		case err != nil:
			return err
		case resp.StatusCode >= 300:
			return &ProxyError{Status: resp.StatusCode, Header: resp.Header}
		case resp.StatusCode >= 200 && in.Buffered() > 0:
			return errors.New("bytes behind the answer")
		case resp.StatusCode >= 200:
			return nil
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return errors.New("101 was not asked for")
		}
	}
	return errors.New("too many responses of class 1xx")
}
