package main

import (
	"io"
	"net"
	"net/http"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/wsmux/websocket/frame"
)

// Streams of other engines carry WebSockets by the few lines in echoFrames: what
// one would have to write today.
func init() {
	add("x/net h2", &contender{
		about: "golang.org/x/net/http2's server, a WebSocket on its request body and response writer", transport: "h2", shared: true, websocket: true,
		env:    []string{"GODEBUG=http2xconnect=1"},
		serve:  serveXNet,
		client: wireH2, library: oursH2,
	})
	add("http3", &contender{
		about: "quic-go/http3's server, a WebSocket on its stream", transport: "h3", shared: true, websocket: true,
		serve:  serveHTTP3,
		client: wireH3, library: oursH3,
	})
}

// echoFrames echoes what a client sends on a stream, and ends with it.
func echoFrames(in io.Reader, out io.Writer, flush func() error) {
	r := frame.Receiver{Side: frame.Server}
	s := frame.Sender{Side: frame.Server}
	buf := make([]byte, 512) // an idle socket holds no more
	held := 0                // bytes of an incomplete header at the start of buf
	var message, b []byte
	for {
		n, err := in.Read(buf[held:])
		if err != nil && n == 0 {
			return
		}
		rest := buf[:held+n]
		for len(rest) > 0 {
			ev, n, err := r.Next(rest)
			if err != nil {
				return
			}
			if rest = rest[n:]; ev.Kind == frame.NeedMore {
				break
			}
			if ev.Kind != frame.Data {
				continue // pings are not measured
			}
			if message = append(message, ev.Payload...); !ev.Last {
				continue
			}
			if b, err = s.Append(b[:0], frame.Header{Fin: true, Opcode: ev.Opcode}, message); err != nil {
				return
			}
			message = message[:0]
			if _, err := out.Write(b); err != nil || flush() != nil {
				return
			}
		}
		if held += n; held == len(buf) && held < 32<<10 {
			buf = make([]byte, 2*held)
		}
		held = copy(buf, rest)
	}
}

func serveXNet(load) (ready, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bulk", serveBulk)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		w.WriteHeader(http.StatusOK)
		if rc.Flush() == nil {
			echoFrames(r.Body, w, rc.Flush)
		}
	})
	return serveTLS(mux, func(srv *http.Server) error {
		//lint:ignore SA1019 deprecated as it is, it is what is to be measured
		return http2.ConfigureServer(srv, &http2.Server{MaxConcurrentStreams: manyStreams})
	}, "h2")
}

func serveHTTP3(load) (ready, error) {
	config, cert := serverTLS()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return ready{}, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bulk", serveBulk)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		str, err := w.(http3.HTTPStreamer).HTTPStream()
		if err != nil {
			return
		}
		echoFrames(str, str, func() error { return nil })
		str.Close()
	})
	srv := &http3.Server{
		Handler: mux, TLSConfig: http3.ConfigureTLSConfig(config),
		QUICConfig: patientQUIC,
	}
	go srv.Serve(pc) // ends with the process
	return ready{Addr: pc.LocalAddr().String(), Cert: cert}, nil
}
