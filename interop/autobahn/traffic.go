package autobahn

import (
	"fmt"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A run is how far the traffic of a session has come.
type run struct {
	count int    // messages to send
	sent  int    // messages sent
	want  []byte // the echo that is waited for

	payloadOut, payloadIn int64 // octets of messages
	wireOut, wireIn       int64 // octets of payload of their frames
}

// setUpDeflate makes compressors for what was agreed on.
func (s *session) setUpDeflate() {
	if s.deflate == nil {
		return
	}
	d := *s.deflate
	ours, theirs, oursAlone, theirsAlone := d.ServerBits, d.ClientBits, d.ServerNoTakeover, d.ClientNoTakeover
	if s.masks {
		ours, theirs, oursAlone, theirsAlone = theirs, ours, theirsAlone, oursAlone
	}
	size := 0
	if s.test.traffic != nil {
		size = s.test.traffic.size
	}
	s.out = newCompressor(ours, !oursAlone, size)
	s.asm.inflate = newInflater(theirs, !theirsAlone)
}

// atLeast is how many messages a case sends however large they are.
const atLeast = 16

// begin sends the first message.
func (s *session) begin() {
	t, r := s.test.traffic, s.result
	r.Behavior, r.Explanation = Failed, fmt.Sprintf("not finished within %v", s.scaled(s.test.limit))
	s.run.count = t.count
	if s.volume > 0 && t.count > 1 {
		s.run.count = min(t.count, max(atLeast, int(s.volume/int64(max(t.size, 1)))))
	}
	s.sendMessage()
}

// sendMessage sends the next message of the traffic.
func (s *session) sendMessage() {
	t, run := s.test.traffic, &s.run
	run.want = t.message(run.sent)
	payload, first := run.want, wstest.Frame{Opcode: frame.Text}
	if t.binary {
		first.Opcode = frame.Binary
	}
	if s.out != nil {
		payload, first.RSV1 = s.out.message(payload), true
	}
	frames := cut(first, payload, t.fragment)
	s.buf = s.buf[:0]
	for _, f := range frames {
		s.encode(f)
	}
	s.log.quiet = true
	if run.sent < 2 || run.sent == run.count-1 {
		s.log.add("→", fmt.Sprintf("message %d of %d: %d octets, %d on the wire, in %d frames",
			run.sent+1, run.count, len(run.want), len(payload), len(frames)))
	}
	run.sent++
	run.payloadOut += int64(len(run.want))
	run.wireOut += int64(len(payload))
	s.write(chop(s.buf, t.chop))
}

// echoed compares an echo with what was sent, and goes on.
func (s *session) echoed(e Event) {
	t, run, r := s.test.traffic, &s.run, s.result
	run.payloadIn += int64(len(e.Data))
	switch {
	case run.want == nil:
		r.Behavior, r.Explanation = Failed, "a message too many: "+e.String()
	case e.Binary != t.binary || e.Data != string(run.want):
		r.Behavior = Failed
		r.Explanation = fmt.Sprintf("message %d: not the echo of a %s message of %d octets: %v", run.sent, kindOf(t.binary), len(run.want), e)
	case run.sent < run.count:
		s.sendMessage()
		return
	default:
		r.Behavior, r.Explanation = OK, fmt.Sprintf("%d of %d messages came back", run.sent, run.count)
		run.want = nil
	}
	s.log.quiet = false
	s.close(1000)
}
