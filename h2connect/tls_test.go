package h2connect

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// H2-30: there is no way from HTTP/1.1 to HTTP/2 on a connection (RFC 9113 §3.1
// has dropped it): the field is ignored.
func TestH2_30UpgradeToH2CIsIgnored(t *testing.T) {
	s := startCleartext(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer nc.Close()
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, resp.Header.Get("Upgrade"))
	assert.Equal(t, "HTTP/1.1", readAll(t, resp.Body))
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err = http.ReadResponse(in, nil)
	require.NoError(t, err, "it is still HTTP/1.1")
	assert.Equal(t, "HTTP/1.1", readAll(t, resp.Body))
}

func TestH2_31ServerNeedsALPN(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	_, config := wstest.Certificates()
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		config := config.Clone()
		config.NextProtos = protocols
		nc, err := tls.Dial("tcp", s.addr, config)
		require.NoError(t, err)
		io.WriteString(nc, http2.ClientPreface)
		first, _ := bufio.NewReader(nc).ReadString('\n')
		assert.NotContains(t, first, "\x00", "what comes back, if anything, is no HTTP/2 frame")
		nc.Close()
	}
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", s.addr, config)
	require.NoError(t, err)
	defer nc.Close()
	p := newPeer(t, nc)
	p.greet()
	p.wantAlive("with ALPN it is HTTP/2")
}

func TestH2_31TLSBefore12IsRefused(t *testing.T) {
	_, config := wstest.Certificates()
	config = config.Clone()
	config.NextProtos, config.MinVersion, config.MaxVersion = []string{"h2"}, tls.VersionTLS10, tls.VersionTLS11

	s := startTLS(t, nil, ordinary())
	_, err := tls.Dial("tcp", s.addr, config)
	require.Error(t, err, "crypto/tls refuses it by default")

	// Where a server allows it, for HTTP/1.1's sake, HTTP/2 still refuses.
	s = startTLS(t, nil, ordinary(), func(srv *http.Server) {
		srv.TLSConfig = srv.TLSConfig.Clone()
		srv.TLSConfig.MinVersion = tls.VersionTLS10
	})
	nc, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		t.Skip("crypto/tls has no TLS 1.1 here: ", err)
	}
	defer nc.Close()
	p := newPeer(t, nc)
	io.WriteString(nc, http2.ClientPreface)
	p.fr.WriteSettings()
	p.wantGoAway(http2.ErrCodeInadequateSecurity, "RFC 9113 §9.2")
}

func TestH2_31ClientNeedsALPNAndTLS12AndNeverRenegotiates(t *testing.T) {
	_, config := wstest.Certificates()
	config = config.Clone()
	config.Renegotiation = tls.RenegotiateFreelyAsClient
	seen := make(chan *tls.ClientHelloInfo, 1)
	s := startTLS(t, nil, ordinary(), func(srv *http.Server) {
		srv.TLSConfig = srv.TLSConfig.Clone()
		srv.TLSConfig.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			select {
			case seen <- h:
			default:
			}
			return nil, nil
		}
	})
	tr := &Transport{TLSClientConfig: config}
	defer closeTransport(tr)
	resp, err := (&http.Client{Transport: tr}).Get(s.url("/hello"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	hello := <-seen
	assert.Contains(t, hello.SupportedProtos, "h2")
	assert.Equal(t, tls.RenegotiateNever, clientTLS(config, "localhost").Renegotiation, "RFC 9113 §9.2.1")
	assert.GreaterOrEqual(t, slices.Min(hello.SupportedVersions), uint16(tls.VersionTLS12))
	assert.Equal(t, "fe80::1", clientTLS(nil, "fe80::1%lo").ServerName, "without a zone")
}
