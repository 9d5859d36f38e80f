package frame

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Run with GOARCH=386 too (WS-28).
func TestWS06LengthsBeyondTheLimitAreRefusedAtTheHeader(t *testing.T) {
	for _, length := range []int64{1<<20 + 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32 + 1, 1 << 40, math.MaxInt64} {
		for _, side := range []Side{Server, Client} {
			p := Header{Fin: true, Opcode: Binary, Masked: side == Server, Length: length}.Append(nil)
			var err error
			allocs := testing.AllocsPerRun(10, func() {
				r := Receiver{Side: side, MaxMessage: 1 << 20}
				_, _, err = r.Next(p)
			})
			requireCode(t, StatusMessageTooBig, err)
			require.LessOrEqual(t, allocs, 2.0, "beyond the receiver and the error")
		}
	}
}

// WS-06, WS-28: without a limit, lengths add up to more than an int64 holds.
func TestWS06LengthsWithoutALimit(t *testing.T) {
	r := Receiver{Side: Client}
	p := append(Header{Opcode: Binary, Length: math.MaxInt64}.Append(nil), "some"...)
	ev, n, err := r.Next(p)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
	require.Equal(t, "some", string(ev.Payload))
	require.Equal(t, int64(math.MaxInt64-4), r.Remaining())

	r.remaining = 0 // as if 2^63-1 bytes had come
	for range 3 {
		ev, n, err = r.Next(append(Header{Length: math.MaxInt64}.Append(nil), "more"...))
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		require.Equal(t, "more", string(ev.Payload))
		r.remaining = 0
	}
	r.MaxMessage = 1 << 20 // a limit set late
	_, _, err = r.Next(Header{Length: 1}.Append(nil))
	requireCode(t, StatusMessageTooBig, err)
}

func TestWS08MessageOverTheLimitFailsAtTheHeaderThatCrossesIt(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		limited := func() *Receiver {
			r := &Receiver{Side: Client, Deflate: true, MaxMessage: 10, MaxCompressed: 1}
			if compressed {
				r.MaxMessage, r.MaxCompressed = r.MaxCompressed, r.MaxMessage
			}
			return r
		}
		start := stream(
			wire(Client, Header{RSV1: compressed, Opcode: Binary}, "1234"),
			wire(Client, Header{Fin: true, Opcode: Ping}, strings.Repeat("p", 100)), // does not count
			wire(Client, Header{}, "5678"),
		)
		r := limited()
		got, err := feed(t, r, append(start, wire(Client, Header{Fin: true}, "90")...), single)
		require.NoError(t, err, "ten bytes are allowed")
		require.Len(t, got, 4)
		require.True(t, got[3].Last)

		// The count begins anew with the next message.
		_, err = feed(t, r, wire(Client, Header{Fin: true, RSV1: compressed, Opcode: Binary}, "1234567890"), single)
		require.NoError(t, err)

		header := Header{Fin: true, Length: 3}.Append(nil)
		got, err = feed(t, limited(), append(start, header...), single)
		requireCode(t, StatusMessageTooBig, err)
		require.Len(t, got, 3)
	}
}

func TestLimitsOfZeroAndLessAreNone(t *testing.T) {
	for _, none := range []int{0, -1, math.MinInt} {
		r := &Receiver{
			Side: Client, Deflate: true,
			MaxMessage: int64(none), MaxCompressed: int64(none), MaxFragments: none, MaxEmptyFragments: none,
		}
		for _, compressed := range []bool{false, true} {
			p := wire(Client, Header{RSV1: compressed, Opcode: Binary}, strings.Repeat("x", 100_000))
			for range 1000 {
				p = append(p, wire(Client, Header{}, "")...)
			}
			p = append(p, wire(Client, Header{Fin: true}, "x")...)
			got, err := feed(t, r, p, whole)
			require.NoError(t, err)
			require.Len(t, got, 1002)
		}
	}
}

func TestLimitLoweredInMidMessageCountsFromTheNextFrame(t *testing.T) {
	r := &Receiver{Side: Client, MaxMessage: 100}
	_, err := feed(t, r, wire(Client, Header{Opcode: Binary}, "1234567890"), whole)
	require.NoError(t, err)
	r.MaxMessage = 5
	_, err = feed(t, r, wire(Client, Header{Fin: true}, ""), whole)
	requireCode(t, StatusMessageTooBig, err)
}

func TestWS09TooManyFragments(t *testing.T) {
	const limit = 16384
	fragments := func(n int) []byte {
		p := wire(Client, Header{Opcode: Binary}, "x")
		for range n - 2 {
			p = append(p, wire(Client, Header{}, "x")...)
		}
		return append(p, wire(Client, Header{Fin: true}, "x")...)
	}
	r := &Receiver{Side: Client, MaxFragments: limit, MaxEmptyFragments: 100}
	for range 2 { // the count begins anew
		got, err := feed(t, r, fragments(limit), whole)
		require.NoError(t, err)
		require.Len(t, got, limit)
		require.True(t, got[limit-1].Last)
	}
	got, err := feed(t, r, fragments(limit+1), whole)
	requireCode(t, StatusPolicyViolation, err)
	require.Len(t, got, limit)
}

func TestWS10TooManyEmptyFragments(t *testing.T) {
	const limit = 100
	empties := func(n int) []byte {
		p := wire(Client, Header{Opcode: Binary}, "")
		for range n - 1 {
			p = append(p, wire(Client, Header{}, "")...)
			p = append(p, wire(Client, Header{}, "not empty")...)
		}
		return p
	}
	final := wire(Client, Header{Fin: true}, "") // does not count
	r := &Receiver{Side: Client, MaxFragments: 16384, MaxEmptyFragments: limit}
	for range 2 {
		_, err := feed(t, r, append(empties(limit), final...), whole)
		require.NoError(t, err)
	}
	_, err := feed(t, r, append(empties(limit+1), final...), whole)
	requireCode(t, StatusPolicyViolation, err)
}

// WS-10: a million of them cost nothing but the time to read a hundred.
func TestWS10AMillionEmptyFragmentsHoldNoMemory(t *testing.T) {
	p := wire(Client, Header{Opcode: Binary}, "")
	p = append(p, strings.Repeat("\x00\x00", 1_000_000)...)
	reported := 0
	allocs := testing.AllocsPerRun(1, func() {
		r := Receiver{Side: Client, MaxEmptyFragments: 100}
		reported = 0
		for rest := p; len(rest) > 0; {
			ev, n, err := r.Next(rest)
			if err == nil && ev.Kind == Data {
				reported++
			}
			rest = rest[n:]
		}
	})
	require.Equal(t, 100, reported)
	require.LessOrEqual(t, allocs, 2.0)
}
