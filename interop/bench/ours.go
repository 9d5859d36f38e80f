package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/negotiate"
)

func init() {
	for _, mode := range []string{"loop", "handler"} {
		handle := mode == "handler"
		add("h1 "+mode, &contender{
			about: "this module, h1upgrade, " + modes[handle], transport: "h1", websocket: true,
			serve: func(l load) (ready, error) {
				return serveTLSOn(ours(handle, l), plain, negotiate.BeneathTLS, "http/1.1")
			},
			client: wireH1, library: oursH1,
		})
		add("h2 "+mode, &contender{
			about: "this module, h2connect, " + modes[handle], transport: "h2", shared: true, websocket: true,
			serve:  func(l load) (ready, error) { return serveTLSOn(ours(handle, l), engine, negotiate.BeneathTLS, "h2") },
			client: wireH2, library: oursH2,
		})
		add("h3 "+mode, &contender{
			about: "this module, h3connect, " + modes[handle], transport: "h3", shared: true, websocket: true,
			serve:  func(l load) (ready, error) { return serveQUIC(ours(handle, l)) },
			client: wireH3, library: oursH3,
		})
	}
}

var modes = map[bool]string{false: "a loop of ReadInto and Write", true: "Conn.Handle"}

// manyStreams is what all servers that share connections allow on one.
const manyStreams = 20_000

func plain(*http.Server) error { return nil }

func engine(srv *http.Server) error {
	return h2connect.ConfigureServer(srv, &h2connect.Server{Limits: h2connect.Limits{ConcurrentStreams: manyStreams}})
}

func serveQUIC(h http.Handler) (ready, error) {
	config, cert := serverTLS()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return ready{}, err
	}
	srv := &h3connect.Server{QUICConfig: patientQUIC}
	go srv.Serve(pc, h, config) // ends with the process
	return ready{Addr: pc.LocalAddr().String(), Cert: cert}, nil
}

// compression is what both sides use for a load that compresses.
func (l load) compression() *websocket.Compression {
	switch {
	case l.Deflate:
		return &websocket.Compression{Threshold: -1, ServerContextTakeover: true, ClientContextTakeover: true}
	case l.Compress:
		return &websocket.Compression{Threshold: -1}
	}
	return nil
}

// ours is the server's handler.
func ours(handle bool, l load) http.Handler {
	o := &websocket.AcceptOptions{Limits: websocket.Limits{Message: mostRead}}
	o.Compression = l.compression()
	if l.Kind == holdingOn {
		o.Limits.PingInterval = holdingInterval
	}
	all := &audience{load: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bulk", serveBulk)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, o)
		if err != nil {
			return
		}
		answer := echo
		if l.Kind == broadcasting {
			all.add(c)
			answer = all.answer
		}
		if handle {
			c.Handle(answer)
			return
		}
		defer c.CloseNow()
		var buf []byte
		for {
			t, p, err := c.ReadInto(r.Context(), buf)
			if err != nil {
				return
			}
			answer(c, t, p)
			buf = p
		}
	})
	return mux
}

// An answer is what a server does with a message, and a [websocket.Handler].
type answer func(*websocket.Conn, websocket.MessageType, []byte)

func (a answer) OnMessage(c *websocket.Conn, t websocket.MessageType, p []byte) { a(c, t, p) }
func (a answer) OnClose(c *websocket.Conn, err error)                           {}

var echo answer = func(c *websocket.Conn, t websocket.MessageType, p []byte) {
	if c.Write(context.Background(), t, p) != nil {
		c.CloseNow()
	}
}

// An audience is the sockets that get broadcasts.
type audience struct {
	load  load
	mu    sync.Mutex
	conns []*websocket.Conn
}

func (a *audience) add(c *websocket.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, c)
}

func (a *audience) answer(c *websocket.Conn, t websocket.MessageType, p []byte) {
	if !a.load.toAll(len(p)) {
		echo(c, t, p)
		return
	}
	m, err := websocket.NewPreparedMessage(t, p)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	websocket.Broadcast(context.Background(), m, slices.Values(a.conns), websocket.SlowWaits)
}

// A dialer opens this module's sockets.
type dialer struct {
	url    string
	dial   func(ctx context.Context, conn int, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error)
	get    func(*http.Request) (*http.Response, error) // nil: no requests beside the sockets
	loop   bool                                        // read by a loop: what Handle does anyway without multiplexing
	o      *websocket.DialOptions
	opened int
}

func dialOptions(t task) *websocket.DialOptions {
	o := &websocket.DialOptions{TLSClientConfig: clientTLS(t), Limits: websocket.Limits{Message: mostRead}}
	o.Compression = t.Load.compression()
	return o
}

func oursH1(t task) client {
	return &dialer{
		url: "https://" + t.Addr + "/", o: dialOptions(t), loop: true,
		dial: func(ctx context.Context, _ int, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			return h1upgrade.Dial(ctx, url, o)
		},
	}
}

func oursH2(t task) client {
	var mu sync.Mutex
	transports := make(map[int]*h2connect.Transport)
	transport := func(conn int) *h2connect.Transport {
		mu.Lock()
		defer mu.Unlock()
		if transports[conn] == nil {
			transports[conn] = &h2connect.Transport{TLSClientConfig: clientTLS(t)}
		}
		return transports[conn]
	}
	o := dialOptions(t)
	o.TLSClientConfig = nil
	return &dialer{
		url: "https://" + t.Addr + "/", o: o,
		dial: func(ctx context.Context, conn int, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			return transport(conn).Dial(ctx, url, o)
		},
		get: func(r *http.Request) (*http.Response, error) { return transport(0).RoundTrip(r) },
	}
}

func oursH3(t task) client {
	tr := &h3connect.Transport{TLSClientConfig: clientTLS(t)}
	o := dialOptions(t)
	o.TLSClientConfig = nil
	return &dialer{
		url: "https://" + t.Addr + "/", o: o,
		dial: func(ctx context.Context, _ int, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			return tr.Dial(ctx, url, o)
		},
		get: tr.RoundTrip,
	}
}

// dialsAtOnce bounds how many sockets are opened at the same time.
const dialsAtOnce = 32

func (d *dialer) open(ctx context.Context, n, conns int, got received) ([]socket, error) {
	first := d.opened
	d.opened += n
	sockets := make([]socket, n)
	g, dialing := errgroup.WithContext(ctx)
	g.SetLimit(dialsAtOnce)
	for k := range n {
		g.Go(func() error {
			c, _, err := d.dial(dialing, k%conns, d.url, d.o)
			if err != nil {
				return err
			}
			sockets[k] = (*sender)(c)
			receive := answer(func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got(first+k, p, true) })
			if !d.loop {
				return c.Handle(receive)
			}
			go readLoop(ctx, c, receive)
			return nil
		})
	}
	return sockets, g.Wait()
}

// readLoop is the goroutine that reads a client's socket. It ends with the socket.
func readLoop(ctx context.Context, c *websocket.Conn, receive answer) {
	var buf []byte
	for {
		t, p, err := c.ReadInto(ctx, buf)
		if err != nil {
			return
		}
		receive(c, t, p)
		buf = p
	}
}

func (d *dialer) fetch(ctx context.Context) (io.ReadCloser, error) {
	if d.get == nil {
		return nil, errNoDownloads
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"bulk", nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.get(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, errors.New(resp.Status)
	}
	return resp.Body, nil
}

// A sender is a Conn that sends.
type sender websocket.Conn

func (s *sender) send(p []byte) error {
	return (*websocket.Conn)(s).Write(context.Background(), websocket.MessageBinary, p)
}
