package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/negotiate"
)

// serveForeign serves handler over HTTP/1.1 and HTTP/2, not HTTP/3, until the test
// ends, and returns its address and a file with its certificate.
func serveForeign(t *testing.T, handler http.HandlerFunc) (addr, certFile string) {
	t.Helper()
	c, err := newCoordinator(nil)
	require.NoError(t, err)
	key, err := x509.ParseECPrivateKey(c.key)
	require.NoError(t, err)
	l, pc, err := listen(net.ListenConfig{}, "127.0.0.1:0")
	require.NoError(t, err)
	pc.Close()
	srv := &negotiate.Server{
		Handler:   handler,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.cert}, PrivateKey: key}}},
	}
	done := make(chan struct{})
	go func() { // ends with srv
		defer close(done)
		_ = srv.ServeTLS(l, nil, "", "")
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	certFile = filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert}), 0o600))
	return l.Addr().String(), certFile
}

// A server that greets, and echoes, without HTTP/3.
func TestForeignServerIsAskedWhatItHas(t *testing.T) {
	addr, cert := serveForeign(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/some/where" || r.URL.RawQuery != "a=b" {
			http.NotFound(w, r)
			return
		}
		c, err := negotiate.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = c.Write(context.Background(), websocket.MessageText, []byte("welcome"))
		for {
			kind, p, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, p) != nil {
				return
			}
		}
	})
	cmd, dir := command(t, "-quick", "-url", "wss://"+addr+"/some/where?a=b", "-json", "r.json")
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+cert)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	r := read(t, dir)
	assert.True(t, r.Complete)
	supported := make(map[string]bool)
	for _, s := range r.Target.Supports {
		supported[s.Transport] = s.Supported
		assert.NotEmpty(t, s.Detail)
	}
	assert.Equal(t, map[string]bool{
		result.WebSocketH1: true, result.WebSocketH2: true, result.WebSocketH3: false,
		result.EventsH1: false, result.EventsH2: false, result.PollingH1: false, result.PollingH2: false,
	}, supported)
	require.Len(t, r.Scenarios, 2)
	for _, s := range r.Scenarios {
		assert.Equal(t, result.Foreign, s.Network.Kind)
		require.Len(t, s.Skipped, 1)
		assert.Equal(t, result.WebSocketH3, s.Skipped[0].What)
		require.Len(t, s.Runs, 2)
		for i, connections := range []int{int(s.Runs[0].Parameters[0].Value), 1} {
			run := s.Runs[i]
			assert.Empty(t, run.Problem)
			assert.Positive(t, run.Messages.Received)
			assert.Equal(t, result.Count{Client: connections, Server: -1}, run.Connections)
			assert.Equal(t, result.Count{Client: connections, Server: -1}, run.Handshakes)
		}
	}
}

// At a URL, too, only what was asked for is measured; and a file that cannot be
// written keeps no other from being written.
func TestForeignServerIsAskedForWhatWasChosen(t *testing.T) {
	addr, cert := serveForeign(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, nil)
		if err != nil {
			return
		}
		for {
			kind, p, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, p) != nil {
				return
			}
		}
	})
	cmd, dir := command(t, "-quick", "-url", "wss://"+addr, "-scenario", "1", "-transport", "ws-h2,sse-h1",
		"-html", filepath.Join("nowhere", "r.html"), "-json", "r.json")
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+cert)
	out, err := cmd.CombinedOutput()
	assert.Error(t, err, "one file was not written")
	assert.Contains(t, string(out), filepath.Join("nowhere", "r.html"))
	r := read(t, dir)
	assert.True(t, r.Complete)
	var asked []string
	for _, s := range r.Target.Supports {
		asked = append(asked, s.Transport)
	}
	assert.Equal(t, []string{result.WebSocketH2, result.EventsH1}, asked)
	require.Len(t, r.Scenarios, 1)
	assert.Equal(t, 1, r.Scenarios[0].Number)
	require.Len(t, r.Scenarios[0].Runs, 1)
	assert.Equal(t, result.WebSocketH2, r.Scenarios[0].Runs[0].Transport)

	cmd, _ = command(t, "-url", "wss://"+addr, "-scenario", "3,5")
	out, err = cmd.CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "scenario 5 is not one for a URL")
}

func TestURLMustBeSecure(t *testing.T) {
	for _, wrong := range []string{"ws://example.com/", "example.com", "wss:///", "::"} {
		_, err := targetURL(wrong)
		assert.Error(t, err, wrong)
	}
	u, err := targetURL("wss://example.com/a?b=c")
	require.NoError(t, err)
	assert.Equal(t, "https://example.com/a?b=c", u.String())
}
