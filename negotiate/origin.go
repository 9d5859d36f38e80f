package negotiate

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wsmux/websocket"
)

// rememberFor is how long a Dialer remembers what an origin does not have, or
// how it cannot be reached.
const rememberFor = 5 * time.Minute

// spareFor is how long a connection is kept for a caller that is about to take
// it, and may have given up meanwhile.
const spareFor = 5 * time.Second

// maxOrigins is how many origins a Dialer remembers.
const maxOrigins = 1000

var (
	errNoHTTP2   = fmt.Errorf("the server chose HTTP/1.1: %w", websocket.ErrNotSupported)
	errNoSockets = fmt.Errorf("the server does not accept extended CONNECT: %w", websocket.ErrNotSupported)
	errSlower    = errors.New("TCP was faster")
)

// A remembered error says what was found out earlier.
type remembered struct{ error }

func (e remembered) Error() string { return "seen before: " + e.error.Error() }
func (e remembered) Unwrap() error { return e.error }

// An origin is what a Dialer knows of one origin.
type origin struct {
	mu        sync.Mutex
	noHTTP2   memory // TLS chose HTTP/1.1
	noSockets memory // HTTP/2 without extended CONNECT
	noHTTP3   memory // HTTP/3 is out of reach, or slower than TCP
	noHTTP3WS memory // HTTP/3 without extended CONNECT
	alt       alternative
	spare     *spareConn // opened for HTTP/2, but the server chose HTTP/1.1
}

// A memory is an error that is remembered for a while. The origin's mutex guards
// it.
type memory struct {
	err   error
	until time.Time
}

func (m *memory) set(err error) { *m = memory{err, time.Now().Add(rememberFor)} }

func (m *memory) get() error {
	if m.err == nil || !time.Now().Before(m.until) {
		return nil
	}
	return remembered{m.err}
}

// origin returns what d knows of key.
func (d *Dialer) origin(key string) *origin {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.origins == nil {
		d.origins = make(map[string]*origin)
	}
	o := d.origins[key]
	if o == nil {
		o = new(origin)
		if len(d.origins) >= maxOrigins {
			d.forgetSome()
		}
		d.origins[key] = o
	}
	return o
}

// forgetSome makes room for other origins: for many, because it looks at all. What
// is forgotten will be found out again. d.mu is held.
func (d *Dialer) forgetSome() {
	for key, o := range d.origins {
		if o.empty() {
			delete(d.origins, key)
		}
	}
	for key := range d.origins { // in random order
		if len(d.origins) <= maxOrigins*3/4 {
			return
		}
		delete(d.origins, key)
	}
}

// empty reports whether nothing is known that is still valid.
func (o *origin) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.memories() {
		if m.get() != nil {
			return false
		}
	}
	return o.spare == nil && !time.Now().Before(o.alt.until)
}

func (o *origin) memories() []*memory {
	return []*memory{&o.noHTTP2, &o.noSockets, &o.noHTTP3, &o.noHTTP3WS}
}

// remember sets one of o's memories.
func (o *origin) remember(m *memory, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.set(err)
}

// recall returns what stands in one of o's memories, nil for nothing.
func (o *origin) recall(m *memory) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return m.get()
}

// lacksSockets returns an error if the origin is known to have no sockets over
// HTTP/2.
func (o *origin) lacksSockets() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.noHTTP2.get(); err != nil {
		return err
	}
	return o.noSockets.get()
}

// hear takes what a response says of alternative services. Only one over TLS is
// believed: the others anybody on the way could have written. And:
//
//	"An Alt-Svc header field in a 421 (Misdirected Request) response MUST be
//	ignored."
//
// https://www.rfc-editor.org/rfc/rfc7838#section-6
func (o *origin) hear(t target, resp *http.Response) {
	if resp == nil || !t.secure || resp.StatusCode == http.StatusMisdirectedRequest {
		return
	}
	alt, ok := parseAltSvc(resp.Header, t.addr, time.Now())
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if alt.addr != o.alt.addr {
		o.noHTTP3, o.noHTTP3WS = memory{}, memory{} // it is another service
	}
	o.alt = alt
}

// alternative returns where the origin is to be had over HTTP/3, "" if it has not
// said so.
func (o *origin) alternative() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.alt.until) {
		return o.alt.addr
	}
	return ""
}

// dropAlternative forgets the alternative service at addr.
func (o *origin) dropAlternative(addr string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.alt.addr == addr {
		o.alt = alternative{}
	}
}

// networkChanged forgets what may be different on another network: what could not
// be had, and, as RFC 7838 §2.2 recommends, alternative services without
// "persist".
func (o *origin) networkChanged() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.memories() {
		*m = memory{}
	}
	if !o.alt.persist {
		o.alt = alternative{}
	}
}

// A spareConn is a connection that is kept. Meanwhile a goroutine reads from it, so
// that it is known when the server has closed it; that ends with the keeping.
type spareConn struct {
	net.Conn
	over chan struct{} // closed when the goroutine has ended
	err  error         // of its Read, nil for a byte that nobody asked for
}

// keep keeps nc for the next that takes a connection for HTTP/1.1.
func (o *origin) keep(nc net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spare != nil {
		nc.Close()
		return
	}
	s := &spareConn{Conn: nc, over: make(chan struct{})}
	o.spare = s
	go func() {
		defer close(s.over)
		_, s.err = nc.Read(make([]byte, 1))
		o.drop(s)
	}()
	time.AfterFunc(spareFor, func() { o.drop(s) })
}

// drop closes s if it is still being kept.
func (o *origin) drop(s *spareConn) {
	o.mu.Lock()
	kept := s != nil && o.spare == s
	if kept {
		o.spare = nil
	}
	o.mu.Unlock()
	if kept {
		s.Close()
	}
}

// dropSpare closes the connection that is being kept, if there is one.
func (o *origin) dropSpare() {
	o.mu.Lock()
	s := o.spare
	o.mu.Unlock()
	o.drop(s)
}

// take returns the connection that was kept, nil if there is none, if the server has
// closed it, or if its reading cannot be interrupted.
func (o *origin) take() net.Conn {
	o.mu.Lock()
	s := o.spare
	o.spare = nil
	o.mu.Unlock()
	if s == nil {
		return nil
	}
	if s.SetReadDeadline(time.Unix(1, 0)) != nil { // an SSH channel has no deadlines
		s.Close()
	}
	<-s.over
	if !errors.Is(s.err, os.ErrDeadlineExceeded) || s.SetReadDeadline(time.Time{}) != nil {
		s.Close()
		return nil
	}
	return s.Conn
}
