// Program proxy is a small edge proxy: TLS in front with HTTP/1.1, HTTP/2 and
// HTTP/3 on one port, one backend behind, sockets and ordinary requests across any
// pair of versions.
//
//	go run ./examples/proxy -cert cert.pem -key key.pem -backend http://127.0.0.1:8080
//	go run ./examples/proxy -cert cert.pem -key key.pem -backend https://10.0.0.7 -http 2
//
// A certificate for trying it out:
//
//	go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" -host localhost
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

// A config is what the flags say.
type config struct {
	addr, cert, key string
	backend         string
	http            string
	authority       string
	insecure        bool
	keepHost        bool
	idle            time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.addr, "addr", ":8443", "address to listen on, TCP and UDP")
	flag.StringVar(&c.cert, "cert", "", "file with the certificate")
	flag.StringVar(&c.key, "key", "", "file with its key")
	flag.StringVar(&c.backend, "backend", "http://127.0.0.1:8080", "origin of the backend, http or https")
	flag.StringVar(&c.http, "http", "auto", "version of HTTP to the backend: 1, 2, 3 or auto; 2 with http: by prior knowledge")
	flag.StringVar(&c.authority, "ca", "", "file with the authorities for the backend's certificate; empty: the system's")
	flag.BoolVar(&c.insecure, "insecure", false, "take any certificate of the backend's: for trying it out on one machine")
	flag.BoolVar(&c.keepHost, "keep-host", true, "send the client's Host to the backend; otherwise the backend's own")
	flag.DurationVar(&c.idle, "idle", time.Hour, "how long a socket may be silent")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(c, logger); err != nil {
		logger.Error("proxy", "err", err)
		os.Exit(1)
	}
}

// run serves until it is interrupted; then sockets get a goodbye and 10 s to
// answer it.
func run(c config, logger *slog.Logger) error {
	proxy, err := newProxy(c, logger)
	if err != nil {
		return err
	}
	srv := &negotiate.Server{Addr: c.addr, Handler: proxy, HTTP3: &h3connect.Server{Logger: logger}, Logger: logger}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- srv.ListenAndServeTLS(c.cert, c.key) }() // ends with Shutdown
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = srv.Shutdown(ctx)
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// newProxy returns the handler: a ReverseProxy and the Dialer behind it.
func newProxy(c config, logger *slog.Logger) (*negotiate.ReverseProxy, error) {
	backend, err := url.Parse(c.backend)
	if err != nil || backend.Host == "" || backend.Scheme != "http" && backend.Scheme != "https" {
		return nil, fmt.Errorf("-backend %q is not an origin, http or https", c.backend)
	}
	policies := map[string]negotiate.Policy{
		"auto": {},
		"1":    negotiate.Only(websocket.HTTP1),
		"2":    negotiate.Only(websocket.HTTP2),
		"3":    negotiate.Only(websocket.HTTP3),
	}
	policy, ok := policies[c.http]
	if !ok {
		return nil, fmt.Errorf("-http %q is none of 1, 2, 3 and auto", c.http)
	}
	if c.http == "3" && backend.Scheme != "https" {
		return nil, fmt.Errorf("-http 3 needs a -backend with https, not %q", c.backend)
	}
	tlsConfig := &tls.Config{InsecureSkipVerify: c.insecure}
	if c.authority != "" {
		pem, err := os.ReadFile(c.authority)
		if err != nil {
			return nil, err
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca %s: no certificate in it", c.authority)
		}
	}
	return &negotiate.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(backend)
			pr.SetXForwarded()
			if c.keepHost {
				pr.Out.Host = pr.In.Host
			}
		},
		Dialer: &negotiate.Dialer{
			TLSClientConfig: tlsConfig,
			HTTP3:           new(h3connect.Transport),
			Policy:          policy,
		},
		RewriteOrigin: true,
		Forwarded:     true,
		IdleTimeout:   c.idle,
		Logger:        logger,
		Observer:      func(e negotiate.ProxyEvent) { observe(logger, e) },
	}, nil
}

// observe writes a line for each socket that was opened, has ended, or could not be
// opened.
func observe(logger *slog.Logger, e negotiate.ProxyEvent) {
	attrs := []any{"path", e.Request.URL.Path, "client", e.Request.RemoteAddr, "front", e.Front, "backend", e.Backend}
	if e.Back != 0 {
		attrs = append(attrs, "back", e.Back)
	}
	if !e.Ended {
		logger.Info("socket opened", attrs...)
		return
	}
	attrs = append(attrs, "up", e.Up, "down", e.Down, "duration", e.Duration.Round(time.Millisecond))
	switch {
	case e.Err == nil:
		logger.Info("socket closed", attrs...)
	case e.Opened:
		logger.Warn("socket lost", append(attrs, "err", e.Err)...)
	default:
		logger.Warn("socket refused", append(attrs, "err", e.Err)...)
	}
}
