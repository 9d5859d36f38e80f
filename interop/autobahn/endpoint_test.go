package autobahn

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// An endpoint is a small echo server or client, right in everything unless it is
// told to be wrong in something. It shares the fuzzer's compressor and inflater
// and no other code of the judge's.
type endpoint struct {
	defects
	s      Stream
	br     *bufio.Reader
	client bool
	key    uint32
	out    *compressor // nil: no compression
	in     *inflater

	open       bool // a message has begun
	text       bool
	compressed bool
	data       []byte
	checked    int      // octets of data that are valid UTF-8
	pings      []string // answered late
	closed     bool     // both Close frames have passed
}

// defects are the ways in which an endpoint can be wrong.
type defects struct {
	noUTF8, utf8AtTheEnd, utf8PerFrame, noReasonUTF8                bool
	noMaskCheck, masksWrongly                                       bool
	noPong, wrongPong, latePong, answersPong                        bool
	anyRSV, anyOpcode, anyLength                                    bool
	longControl, fragmentedControl, strayContinuation, nestsMessage bool
	oneOctetClose, anyCloseCode, ignoresClose, talksAfterClose      bool
	lateClose, noClose, neverEnds, wrongFailure, noFailure          bool
	otherType, cutsLong, flipsLate, slow, longForm                  bool
	noRSV1, rsv1Everywhere, keepsTail, anyWindow, keepsContext      bool
	losesContext, declines                                          bool

	// These are not wrong.
	neverCompresses, emptyAnswer, dropsAtFault bool
}

// A head is a frame's header.
type head struct {
	first, second byte
	key           [4]byte
	size          int
	longish       bool
}

func (h head) opcode() frame.Opcode { return frame.Opcode(h.first & 15) }
func (h head) final() bool          { return h.first&0x80 != 0 }
func (h head) control() bool        { return h.first&8 != 0 }

var errGone = errors.New("the stream has ended")

// fault is the status code to fail with.
type fault int

func (f fault) Error() string { return "fault" }

// serve plays the endpoint until the socket has ended.
func (e *endpoint) serve() {
	e.br = bufio.NewReader(e.s)
	for {
		err := e.frame()
		var f fault
		switch {
		case errors.As(err, &f):
			if e.noFailure {
				continue
			}
			if e.wrongFailure {
				f = 1000
			}
			if !e.dropsAtFault {
				e.send(wstest.Close(frame.StatusCode(f), ""))
			}
			e.end()
			return
		case err != nil:
			e.end()
			return
		}
	}
}

// end ends the stream: the server first, the client after it.
func (e *endpoint) end() {
	if e.neverEnds {
		time.Sleep(time.Minute)
	}
	if !e.client || e.dropsAtFault {
		e.s.CloseWrite()
	}
	if !e.talksAfterClose {
		io.Copy(io.Discard, e.br)
	}
	e.s.CloseWrite()
	e.s.Close()
}

func (e *endpoint) send(f wstest.Frame) {
	e.key += 0x01234567
	f.WrongMask = e.masksWrongly
	if e.longForm && len(f.Payload) > 125 {
		f.LengthBits = 64
	}
	e.s.Write(f.Append(nil, e.client, e.key))
}

func (e *endpoint) head() (head, error) {
	var h head
	var b [10]byte
	if _, err := io.ReadFull(e.br, b[:2]); err != nil {
		return h, errGone
	}
	h.first, h.second = b[0], b[1]
	size, extra := uint64(b[1]&0x7f), 0
	if size > 125 {
		extra = map[uint64]int{126: 2, 127: 8}[size]
	}
	if _, err := io.ReadFull(e.br, b[2:2+extra]); err != nil {
		return h, errGone
	}
	switch extra {
	case 2:
		size = uint64(binary.BigEndian.Uint16(b[2:]))
		h.longish = size <= 125
	case 8:
		size = binary.BigEndian.Uint64(b[2:])
		h.longish = size <= 0xffff || size>>63 != 0
		size &= 1<<25 - 1
	}
	if h.second&0x80 != 0 {
		if _, err := io.ReadFull(e.br, h.key[:]); err != nil {
			return h, errGone
		}
	}
	h.size = int(size)
	return h, nil
}

// frame reads a frame and does what it asks for.
func (e *endpoint) frame() error {
	h, err := e.head()
	if err != nil {
		return err
	}
	bad := e.check(h)
	if bad != nil && !e.noFailure {
		return bad
	}
	begins := !h.control() && (h.opcode() != frame.Continuation || !e.open)
	if begins {
		e.data, e.checked = nil, 0
		e.text = h.opcode() == frame.Text
		e.compressed = h.first&0x40 != 0 && e.in != nil
	}
	payload, err := e.payload(h)
	switch {
	case err != nil:
		return err
	case bad != nil:
		return bad
	case h.control():
		return e.control(h, payload)
	}
	e.open = !h.final()
	if e.open {
		return nil
	}
	return e.message()
}

// check applies the rules to a header.
func (e *endpoint) check(h head) error {
	op := h.opcode()
	masked := h.second&0x80 != 0
	rsv := h.first & 0x70
	if e.in != nil && (op == frame.Text || op == frame.Binary) {
		rsv &^= 0x40
	}
	switch {
	case masked == e.client && !e.noMaskCheck,
		rsv != 0 && !e.anyRSV,
		(op > 2 && op < 8 || op > 10) && !e.anyOpcode,
		h.longish && !e.anyLength,
		h.control() && h.size > 125 && !e.longControl,
		h.control() && !h.final() && !e.fragmentedControl,
		op == frame.Continuation && !e.open && !e.strayContinuation,
		(op == frame.Text || op == frame.Binary) && e.open && !e.nestsMessage:
		return fault(1002)
	}
	return nil
}

// payload reads a frame's payload, that of a message behind e.data, and checks
// text as it comes.
func (e *endpoint) payload(h head) ([]byte, error) {
	var all []byte
	for len(all) < h.size {
		p := make([]byte, min(h.size-len(all), 32<<10))
		n, err := e.br.Read(p)
		if err != nil {
			return nil, errGone
		}
		for i := range p[:n] {
			p[i] ^= h.key[(len(all)+i)%4]
		}
		all = append(all, p[:n]...)
		if h.control() {
			continue
		}
		e.data = append(e.data, p[:n]...)
		if e.text && !e.compressed && !e.noUTF8 && !e.utf8AtTheEnd && !e.validSoFar() {
			return nil, fault(1007)
		}
	}
	if e.utf8PerFrame && e.text && !e.compressed && !h.control() && !utf8.Valid(all) {
		return nil, fault(1007)
	}
	return all, nil
}

// validSoFar says whether e.data can be the beginning of a valid text.
func (e *endpoint) validSoFar() bool {
	for e.checked < len(e.data) {
		rest := e.data[e.checked:]
		if !utf8.FullRune(rest) {
			return true // DecodeRune would tell if no octet could make it valid
		}
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		e.checked += n
	}
	return true
}

func (e *endpoint) control(h head, payload []byte) error {
	switch h.opcode() {
	case frame.Ping:
		switch {
		case e.noPong:
		case e.latePong && e.open:
			e.pings = append(e.pings, string(payload))
		case e.wrongPong:
			e.send(wstest.Pong(string(payload[min(1, len(payload)):])))
		default:
			e.send(wstest.Pong(string(payload)))
		}
	case frame.Pong:
		if e.answersPong {
			e.send(wstest.Pong(string(payload)))
		}
	case frame.Close:
		return e.close(payload)
	}
	return nil
}

// close answers a Close frame.
func (e *endpoint) close(payload []byte) error {
	answer := wstest.Frame{Opcode: frame.Close}
	switch {
	case len(payload) == 1 && !e.oneOctetClose:
		return fault(1002)
	case len(payload) == 1:
		answer = wstest.Close(1000, "")
	case len(payload) > 1:
		if !legal(int(binary.BigEndian.Uint16(payload))) && !e.anyCloseCode {
			return fault(1002)
		}
		if !utf8.Valid(payload[2:]) && !e.noReasonUTF8 {
			return fault(1007)
		}
		if !e.emptyAnswer {
			answer.Payload = payload[:2]
		}
	}
	switch {
	case e.ignoresClose || e.closed:
		return nil
	case e.noClose:
		return errGone
	case e.lateClose:
		time.Sleep(5 * time.Second)
	}
	e.closed = true
	e.send(answer)
	if e.talksAfterClose {
		return nil
	}
	return errGone
}

func legal(code int) bool {
	return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code < 5000
}

// message echoes a message.
func (e *endpoint) message() error {
	data := e.data
	if e.compressed {
		var err error
		if data, err = e.in.message(data); err != nil {
			return fault(1007)
		}
	}
	if e.text && !e.noUTF8 && !utf8.Valid(data) {
		return fault(1007)
	}
	if e.slow {
		time.Sleep(5 * time.Second)
	}
	if e.cutsLong && len(data) > 0xffff {
		data = data[:0xffff]
	}
	if e.flipsLate && len(data) > 1<<19 {
		data[1<<19] ^= 1
	}
	f := wstest.Frame{Opcode: frame.Binary, Payload: data}
	if e.text != e.otherType {
		f.Opcode = frame.Text
	}
	if e.out == nil || e.neverCompresses {
		e.send(f)
	} else {
		f.RSV1 = !e.noRSV1
		f.Payload = e.out.message(data)
		if e.keepsTail {
			f.Payload = append(f.Payload, deflateTail...)
		}
		for _, part := range cut(f, f.Payload, 1<<10) {
			part.RSV1 = part.RSV1 || e.rsv1Everywhere
			e.send(part)
		}
	}
	for _, p := range e.pings {
		e.send(wstest.Pong(p))
	}
	e.pings = nil
	return nil
}

// opener returns an Opener for endpoints with these defects, in memory. Each has
// a goroutine that ends with its stream.
func opener(wg *sync.WaitGroup, testee Role, d defects) Opener {
	return func(_ context.Context, h Hello) (Stream, string, error) {
		a, b := wstest.Pipe(wstest.PipeOptions{})
		e := &endpoint{defects: d, s: b, client: testee == Client}
		var agreed *Agreed
		answer := ""
		switch {
		case d.declines && e.client:
			answer = h.Answer("")
		case d.declines:
		case e.client:
			answer = h.Answer(deflateName + "; client_max_window_bits")
			agreed, _ = checkAnswer(answer, []terms{{}})
		default:
			answer, agreed, _ = answerTo(h.Offer, []terms{{}})
		}
		if agreed != nil {
			e.compress(*agreed)
		}
		wg.Go(e.serve)
		return a, answer, nil
	}
}

// compress makes compressors for what was agreed on, or not quite for it.
func (e *endpoint) compress(a Agreed) {
	ours, theirs, oursAlone, theirsAlone := a.ServerBits, a.ClientBits, a.ServerNoTakeover, a.ClientNoTakeover
	if e.client {
		ours, theirs, oursAlone, theirsAlone = theirs, ours, theirsAlone, oursAlone
	}
	if e.anyWindow {
		ours = 15
	}
	size := 1 << 20
	if e.anyWindow || e.keepsContext {
		size = 0 // for a level that finds matches in messages of any size
	}
	e.out = newCompressor(ours, !oursAlone || e.keepsContext, size)
	e.in = newInflater(theirs, !theirsAlone && !e.losesContext)
}
