package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// AcceptOptions say how a server accepts a socket. A nil *AcceptOptions is the
// zero value, which accepts requests of the same origin, chooses no
// subprotocol, does not compress, and applies the default [Limits]. Accept does
// not modify it; one value may serve any number of calls.
type AcceptOptions struct {
	// Subprotocols lists what the server speaks, best first. The first that
	// the client offers too is chosen (compared exactly); if there is none the
	// socket has no subprotocol (RFC 6455 §4.2.2).
	Subprotocols []string

	// Origins lists further origins whose pages may open sockets, each whole:
	// "https://app.example.com" or "https://app.example.com:8443". The
	// request's own origin (same scheme, host and port) is always allowed,
	// and so is a request without an Origin field, which no browser sends.
	// "null" is never allowed by the list.
	Origins []string

	// PublicOrigin is the origin under which browsers know this server, such
	// as "https://example.com", where a proxy in front ends TLS or rewrites
	// Host. Empty: scheme from the TLS state, host and port from the request.
	// Forwarded fields are never trusted for this.
	PublicOrigin string

	// RequireOrigin refuses requests without an Origin field.
	RequireOrigin bool

	// InsecureSkipOriginCheck lets pages of every origin open sockets, with
	// the user's cookies (cross-site WebSocket hijacking, RFC 6455 §10.2).
	InsecureSkipOriginCheck bool

	// AllowMissingVersion accepts a request without Sec-WebSocket-Version, as
	// seen from a browser behind a proxy's HTTP/2 hop. Any version other than
	// 13 is refused all the same.
	AllowMissingVersion bool

	// Header is added to the accepting response (cookies, for instance).
	// Connection-specific fields, Content-Length and Sec-WebSocket-* are not
	// allowed in it.
	Header http.Header

	// Compression offers permessage-deflate (RFC 7692) to clients that ask for
	// it. Nil: off.
	Compression *Compression

	// Limits bounds what the peer can make the socket do.
	Limits Limits
}

// DialOptions say how a client opens a socket. A nil *DialOptions is the zero
// value. Dial does not modify it; one value may serve any number of calls.
type DialOptions struct {
	// Header is added to the request (Origin, Cookie, Authorization, …). Host
	// is honoured as in an http.Request. Connection-specific fields and
	// Sec-WebSocket-* are not allowed in it.
	Header http.Header

	// Subprotocols is offered to the server, best first (RFC 6455 §4.1).
	Subprotocols []string

	// Compression is offered to the server as permessage-deflate. Nil: off.
	Compression *Compression

	// TLSClientConfig is used for wss and https URLs. The dialer clones it and
	// sets NextProtos itself; ServerName defaults to the URL's host. Nil: the
	// zero tls.Config. A pooled connection that exists already is used as it
	// is.
	TLSClientConfig *tls.Config

	// DialContext opens the TCP connection. Nil: a net.Dialer. It is not used
	// for HTTP/3.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Limits bounds what the peer can make the socket do.
	Limits Limits
}

// Compression configures permessage-deflate (RFC 7692). The zero value
// compresses messages of 512 bytes and more at the fastest level without
// context takeover, so that an idle socket holds no deflate state and a
// message's length tells nothing of the messages before it.
//
// Compressing secrets together with text that an attacker chooses reveals the
// secrets by the message's length (CRIME, BREACH): see
// [MessageType.Uncompressed].
type Compression struct {
	// ServerContextTakeover and ClientContextTakeover let the server's (the
	// client's) messages refer to earlier ones, where the peer agrees: better
	// compression of small similar messages. It costs memory for as long as the
	// socket is open: about 1 MiB for the direction that this side compresses,
	// once it has, and up to 32 KiB for the other. Either side may refuse it.
	ServerContextTakeover bool
	ClientContextTakeover bool

	// ServerMaxWindowBits and ClientMaxWindowBits, 8 to 15, bound the window
	// of the server's (the client's) compressor to 2^bits bytes. Zero: 15.
	ServerMaxWindowBits int
	ClientMaxWindowBits int

	// Threshold is the size in bytes from which messages are compressed. Zero:
	// 512. Negative: every message.
	Threshold int

	// Level is the effort from 1 (fastest) to 9 (smallest). Zero: 1. Levels
	// below 7 find nothing in messages below 128 bytes, context takeover or
	// not: with a Threshold lower than that, use 7.
	Level int
}

// Limits bounds what a peer can make a socket hold, wait for or do. In every
// field zero means the default given with it; to switch a limit off, where
// that is possible, needs a negative value.
type Limits struct {
	// Message is the size in bytes of the largest message read, after
	// inflating. Beyond it: status 1009 and [ErrMessageTooBig]. Default 1 MiB.
	// Negative: none.
	Message int64

	// CompressedMessage is the size in bytes of the largest compressed message
	// on the wire. Default: Message plus 1/16 of it plus 1 KiB, room for data
	// that does not compress; none if Message has none. Beyond it: as Message.
	// Negative: none.
	CompressedMessage int64

	// Fragments is the largest number of frames in one message. Beyond it:
	// status 1008 and [ErrTooManyFragments]. Default 16,384. Negative: none.
	Fragments int

	// EmptyFragments is the largest number of empty non-final frames in one
	// message. Beyond it: as Fragments. Default 100. Negative: none.
	EmptyFragments int

	// ControlBurst and ControlRate bound inbound Ping and Pong frames: a
	// bucket of ControlBurst that refills with ControlRate per second. Beyond
	// it: status 1008. Defaults 1,000 and 33. Negative: none.
	ControlBurst int
	ControlRate  int

	// CloseTimeout bounds the closing handshake from our Close frame to the
	// end of the stream. Then the stream is aborted. Default 5 s. It cannot be
	// switched off.
	CloseTimeout time.Duration

	// WriteStall is how long the peer may take for a piece of at most 64 KiB of
	// what is being written. Then the stream is aborted. Default 30 s.
	// Negative: none.
	WriteStall time.Duration

	// PingInterval is how long nothing may arrive before a Ping is sent to
	// find out whether the peer is alive, and PingTimeout how long nothing may
	// arrive after that Ping before the stream is aborted. Any byte received
	// is a sign of life. Defaults 30 s and 15 s. A negative PingInterval
	// switches keep-alive off.
	PingInterval time.Duration
	PingTimeout  time.Duration

	// Handshake bounds the opening handshake of a client, connecting included,
	// beside the context given to Dial. Default 10 s. Negative: none. A
	// server's is bounded by its HTTP server's timeouts.
	Handshake time.Duration
}

// Params is what [New] has to know of the opening handshake.
type Params struct {
	// Client says which end this is: a client masks what it sends, a server
	// demands it (RFC 6455 §5.1).
	Client bool

	// Subprotocol is the agreed subprotocol, empty for none.
	Subprotocol string

	// Deflate is the agreed permessage-deflate, nil for none.
	Deflate *DeflateParams

	// Compression is the local configuration behind Deflate: its Threshold and
	// Level are used. Nil: the zero value.
	Compression *Compression

	// Limits bounds what the peer can make the socket do.
	Limits Limits

	// Buffered is what was read from the peer behind the handshake: it is
	// parsed before the stream is read. The Conn copies it.
	Buffered []byte

	// OnEnd, if not nil, is called once, on a goroutine of its own, when the
	// Conn has ended and released its stream.
	OnEnd func()

	// OnHandle, if not nil, is called by [Conn.Handle]: the socket is to outlive
	// the HTTP handler that accepted it. If it cannot, OnHandle returns the
	// error that Handle returns.
	OnHandle func() error
}

// DeflateParams is permessage-deflate as both sides agreed on it (RFC 7692
// §7.1).
type DeflateParams struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
	ServerMaxWindowBits     int // 8 to 15; zero: 15
	ClientMaxWindowBits     int // 8 to 15; zero: 15
}
