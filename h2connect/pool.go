package h2connect

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wsmux/websocket"
)

// This file chooses the connection of a Transport that a request or a socket gets.

// A dialing is a connection that is being opened for whoever needs it. It is
// given up when nobody does any more.
type dialing struct {
	cancel  context.CancelFunc
	waiting int           // guarded by the Transport's mutex
	done    chan struct{} // closed when cc or err is set
	cc      *ClientConn
	err     error
}

// get returns a connection to u's server with a stream reserved: one of the
// pool's, or a new one that all who wait for one share.
func (t *Transport) get(ctx context.Context, u *url.URL, o *websocket.DialOptions) (*ClientConn, error) {
	key := keyOf(u)
	for {
		cc, err := t.reserved(ctx, key)
		if cc != nil || err != nil {
			return cc, err
		}
		t.mu.Lock()
		if cc := t.pooled(key); cc != nil {
			t.mu.Unlock()
			return cc, nil
		}
		d := t.join(ctx, key, o)
		t.mu.Unlock()
		cc, err = t.await(ctx, key, d)
		if err != nil {
			return nil, err
		}
		// The server may allow fewer streams than there are callers: the others
		// go round again.
		if cc.tryReserve() {
			return cc, nil
		}
	}
}

// reserved returns a pooled connection with a stream reserved, nil if there is
// none. Where a further connection is not wanted, or of no use, it waits.
func (t *Transport) reserved(ctx context.Context, key string) (*ClientConn, error) {
	var rung <-chan struct{} // nil: the bell would not be heard
	for {
		t.mu.Lock()
		cc := t.pooled(key)
		waits := cc == nil && t.waits(key)
		t.mu.Unlock()
		if !waits {
			return cc, nil
		}
		if rung == nil {
			rung = t.bell.listen()
			continue // what has changed before
		}
		select {
		case <-rung:
			rung = nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// live returns a pooled connection that takes requests when others have ended,
// nil if there is none. t.mu is held.
func (t *Transport) live(key string) *ClientConn {
	for _, cc := range t.conns[key] {
		cc.c.mu.Lock()
		err := cc.usable()
		cc.c.mu.Unlock()
		if err == nil {
			return cc
		}
	}
	return nil
}

// waits reports whether the pooled connections, which are full, are to be waited for
// in place of opening another: that is not wanted, or of no use, because the last one
// allows no streams at all, which a server should do "for short durations" only (RFC
// 9113 §5.1.2). t.mu is held.
func (t *Transport) waits(key string) bool {
	if t.rules().strict {
		return t.live(key) != nil
	}
	for _, cc := range slices.Backward(t.conns[key]) {
		cc.c.mu.Lock()
		usable, limit := cc.usable() == nil, cc.limit()
		cc.c.mu.Unlock()
		if usable {
			return limit == 0
		}
	}
	return false
}

// pooled returns a pooled connection with a stream reserved, nil if there is
// none. t.mu is held.
func (t *Transport) pooled(key string) *ClientConn {
	for _, cc := range t.conns[key] {
		if cc.tryReserve() {
			return cc
		}
	}
	return nil
}

// join returns the connection that is being opened to key's server, or begins to
// open one. Whoever joins awaits. t.mu is held.
func (t *Transport) join(ctx context.Context, key string, o *websocket.DialOptions) *dialing {
	d := t.dials[key]
	if d == nil {
		d = t.startDial(ctx, key, o)
	}
	d.waiting++
	return d
}

// await waits for a connection that is being opened. The last to give up waiting
// ends the attempt.
func (t *Transport) await(ctx context.Context, key string, d *dialing) (*ClientConn, error) {
	select {
	case <-d.done:
		return d.cc, d.err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d.waiting--
	if d.waiting == 0 {
		d.cancel()
		if t.dials[key] == d {
			delete(t.dials, key) // the next one begins anew
		}
	}
	return nil, context.Cause(ctx)
}

// startDial opens a connection on a goroutine of its own, so that a caller whose
// context ends does not take it from the others who wait. The goroutine ends
// when the connection is open, has failed, is not waited for any more, or has
// taken longer than Limits.Preface. t.mu is held.
func (t *Transport) startDial(ctx context.Context, key string, o *websocket.DialOptions) *dialing {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.limits().Preface)
	d := &dialing{cancel: cancel, done: make(chan struct{})}
	if t.closed {
		d.err = errTransportClosed
		close(d.done)
		cancel()
		return d
	}
	if t.dials == nil {
		t.dials = make(map[string]*dialing)
	}
	t.dials[key] = d
	go func() {
		defer cancel()
		cc, err := t.connect(ctx, key, o)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.dials[key] == d {
			delete(t.dials, key)
		}
		switch {
		case err != nil:
		case t.closed:
			cc.Close()
			err = errTransportClosed
		case d.waiting == 0:
			cc.Close()
			err = context.Canceled
		default:
			t.add(key, cc)
			d.cc = cc
		}
		d.err = err
		close(d.done)
	}()
	return d
}

// add puts a connection into the pool until it ends. t.mu is held.
func (t *Transport) add(key string, cc *ClientConn) {
	if t.closed {
		cc.Close()
		return
	}
	if t.conns == nil {
		t.conns = make(map[string][]*ClientConn)
	}
	t.conns[key] = append(t.conns[key], cc)
	t.bell.ring()
	// This goroutine ends with the connection.
	go func() {
		<-cc.c.done
		t.mu.Lock()
		defer t.mu.Unlock()
		left := slices.DeleteFunc(t.conns[key], func(x *ClientConn) bool { return x == cc })
		if len(left) == 0 {
			delete(t.conns, key)
			return
		}
		t.conns[key] = left
	}()
}

// A bell tells those who wait for a stream that one of the Transport's connections may
// have become free, or is new.
type bell struct {
	heard atomic.Bool // by anybody
	mu    sync.Mutex
	rung  chan struct{} // closed when the bell rings; nil: nobody listens
}

// listen returns a channel that is closed when the bell rings next.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
		b.heard.Store(true)
	}
	return b.rung
}

func (b *bell) ring() {
	if !b.heard.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		b.heard.Store(false)
		close(b.rung)
		b.rung = nil
	}
}
