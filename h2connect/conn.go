package h2connect

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A side is the role of an endpoint on a connection.
type side uint8

const (
	serverSide side = iota
	clientSide
)

// A role is what a connection does differently as a server and as a client.
// Calls come from the connection's reader unless stated otherwise.
type role interface {
	// opened takes the header block of a stream that the peer opens.
	opened(b *block) error

	// more takes a further header block of a stream in the table.
	more(st *stream, b *block) error

	// prioritize takes a PRIORITY_UPDATE frame.
	prioritize(f *http2.PriorityUpdateFrame) error

	// closed says that st has left the table; err is why, nil after an orderly
	// end. The connection's lock is held.
	closed(st *stream, err error)

	// goAway takes a GOAWAY frame. The connection's lock is held.
	goAway(f *http2.GoAwayFrame)

	// slotsChanged says that a stream may have become free. The connection's
	// lock is held.
	slotsChanged()

	// ended says that the connection takes no more streams, or has ended. The
	// connection's lock is held.
	ended()
}

// A conn is an HTTP/2 connection: one engine for both roles.
//
// It has one goroutine at any time that reads (run in read.go, and lead.go for how
// it is replaced): it owns everything about the way in. It never waits for the
// peer to read. The way out has no goroutine of its own: see write.go.
type conn struct {
	nc     net.Conn
	tls    *tls.ConnectionState // nil without TLS
	side   side
	role   role
	limits Limits

	allowConnect bool // server: extended CONNECT is advertised

	in       input          // the reader's
	fr       *http2.Framer  // reads for the reader, writes to out under mu
	dec      *hpack.Decoder // the reader's
	block    block          // the reader's
	data     dataFrame      // the reader's
	burst    burst          // the reader's
	lead     lead
	updates  tableSizeCheck // the reader's
	empties  int            // the reader's: empty DATA frames not yet paid for
	buffered atomic.Int64   // received bytes that wait for readers
	starved  atomic.Bool    // credit is held back because too many wait

	mu      sync.Mutex
	streams map[uint32]*stream
	lastIn  uint32 // highest id of a stream that the peer opened
	passed  passedIDs
	nextOut uint32 // next id of a stream that we open
	slots   int    // streams open, or closed with their handler running

	peer      peerSettings
	peerReady chan struct{} // closed when the first SETTINGS frame has arrived
	ackOwed   bool          // the peer has not acknowledged our SETTINGS
	hsTimer   *time.Timer   // first SETTINGS, then their acknowledgement

	inConn  inflow
	widened int // by how much the windows of streams have grown
	outConn outflow
	outBase outbase
	sched   schedule

	dataSent int64 // bytes put into DATA frames
	sockets  int   // streams in the table that are sockets
	flight   flight
	hold     hold
	unpolled int  // bytes of bulk sent since pollInput last asked
	summoned bool // reads have a deadline that has passed, for the reader to run: see pollInput

	out      []byte // the batch being collected
	spare    []byte // the memory of the next one
	rest     []byte // of the last one, from restAt on; nil if it has been written
	restAt   int
	lastData *stream
	lastAt   int // where lastData's frame begins in out
	queued   int // control frames in out
	ends     int // streams that end in out
	flushing bool
	room     room

	network func() (n network, ok bool) // false if there is no TCP; called under mu
	enc     *hpack.Encoder
	encoded bytes.Buffer

	writeSince time.Time // when the write in progress began
	stallTimer *time.Timer
	stallArmed bool

	baton     atomic.Pointer[baton] // nil before the first that is lined up
	gathering bool                  // the reader waits for those whom it has woken: it will flush
	uncorked  bool                  // something was sent while the reader was about to send more
	brief     bool                  // less than briefBytes were sent between two waits of the reader
	sentNow   int                   // how many have been sent since the last

	hits     *hits // a server's connections share theirs
	resets   bucket
	glitches bucket
	upkeep   upkeep
	resetIDs recentIDs

	unread    unreadWatch
	leftovers map[*stream]struct{} // gone, but holding bytes that their handlers may read

	pings map[[8]byte]chan struct{}

	shared any // by the Conns of its sockets

	health health

	idleTimer *time.Timer
	idleSince time.Time

	goneAway    bool        // one side has sent a final GOAWAY: no new streams
	goAwaySent  bool        // we have
	lastTaken   uint32      // the last id of our GOAWAY
	dying       atomic.Bool // a fatal GOAWAY is queued: what comes is discarded
	lingering   bool        // the last frame is queued: close after Limits.Linger
	peerAway    bool        // server: the client has sent GOAWAY
	lingerTimer *time.Timer
	err         *ConnError // why it has ended; nil while it has not
	cut         error      // what has ended streams that were still open with the connection
	done        chan struct{}
}

func newConn(nc net.Conn, s side, limits Limits) *conn {
	c := &conn{
		nc: nc, side: s, limits: limits,
		streams: make(map[uint32]*stream), nextOut: 1,
		peer:      peerSettings{streams: unlimited, headerList: unlimited},
		peerReady: make(chan struct{}),
		inConn:    newInflow(protocolWindow),
		outConn:   outflow{window: protocolWindow},
		outBase:   outbase{initial: protocolWindow},
		hits:      new(hits),
		resets:    newBucket(limits.ResetBurst, limits.ResetRate),
		glitches:  newBucket(limits.GlitchBurst, limits.GlitchRate),
		done:      make(chan struct{}),
	}
	if tc, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := tc.ConnectionState()
		c.tls = &state
	}
	c.in.init(c)
	c.initLead()
	c.fr = http2.NewFramer(batchWriter{c}, &c.in)
	c.fr.SetMaxReadFrameSize(uint32(limits.FrameSize))
	c.block.maxCount, c.block.maxSize = limits.HeaderFields, uint64(limits.HeaderBytes)
	// Until the peer has seen our SETTINGS it goes by the protocol's size.
	c.dec = hpack.NewDecoder(uint32(max(limits.HeaderTable, protocolTable)), c.block.add)
	c.dec.SetMaxStringLength(4 * limits.HeaderBytes)
	c.enc = hpack.NewEncoder(&c.encoded)
	c.updates.size = protocolTable
	c.enc.SetMaxDynamicTableSizeLimit(uint32(limits.HeaderTable))
	c.room.watch(nc)
	c.network = c.room.network
	return c
}

// start queues our part of the connection preface (RFC 9113 §3.4) behind
// whatever the caller has queued, and begins to wait for the peer's.
func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fr.WriteSettings(c.ourSettings()...)
	c.ackOwed = true
	if more := c.limits.ConnWindow - protocolWindow; more > 0 {
		c.fr.WriteWindowUpdate(0, uint32(more))
	}
	c.inConn = newInflow(int32(c.limits.ConnWindow))
	c.idleSince = time.Now()
	c.flush()
}

// armHandshakeTimer watches over the steps of the connection preface. c.mu is
// held.
func (c *conn) armHandshakeTimer() {
	if c.hsTimer != nil {
		c.hsTimer.Stop()
	}
	switch {
	case !c.peer.received:
		wait, which := c.limits.FirstSettings, limitFirstSettings
		if c.side == clientSide {
			wait, which = c.limits.Preface, limitPreface // a server's SETTINGS are its preface
		}
		c.hsTimer = time.AfterFunc(wait, func() {
			c.timeout(func() bool { return !c.peer.received }, connViolation(http2.ErrCodeProtocol, "no SETTINGS in time").passed(which))
		})
	case c.ackOwed:
		c.hsTimer = time.AfterFunc(c.limits.SettingsAck, func() {
			c.timeout(func() bool { return c.ackOwed }, connViolation(http2.ErrCodeSettingsTimeout, "SETTINGS not acknowledged in time").passed(limitSettingsAck))
		})
	}
}

// timeout ends the connection with v if what was waited for has not happened.
func (c *conn) timeout(missing func() bool, v *violation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if missing() {
		c.die(v)
	}
}

// deltas yields the send windows' own parts, for outbase.set.
func (c *conn) deltas(yield func(outdelta) bool) {
	for _, st := range c.streams {
		if !yield(st.send.flow) {
			return
		}
	}
}

// newStream puts a stream into the table. c.mu is held.
func (c *conn) newStream(id uint32) *stream {
	st := &stream{c: c, id: id, priority: unprioritized, httpPart: &httpPart{declared: -1}}
	st.recv.init(c.limits.StreamWindow)
	c.streams[id] = st
	c.slots++
	c.upkeep.opened()
	return st
}

// halfClosed is called when a direction of st has ended in an orderly way. c.mu
// is held.
func (c *conn) halfClosed(st *stream) {
	if st.gone {
		return
	}
	if st.send.ended && st.recvEnded {
		c.forget(st, nil)
		return
	}
	switch {
	case st.send.ended && st.stopping:
		st.stopPeer()
	case st.recvEnded && st.httpPart != nil && st.exchange.refused():
		// Nobody will read what of the content has not been sent. The
		// response has ended and stays readable.
		c.reset(st, &StreamError{Code: http2.ErrCodeCancel, Err: errContentRefused})
	}
}

// reset sends RST_STREAM and forgets the stream. Frames of the peer's that
// cross it are ignored for a while (RFC 9113 §5.1). c.mu is held.
func (c *conn) reset(st *stream, err *StreamError) {
	if st.gone {
		return
	}
	c.writeReset(st.id, err.Code)
	c.forget(st, err)
}

// writeReset queues a RST_STREAM. c.mu is held.
func (c *conn) writeReset(id uint32, code http2.ErrCode) {
	c.resetIDs.add(id)
	c.writeControl(func(fr *http2.Framer) error { return fr.WriteRSTStream(id, code) })
}

// forget takes a stream out of the table. err is why it ended, nil after an
// orderly end of both directions. c.mu is held.
func (c *conn) forget(st *stream, err error) {
	if st.gone {
		return
	}
	st.gone, st.recvEnded, st.send.ended = true, true, true
	delete(c.streams, st.id)
	if q := st.queue(); q != nil {
		q.remove(st)
	}
	if c.lastData == st {
		c.lastData = nil
	}
	c.widened -= st.recv.window() - c.limits.StreamWindow
	st.send.drop()
	if err != nil {
		st.send.err = err
		st.send.wake()
		st.recv.end(st, err)
	}
	if st.socket {
		c.socketEnded()
	}
	c.role.closed(st, err)
	if waiting, _ := st.recv.look(); waiting > 0 && (st.handling || st.outlives) {
		if c.leftovers == nil {
			c.leftovers = make(map[*stream]struct{})
		}
		c.leftovers[st] = struct{}{}
	}
	if !st.handling {
		c.freeSlot()
	}
}

// freeSlot is called when a stream is closed and its handler has returned. c.mu
// is held.
func (c *conn) freeSlot() {
	c.slots--
	if c.slots == 0 {
		c.idleSince = time.Now()
		c.watchIdle()
		if c.goneAway && !c.dead() {
			// "Endpoints SHOULD always send a GOAWAY frame before closing a
			// connection" (RFC 9113 §6.8).
			c.goAway()
			c.linger()
		}
	}
	c.role.slotsChanged()
}

// watchIdle closes the connection when it has had no streams for a while. The
// timer is left alone when a stream opens, and looks for itself. c.mu is held.
func (c *conn) watchIdle() {
	if c.limits.Idle < 0 || c.dead() {
		return
	}
	if c.idleTimer == nil {
		c.idleTimer = time.AfterFunc(c.limits.Idle, c.checkIdle)
	}
}

func (c *conn) checkIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead() {
		return
	}
	left := c.limits.Idle
	if c.slots == 0 {
		left -= time.Since(c.idleSince)
	}
	if left > 0 {
		c.idleTimer.Reset(left)
		return
	}
	c.hits.count(limitIdle)
	c.goAway()
	c.linger()
	c.flush()
}

// goAway queues the GOAWAY that says which streams are the last (RFC 9113
// §6.8): those that exist. c.mu is held.
func (c *conn) goAway() {
	if c.goAwaySent || c.dead() {
		return
	}
	c.goneAway, c.goAwaySent, c.lastTaken = true, true, c.lastIn
	c.lastData = nil
	c.fr.WriteGoAway(c.lastIn, http2.ErrCodeNo, nil)
	c.role.ended()
}

// consumed says that unbuffered bytes of st's have been read, and announces
// credit.
func (c *conn) consumed(st *stream, unbuffered int, increment uint32) {
	c.buffered.Add(-int64(unbuffered))
	if increment == 0 && !c.starved.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credit(st, increment)
	c.flush()
}

// credit announces a stream's credit, and the connection's that had been held
// back. All windows together grow by no more than half of Limits.ConnBuffer: streams
// that are not read any more leave the other half to their neighbours. c.mu is held.
func (c *conn) credit(st *stream, increment uint32) {
	if increment > 0 && !st.recvEnded {
		more := st.recv.widen(c.limits.MaxStreamWindow, c.limits.ConnBuffer/2-c.widened)
		c.widened += int(more)
		c.writeWindowUpdate(st.id, increment+more)
	}
	if c.starved.Load() {
		c.giveConn(0)
	}
}

// giveConn returns credit to the peer for n bytes received on the connection.
// It returns on receipt, so that a stream that nobody reads does not stall its
// neighbours; but on a server never so much that what waits for readers could
// pass Limits.ConnBuffer. c.mu is held.
func (c *conn) giveConn(n int) {
	increment := c.inConn.give(n)
	if c.side == clientSide {
		c.writeWindowUpdate(0, increment)
		return
	}
	if increment == 0 {
		if !c.starved.Load() {
			return
		}
		increment = c.inConn.flush()
	}
	room := c.bufferRoom()
	if room < 0 && !c.starved.Swap(true) {
		room = c.bufferRoom() // who has read meanwhile did not see that we starve
		if room < 0 {
			c.hits.count(limitConnBuffer)
		}
	}
	if room < 0 {
		hold := uint32(min(-room, int64(increment)))
		increment -= hold
		c.inConn.avail -= int32(hold)
		c.inConn.unsent += int32(hold)
		c.writeWindowUpdate(0, increment)
		c.watchUnread()
		return
	}
	c.starved.Store(false)
	c.writeWindowUpdate(0, increment)
}

// bufferRoom returns how much of Limits.ConnBuffer is left when the peer uses up its
// credit: what give and flush have put into avail is not announced yet, but counts.
// c.mu is held.
func (c *conn) bufferRoom() int64 {
	return int64(c.limits.ConnBuffer) - c.buffered.Load() - int64(c.inConn.avail)
}

// discard drops what waits for st's reader and what may still come for it. c.mu
// is held.
func (c *conn) discard(st *stream, cause error) {
	delete(c.leftovers, st)
	unbuffered, increment := st.recv.discard(st, cause)
	c.buffered.Add(-int64(unbuffered))
	c.credit(st, increment)
}
