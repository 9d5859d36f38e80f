package negotiate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/observe"
	"github.com/wsmux/websocket/internal/serving"
)

// An Observer is told what happens to sockets and opening handshakes, for metrics,
// traces and logs. Functions that are nil are not called. A nil Observer costs
// nothing, and none costs anything while messages pass: they are counted anyway.
//
// The functions are called from many goroutines at the same time, as a rule those
// that do what is reported: they must return soon. Of a context only the values are
// of use: on a server it is the request's, on a client the one given to Dial.
type Observer struct {
	// Opened is called when a socket has been accepted or dialled, and Closed
	// when it has ended, each once for a socket, in this order.
	Opened func(ctx context.Context, s SocketInfo)
	Closed func(ctx context.Context, s SocketInfo, e SocketEnd)

	// Refused is called for each opening handshake that ended in a refusal: one
	// that [Accept] refused, with its reason, or that a server has refused. What
	// a handler answers without calling Accept is not known, and a request that
	// asks for no socket is not a handshake.
	Refused func(ctx context.Context, r Refusal)

	// FellBack is called when a Dialer goes on to another bootstrap.
	FellBack func(ctx context.Context, f Fallback)

	// LimitHit is called when a limit was met: a field of [websocket.Limits] by
	// which a socket ended, or one of HTTP/2 or HTTP/3 by which a server defends
	// itself.
	LimitHit func(l LimitHit)
}

// SocketInfo says which socket an event is about.
type SocketInfo struct {
	Bootstrap   websocket.Bootstrap
	Client      bool // dialled here, not accepted
	Subprotocol string
}

// SocketEnd says how a socket ended.
type SocketEnd struct {
	// Err has the status code and who ended the socket: code 1006
	// (websocket.StatusAbnormalClosure) if it was lost.
	Err *websocket.CloseError

	// Clean says that the closing handshake was completed.
	Clean bool

	// Duration is how long the socket was open.
	Duration time.Duration

	// Stats are its messages and bytes.
	Stats websocket.Stats
}

// A Refusal is an opening handshake that did not lead to a socket.
type Refusal struct {
	Bootstrap websocket.Bootstrap
	Client    bool // it was to be dialled here

	// Err has the status and the reason. The reason may quote what the peer has
	// sent: it is no name for a metric.
	Err *websocket.HandshakeError
}

// A Fallback is a Dialer's step from one bootstrap to the next.
type Fallback struct {
	From, To websocket.Bootstrap
	Err      error // why From did not do
}

// A LimitHit is a limit that was met.
type LimitHit struct {
	Bootstrap websocket.Bootstrap
	Client    bool   // on a socket that was dialled here
	Limit     string // the name of the field: "Message", "ResetBurst"
}

// Observe returns h with o told of the sockets and refused handshakes of its
// requests, for a plain http.Server; a [Server] has a field for it. If
// h2connect.ConfigureServer is called on a server whose Handler is the result, o is
// also told of the limits of HTTP/2. A nil o is told nothing, and a nil h is
// http.DefaultServeMux.
func Observe(h http.Handler, o *Observer) http.Handler {
	if o == nil {
		return h
	}
	return &serving.Handler{Handler: observed(orDefaultMux(h), o.hooks()), Hooks: o.hooks()}
}

// observed puts hooks into the context of requests that may become sockets.
func observed(h http.Handler, hooks *observe.Hooks) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect || r.Header["Upgrade"] != nil {
			r = r.WithContext(observe.Accepting(r.Context(), hooks))
		}
		h.ServeHTTP(w, r)
	})
}

// hooks returns what the bootstraps call, nil for a nil Observer.
func (o *Observer) hooks() *observe.Hooks {
	if o == nil {
		return nil
	}
	return &observe.Hooks{
		Opened: func(ctx context.Context, s observe.Socket) {
			if o.Opened != nil {
				o.Opened(ctx, infoOf(s))
			}
		},
		Closed: func(ctx context.Context, s observe.Socket, e observe.End) {
			if o.Closed != nil {
				o.Closed(ctx, infoOf(s), SocketEnd{e.Err, e.Clean, e.Lasted, s.Conn.Stats()})
			}
		},
		Refused: func(ctx context.Context, b websocket.Bootstrap, e *websocket.HandshakeError) {
			if o.Refused != nil {
				o.Refused(ctx, Refusal{Bootstrap: b, Err: e})
			}
		},
		Limit: func(b websocket.Bootstrap, client bool, name string) {
			if o.LimitHit != nil {
				o.LimitHit(LimitHit{b, client, name})
			}
		},
	}
}

// dialled reports what the attempts to open a socket tell.
func (o *Observer) dialled(ctx context.Context, attempts []Attempt) {
	if o == nil {
		return
	}
	for i, a := range attempts {
		var refused *websocket.HandshakeError
		if o.Refused != nil && errors.As(a.Err, &refused) && refused.Remote {
			o.Refused(ctx, Refusal{Bootstrap: a.Bootstrap, Client: true, Err: refused})
		}
		if i > 0 && o.FellBack != nil && a.Bootstrap != 0 && attempts[i-1].Bootstrap != a.Bootstrap {
			o.FellBack(ctx, Fallback{From: attempts[i-1].Bootstrap, To: a.Bootstrap, Err: attempts[i-1].Err})
		}
	}
}

func infoOf(s observe.Socket) SocketInfo {
	return SocketInfo{s.Conn.Bootstrap(), s.Client, s.Conn.Subprotocol()}
}
