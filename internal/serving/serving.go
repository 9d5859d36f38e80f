// Package serving is how package negotiate tells a bootstrap's server, past the
// signatures of the standard library and of negotiate.HTTP3Server, what the
// server around it wants: by the handler that it is given.
package serving

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/wsmux/websocket/internal/observe"
)

// A Handler is a server's handler that knows what the server wants of those who
// call it, where they have not been told otherwise.
type Handler struct {
	http.Handler

	Logger         *slog.Logger  // nil: nothing is logged
	MaxHeaderBytes int           // zero: the callee's default
	IdleTimeout    time.Duration // zero: the callee's default; negative: none

	Hooks *observe.Hooks // who is told of limits, nil for nobody
}

// Observed returns Hooks.
func (h *Handler) Observed() *observe.Hooks { return h.Hooks }

// Of returns what h knows, the zero value if h is no *Handler.
func Of(h http.Handler) Handler {
	if h, ok := h.(*Handler); ok {
		return *h
	}
	return Handler{}
}
