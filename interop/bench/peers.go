package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// The HTTP/1.1 libraries are used as their documentation shows it, and where that
// names more than one way, in the one that costs least here: buffers for messages
// are kept from one to the next, and what may be pooled is.
func init() {
	addPeer("gorilla", "github.com/gorilla/websocket, NextReader into one buffer, a WriteBufferPool", serveGorilla)
	addPeer("coder", "github.com/coder/websocket, Reader into one buffer", serveCoder)
	addPeer("gobwas", "github.com/gobwas/ws, wsutil.Reader into one buffer, pooled wsutil.Writer", serveGobwas)
	addPeer("gws", "github.com/lxzan/gws, its event handler", serveGWS)
}

func addPeer(name, about string, handler func(load) http.Handler) {
	add(name, &contender{
		about: about, transport: "h1", websocket: true,
		serve:  func(l load) (ready, error) { return serveTLS(handler(l), plain, "http/1.1") },
		client: wireH1, library: oursH1,
	})
}

// mostRead is the largest message that servers take.
const mostRead = 2 << 20

// A peerConn is a library's socket.
type peerConn interface {
	// read reads a message into b.
	read(b *bytes.Buffer) (kind int, err error)
	write(kind int, p []byte) error
	Close() error
}

// A hall is what a server's sockets share: those that get broadcasts.
type hall[C any] struct {
	load load
	mu   sync.Mutex
	all  []C
}

func (h *hall[C]) enter(c C) {
	if h.load.Kind != broadcasting {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, c)
}

// each calls f for all, one caller at a time.
func (h *hall[C]) each(f func(C)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.all {
		f(c)
	}
}

// serve is the loop of a socket: what it reads goes back, or by toAll to all.
func serve[C peerConn](h *hall[C], c C, toAll func(kind int, p []byte)) {
	defer c.Close()
	h.enter(c)
	var b bytes.Buffer
	for {
		b.Reset()
		kind, err := c.read(&b)
		switch {
		case err != nil:
			return
		case h.load.toAll(b.Len()):
			toAll(kind, b.Bytes())
		case c.write(kind, b.Bytes()) != nil:
			return
		}
	}
}

// A gorillaConn takes one writer at a time; nil where there is one.
type gorillaConn struct {
	*gorilla.Conn
	mu *sync.Mutex
}

func (c gorillaConn) read(b *bytes.Buffer) (int, error) {
	kind, r, err := c.NextReader()
	if err == nil {
		_, err = b.ReadFrom(r)
	}
	return kind, err
}

func (c gorillaConn) write(kind int, p []byte) error {
	if c.mu != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	return c.WriteMessage(kind, p)
}

func (c gorillaConn) writePrepared(m *gorilla.PreparedMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.WritePreparedMessage(m)
}

func serveGorilla(l load) http.Handler {
	up := gorilla.Upgrader{EnableCompression: l.Deflate, WriteBufferPool: new(sync.Pool)}
	all := &hall[gorillaConn]{load: l}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		conn := gorillaConn{Conn: c}
		if l.Kind == broadcasting {
			conn.mu = new(sync.Mutex)
		}
		serve(all, conn, func(kind int, p []byte) {
			m, err := gorilla.NewPreparedMessage(kind, p)
			if err != nil {
				return
			}
			all.each(func(c gorillaConn) { c.writePrepared(m) })
		})
	})
}

type coderConn struct {
	*coder.Conn
	ctx context.Context
}

func (c coderConn) read(b *bytes.Buffer) (int, error) {
	kind, r, err := c.Reader(c.ctx)
	if err == nil {
		_, err = b.ReadFrom(r)
	}
	return int(kind), err
}

func (c coderConn) write(kind int, p []byte) error {
	return c.Write(c.ctx, coder.MessageType(kind), p)
}

func (c coderConn) Close() error { return c.CloseNow() }

func serveCoder(l load) http.Handler {
	o := &coder.AcceptOptions{CompressionMode: coder.CompressionDisabled}
	if l.Deflate {
		o.CompressionMode, o.CompressionThreshold = coder.CompressionContextTakeover, 1
	}
	all := &hall[coderConn]{load: l}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, o)
		if err != nil {
			return
		}
		c.SetReadLimit(mostRead)
		serve(all, coderConn{c, r.Context()}, func(kind int, p []byte) {
			all.each(func(c coderConn) { c.write(kind, p) })
		})
	})
}

// A gobwasConn reads through wsutil.Reader, which has no buffer of its own.
type gobwasConn struct {
	net.Conn
	in *wsutil.Reader
}

func (c gobwasConn) read(b *bytes.Buffer) (int, error) {
	h, err := c.in.NextFrame()
	switch {
	case err != nil:
		return 0, err
	case h.OpCode.IsControl():
		return 0, errors.New("a control frame: not measured")
	}
	b.Grow(int(min(h.Length, mostRead)) + bytes.MinRead)
	_, err = b.ReadFrom(c.in)
	return int(h.OpCode), err
}

// pooledSize is the largest message that a pooled writer takes: one write instead
// of two is worth a copy up to there.
const pooledSize = 16 << 10

func (c gobwasConn) write(kind int, p []byte) error {
	if len(p) > pooledSize {
		return wsutil.WriteServerMessage(c.Conn, ws.OpCode(kind), p)
	}
	w := wsutil.GetWriter(c.Conn, ws.StateServerSide, ws.OpCode(kind), max(len(p), 512))
	defer wsutil.PutWriter(w)
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.Flush()
}

func serveGobwas(l load) http.Handler {
	all := &hall[gobwasConn]{load: l}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		conn := gobwasConn{c, wsutil.NewReader(c, ws.StateServerSide)}
		go serve(all, conn, func(kind int, p []byte) { // as its documentation does: the HTTP handler ends
			b, err := ws.CompileFrame(ws.NewFrame(ws.OpCode(kind), true, p))
			if err != nil {
				return
			}
			all.each(func(c gobwasConn) { io.Writer(c.Conn).Write(b) })
		})
	})
}

// gwsEvents are what gws calls.
type gwsEvents struct {
	gws.BuiltinEventHandler
	hall[*gws.Conn]
}

func (e *gwsEvents) OnOpen(c *gws.Conn) { e.enter(c) }

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if !e.load.toAll(len(m.Bytes())) {
		c.WriteMessage(m.Opcode, m.Bytes())
		return
	}
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	e.each(func(c *gws.Conn) { b.Broadcast(c) })
}

func serveGWS(l load) http.Handler {
	up := gws.NewUpgrader(&gwsEvents{hall: hall[*gws.Conn]{load: l}}, &gws.ServerOption{
		PermessageDeflate: gws.PermessageDeflate{
			Enabled: l.Deflate, Threshold: 1, Level: 1,
			ServerContextTakeover: true, ClientContextTakeover: true,
			ServerMaxWindowBits: 15, ClientMaxWindowBits: 15,
		},
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r); err == nil {
			go c.ReadLoop() // as its documentation does: the HTTP handler ends
		}
	})
}
