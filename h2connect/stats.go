package h2connect

import "sync/atomic"

// Stats is what a [Server] or a [Transport] does at a moment and what it has met
// so far.
type Stats struct {
	// Connections is how many HTTP/2 connections are open, Streams how many
	// streams they have. A server's stream counts until its handler has
	// returned. Sockets is how many of the streams are open WebSockets.
	Connections int
	Streams     int
	Sockets     int

	// LimitHits is how often each limit has been met so far, by the name of its
	// field in [Limits]; ResetBurst and GlitchBurst stand for their rates too. A
	// limit that was never met is not in it. The debug data of a GOAWAY frame that a
	// limit caused begins with the same name. The map is the caller's.
	LimitHits map[string]int64
}

// Stats returns a snapshot of all http.Servers that were configured with s. It
// looks at every connection, so it is for monitoring, not for every request. It
// may be called from any goroutine.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	servers := s.servers
	s.mu.Unlock()
	total := Stats{LimitHits: make(map[string]int64)}
	for _, server := range servers {
		server.addStats(&total)
	}
	return total
}

// attach makes a server's numbers part of s's statistics.
func (s *Server) attach(server *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers[:len(s.servers):len(s.servers)], server)
}

func (s *server) addStats(total *Stats) {
	s.hits.addTo(total.LimitHits)
	s.mu.Lock()
	defer s.mu.Unlock()
	for sc := range s.conns {
		total.add(sc.c)
	}
}

// Stats returns a snapshot of the connections in the pool, and of the limits that
// the servers of all connections have met, those of NewClientConn included. It
// looks at every connection, so it is for monitoring, not for every request. It
// may be called from any goroutine.
func (t *Transport) Stats() Stats {
	total := Stats{LimitHits: make(map[string]int64)}
	t.hits.addTo(total.LimitHits)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conns := range t.conns {
		for _, cc := range conns {
			total.add(cc.c)
		}
	}
	return total
}

// add counts what is open on a connection.
func (s *Stats) add(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Connections++
	s.Streams += c.slots
	s.Sockets += c.sockets
}

// A limit is one field of Limits, or two that belong together.
type limit uint8

const (
	noLimit limit = iota
	limitConcurrentStreams
	limitHeaderBytes
	limitHeaderFields
	limitContinuations
	limitFrameSize
	limitControlFrames
	limitResets
	limitGlitches
	limitEmptyData
	limitSettings
	limitStreamWindow
	limitConnWindow
	limitConnBuffer
	limitReadStall
	limitWriteStall
	limitPreface
	limitFirstSettings
	limitSettingsAck
	limitIdle
	limitPingTimeout
	limitDrainPing
	numLimits
)

var limitNames = [numLimits]string{
	limitConcurrentStreams: "ConcurrentStreams",
	limitHeaderBytes:       "HeaderBytes",
	limitHeaderFields:      "HeaderFields",
	limitContinuations:     "Continuations",
	limitFrameSize:         "FrameSize",
	limitControlFrames:     "ControlFrames",
	limitResets:            "ResetBurst",
	limitGlitches:          "GlitchBurst",
	limitEmptyData:         "EmptyData",
	limitSettings:          "Settings",
	limitStreamWindow:      "StreamWindow",
	limitConnWindow:        "ConnWindow",
	limitConnBuffer:        "ConnBuffer",
	limitReadStall:         "ReadStall",
	limitWriteStall:        "WriteStall",
	limitPreface:           "Preface",
	limitFirstSettings:     "FirstSettings",
	limitSettingsAck:       "SettingsAck",
	limitIdle:              "Idle",
	limitPingTimeout:       "PingTimeout",
	limitDrainPing:         "DrainPing",
}

// String returns the name of the limit's field.
func (l limit) String() string { return limitNames[l] }

// hits counts how often limits were met. Limits are met rarely: the connections
// of a server share one.
type hits struct {
	n [numLimits]atomic.Int64

	// told, if not nil, is called with each hit's name on a goroutine of its own,
	// which ends with the call: a connection's lock may be held.
	told func(name string)
}

// count counts one; noLimit counts nothing.
func (h *hits) count(l limit) {
	if l == noLimit {
		return
	}
	h.n[l].Add(1)
	if h.told != nil {
		go h.told(l.String())
	}
}

func (h *hits) addTo(m map[string]int64) {
	for l := range h.n {
		if n := h.n[l].Load(); n > 0 {
			m[limit(l).String()] += n
		}
	}
}
