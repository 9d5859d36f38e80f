package autobahn

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A Stream is the raw stream under a socket, from the fuzzer's end, once the
// opening handshake is done. Its methods are those of websocket.Stream.
type Stream interface {
	io.ReadWriter

	// CloseWrite ends the fuzzer's direction in order, Abort both directions at
	// once. Close releases the stream after both have ended.
	CloseWrite() error
	Close() error
	Abort() error
}

// A phase is how far a session has come.
type phase int

const (
	open     phase = iota
	closing        // our Close frame is sent, theirs has not come
	dropping       // both have passed, and the stream is to end
	over
)

// The suite's limits on what comes after a Close frame.
const (
	closeLimit = time.Second // for the endpoint's own
	dropLimit  = time.Second // for the end of the stream
)

// A session is one case being played. Its methods run on one goroutine; a second
// one, started by play, reads the stream and ends with the stream's input.
type session struct {
	test    *Case
	stream  Stream
	masks   bool // the fuzzer is the client
	slack   float64
	volume  int64
	deflate *Agreed // nil: none
	result  *Result

	start time.Time
	log   wireLog
	feed  *feed
	asm   assembler
	out   *compressor
	key   uint32 // the next masking key
	buf   []byte // what is written, encoded
	phase phase
	timer *time.Timer // bounds the phase
	run   run

	received        []Event
	closedByFuzzer  bool
	droppedByFuzzer bool
	wasClean        bool
	unclean         string // why not
	remoteCode      int    // 0 if there was none
	end             string // how the endpoint ended the stream
}

// play plays the case to its end and judges it.
func (s *session) play() {
	s.start = time.Now()
	s.log.start = s.start
	s.key = 0x37FA213D
	s.unclean, s.end = "the stream ended without a Close frame", "not at all"
	s.asm.masks = !s.masks
	s.setUpDeflate()
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	s.timer.Stop()
	s.feed = newFeed(s.stream)

	// A write that the endpoint does not take ends here.
	emergency := time.AfterFunc(s.atMost(), func() { s.stream.Abort() })
	defer emergency.Stop()

	s.perform()
	for s.phase != over {
		s.wait(nil)
	}
	s.stream.CloseWrite()
	s.stream.Close()
	<-s.feed.ended
	s.judge()
	s.report()
}

// scaled returns a limit of the suite as it is applied here.
func (s *session) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.slack)
}

// atMost returns how long the case can take.
func (s *session) atMost() time.Duration {
	d := s.scaled(s.test.limit + closeLimit + 2*dropLimit)
	for _, st := range s.test.steps {
		d += st.pause
	}
	return d
}

// perform does what the case wants done, up to the first wait for an answer.
func (s *session) perform() {
	if s.declined() {
		s.close(1000)
		return
	}
	for _, st := range s.test.steps {
		if st.pause > 0 && !s.pause(st) {
			return
		}
		s.send(st)
	}
	if s.phase == open {
		s.timer.Reset(s.scaled(s.test.limit))
	}
	if s.test.traffic != nil {
		s.begin()
	}
}

// declined says whether the endpoint was to compress and will not.
func (s *session) declined() bool { return s.test.terms != nil && s.deflate == nil }

// pause waits and reports whether the socket is still open.
func (s *session) pause(st step) bool {
	s.log.note("pause of %v", st.pause)
	alarm := time.NewTimer(st.pause)
	defer alarm.Stop()
	for s.phase == open && !s.wait(alarm.C) {
	}
	if s.phase != open {
		return false
	}
	if st.mark != "" {
		s.record(Event{Kind: Pause, Data: st.mark})
	}
	return true
}

// send writes a step.
func (s *session) send(st step) {
	var pieces [][]byte
	s.buf = s.buf[:0]
	for _, f := range st.send {
		before := len(s.buf)
		s.encode(f)
		s.log.sent(f)
		if st.chop == framewise {
			pieces = append(pieces, append([]byte(nil), s.buf[before:]...))
		}
	}
	if st.raw != nil {
		raw := st.raw(s.masks)
		s.log.note("sent %d raw octets: %x", len(raw), raw)
		s.buf = append(s.buf, raw...)
	}
	if st.chop != framewise {
		pieces = chop(s.buf, st.chop)
	}
	if st.closes {
		s.closedByFuzzer = true
		s.enter(closing, closeLimit)
	}
	s.write(pieces)
}

// encode appends a frame to what will be written.
func (s *session) encode(f wstest.Frame) {
	s.buf = f.Append(s.buf, s.masks, s.key)
	s.key = s.key*0x9E3779B1 + 1
}

// chop cuts b into pieces of n octets; 0 leaves it whole.
func chop(b []byte, n int) [][]byte {
	if n <= 0 {
		return [][]byte{b}
	}
	var pieces [][]byte
	for len(b) > n {
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return append(pieces, b)
}

// write writes each piece on its own. That the endpoint takes no more is not an
// error: it may have failed the connection.
func (s *session) write(pieces [][]byte) {
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		if _, err := s.stream.Write(p); err != nil {
			s.log.note("not all of it was taken: %v", err)
			return
		}
	}
}

// wait lets one thing happen: something arrives, the phase's time is up, or
// alarm rings, which it reports.
func (s *session) wait(alarm <-chan time.Time) bool {
	select {
	case <-s.feed.wake:
	case <-s.timer.C:
		s.expired()
		return false
	case <-alarm:
		s.drain()
		return true
	}
	s.drain()
	return false
}

// drain looks at what has arrived.
func (s *session) drain() {
	for _, a := range s.feed.take() {
		if s.phase == over {
			return
		}
		if a.err != nil {
			s.ended(a.err)
			return
		}
		s.arrived(a.frame)
	}
}

func (s *session) arrived(f received) {
	s.log.received(f)
	s.run.wireIn += int64(len(f.Payload))
	e, ok, err := s.asm.add(f)
	switch {
	case err != nil:
		s.violated(err)
	case f.Opcode == frame.Close:
		s.peerClosed(f)
	case ok && s.test.traffic != nil && e.Kind == Message:
		s.echoed(e)
	case ok:
		s.record(e)
	}
}

// record notes what the endpoint did, and closes the socket if that is all that
// was expected of it.
func (s *session) record(e Event) {
	s.received = append(s.received, e)
	if e.Kind == Ping && s.phase == open {
		s.sendFrame(wstest.Pong(e.Data))
	}
	c := s.test
	if c.traffic == nil && c.end.byFuzzer && !c.passive && s.complete() {
		s.close(c.end.codes[0])
	}
}

// complete says whether everything that was expected has been received.
func (s *session) complete() bool {
	if len(s.received) != len(s.test.want) {
		return false
	}
	for i, e := range s.test.want {
		if s.received[i] != e {
			return false
		}
	}
	return true
}

// violated deals with what the endpoint must not send.
func (s *session) violated(err error) {
	s.log.note("violation: %v", err)
	s.received = append(s.received, Event{Kind: Violation, Data: err.Error()})
	if s.phase == open {
		s.close(1002)
		return
	}
	s.drop("the endpoint broke a rule")
}

func (s *session) sendFrame(f wstest.Frame) { s.send(step{send: []wstest.Frame{f}}) }

// close begins to close the socket. Code 0 is none.
func (s *session) close(code int) {
	if s.phase != open {
		return
	}
	s.closedByFuzzer = true
	s.enter(closing, closeLimit)
	s.sendFrame(wstest.Close(frame.StatusCode(code), ""))
}

func (s *session) enter(p phase, limit time.Duration) {
	s.phase = p
	s.timer.Reset(s.scaled(limit))
}

// peerClosed deals with the endpoint's Close frame: it is answered, and the
// server ends the stream (RFC 6455 §7.1.1).
func (s *session) peerClosed(f received) {
	s.wasClean = true
	if len(f.Payload) >= 2 {
		s.remoteCode = int(binary.BigEndian.Uint16(f.Payload))
	}
	if s.phase == open {
		s.sendFrame(wstest.Close(1000, ""))
	}
	s.enter(dropping, dropLimit)
	if !s.masks {
		s.droppedByFuzzer = true
		s.stream.CloseWrite()
	}
}

// ended deals with the end of what the endpoint sends.
func (s *session) ended(err error) {
	switch {
	case errors.As(err, new(breach)):
		s.violated(err)
	case err == io.EOF:
		s.end = "in order"
		s.log.note("end of the stream")
	default:
		s.end = err.Error()
		s.log.note("end of the stream: %v", err)
	}
	if s.phase == dropping && errors.Is(err, errCutShort) {
		s.received = append(s.received, Event{Kind: Violation, Data: "octets behind its Close frame"})
	}
	s.phase = over
}

// expired is called when the endpoint has taken too long.
func (s *session) expired() {
	switch s.phase {
	case open:
		s.log.note("%v are over", s.scaled(s.test.limit))
		code := 1001
		if s.test.patient {
			code = 0
		}
		s.close(code)
	case closing:
		s.drop("no Close frame in answer to the fuzzer's within " + s.scaled(closeLimit).String())
	case dropping:
		s.log.note("the endpoint does not end the stream")
		if s.masks {
			s.drop("the server does not end the stream")
			return
		}
		s.stream.Abort()
		s.phase = over
	}
}

// drop gives the endpoint up.
func (s *session) drop(why string) {
	s.wasClean, s.unclean = false, why
	s.droppedByFuzzer = true
	s.log.note("stream aborted: %s", why)
	s.stream.Abort()
	s.phase = over
}
