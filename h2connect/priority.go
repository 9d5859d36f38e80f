package h2connect

import (
	"strings"

	"golang.org/x/net/http2"
)

// This file reads what a client says about the order in which it wants its
// responses (RFC 9218): in the priority field of a request, and in
// PRIORITY_UPDATE frames, which go before it. What is done with it stands in
// schedule.go.

// A priority is what RFC 9218 §4 knows of a response.
type priority struct {
	urgency     uint8 // 0 goes first, urgencies-1 last
	incremental bool  // parts of it are of use: it may share with others
}

const urgencies = 8

var (
	// defaultPriority is what a client means that says nothing (RFC 9218 §4.1,
	// §4.2), if it knows about priorities at all.
	defaultPriority = priority{urgency: 3}

	// unprioritized is how those are served that may not know: all alike.
	unprioritized = priority{urgency: 3, incremental: true}
)

// maxPriority is how long a Priority Field Value may be to be looked at: honest
// ones have a few bytes, and a frame's worth takes long to parse.
const maxPriority = 512

// parsePriority reads a Priority Field Value. What is unknown or out of range in
// it is ignored (RFC 9218 §4). It reports whether the value could be parsed.
func parsePriority(field string) (priority, bool) {
	if len(field) > maxPriority {
		return defaultPriority, false
	}
	p := defaultPriority
	ok := parseDictionary(field, func(key string, value bareItem) {
		switch key { // of members with the same key the last one counts, also if it is ignored
		case "u":
			p.urgency = defaultPriority.urgency
			if value.kind == integerItem && 0 <= value.value && value.value < urgencies {
				p.urgency = uint8(value.value)
			}
		case "i":
			p.incremental = value.kind == booleanItem && value.value == 1
		}
	})
	if !ok {
		return defaultPriority, false
	}
	return p, true
}

// An earlyPriority is that of a stream that has not been opened yet.
type earlyPriority struct {
	id       uint32
	priority priority
}

// priorities is what a server's connection knows of its client's wishes beyond
// those for open streams. The connection's lock guards it.
type priorities struct {
	aware bool            // the client has said something about priorities
	early []earlyPriority // each for another stream, of ids above lastIn
}

// readPriorityUpdate takes a PRIORITY_UPDATE frame (RFC 9218 §7.1). It changes
// what we send, not how much, and counts as a glitch: an honest client sends few.
func (c *conn) readPriorityUpdate(fh http2.FrameHeader) error {
	if err := c.glitch(); err != nil {
		return err
	}
	f, err := c.fr.ReadFrameForHeader(fh) // sees to it that neither stream is 0 that should not be
	if err != nil {
		return err
	}
	return c.role.prioritize(f.(*http2.PriorityUpdateFrame))
}

// prioritize implements role. A value that cannot be parsed says nothing, but
// that a frame has been sent.
func (sc *serverConn) prioritize(f *http2.PriorityUpdateFrame) error {
	c := sc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	id := f.PrioritizedStreamID
	if !c.opensPeer(id) {
		// "Servers that receive a PRIORITY_UPDATE for a push stream in the
		// 'idle' state MUST respond with a connection error of type
		// PROTOCOL_ERROR": we never leave it.
		return connViolation(http2.ErrCodeProtocol, "PRIORITY_UPDATE for a push stream")
	}
	sc.priorities.aware = true
	p, ok := parsePriority(f.Priority)
	if !ok {
		return nil
	}
	if !c.idle(id) {
		if st := c.streams[id]; st != nil {
			c.sched.setPriority(st, p)
		}
		return nil
	}
	return sc.prioritizeEarly(id, p)
}

// prioritizeEarly keeps a priority for a stream to come: the most recent one of
// each (RFC 9218 §7). c.mu is held.
func (sc *serverConn) prioritizeEarly(id uint32, p priority) error {
	c, early := sc.c, sc.priorities.early
	kept := early[:0]
	for _, e := range early {
		if e.id > c.lastIn && e.id != id {
			kept = append(kept, e)
		}
	}
	sc.priorities.early = append(kept, earlyPriority{id, p})
	if len(sc.priorities.early)+len(c.streams) <= c.limits.ConcurrentStreams {
		return nil
	}
	if c.ackOwed {
		sc.priorities.early = sc.priorities.early[:len(kept)]
		return nil // the client need not know the limit yet
	}
	// "The number of streams that have been prioritized but remain in the
	// 'idle' state plus the number of active streams […] MUST NOT exceed the
	// value of the SETTINGS_MAX_CONCURRENT_STREAMS parameter. Servers that
	// receive such a PRIORITY_UPDATE MUST respond with a connection error of
	// type PROTOCOL_ERROR."
	return connViolation(http2.ErrCodeProtocol, "PRIORITY_UPDATE for too many streams").passed(limitConcurrentStreams)
}

// priorityOf returns the priority of a request whose stream is being opened.
// c.mu is held.
func (sc *serverConn) priorityOf(in *incoming) priority {
	ps := &sc.priorities
	field, said := in.header["Priority"]
	if said {
		ps.aware = true
	}
	for i, e := range ps.early {
		if e.id == in.stream {
			// "the most recently received PRIORITY_UPDATE frame can be
			// considered as the most up-to-date information that overrides
			// any other signal" (RFC 9218 §7).
			ps.early = append(ps.early[:i], ps.early[i+1:]...)
			return e.priority
		}
	}
	if !ps.aware || in.coalesced() {
		return unprioritized
	}
	p, _ := parsePriority(strings.Join(field, ", "))
	return p
}

// coalesced reports whether a request says that it came through an
// intermediary, which may have put requests of several people on the
// connection: their wishes are not to be weighed against each other (RFC 9218
// §13.1).
func (in *incoming) coalesced() bool {
	for _, name := range []string{"Via", "Forwarded", "X-Forwarded-For"} {
		if _, ok := in.header[name]; ok {
			return true
		}
	}
	return false
}
