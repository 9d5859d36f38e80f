package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A logBook is where a slog.Logger writes.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// What a negotiate.Server says of requests holds on every transport.
func TestServerSettingsReachEveryTransport(t *testing.T) {
	wstest.NoLeaks(t)
	var book logBook
	s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("by " + r.Proto)
		}
	}), true, func(s *negotiate.Server) {
		s.Logger = slog.New(slog.NewTextHandler(&book, nil))
		s.MaxHeaderBytes = 2000
	})
	for _, b := range bootstraps(true) {
		d := newDialer(t, b)
		origin := strings.TrimSuffix("https"+strings.TrimPrefix(s.url(b), "wss"), "/socket")
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, origin+"/panic", nil)
		require.NoError(t, err)
		if resp, err := d.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		assert.Eventually(t, func() bool { return strings.Contains(book.String(), "by "+protoOf(b)) }, patience, 1e6, b.String())

		req, err = http.NewRequestWithContext(soon(t), http.MethodGet, origin+"/", nil)
		require.NoError(t, err)
		req.Header.Set("Long", strings.Repeat("x", 10_000)) // net/http allows 4 KiB more
		resp, err := d.RoundTrip(req)
		if err != nil { // the client has been told by SETTINGS
			assert.ErrorContains(t, err, "larger than the peer allows")
			continue
		}
		resp.Body.Close()
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode, b.String())
	}
}

func protoOf(b websocket.Bootstrap) string {
	return map[websocket.Bootstrap]string{1: "HTTP/1.1", 2: "HTTP/2.0", 3: "HTTP/3.0"}[b]
}

// RFC 7838: responses on TCP say where HTTP/3 is to be had, those on HTTP/3 need
// not.
func TestAltSvcNamesThePortOfHTTP3(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveNegotiated(t, http.NotFoundHandler(), true)
	_, port, err := net.SplitHostPort(s.udp)
	require.NoError(t, err)
	for _, b := range bootstraps(true) {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "https"+strings.TrimPrefix(s.url(b), "wss"), nil)
		require.NoError(t, err)
		resp, err := newDialer(t, b).RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		if b == websocket.HTTP3 {
			assert.Empty(t, resp.Header["Alt-Svc"])
			continue
		}
		assert.Equal(t, []string{`h3=":` + port + `"; ma=86400`}, resp.Header["Alt-Svc"], b.String())
	}
}

// A certificate that is loaded while the server runs is used by QUIC as well.
func TestLoadCertificateReachesHTTP3(t *testing.T) {
	wstest.NoLeaks(t)
	s := serveNegotiated(t, http.NotFoundHandler(), true)
	ctx := soon(t)
	shown := func() *x509.Certificate {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}}
		c, err := quic.DialAddr(ctx, s.udp, config, nil)
		require.NoError(t, err)
		defer c.CloseWithError(0, "")
		return c.ConnectionState().TLS.PeerCertificates[0]
	}
	server, _ := wstest.Certificates()
	first := shown()
	assert.Equal(t, server.Certificates[0].Certificate[0], first.Raw)

	dir := t.TempDir()
	second := selfSigned(t, first)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: second.Certificate[0]}), 0o600))
	key, err := x509.MarshalPKCS8PrivateKey(second.PrivateKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	require.NoError(t, s.LoadCertificate(certFile, keyFile))
	assert.Equal(t, second.Certificate[0], shown().Raw)
}

// selfSigned returns a certificate like another one, signed by a key of its own:
// that of the tests' server.
func selfSigned(t *testing.T, like *x509.Certificate) tls.Certificate {
	t.Helper()
	server, _ := wstest.Certificates()
	key := server.Certificates[0].PrivateKey
	template := *like
	template.SerialNumber = big.NewInt(77)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, like.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var _ negotiate.HTTP3Server = (*h3connect.Server)(nil)
