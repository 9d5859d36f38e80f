package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a socket: messages in both directions over one [Stream], whatever
// carries it. Accept and Dial of the bootstrap packages make Conns; so does
// [New], for any other Stream.
//
// Every method may be called from any goroutine at any time. Reads take turns;
// so do messages being written, while control frames pass between the
// fragments of a message. Nothing panics on what a peer sends, on a second call
// or on a call after the end.
//
// Something must read: a peer's Ping and Close frames are answered when they
// are read, which Read, Reader, Ping and Close do, and a [Handler] has done. An
// application that is not interested in messages calls Read in a loop all the
// same. While nothing reads, a keep-alive Ping reads ahead of the application, up
// to 64 KiB, so that a slow application does not look like a dead peer.
//
// # Contexts
//
// Each context governs one call, and errors.Is finds its error in that of a call which
// it has ended. A read that is abandoned because its context has ended leaves the
// Conn usable: what had arrived of a message is kept for the next read, except
// what a [Conn.Reader] had already handed out. A write
// whose context ends before the transport has taken a byte of it leaves the
// Conn usable as well, except over TLS on HTTP/1.1, where a record cannot be
// withdrawn. A write whose context ends in the middle of a frame, or between a
// Writer's fragments, ends the Conn, because a message cut short must not pass
// for a whole one: the stream is aborted and the peer sees status 1006.
//
// # The end
//
// The one who accepts or dials a Conn ends it, with Close or CloseNow, also
// after an error. On a server the Conn lives no longer than the HTTP handler
// that accepted it, unless it is handed to a [Handler]: if the HTTP handler returns
// without having closed it, it is closed with status 1000. Once a Conn has ended,
// its methods return the same [*CloseError] for ever.
type Conn struct {
	stream Stream
	set    *settings

	reading  gate     // guards in, and the right to call stream.Read
	in       *inbound // nil before the first byte, unless somebody reads
	handling atomic.Pointer[handling]

	output gate                     // guards most of out, and the right to call stream.Write
	out    atomic.Pointer[outbound] // nil before the first frame

	err   atomic.Pointer[CloseError] // how the Conn ended, for every method
	alive keepAlive
	read  atomic.Pointer[traffic] // in.published, or rare.read; nil before the first byte
	rare  atomic.Pointer[rarity]  // nil before any of it is needed

	mu        sync.Mutex
	isOver    bool // nothing more is expected of the peer
	isGone    bool
	finishing bool  // both Close frames have passed, or we gave up on the peer
	place     int32 // in alive.watch.conns; -1: in none

	onEnd    func()
	onHandle func() error
}

// An idle Conn is small: what it needs to read, to write and to end is in parts of
// its own, which are made when they are needed first. And as of many sockets each
// finds its memory cold, what every message needs stands at the beginning of its
// part, close together.

// A rarity is the part of a Conn that few Conns need.
type rarity struct {
	readInterrupt atomic.Pointer[interrupt]
	yield         atomic.Pointer[context.CancelFunc] // asks those who hold the reading gate for a control frame's sake for it
	readLimit     atomic.Int64                       // Limits.Message as SetReadLimit left it, 0 if it has not
	count         counters
	read          traffic // what rest has kept of an inbound

	ending *ending // nil before somebody waits for the end, or ends it; guarded by Conn.mu
}

// theRarity returns c.rare, which it makes if need be.
func (c *Conn) theRarity() *rarity {
	if r := c.rare.Load(); r != nil {
		return r
	}
	c.rare.CompareAndSwap(nil, new(rarity))
	return c.rare.Load()
}

// An ending is the part of a Conn that has to do with its end. Conn.mu guards it.
type ending struct {
	over       chan struct{}   // closed when isOver is set; nil: nobody has asked
	overErr    error           // nil if isOver is set because the peer's Close arrived
	closing    <-chan struct{} // of the local Close, see beginClose; nil before one
	goodbye    *goodbye        // of CloseWrite, nil before one
	handshaken chan struct{}   // closed when the local closing handshake has its result
	closeErr   error           // that result
}

// theEnding returns c.rare's ending, which it makes if need be. c.mu is held.
func (c *Conn) theEnding() *ending {
	r := c.theRarity()
	if r.ending == nil {
		r.ending = &ending{handshaken: make(chan struct{})}
	}
	return r.ending
}

// New returns a Conn over a stream on which the opening handshake is done. The
// Conn owns the stream from then on. Bootstraps call New; a program that uses
// one of this module's does not.
func New(s Stream, p Params) *Conn {
	c := &Conn{stream: s, set: settingsOf(&p), onEnd: p.OnEnd, onHandle: p.OnHandle}
	if len(p.Buffered) > 0 {
		c.in = c.newInbound()
		c.in.buf = append([]byte(nil), p.Buffered...)
		c.in.w = len(p.Buffered)
		c.received(len(p.Buffered))
	}
	c.startKeepAlive()
	return c
}

// epoch is what clock counts from.
var epoch = time.Now()

// clock returns a time that only goes forward.
func clock() time.Duration { return time.Since(epoch) }

// Subprotocol returns the agreed subprotocol, or "" if there is none.
func (c *Conn) Subprotocol() string { return c.set.subprotocol }

// Bootstrap says which handshake opened the socket.
func (c *Conn) Bootstrap() Bootstrap { return c.stream.Bootstrap() }

// SetReadLimit replaces [Limits.Message] for messages whose first frame has not
// been read yet: n is in bytes, negative for none, and zero for the default. The
// limit on a compressed message's wire bytes stays as it was configured.
func (c *Conn) SetReadLimit(n int64) {
	if n == 0 {
		n = defaultMessageLimit
	}
	c.theRarity().readLimit.Store(n)
}

// messageLimit returns Limits.Message, or what SetReadLimit has put in its place.
func (c *Conn) messageLimit() int64 {
	if r := c.rare.Load(); r != nil {
		if n := r.readLimit.Load(); n != 0 {
			return n
		}
	}
	return c.set.limits.Message
}
