package websocket

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/deflate"
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
// are read, which Read, Reader, Ping and Close do. An application that is not
// interested in messages calls Read in a loop all the same. While nothing
// reads, a keep-alive Ping reads ahead of the application, up to 64 KiB, so
// that a slow application does not look like a dead peer.
//
// # Contexts
//
// Each context governs one call. A read that is abandoned because its context
// has ended leaves the Conn usable: what had arrived of a message is kept for
// the next read, except what a [Conn.Reader] had already handed out. A write
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
// that accepted it: if the handler returns without having closed it, it is
// closed with status 1000. Once a Conn has ended, its methods return the same
// [*CloseError] for ever.
type Conn struct {
	stream      Stream
	buffers     buffersWriter // stream, if it is one
	client      bool
	subprotocol string
	deflate     *DeflateParams
	compression Compression // with the defaults filled in
	limits      Limits      // with the defaults filled in
	onEnd       func()
	onHandle    func() error
	start       time.Time // what clock counts from

	reading       gate // guards in, and the right to call stream.Read
	in            inbound
	readInterrupt interrupt
	readLimit     atomic.Int64 // Limits.Message as SetReadLimit left it
	readingAhead  way          // of those who hold the reading gate for a control frame's sake
	handling      atomic.Pointer[handling]

	message  gate // held over a data message; guards deflater
	deflater *deflate.Deflater
	output   gate // guards out, and the right to call stream.Write

	out            outbound
	writeInterrupt interrupt
	stall          stallWatch

	pong         pendingPong
	pings        pings
	awaitingPong gate // held by the one Ping that may read ahead
	alive        keepAlive
	count        counters

	err  atomic.Pointer[CloseError] // how the Conn ended, for every method
	over chan struct{}              // closed when nothing more is expected of the peer

	mu         sync.Mutex
	overErr    error // nil if over is closed because the peer's Close arrived
	isOver     bool
	isGone     bool
	finishing  bool            // both Close frames have passed, or we gave up on the peer
	closing    <-chan struct{} // of the local Close, see beginClose; nil before one
	later      *laterQueue     // of Broadcast; nil before the first
	goodbye    *goodbye        // of CloseWrite, nil before one
	handshaken chan struct{}   // closed when the local closing handshake has its result
	closeErr   error           // that result
}

// New returns a Conn over a stream on which the opening handshake is done. The
// Conn owns the stream from then on. Bootstraps call New; a program that uses
// one of this module's does not.
func New(s Stream, p Params) *Conn {
	c := &Conn{
		stream:      s,
		client:      p.Client,
		subprotocol: p.Subprotocol,
		deflate:     p.Deflate.resolve(),
		compression: p.Compression.resolve(),
		limits:      p.Limits.resolve(),
		onEnd:       p.OnEnd,
		onHandle:    p.OnHandle,
		start:       time.Now(),
		over:        make(chan struct{}),
		handshaken:  make(chan struct{}),
	}
	side := frame.Server
	if p.Client {
		side = frame.Client
	}
	c.in.recv = frame.Receiver{
		Side:              side,
		Deflate:           c.deflate != nil,
		MaxCompressed:     c.limits.CompressedMessage,
		MaxFragments:      c.limits.Fragments,
		MaxEmptyFragments: c.limits.EmptyFragments,
	}
	c.in.control.init(c.limits.ControlBurst, c.limits.ControlRate)
	c.out.sender = frame.Sender{Side: side, Deflate: c.deflate != nil}
	c.buffers, _ = s.(buffersWriter)
	c.readLimit.Store(c.limits.Message)
	c.reading.onWait = c.readingAhead.make
	c.readInterrupt.setDeadline = s.SetReadDeadline
	c.writeInterrupt.setDeadline = s.SetWriteDeadline
	c.stall.limit = c.limits.WriteStall
	c.stall.writing = c.output.held
	c.stall.written = &c.count.bytesWritten
	c.stall.expired = c.stalled
	if len(p.Buffered) > 0 {
		c.in.buf = append([]byte(nil), p.Buffered...)
		c.in.w = len(p.Buffered)
	}
	c.startKeepAlive()
	return c
}

// clock returns the time since the Conn began, always positive.
func (c *Conn) clock() time.Duration { return time.Since(c.start) + 1 }

// Subprotocol returns the agreed subprotocol, or "" if there is none.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// Bootstrap says which handshake opened the socket.
func (c *Conn) Bootstrap() Bootstrap { return c.stream.Bootstrap() }

// SetReadLimit replaces [Limits.Message] for messages whose first frame has not
// been read yet: n is in bytes, negative for none, and zero for the default. The
// limit on a compressed message's wire bytes stays as it was configured.
func (c *Conn) SetReadLimit(n int64) {
	if n == 0 {
		n = defaultMessageLimit
	}
	c.readLimit.Store(n)
}

// The defaults of Limits.
const (
	defaultMessageLimit   = 1 << 20
	defaultFragments      = 16384
	defaultEmptyFragments = 100
	defaultControlBurst   = 1000
	defaultControlRate    = 33
	defaultCloseTimeout   = 5 * time.Second
	defaultWriteStall     = 30 * time.Second
	defaultPingInterval   = 30 * time.Second
	defaultPingTimeout    = 15 * time.Second
	defaultThreshold      = 512
	defaultLevel          = 1
	defaultWindowBits     = 15
)

// resolve returns l with the defaults in place of zeros.
func (l Limits) resolve() Limits {
	l.Message = orDefault(l.Message, defaultMessageLimit)
	if l.CompressedMessage == 0 && l.Message > 0 {
		l.CompressedMessage = l.Message + l.Message/16 + 1024
	}
	l.Fragments = orDefault(l.Fragments, defaultFragments)
	l.EmptyFragments = orDefault(l.EmptyFragments, defaultEmptyFragments)
	l.ControlBurst = orDefault(l.ControlBurst, defaultControlBurst)
	l.ControlRate = orDefault(l.ControlRate, defaultControlRate)
	l.CloseTimeout = orDefault(max(l.CloseTimeout, 0), defaultCloseTimeout)
	l.WriteStall = orDefault(l.WriteStall, defaultWriteStall)
	l.PingInterval = orDefault(l.PingInterval, defaultPingInterval)
	l.PingTimeout = orDefault(max(l.PingTimeout, 0), defaultPingTimeout)
	return l
}

// resolve returns *o, or the zero value for nil, with the defaults in place of
// zeros.
func (o *Compression) resolve() Compression {
	var r Compression
	if o != nil {
		r = *o
	}
	r.Threshold = max(orDefault(r.Threshold, defaultThreshold), 0)
	r.Level = orDefault(r.Level, defaultLevel)
	return r
}

// resolve returns a copy of p with the defaults in place of zeros, nil for nil.
func (p *DeflateParams) resolve() *DeflateParams {
	if p == nil {
		return nil
	}
	r := *p
	r.ServerMaxWindowBits = orDefault(r.ServerMaxWindowBits, defaultWindowBits)
	r.ClientMaxWindowBits = orDefault(r.ClientMaxWindowBits, defaultWindowBits)
	return &r
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
