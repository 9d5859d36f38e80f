package frame

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A taken is a frame as a Receiver reported it, its pieces joined.
type taken struct {
	Kind       EventKind
	Opcode     Opcode
	First      bool
	Last       bool
	Compressed bool
	Payload    string
}

// A cutter says how many of left bytes come next.
type cutter func(left int) int

func whole(left int) int { return left }
func single(int) int     { return 1 }

// randomly cuts into pieces of very different sizes.
func randomly(rng *rand.Rand) cutter {
	return func(left int) int {
		n := 1 + rng.IntN(4)
		if rng.IntN(3) == 0 {
			n = 1 + rng.IntN(300)
		}
		return min(n, left)
	}
}

// feed gives in to r as a caller does that keeps what was not taken, and checks
// what Next promises for each call. It returns the frames reported and the error.
func feed(t testing.TB, r *Receiver, in []byte, cut cutter) (got []taken, err error) {
	t.Helper()
	var buf []byte
	for len(in) > 0 && err == nil {
		k := cut(len(in))
		buf = append(buf, in[:k]...) // a copy: Next writes to it
		in = in[k:]
		for len(buf) > 0 {
			before := r.Remaining()
			ev, n, nextErr := r.Next(buf)
			checkCall(t, r, before, buf, ev, n, nextErr)
			if err = nextErr; err != nil {
				break
			}
			got = record(t, got, ev)
			buf = buf[n:]
			if ev.Kind == NeedMore && n == 0 {
				if len(buf) >= MaxHeaderSize+MaxControlPayload {
					t.Fatalf("%d bytes kept back, more than promised", len(buf))
				}
				break
			}
		}
	}
	return got, err
}

// checkCall checks one call of Next against its promises. before is what Remaining
// was.
func checkCall(t testing.TB, r *Receiver, before int64, p []byte, ev Event, n int, err error) {
	t.Helper()
	promise := func(kept bool, what string) {
		if !kept {
			t.Helper()
			t.Fatalf("%s: %+v, %d, %v for % x", what, ev, n, err, p[:min(len(p), 100)])
		}
	}
	promise(0 <= n && n <= len(p), "more taken than there is")
	if err != nil {
		promise(n == len(p), "an error takes everything")
		require.Zero(t, ev, "an event beside an error")
		checkError(t, r, err)
		return
	}
	switch ev.Kind {
	case NeedMore:
		require.Zero(t, ev)
		promise(n == 0 || n == len(p), "some taken, but nothing reported")
		return
	case Data:
		promise(n > 0, "an event out of nothing")
		promise(ev.Opcode == Text || ev.Opcode == Binary, "opcode of a message")
		promise(ev.FrameStart == (before == 0), "start of a frame")
		promise(ev.FrameStart || !ev.First, "a message begins with a frame")
		promise(ev.Last != r.InMessage(), "InMessage after the event")
		promise(!ev.Last || r.Remaining() == 0, "the last piece before the end of its frame")
	case Control:
		promise(n > 0, "an event out of nothing")
		promise(ev.Opcode == Close || ev.Opcode == Ping || ev.Opcode == Pong, "opcode of a control frame")
		promise(len(ev.Payload) <= MaxControlPayload, "payload of a control frame")
		promise(!(ev.First || ev.Last || ev.FrameStart || ev.Compressed), "flags of a data frame")
	}
	promise(len(ev.Payload) == cap(ev.Payload), "an append to the payload would write into p")
	start := n - len(ev.Payload)
	promise(start >= 0 && (start == n || &p[start] == &ev.Payload[0]), "the payload is the end of what was taken")
}

// checkError checks what a Receiver promises for and after its first error.
func checkError(t testing.TB, r *Receiver, err error) {
	t.Helper()
	var broken *Error
	require.ErrorAs(t, err, &broken)
	require.Contains(t, []StatusCode{1002, 1007, 1008, 1009}, broken.Code)
	require.NotEmpty(t, broken.Rule)
	_, closeErr := AppendClose(nil, broken.Code, broken.Rule)
	require.NoError(t, closeErr, "the rule does not fit into a close frame")

	for _, p := range [][]byte{nil, {0x81}, unhex("8900"), make([]byte, 200)} {
		ev, n, again := r.Next(p)
		require.Zero(t, ev)
		require.Equal(t, len(p), n)
		require.Same(t, err, again, "another error after the first")
	}
	require.Zero(t, r.Remaining())
}

// record adds an event to the frames reported.
func record(t testing.TB, got []taken, ev Event) []taken {
	t.Helper()
	switch {
	case ev.Kind == NeedMore:
		return got
	case ev.Kind == Control || ev.FrameStart:
		return append(got, taken{ev.Kind, ev.Opcode, ev.First, ev.Last, ev.Compressed, string(ev.Payload)})
	}
	require.NotEmpty(t, got, "a frame's middle without its start")
	frame := &got[len(got)-1]
	if frame.Kind != Data || frame.Opcode != ev.Opcode || frame.Compressed != ev.Compressed || frame.Last {
		t.Fatalf("%+v does not continue %+v", ev, *frame)
	}
	frame.Last = ev.Last
	frame.Payload += string(ev.Payload)
	return got
}

// feedStraight gives in to r as a caller does that reads payload straight to
// where it is to stay: as much as Remaining says, or a part of it, in a slice of
// its own.
func feedStraight(t testing.TB, r *Receiver, in []byte, part cutter) (got []taken, err error) {
	t.Helper()
	for len(in) > 0 {
		before := r.Remaining()
		k := 1 // bytes of a header or a control frame
		if before > 0 {
			k = part(int(min(before, int64(len(in)))))
		}
		for p := bytes.Clone(in[:k]); len(p) > 0; {
			ev, n, err := r.Next(p)
			checkCall(t, r, before, p, ev, n, err)
			if err != nil {
				return got, err
			}
			got = record(t, got, ev)
			if ev.Kind == NeedMore && n == 0 {
				require.Zero(t, before, "payload not taken")
				k++
				if k > len(in) {
					return got, nil
				}
				p = bytes.Clone(in[:k])
				continue
			}
			p = p[n:]
			before = r.Remaining()
		}
		in = in[k:]
	}
	return got, nil
}

// requireCode demands an *Error with the code.
func requireCode(t testing.TB, want StatusCode, err error) {
	t.Helper()
	var broken *Error
	require.ErrorAs(t, err, &broken)
	require.Equal(t, want, broken.Code, broken.Rule)
}

// codeOf returns the status code of an *Error, 0 for none.
func codeOf(err error) StatusCode {
	var broken *Error
	if errors.As(err, &broken) {
		return broken.Code
	}
	return 0
}

// wire appends a frame without any check, masked for a server.
func wire(to Side, h Header, payload string) []byte {
	h.Length = int64(len(payload))
	if to == Server {
		h.Masked = true
		h.Key = testKey
	}
	p := h.Append(nil)
	start := len(p)
	p = append(p, payload...)
	if h.Masked {
		Mask(p[start:], h.Key, 0)
	}
	return p
}

// stream joins frames.
func stream(frames ...[]byte) []byte { return slices.Concat(frames...) }
