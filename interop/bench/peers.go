package main

import (
	"net"
	"net/http"
	"sync"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// The HTTP/1.1 libraries are used as their documentation shows it, with their
// buffers' default sizes. Their client is this module's.
func init() {
	for name, h := range map[string]func(load) http.Handler{
		"gorilla": gorillaHandler, "coder": coderHandler, "gobwas": gobwasHandler, "gws": gwsHandler,
	} {
		add(name, &contender{
			about: peers[name], transport: "h1", websocket: true,
			serve: func(l load) (ready, error) {
				return serveTLS(h(l), plain, "http/1.1")
			},
			client: oursH1,
		})
	}
}

var peers = map[string]string{
	"gorilla": "github.com/gorilla/websocket",
	"coder":   "github.com/coder/websocket",
	"gobwas":  "github.com/gobwas/ws, with wsutil",
	"gws":     "github.com/lxzan/gws",
}

func gorillaHandler(l load) http.Handler {
	up := gorilla.Upgrader{EnableCompression: l.Deflate}
	var mu sync.Mutex
	var all []*gorilla.Conn
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if l.Kind == broadcasting {
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
		}
		for {
			t, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if !l.toAll(len(p)) {
				if c.WriteMessage(t, p) != nil {
					return
				}
				continue
			}
			m, err := gorilla.NewPreparedMessage(t, p)
			if err != nil {
				return
			}
			mu.Lock()
			for _, c := range all {
				c.WritePreparedMessage(m)
			}
			mu.Unlock()
		}
	})
}

func coderHandler(l load) http.Handler {
	o := &coder.AcceptOptions{CompressionMode: coder.CompressionDisabled}
	if l.Deflate {
		o.CompressionMode, o.CompressionThreshold = coder.CompressionContextTakeover, 1
	}
	var mu sync.Mutex
	var all []*coder.Conn
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(2 << 20)
		if l.Kind == broadcasting {
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
		}
		for {
			t, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if !l.toAll(len(p)) {
				if c.Write(r.Context(), t, p) != nil {
					return
				}
				continue
			}
			mu.Lock()
			for _, c := range all {
				c.Write(r.Context(), t, p)
			}
			mu.Unlock()
		}
	})
}

func gobwasHandler(l load) http.Handler {
	var mu sync.Mutex
	var all []net.Conn
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close()
		if l.Kind == broadcasting {
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
		}
		for {
			p, op, err := wsutil.ReadClientData(c)
			if err != nil {
				return
			}
			if !l.toAll(len(p)) {
				if wsutil.WriteServerMessage(c, op, p) != nil {
					return
				}
				continue
			}
			b, err := ws.CompileFrame(ws.NewFrame(op, true, p))
			if err != nil {
				return
			}
			mu.Lock()
			for _, c := range all {
				c.Write(b)
			}
			mu.Unlock()
		}
	})
}

// gwsEvents are what gws calls.
type gwsEvents struct {
	gws.BuiltinEventHandler
	load load
	mu   sync.Mutex
	all  []*gws.Conn
}

func (e *gwsEvents) OnOpen(c *gws.Conn) {
	if e.load.Kind == broadcasting {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, c)
	}
}

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if !e.load.toAll(len(m.Bytes())) {
		c.WriteMessage(m.Opcode, m.Bytes())
		return
	}
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.all {
		b.Broadcast(c)
	}
}

func gwsHandler(l load) http.Handler {
	up := gws.NewUpgrader(&gwsEvents{load: l}, &gws.ServerOption{
		PermessageDeflate: gws.PermessageDeflate{
			Enabled: l.Deflate, Threshold: 1, Level: 1,
			ServerContextTakeover: true, ClientContextTakeover: true,
			ServerMaxWindowBits: 15, ClientMaxWindowBits: 15,
		},
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r); err == nil {
			go c.ReadLoop() // its documentation's way: the HTTP handler's goroutine ends
		}
	})
}
