// Package registry is where h3connect leaves its Accept for negotiate, which
// may not import it: quic-go is linked only into programs that name h3connect,
// and a program that serves HTTP/3 does.
package registry

import (
	"net/http"
	"sync/atomic"

	"github.com/wsmux/websocket"
)

// AcceptFunc is the shape of Accept in every bootstrap package.
type AcceptFunc = func(http.ResponseWriter, *http.Request, *websocket.AcceptOptions) (*websocket.Conn, error)

var http3 atomic.Pointer[AcceptFunc]

// SetHTTP3 is called by h3connect when it is initialized.
func SetHTTP3(f AcceptFunc) { http3.Store(&f) }

// HTTP3 returns what SetHTTP3 was given, nil if h3connect is not linked.
func HTTP3() AcceptFunc {
	if f := http3.Load(); f != nil {
		return *f
	}
	return nil
}
