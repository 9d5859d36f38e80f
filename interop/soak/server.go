package soak

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A world is the servers that episodes share, and where their sockets meet.
type world struct {
	scope scope
	calm  websocket.Limits // of sockets where nothing may fail
	harsh websocket.Limits // of sockets whose network harms
	h2    h2connect.Limits // of the servers, and of clients where nothing may fail

	plain, secure *network
	packets       *lossy

	servers []*negotiate.Server
	served  chan error
	leaving atomic.Bool // the servers are being shut down

	mu       sync.Mutex
	lastID   int
	meetings map[int]*meeting
	handlers atomic.Int64 // that run
}

// patience is what is waited for on a network that does no harm.
const patience = 30 * time.Second

// A meeting is where the two ends of a socket find each other.
type meeting struct {
	server  *end
	options *websocket.AcceptOptions
	ctx     context.Context

	mu      sync.Mutex
	missed  bool // the client has given up
	entered bool
	left    chan struct{} // closed when the handler has returned
}

// startReal starts servers on the loopback interface: HTTP/1.1 and HTTP/2 with
// and without TLS, and HTTP/3. A network that harms is to be found out within a
// second or two; where nothing may fail, the machine may be as slow as it likes.
func startReal(seed uint64) (*world, error) {
	w := &world{
		scope: scope{[]websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3}, true},
		calm: websocket.Limits{
			CloseTimeout: patience, WriteStall: patience, Handshake: patience, PingTimeout: patience,
		},
		harsh: websocket.Limits{
			CloseTimeout: time.Second, WriteStall: time.Second, Handshake: 2 * time.Second,
			PingInterval: 300 * time.Millisecond, PingTimeout: time.Second,
		},
		h2:       h2connect.Limits{WriteStall: patience, Preface: patience, SettingsAck: patience, Idle: patience},
		meetings: make(map[int]*meeting),
		served:   make(chan error, 2),
	}
	var err error
	if w.plain, err = loopback(); err != nil {
		return nil, err
	}
	if w.secure, err = loopback(); err != nil {
		return nil, err
	}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	w.packets = newLossy(pc, seed)
	certificates, _ := wstest.Certificates()
	plain := w.server()
	secure := w.server()
	secure.TLSConfig, secure.HTTP3 = certificates, &h3connect.Server{}
	w.serve(plain, func() error { return plain.Serve(w.plain) })
	w.serve(secure, func() error { return secure.ServeTLS(w.secure, w.packets, "", "") })
	return w, nil
}

// startVirtual starts a server in memory, HTTP/1.1 and HTTP/2 without TLS, with
// the limits that hold by default.
func startVirtual() *world {
	w := &world{
		scope:    scope{[]websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2}, false},
		meetings: make(map[int]*meeting),
		served:   make(chan error, 1),
		plain:    inMemory(),
	}
	plain := w.server()
	w.serve(plain, func() error { return plain.Serve(w.plain) })
	return w
}

func (w *world) server() *negotiate.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", w.socket)
	mux.HandleFunc("/page", page)
	mux.HandleFunc("/mirror", mirror)
	return &negotiate.Server{
		Handler:           http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.count(mux, rw, r) }),
		HTTP2:             &h2connect.Server{Limits: w.h2},
		UnencryptedHTTP2:  true,
		ReadHeaderTimeout: w.calm.Handshake,
	}
}

// serve runs a server until the world ends.
func (w *world) serve(s *negotiate.Server, run func() error) {
	w.servers = append(w.servers, s)
	go func() { w.served <- run() }()
}

func (w *world) count(h http.Handler, rw http.ResponseWriter, r *http.Request) {
	w.handlers.Add(1)
	defer w.handlers.Add(-1)
	h.ServeHTTP(rw, r)
}

// stop shuts the servers down. It returns what they say of the sockets that they
// had, and anything else that was wrong.
func (w *world) stop(ctx context.Context) (unclean, err error) {
	w.leaving.Store(true)
	results := make(chan error)
	for _, s := range w.servers {
		go func() { results <- s.Shutdown(ctx) }() // ends with ctx
	}
	for range w.servers {
		unclean = errors.Join(unclean, <-results)
	}
	for range w.servers {
		if e := <-w.served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return unclean, errors.Join(err, ctx.Err())
}

// meet arranges for a socket's server end and returns the number that the
// request must name.
func (w *world) meet(m *meeting) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastID++
	w.meetings[w.lastID] = m
	return w.lastID
}

func (w *world) forget(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.meetings, id)
}

func (w *world) meeting(id string) *meeting {
	n, _ := strconv.Atoi(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.meetings[n]
}

// enter reports whether the handler is expected.
func (m *meeting) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.missed || m.entered {
		return false
	}
	m.entered = true
	return true
}

// miss says that the client will not come, and reports whether the handler has.
func (m *meeting) miss() (entered bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missed = true
	return m.entered
}

// socket is the handler of the server ends.
func (w *world) socket(rw http.ResponseWriter, r *http.Request) {
	m := w.meeting(r.FormValue("meeting"))
	if m == nil || !m.enter() {
		http.Error(rw, "nobody waits for you", http.StatusGone)
		return
	}
	defer close(m.left)
	c, err := negotiate.Accept(rw, r, m.options)
	if err != nil {
		return
	}
	e := m.server
	e.run(m.ctx, c)
	switch e.plan.ending {
	case returns:
		e.act(func(a *acts) { a.returned = true })
		return
	case panics:
		e.act(func(a *acts) { a.panicked = true })
		panic(http.ErrAbortHandler) // the panic that servers do not log
	}
	select {
	case <-e.read:
	case <-m.ctx.Done():
	}
}
