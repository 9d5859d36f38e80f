package negotiate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// writeCertificate writes a self-signed certificate and its key to dir.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der},
		key:  {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}

// serialOf returns the serial number of the certificate that a server shows to a
// client that names it serverName, or dials its address.
func serialOf(t *testing.T, addr, serverName string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: serverName})
	require.NoError(t, err)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestLoadCertificateReplacesIt(t *testing.T) {
	wstest.NoLeaks(t)
	srv := new(negotiate.Server)
	s := start(t, srv, true) // with a certificate in TLSConfig
	first := serialOf(t, s.addr, "")
	assert.Equal(t, first, serialOf(t, s.addr, "localhost"))
	d := &negotiate.Dialer{TLSClientConfig: s.client}
	defer d.CloseIdleConnections()
	c, _, err := d.Dial(t.Context(), "wss://"+s.addr+"/ws", nil)
	require.NoError(t, err)
	defer c.CloseNow()

	dir := t.TempDir()
	for serial := int64(100); serial < 103; serial++ {
		require.NoError(t, srv.LoadCertificate(writeCertificate(t, dir, serial)))
		assert.Equal(t, serial, serialOf(t, s.addr, ""))
		assert.Equal(t, serial, serialOf(t, s.addr, "localhost"))
	}
	require.Error(t, srv.LoadCertificate(filepath.Join(dir, "none"), filepath.Join(dir, "none")))
	assert.EqualValues(t, 102, serialOf(t, s.addr, ""), "that in use stays")
	echo(t, c)
}

// As crypto/tls does: the one that suits the client, or the first.
func TestServerChoosesAmongCertificates(t *testing.T) {
	dir := t.TempDir()
	other, err := tls.LoadX509KeyPair(writeCertificate(t, dir, 50))
	require.NoError(t, err)
	srv := new(negotiate.Server)
	server, _ := wstest.Certificates()
	served := server.Clone()
	served.Certificates = []tls.Certificate{other, server.Certificates[0]}
	asked, err := tls.LoadX509KeyPair(writeCertificate(t, dir, 51))
	require.NoError(t, err)
	served.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "asked.example" {
			return &asked, nil
		}
		return nil, nil
	}
	s := startWith(t, srv, served)
	assert.EqualValues(t, 51, serialOf(t, s.addr, "asked.example"))
	assert.EqualValues(t, 2, serialOf(t, s.addr, "localhost"))
	assert.EqualValues(t, 50, serialOf(t, s.addr, "unknown.example"), "the first")
}

func TestServeSpeaksHTTP2OnlyIfAsked(t *testing.T) {
	for _, on := range []bool{false, true} {
		wstest.NoLeaks(t)
		srv := &negotiate.Server{UnencryptedHTTP2: on, Handler: handler(t)}
		s := startWith(t, srv, nil)
		only := &negotiate.Dialer{Policy: negotiate.Only(websocket.HTTP2)}
		defer only.CloseIdleConnections()
		c, _, err := only.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
		if on {
			require.NoError(t, err)
			c.CloseNow()
		} else {
			require.Error(t, err)
		}
		any := new(negotiate.Dialer)
		defer any.CloseIdleConnections()
		c, _, err = any.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
		require.NoError(t, err)
		echo(t, c)
		require.NoError(t, c.Close(t.Context(), 1000, ""))
		resp, err := any.RoundTrip(mustRequest(t, "http://"+s.addr+"/"))
		require.NoError(t, err)
		resp.Body.Close()
		assert.Empty(t, resp.Header["Alt-Svc"], "there is no HTTP/3")
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return req
}

// What wraps a server's Handler takes http.DefaultServeMux for none, as the server
// does.
func TestNoHandlerIsTheDefaultServeMux(t *testing.T) {
	mux := http.DefaultServeMux
	defer func() { http.DefaultServeMux = mux }()
	http.DefaultServeMux = http.NewServeMux()
	http.Handle("/", handler(t))
	for name, h := range map[string]http.Handler{
		"Server":           nil,
		"Bridge":           negotiate.Bridge(nil),
		"Observe":          negotiate.Observe(nil, new(negotiate.Observer)),
		"Observe, nothing": negotiate.Observe(nil, nil),
	} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			s := startWith(t, &negotiate.Server{UnencryptedHTTP2: true, Handler: h}, nil)
			for _, b := range []websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2} {
				d := &negotiate.Dialer{Policy: negotiate.Only(b)}
				defer d.CloseIdleConnections()
				resp, err := d.RoundTrip(mustRequest(t, "http://"+s.addr+"/"))
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, resp.StatusCode)
				require.NoError(t, resp.Body.Close())
				c, _, err := d.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
				require.NoError(t, err)
				echo(t, c)
				require.NoError(t, c.Close(t.Context(), websocket.StatusNormalClosure, ""))
			}
		})
	}
}
