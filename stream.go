package websocket

import (
	"crypto/tls"
	"net"
	"strconv"
	"time"
)

// A Bootstrap is the way in which a socket came to be: the protocol whose
// handshake opened its stream. Its number is the HTTP major version.
type Bootstrap uint8

// The three bootstraps.
const (
	HTTP1 Bootstrap = 1 // Upgrade (RFC 6455 §4): a connection of its own
	HTTP2 Bootstrap = 2 // extended CONNECT (RFC 8441): one stream of a shared connection
	HTTP3 Bootstrap = 3 // extended CONNECT (RFC 9220): one stream of a shared QUIC connection
)

// String returns "HTTP/1.1", "HTTP/2" or "HTTP/3".
func (b Bootstrap) String() string {
	switch b {
	case HTTP1:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2"
	case HTTP3:
		return "HTTP/3"
	}
	return "Bootstrap(" + strconv.Itoa(int(b)) + ")"
}

// A Stream is the reliable, ordered, two-way byte stream under a [Conn], as a
// bootstrap hands it over once the opening handshake is done. It is all that a
// Conn knows of its transport.
//
// A Conn calls Read from one goroutine at a time and Write from one goroutine
// at a time, both at once; every other method may be called from any goroutine
// at any time, also while Read and Write are blocked.
type Stream interface {
	// Read reads as net.Conn's does. io.EOF means that the peer ended its
	// direction in an orderly way (FIN, close_notify, END_STREAM). Any other
	// error that is not a timeout is final.
	//
	// A Read that ends by its deadline returns an error that wraps
	// os.ErrDeadlineExceeded and leaves the stream usable.
	Read(p []byte) (n int, err error)

	// Write writes as net.Conn's does: it returns once the transport has taken
	// all of p, or an error and the number of bytes taken. It does not retain
	// p and does not change it.
	//
	// A Write that ends by its deadline returns an error that wraps
	// os.ErrDeadlineExceeded. If it has taken no byte, later writes may still
	// succeed; if it has taken some, the Conn gives the stream up.
	Write(p []byte) (n int, err error)

	// CloseWrite ends our direction in an orderly way, after everything
	// written: TLS close_notify and FIN on HTTP/1.1, END_STREAM on HTTP/2, FIN
	// on HTTP/3. Reading goes on. Further calls do nothing.
	CloseWrite() error

	// Close releases the stream once both directions have ended, or when
	// nothing more is expected of the peer. Whatever was written before it
	// still goes out. It does not block on the network.
	Close() error

	// Abort ends both directions at once and lets unsent bytes be lost: RST on
	// HTTP/1.1, RST_STREAM CANCEL on HTTP/2, RESET_STREAM and STOP_SENDING with
	// H3_REQUEST_CANCELLED on HTTP/3. Blocked calls return an error. It does
	// not block on the network. After Close or Abort it does nothing.
	Abort() error

	// SetReadDeadline and SetWriteDeadline follow net.Conn's rules: they apply
	// to blocked calls too, may be moved at any time, and the zero time means
	// none.
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error

	// Bootstrap says which handshake opened the stream.
	Bootstrap() Bootstrap

	// LocalAddr and RemoteAddr are the addresses of the connection that
	// carries the stream.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// TLS returns the state of the TLS or QUIC connection that carries the
	// stream, nil without one. The caller does not modify it.
	TLS() *tls.ConnectionState
}

// A buffersWriter is a [Stream] that takes a frame's header and its payload
// from two places and sends them as if they stood in one: whether to copy small
// ones together is the stream's to know. The Conn uses it for payload that it
// does not mask.
type buffersWriter interface {
	// WriteBuffers writes the header and then the payload, and returns as
	// Write does, n counting both.
	WriteBuffers(header, payload []byte) (n int64, err error)
}

// A lazyReader is a [Stream] that wants a buffer only when it has something to
// put there, so that a read that waits holds none.
type lazyReader interface {
	// ReadLazy is Read into what b.Buffer returns. It calls that once at most,
	// with something to read, and not after it has returned. Or it reads into
	// memory of its own and gives that to b.Borrow: the bytes stay there until
	// the next read.
	ReadLazy(b interface {
		Buffer() []byte
		Borrow(p []byte)
	}) (n int, err error)
}

// An endKnower is a [Stream] that knows the end of its input before it is read.
type endKnower interface {
	// InputEnded reports that the peer's direction has ended, in whichever way.
	// What had arrived before can still be read, and no Read waits any more.
	InputEnded() bool
}

// A laterWriter is a [Stream] that shares its connection with others, and on which
// what is written to many of them can be sent together.
type laterWriter interface {
	// WriteLater takes all of p, a copy of it, and reports that it has, or
	// nothing if that would mean to wait or to hold much more than what is there
	// already. It is sent when Flush of what it returns is called, at the latest.
	// That is the same value for all streams of a connection, and comparable.
	WriteLater(p []byte) (flusher interface{ Flush() }, taken bool)
}

// A sharer is a [Stream] that shares its connection with others.
type sharer interface {
	// Shared returns what create has returned when Shared was called first for a
	// stream of the connection.
	Shared(create func() any) any
}
