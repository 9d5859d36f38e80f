package negotiate

import (
	"sync"

	"github.com/wsmux/websocket"
)

// streams are those of a Dialer's sockets that have a connection of their own, and
// do not end with those of the pools.
type streams struct {
	mu   sync.Mutex
	open map[*tracked]struct{}
	cut  bool // what is opened from now on is aborted
}

type tracked struct{ websocket.Stream }

// track implements tunnel.Tracker.
func (s *streams) track(stream websocket.Stream) (released func()) {
	t := &tracked{stream}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		stream.Abort()
	}
	if s.open == nil {
		s.open = make(map[*tracked]struct{})
	}
	s.open[t] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, t)
	}
}

// abort aborts all streams, also those that are still to come.
func (s *streams) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for t := range s.open {
		t.Abort()
	}
}
