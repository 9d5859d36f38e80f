package bridge

import (
	"fmt"
	"net/http"
	"unicode/utf8"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/matrix"
	xnet "golang.org/x/net/websocket"
)

// The end of a socket that a server begins itself.
const (
	endCode   = 4000
	endReason = "enough of it"
)

// most is the largest message.
const most = 16 << 20

// A library is a server's side of sockets, used as its documentation shows it.
type library struct {
	name    string
	deflate bool // as it is used here
	silent  bool // it does not answer a Close, nor give reasons

	// serve accepts a socket with the subprotocol "second" and returns what it
	// reads, until the socket ends, or until the first message, after which it
	// closes the socket or cuts its connection, as do says. Its return value is
	// how the socket ended.
	serve func(w http.ResponseWriter, r *http.Request, do what) error
}

// A what is what a server does with a socket.
type what string

const (
	doEcho  what = "echo"
	doClose what = "close"
	doCut   what = "cut"
)

var libraries = []library{
	{name: "gorilla", deflate: true, serve: serveGorilla},
	{name: "coder", deflate: true, serve: serveCoder},
	{name: "gobwas", serve: serveGobwas},
	{name: "gws", deflate: true, serve: serveGws},
	{name: "x-net", silent: true, serve: serveXNet},
}

// row is the library's row in the matrix: behind a Bridge, but on HTTP/1.1.
func (l library) row(b websocket.Bootstrap) matrix.Row {
	return matrix.Row{Peer: l.name + " behind Bridge", Role: matrix.Server, Transport: fmt.Sprint("h", int(b))}
}

func libraryNamed(name string) library {
	for _, l := range libraries {
		if l.name == name {
			return l
		}
	}
	panic(name)
}

func serveGorilla(w http.ResponseWriter, r *http.Request, do what) error {
	up := gorilla.Upgrader{EnableCompression: true, Subprotocols: []string{"second"}}
	c, err := up.Upgrade(w, r, http.Header{"Set-Cookie": {"a=b"}})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadLimit(most)
	for {
		t, p, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if t == gorilla.TextMessage && !utf8.Valid(p) { // left to its user
			return c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(gorilla.CloseInvalidFramePayloadData, ""))
		}
		switch do {
		case doClose:
			err = c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(endCode, endReason))
			if err != nil {
				return err
			}
			_, _, err = c.ReadMessage()
			return err
		case doCut:
			return nil
		}
		if err := c.WriteMessage(t, p); err != nil {
			return err
		}
	}
}

func serveCoder(w http.ResponseWriter, r *http.Request, do what) error {
	w.Header().Set("Set-Cookie", "a=b")
	c, err := coder.Accept(w, r, &coder.AcceptOptions{
		CompressionMode: coder.CompressionContextTakeover, CompressionThreshold: 1, Subprotocols: []string{"second"},
	})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(most)
	for {
		t, p, err := c.Read(r.Context())
		if err != nil {
			return err
		}
		if t == coder.MessageText && !utf8.Valid(p) { // left to its user
			return c.Close(coder.StatusInvalidFramePayloadData, "")
		}
		switch do {
		case doClose:
			return c.Close(endCode, endReason)
		case doCut:
			return nil
		}
		if err := c.Write(r.Context(), t, p); err != nil {
			return err
		}
	}
}

func serveGobwas(w http.ResponseWriter, r *http.Request, do what) error {
	up := ws.HTTPUpgrader{
		Protocol: func(p string) bool { return p == "second" },
		Header:   http.Header{"Set-Cookie": {"a=b"}},
	}
	c, _, _, err := up.Upgrade(r, w)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		p, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return err
		}
		switch do {
		case doClose:
			if err := ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(endCode, endReason))); err != nil {
				return err
			}
			_, _, err := wsutil.ReadClientData(c)
			return err
		case doCut:
			return nil
		}
		if err := wsutil.WriteServerMessage(c, op, p); err != nil {
			return err
		}
	}
}

// gwsEvents are what gws calls.
type gwsEvents struct {
	gws.BuiltinEventHandler
	do    what
	ended chan error
}

func (e *gwsEvents) OnPing(c *gws.Conn, p []byte)   { _ = c.WritePong(p) }
func (e *gwsEvents) OnClose(c *gws.Conn, err error) { e.ended <- err }
func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	switch e.do {
	case doClose:
		_ = c.WriteClose(endCode, []byte(endReason))
	case doCut:
		_ = c.NetConn().Close()
	default:
		_ = c.WriteMessage(m.Opcode, m.Bytes())
	}
}

func serveGws(w http.ResponseWriter, r *http.Request, do what) error {
	events := &gwsEvents{do: do, ended: make(chan error, 1)}
	var ours []string // gws refuses a client that offers none of them
	if r.Header.Get("Sec-WebSocket-Protocol") != "" {
		ours = []string{"second"}
	}
	up := gws.NewUpgrader(events, &gws.ServerOption{
		ReadMaxPayloadSize: most,
		SubProtocols:       ours,
		ResponseHeader:     http.Header{"Set-Cookie": {"a=b"}},
		PermessageDeflate: gws.PermessageDeflate{
			Enabled: true, Threshold: 1, Level: 1, ServerContextTakeover: true, ClientContextTakeover: true,
			ServerMaxWindowBits: 15, ClientMaxWindowBits: 15,
		},
	})
	c, err := up.Upgrade(w, r)
	if err != nil {
		return err
	}
	c.ReadLoop()
	return <-events.ended
}

func serveXNet(w http.ResponseWriter, r *http.Request, do what) error {
	var ended error
	xnet.Server{
		Handshake: func(c *xnet.Config, _ *http.Request) error {
			c.Protocol = nil
			for _, p := range r.Header.Values("Sec-WebSocket-Protocol") {
				if p != "" {
					c.Protocol = []string{"second"}
				}
			}
			c.Header = http.Header{"Set-Cookie": {"a=b"}}
			return nil
		},
		Handler: func(c *xnet.Conn) {
			c.MaxPayloadBytes = most
			for {
				p, err := message(c)
				if err != nil {
					ended = err
					return
				}
				switch do {
				case doClose:
					ended = c.WriteClose(endCode)
					return
				case doCut:
					return
				}
				if ended = xnet.Message.Send(c, p); ended != nil {
					return
				}
			}
		},
	}.ServeHTTP(w, r)
	return ended
}

// message reads one of either type, which comes back as the same.
func message(c *xnet.Conn) (v any, err error) {
	err = xnet.Codec{Unmarshal: func(data []byte, kind byte, _ any) error {
		if kind == xnet.TextFrame {
			v = string(data)
		} else {
			v = append([]byte(nil), data...)
		}
		return nil
	}}.Receive(c, nil)
	return v, err
}
