//go:build unix

// Package proxy starts the proxies that stand between a client and a server of
// HTTP: HAProxy and nghttpx, each with TLS in front.
package proxy

import (
	"fmt"
	"testing"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/interop/internal/authority"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/interop/internal/program"
)

// A Way is how a socket crosses a proxy.
type Way struct {
	Front, Back websocket.Bootstrap // HTTP1 or HTTP2
	Clear       bool                // no TLS between the proxy and the server
	Silent      bool                // extended CONNECT is not announced in front; HAProxy only
}

// String returns what the matrix calls the transport.
func (w Way) String() string {
	s := matrix.Via(fmt.Sprintf("h%d", w.Front), fmt.Sprintf("h%d", w.Back))
	if w.Clear {
		s += "c"
	}
	return s
}

// A Proxy is a program that forwards sockets.
type Proxy interface {
	// Name returns what the matrix calls the peer.
	Name() string

	// Version returns what the program says of itself.
	Version(t testing.TB) string

	// Serve starts the program, with the certificate of id, before the server
	// at backend, which is to have the same if the way is not clear. The
	// program accepts both HTTP versions in front, by ALPN; w says what it
	// does behind.
	Serve(t testing.TB, w Way, id *authority.Identity, backend string) (p *program.Program, addr string)

	// HoldsUp reports whether a socket that the server does not read is known
	// to hold up the others of the client's connection, if not always.
	HoldsUp(w Way) bool

	// Saw waits until the program's log tells of a socket that has come in,
	// and ended, as w says.
	Saw(t testing.TB, w Way, p *program.Program)
}
