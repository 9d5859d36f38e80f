package negotiate

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wsmux/websocket"
)

// rememberFor is how long a Dialer remembers that an origin has no HTTP/2, or
// no sockets on it.
const rememberFor = 5 * time.Minute

// spareFor is how long a connection is kept for a caller that is about to take
// it, and may have given up meanwhile.
const spareFor = 5 * time.Second

var (
	errNoHTTP2   = fmt.Errorf("the server chose HTTP/1.1: %w", websocket.ErrNotSupported)
	errNoSockets = fmt.Errorf("the server was seen not to support it: %w", websocket.ErrNotSupported)
)

// An origin is what a Dialer knows of one origin.
type origin struct {
	mu             sync.Mutex
	noHTTP2Until   time.Time
	noSocketsUntil time.Time
	spare          net.Conn // opened for HTTP/2, but the server chose HTTP/1.1
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
		d.origins[key] = o
	}
	return o
}

// learn remembers what an attempt over HTTP/2 has shown.
func (o *origin) learn(err error) {
	if !errors.Is(err, websocket.ErrNotSupported) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	until := time.Now().Add(rememberFor)
	o.noSocketsUntil = until
	if errors.Is(err, errNoHTTP2) {
		o.noHTTP2Until = until
	}
}

// lacksSockets returns an error if the origin is known to have no sockets over
// HTTP/2.
func (o *origin) lacksSockets() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.noSocketsUntil) {
		return errNoSockets
	}
	return nil
}

// lacksHTTP2 returns an error if the origin is known to have no HTTP/2.
func (o *origin) lacksHTTP2() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.noHTTP2Until) {
		return errNoHTTP2
	}
	return nil
}

// keep keeps nc for the next that takes a connection for HTTP/1.1.
func (o *origin) keep(nc net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spare != nil {
		nc.Close()
		return
	}
	o.spare = nc
	time.AfterFunc(spareFor, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.spare == nc {
			o.spare = nil
			nc.Close()
		}
	})
}

// take returns the connection that was kept, or nil.
func (o *origin) take() net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	nc := o.spare
	o.spare = nil
	return nc
}
