package h2spec

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/summerwind/h2spec/config"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

// suiteSize is how many cases for servers version 2.2.1 has in strict mode, and
// laterSize how many of later versions are added: none may get lost.
const (
	suiteSize = 146
	laterSize = 3
)

// H2-00: every case of the suite in strict mode, over TLS and without.
func TestH2_00ServerPassesH2spec(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(transportName(secure), func(t *testing.T) {
			c := startServer(t, secure, &h2connect.Server{})
			runServerCases(t, c, rowOf(secure), "server", serverCases())
		})
	}
}

// H2-00: the same while sockets of other connections are in use, which lose
// nothing by it.
func TestH2_00ServerPassesH2specBesideSockets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(transportName(secure), func(t *testing.T) {
			c := startServer(t, secure, &h2connect.Server{})
			stop := keepSocketsBusy(t, c, 8)
			runServerCases(t, c, rowOf(secure), "server beside sockets", serverCases())
			stop()
		})
	}
}

// H2-00, sharpened: the suite takes a closed connection for the right answer to
// nearly everything, whatever GOAWAY said before. Here nothing closes in time,
// so that it is the frame with its code that counts, in all cases but the one
// that is about closing.
func TestH2_00ServerAnswersH2specWithTheRightFrames(t *testing.T) {
	const closing = "http2/5.4.1/1"
	for _, secure := range []bool{false, true} {
		t.Run(transportName(secure), func(t *testing.T) {
			c := startServer(t, secure, &h2connect.Server{Limits: h2connect.Limits{Linger: time.Hour}})
			var cases []serverCase
			for _, sc := range serverCases() {
				if sc.id != closing {
					cases = append(cases, sc)
				}
			}
			require.Len(t, cases, suiteSize+laterSize-1, "the case that is left out is one of the suite")
			runCases(t, c, rowOf(secure), "server, frames alone", cases)
		})
	}
}

func transportName(secure bool) string {
	if secure {
		return "TLS"
	}
	return "cleartext"
}

func runServerCases(t *testing.T, c *config.Config, row matrix.Row, f matrix.Feature, cases []serverCase) {
	t.Helper()
	require.Len(t, cases, suiteSize+laterSize)
	runCases(t, c, row, f, cases)
}

// runCases runs the cases, some at a time, returns when all have ended, and records
// how many passed.
func runCases(t *testing.T, c *config.Config, row matrix.Row, f matrix.Feature, cases []serverCase) {
	t.Run("case", func(t *testing.T) {
		passed := row.Count(t, f, len(cases))
		for _, sc := range cases {
			t.Run(sc.id, func(t *testing.T) {
				t.Parallel()
				passed(t)
				sc.run(t, c)
			})
		}
	})
}

// startServer starts an http.Server with the engine behind it, HTTP/2 only, and
// returns the suite's configuration for it.
func startServer(t *testing.T, secure bool, conf *h2connect.Server) *config.Config {
	mux := http.NewServeMux()
	mux.HandleFunc("/", page)
	mux.HandleFunc("/echo", echo)
	srv := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP2(secure)
	srv.Protocols.SetUnencryptedHTTP2(!secure)
	srv.TLSConfig, _ = wstest.Certificates()
	require.NoError(t, h2connect.ConfigureServer(srv, conf))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { // ends when the server is closed
		if secure {
			served <- srv.ServeTLS(ln, "", "")
			return
		}
		served <- srv.Serve(ln)
	}()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	addr := ln.Addr().(*net.TCPAddr)
	return &config.Config{
		Host: addr.IP.String(), Port: addr.Port, Path: "/",
		Timeout: patience, MaxHeaderLen: 4000, Strict: true,
		TLS: secure, Insecure: true, // the suite cannot be given a root
	}
}

// page is the ordinary handler.
func page(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	io.WriteString(w, "a page that takes more than one window of one byte\n")
}

// echo is the handler of the sockets.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := h2connect.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}

// transportFor returns a client for the server of c.
func transportFor(c *config.Config) *h2connect.Transport {
	tr := &h2connect.Transport{AllowHTTP: true, TLSClientConfig: &tls.Config{}}
	if c.TLS {
		_, tr.TLSClientConfig = wstest.Certificates()
	}
	return tr
}
