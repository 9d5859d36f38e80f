package frame

import "math"

// A Receiver parses what one end of a connection receives. The zero value is a
// server's, without compression and limits. Fields are set before the first
// call of Next; the limits may be moved later and count from the next frame on.
//
// Each limit is checked when a frame's header has arrived, before any of its
// payload is taken. Zero or less means none.
type Receiver struct {
	// Side is the receiving end: a Server demands that frames are masked, a
	// Client that they are not (RFC 6455 §5.1).
	Side Side

	// Deflate says that permessage-deflate was negotiated: the first frame of a
	// message may carry RSV1 (RFC 7692 §6).
	Deflate bool

	// MaxMessage is the number of payload bytes that a message may have over
	// all its frames, if it is not compressed. Beyond it: status 1009 (RFC 6455
	// §10.4).
	MaxMessage int64

	// MaxCompressed is the same for a compressed message, counted as it
	// travels.
	MaxCompressed int64

	// MaxFragments is the number of frames that a message may have. Beyond it:
	// status 1008.
	MaxFragments int

	// MaxEmptyFragments is the number of empty frames that a message may have
	// besides its final one. Beyond it: status 1008.
	MaxEmptyFragments int

	done bool  // nothing is parsed any more: err, or a Close frame if err is nil
	err  error // a broken rule

	// The data frame in progress.
	remaining int64  // payload bytes to come
	key       uint32 // the masking key, turned to the next byte
	fin       bool   // it is the final frame of its message

	// The message in progress.
	opcode     Opcode // Text or Binary; Continuation between messages
	compressed bool
	text       UTF8
	size       int64 // payload bytes, those to come in this frame included
	fragments  int64
	empty      int64 // empty frames but a final one
}

// An EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of event.
const (
	// NeedMore: nothing to report. Give what was not taken again, with more
	// behind it.
	NeedMore EventKind = iota

	// Data: a data frame's header has arrived, or some of its payload, or both.
	Data

	// Control: a whole control frame.
	Control
)

// An Event is what [Receiver.Next] reports.
type Event struct {
	Kind EventKind

	// Opcode is Text or Binary for Data, in continuation frames too: the type of
	// the message. It is Close, Ping or Pong for Control.
	Opcode Opcode

	First      bool // Data: the first piece of its message
	Last       bool // Data: the last piece of its message, which is complete now
	FrameStart bool // Data: the first piece of its frame
	Compressed bool // Data: the message is compressed (RFC 7692 §6)

	// Payload is the piece of payload, unmasked. It is part of the slice given
	// to Next and valid as long as that is. It may be empty, also where First,
	// Last or FrameStart is set.
	Payload []byte
}

// Next takes what it can from the start of p, at most one event's worth, and
// returns how many bytes it took. It unmasks payload in place, so p is written
// to.
//
// A control frame is taken whole or not at all, and so is a header: what Next
// leaves in p with NeedMore is less than [MaxHeaderSize] + [MaxControlPayload]
// bytes. The payload of a data frame is taken as it comes. A data frame's header
// is reported at once, with the payload that stands behind it in p, which may be
// none.
//
// An error is an [*Error]: the peer broke a rule. Every call after it returns the
// same error and takes everything. After a Close frame Next takes everything and
// reports nothing: "after receiving a control frame indicating the connection
// should be closed, a peer discards any further data received" (RFC 6455 §1.4).
//
// Text is checked as it comes, unless it is compressed: the bytes before the
// first bad one are reported, and the next call, with the bad one, returns the
// error with status 1007. How the input is cut into slices does not change what
// is reported, only into how many pieces.
func (r *Receiver) Next(p []byte) (ev Event, n int, err error) {
	n, err = r.next(p, &ev)
	return ev, n, err
}

// NextInto is Next with the Event in the caller's memory, where it replaces what
// was there. An Event just written field by field is slow to copy, which a small
// message notices.
func (r *Receiver) NextInto(ev *Event, p []byte) (n int, err error) {
	*ev = Event{}
	return r.next(p, ev)
}

// Remaining returns the number of payload bytes still to come of the data frame
// in progress, 0 between frames. The caller may read up to that many straight to
// where they are to stay, and give them to Next there.
func (r *Receiver) Remaining() int64 { return r.remaining }

// InMessage reports whether a message has begun and not ended.
func (r *Receiver) InMessage() bool { return r.opcode != Continuation }

// next is Next with a zero Event to fill in.
func (r *Receiver) next(p []byte, ev *Event) (n int, err error) {
	switch {
	case r.remaining > 0 && len(p) == 0:
		return 0, nil
	case r.remaining > 0:
		return r.payload(p, 0, ev)
	case r.done:
		return len(p), r.err
	}
	return r.frame(p, ev)
}

// frame takes a control frame, or the header of a data frame and what is there
// of its payload.
func (r *Receiver) frame(p []byte, ev *Event) (int, error) {
	var h Header
	n, rule := h.parse(p)
	if rule != "" {
		return r.fail(p, StatusProtocolError, rule)
	}
	if n == 0 {
		return 0, nil
	}
	rule = rules{r.Side, r.Deflate, r.opcode != Continuation}.broken(&h)
	if rule != "" {
		return r.fail(p, StatusProtocolError, rule)
	}
	if h.Opcode.IsControl() {
		return r.control(p, n, &h, ev)
	}

	if h.Opcode != Continuation {
		r.opcode = h.Opcode
		r.compressed = h.RSV1
		r.size, r.fragments, r.empty = 0, 0, 0
	}
	if code, rule := r.count(&h); code != 0 {
		return r.fail(p, code, rule)
	}
	r.fin = h.Fin
	r.remaining = h.Length
	if h.Masked {
		r.key = keyAt(h.Key, 0)
	}
	ev.First = h.Opcode != Continuation
	ev.FrameStart = true
	return r.payload(p, n, ev)
}

// control takes a control frame whose header h is the first n bytes of p, if all
// of it is there.
func (r *Receiver) control(p []byte, n int, h *Header, ev *Event) (int, error) {
	if int64(len(p)-n) < h.Length {
		return 0, nil
	}
	end := n + int(h.Length) // at most 14 + 125
	b := p[n:end:end]
	if h.Masked {
		xor(b, b, keyAt(h.Key, 0))
	}
	if h.Opcode == Close {
		if _, _, bad := splitClose(b); bad.Code != 0 {
			return r.fail(p, bad.Code, bad.Rule)
		}
		r.done = true
	}
	ev.Kind = Control
	ev.Opcode = h.Opcode
	ev.Payload = b
	return end, nil
}

// count adds a data frame to its message and returns the limit that it breaks,
// with the status code to close with; the code is 0 if there is none.
//
// "Implementations that have implementation- and/or platform-specific
// limitations regarding the frame size or total message size after reassembly
// from multiple frames MUST protect themselves against exceeding those limits."
// https://www.rfc-editor.org/rfc/rfc6455#section-10.4
func (r *Receiver) count(h *Header) (StatusCode, string) {
	limit := r.MaxMessage
	if r.compressed {
		limit = r.MaxCompressed
	}
	if limit > 0 && h.Length > limit-r.size {
		return StatusMessageTooBig, "message over the size limit"
	}
	if h.Length > math.MaxInt64-r.size { // no limit, or one set late
		r.size = math.MaxInt64
	} else {
		r.size += h.Length
	}

	r.fragments++
	if r.MaxFragments > 0 && r.fragments > int64(r.MaxFragments) {
		return StatusPolicyViolation, "message with too many fragments"
	}
	if h.Length == 0 && !h.Fin {
		r.empty++
		if r.MaxEmptyFragments > 0 && r.empty > int64(r.MaxEmptyFragments) {
			return StatusPolicyViolation, "message with too many empty fragments"
		}
	}
	return 0, ""
}

// payload takes what p[n:] holds of the payload of the data frame in progress.
// p[:n] is its header, if n is not 0.
func (r *Receiver) payload(p []byte, n int, ev *Event) (int, error) {
	end := len(p)
	if int64(end-n) > r.remaining {
		end = n + int(r.remaining)
	}
	b := p[n:end:end]
	if r.Side == Server {
		xor(b, b, r.key)
		r.key = turn(r.key, len(b))
	}
	r.remaining -= int64(len(b))
	last := r.fin && r.remaining == 0

	if r.opcode == Text && !r.compressed {
		if good, ok := r.checkText(b, last); !ok {
			taken, err := r.fail(p, StatusInvalidPayload, "text that is not valid UTF-8")
			if good == 0 && (n == 0 || len(b) == 0) {
				*ev = Event{}
				return taken, err
			}
			// The good bytes first, or the frame's start. The bad byte stays in
			// p, so that the caller comes back with it and gets the error.
			b, end, last = b[:good:good], n+good, false
		}
	}

	ev.Kind = Data
	ev.Opcode = r.opcode
	ev.Compressed = r.compressed
	ev.Payload = b
	if last {
		ev.Last = true
		r.opcode = Continuation
	}
	return end, nil
}

// checkText checks a piece of text, the last of its message or not. It returns
// how many bytes of it are good and whether that is all. Where a text ends
// within a code point, its last byte is the bad one; none of b is left for that
// if the final frame is empty.
//
// "When an endpoint is to interpret a byte stream as UTF-8 but finds that the
// byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the
// WebSocket Connection_."
// https://www.rfc-editor.org/rfc/rfc6455#section-8.1
func (r *Receiver) checkText(b []byte, last bool) (good int, ok bool) {
	good = r.text.Check(b)
	if good < len(b) {
		return good, false
	}
	if last && !r.text.Complete() {
		return max(good-1, 0), false
	}
	return good, true
}

// fail ends all parsing with an error, which takes all of p.
func (r *Receiver) fail(p []byte, code StatusCode, rule string) (int, error) {
	r.done = true
	r.err = &Error{Code: code, Rule: rule}
	r.remaining = 0
	return len(p), r.err
}
