package main

import (
	"embed"
	"encoding/json"
	"html/template"
	"net/http"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/negotiate"
)

//go:embed page
var page embed.FS

// pageTemplate is the document, which says by which connection it came.
var pageTemplate = template.Must(template.ParseFS(page, "page/index.html"))

// connectionHeader is the response field that names the connection which carried
// the request.
const connectionHeader = "Demo-Connection"

// A whereabouts says by which connection a request came, or on which a socket
// lives. It is the answer to GET /whoami, and the first message of every socket:
// pages see no field of a handshake's response.
type whereabouts struct {
	Protocol   string `json:"protocol"`   // of the HTTP request or of the socket's handshake
	Connection string `json:"connection"` // the server's name for it
}

// A document is what the page is made of.
type document struct {
	whereabouts
	HTTP1 string // the origin that has HTTP/1.1 alone
}

// routes returns the demo's handler.
func routes(c *census) http.Handler {
	mux := http.NewServeMux()
	l := &ledger{census: c}
	l.handle(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' wss: https:; img-src data:; frame-ancestors 'none'")
		// The error is the client's: it has gone.
		_ = pageTemplate.Execute(w, document{whereaboutsOf(r, c), origin(r, c.http1Port)})
	})
	mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, page, "page/"+r.PathValue("file"))
	})
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, whereaboutsOf(r, c))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, c.now())
	})
	// No method: sockets come by GET on HTTP/1.1 and by CONNECT on the others.
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { echo(w, r, c, l) })
	return counted(mux, c, l)
}

// counted enters requests that are not for sockets into the census, and says in
// every response by which connection it goes. The page's origin may read the
// other one's responses.
func counted(h http.Handler, c *census, l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // so that every fetch is a request
		if page := origin(r, c.port); r.Header.Get("Origin") == page {
			w.Header().Set("Access-Control-Allow-Origin", page)
			w.Header().Set("Access-Control-Expose-Headers", connectionHeader)
		}
		if conn := c.of(r); conn != nil {
			w.Header().Set(connectionHeader, conn.id)
			if r.URL.Path != "/echo" {
				c.request(conn, websocket.Bootstrap(r.ProtoMajor))
				l.enter(r, conn, func(s *share) { s.requests++ })
			}
		}
		h.ServeHTTP(w, r)
	})
}

func whereaboutsOf(r *http.Request, c *census) whereabouts {
	at := whereabouts{Protocol: websocket.Bootstrap(r.ProtoMajor).String()}
	if conn := c.of(r); conn != nil {
		at.Connection = conn.id
	}
	return at
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the error is the client's
}

// echo accepts a socket, tells it its whereabouts, and returns what it sends.
func echo(w http.ResponseWriter, r *http.Request, c *census, l *ledger) {
	o := &websocket.AcceptOptions{Compression: &websocket.Compression{}}
	if page := origin(r, c.port); r.Header.Get("Origin") == page {
		o.Origins = []string{page} // the request may have come to the other port
	}
	ws, err := negotiate.Accept(w, r, o)
	if err != nil {
		return // refused; the response is written
	}
	defer ws.CloseNow()
	if conn := c.of(r); conn != nil {
		defer c.socket(conn, ws.Bootstrap())()
		l.enter(r, conn, func(s *share) { s.sockets++ })
	}
	ctx := r.Context()
	if err := ws.WriteJSON(ctx, whereaboutsOf(r, c)); err != nil {
		return
	}
	var buf []byte
	for {
		t, p, err := ws.ReadInto(ctx, buf)
		if err != nil {
			return // the socket has ended, by whichever side
		}
		if err := ws.Write(ctx, t, p); err != nil {
			return
		}
		buf = p
	}
}
