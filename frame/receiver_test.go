package frame

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// valid are streams that break no rule.
var valid = []struct {
	name    string
	side    Side
	deflate bool
	wire    []byte
	want    []taken
}{
	{
		"RFC 6455 §5.7: a single-frame unmasked text message", Client, false,
		unhex("81 05 48656c6c6f"),
		[]taken{{Data, Text, true, true, false, "Hello"}},
	},
	{
		"RFC 6455 §5.7: a single-frame masked text message", Server, false,
		unhex("81 85 37fa213d 7f9f4d5158"),
		[]taken{{Data, Text, true, true, false, "Hello"}},
	},
	{
		"RFC 6455 §5.7: a fragmented unmasked text message", Client, false,
		unhex("01 03 48656c  80 02 6c6f"),
		[]taken{{Data, Text, true, false, false, "Hel"}, {Data, Text, false, true, false, "lo"}},
	},
	{
		"RFC 6455 §5.7: unmasked ping", Client, false,
		unhex("89 05 48656c6c6f"),
		[]taken{{Control, Ping, false, false, false, "Hello"}},
	},
	{
		"RFC 6455 §5.7: masked ping response", Server, false,
		unhex("8a 85 37fa213d 7f9f4d5158"),
		[]taken{{Control, Pong, false, false, false, "Hello"}},
	},
	{
		"RFC 6455 §5.7: 256 bytes binary message", Client, false,
		append(unhex("82 7e 0100"), strings.Repeat("b", 256)...),
		[]taken{{Data, Binary, true, true, false, strings.Repeat("b", 256)}},
	},
	{
		"RFC 6455 §5.7: 64 KiB binary message", Client, false,
		append(unhex("82 7f 0000000000010000"), strings.Repeat("b", 65536)...),
		[]taken{{Data, Binary, true, true, false, strings.Repeat("b", 65536)}},
	},
	{
		"RFC 7692 §7.2.3.1: one block, in two fragments", Client, true,
		unhex("41 03 f248cd  80 04 c9c90700"),
		[]taken{{Data, Text, true, false, true, "\xf2\x48\xcd"}, {Data, Text, false, true, true, "\xc9\xc9\x07\x00"}},
	},
	{
		"uncompressed message although deflate was negotiated", Client, true,
		unhex("c1 01 00  81 01 61"),
		[]taken{{Data, Text, true, true, true, "\x00"}, {Data, Text, true, true, false, "a"}},
	},
	{
		"empty messages and fragments", Server, false,
		stream(
			wire(Server, Header{Fin: true, Opcode: Text}, ""),
			wire(Server, Header{Opcode: Binary}, ""),
			wire(Server, Header{}, ""),
			wire(Server, Header{}, "x"),
			wire(Server, Header{Fin: true}, ""),
		),
		[]taken{
			{Data, Text, true, true, false, ""},
			{Data, Binary, true, false, false, ""},
			{Data, Binary, false, false, false, ""},
			{Data, Binary, false, false, false, "x"},
			{Data, Binary, false, true, false, ""},
		},
	},
	{
		"WS-11: control frames between fragments", Server, false,
		stream(
			wire(Server, Header{Opcode: Text}, "one "),
			wire(Server, Header{Fin: true, Opcode: Ping}, "1"),
			wire(Server, Header{}, "two "),
			wire(Server, Header{Fin: true, Opcode: Pong}, ""),
			wire(Server, Header{Fin: true, Opcode: Ping}, strings.Repeat("p", 125)),
			wire(Server, Header{Fin: true}, "three"),
		),
		[]taken{
			{Data, Text, true, false, false, "one "},
			{Control, Ping, false, false, false, "1"},
			{Data, Text, false, false, false, "two "},
			{Control, Pong, false, false, false, ""},
			{Control, Ping, false, false, false, strings.Repeat("p", 125)},
			{Data, Text, false, true, false, "three"},
		},
	},
	{
		"WS-12: a code point split over fragments, a ping within it", Server, false,
		stream(
			wire(Server, Header{Opcode: Text}, "κόσμ\xF0"),
			wire(Server, Header{}, "\x9F"),
			wire(Server, Header{Fin: true, Opcode: Ping}, "\xFF"),
			wire(Server, Header{}, ""),
			wire(Server, Header{}, "\x90"),
			wire(Server, Header{Fin: true}, "\x88"),
		),
		[]taken{
			{Data, Text, true, false, false, "κόσμ\xF0"},
			{Data, Text, false, false, false, "\x9F"},
			{Control, Ping, false, false, false, "\xFF"},
			{Data, Text, false, false, false, ""},
			{Data, Text, false, false, false, "\x90"},
			{Data, Text, false, true, false, "\x88"},
		},
	},
	{
		"binary and compressed text need not be UTF-8", Client, true,
		stream(
			wire(Client, Header{Fin: true, Opcode: Binary}, "\xFF\xC0"),
			wire(Client, Header{Fin: true, RSV1: true, Opcode: Text}, "\xFF\xC0"),
		),
		[]taken{{Data, Binary, true, true, false, "\xFF\xC0"}, {Data, Text, true, true, true, "\xFF\xC0"}},
	},
	{
		"WS-16: what comes after a close frame is ignored", Server, false,
		stream(
			wire(Server, Header{Opcode: Text}, "cut off"),
			wire(Server, Header{Fin: true, Opcode: Close}, "\x03\xe8bye"),
			wire(Server, Header{Fin: true, Opcode: Close}, "\x03\xe9again"),
			wire(Server, Header{Fin: true, Opcode: Text}, "late"),
			wire(Client, Header{Fin: true, RSV2: true, Opcode: 0xF}, "nonsense"),
		),
		[]taken{{Data, Text, true, false, false, "cut off"}, {Control, Close, false, false, false, "\x03\xe8bye"}},
	},
	{
		"a close frame without payload", Client, false,
		unhex("88 00  ff ff ff"),
		[]taken{{Control, Close, false, false, false, ""}},
	},
}

func TestReceiverTakesValidStreams(t *testing.T) {
	for _, tc := range valid {
		t.Run(tc.name, func(t *testing.T) {
			got, err := feed(t, &Receiver{Side: tc.side, Deflate: tc.deflate}, tc.wire, whole)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

// WS-27: any split gives the same events.
func TestWS27EverySplitGivesTheSameEvents(t *testing.T) {
	for _, tc := range valid {
		t.Run(tc.name, func(t *testing.T) {
			check := func(how string, got []taken, err error) {
				require.NoError(t, err, how)
				require.Equal(t, tc.want, got, how)
			}
			receiver := func() *Receiver { return &Receiver{Side: tc.side, Deflate: tc.deflate} }
			got, err := feedStraight(t, receiver(), tc.wire, whole)
			check("payload straight", got, err)
			if len(tc.wire) < 1000 {
				got, err = feed(t, receiver(), tc.wire, single)
				check("one byte at a time", got, err)
				got, err = feedStraight(t, receiver(), tc.wire, single)
				check("payload straight, one byte at a time", got, err)
			}
			for at := 1; at < len(tc.wire); at += 1 + len(tc.wire)/1000 {
				first := true
				got, err := feed(t, receiver(), tc.wire, func(left int) int {
					if first {
						first = false
						return at
					}
					return left
				})
				check(fmt.Sprint("cut at ", at), got, err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 10 {
				got, err := feed(t, receiver(), tc.wire, randomly(rng))
				check("random cuts", got, err)
				got, err = feedStraight(t, receiver(), tc.wire, randomly(rng))
				check("random cuts, straight", got, err)
			}
		})
	}
}

func TestReceiverGivesNothingExtraForATruncatedStream(t *testing.T) {
	for _, tc := range valid {
		t.Run(tc.name, func(t *testing.T) {
			for cut := 0; cut < len(tc.wire); cut += 1 + len(tc.wire)/1000 {
				got, err := feed(t, &Receiver{Side: tc.side, Deflate: tc.deflate}, tc.wire[:cut], whole)
				require.NoError(t, err)
				require.LessOrEqual(t, len(got), len(tc.want))
				for i, frame := range got {
					want := tc.want[i]
					if i == len(got)-1 && frame.Kind == Data && frame != want { // a part of the frame
						require.True(t, strings.HasPrefix(want.Payload, frame.Payload))
						require.False(t, frame.Last, "cut at %d: a part passed off as the whole", cut)
						want.Payload, want.Last = frame.Payload, false
					}
					require.Equal(t, want, frame, "cut at %d", cut)
				}
			}
		})
	}
}

func TestReceiverNextOfNothingIsNothing(t *testing.T) {
	var r Receiver
	for _, p := range [][]byte{nil, {}} {
		ev, n, err := r.Next(p)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Zero(t, ev)
	}
	_, _, err := r.Next(wire(Server, Header{Opcode: Binary}, "abc")[:7])
	require.NoError(t, err)
	ev, n, err := r.Next(nil) // in the middle of a payload
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, ev)
}

func TestReceiverReportsAHeaderBeforeItsPayload(t *testing.T) {
	r := Receiver{Deflate: true}
	p := wire(Server, Header{RSV1: true, Opcode: Text}, "payload")
	ev, n, err := r.Next(p[:6])
	require.NoError(t, err)
	require.Equal(t, 6, n)
	require.Equal(t, Event{Kind: Data, Opcode: Text, First: true, FrameStart: true, Compressed: true, Payload: []byte{}}, ev)
	require.EqualValues(t, 7, r.Remaining())
	require.True(t, r.InMessage())

	ev, n, err = r.Next(p[6:])
	require.NoError(t, err)
	require.Equal(t, 7, n)
	require.Equal(t, Event{Kind: Data, Opcode: Text, Compressed: true, Payload: []byte("payload")}, ev)
	require.Zero(t, r.Remaining())
	require.True(t, r.InMessage(), "the message goes on")
}

// A broken is a stream that breaks a rule: so many frames are reported before.
type broken struct {
	name    string
	side    Side
	deflate bool
	wire    []byte
	code    StatusCode
	before  []taken
}

// check feeds the stream whole and in pieces.
func (tc broken) check(t *testing.T) {
	t.Run(tc.name, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for name, cut := range map[string]cutter{"whole": whole, "single": single, "random": randomly(rng)} {
			got, err := feed(t, &Receiver{Side: tc.side, Deflate: tc.deflate}, tc.wire, cut)
			requireCode(t, tc.code, err)
			require.Equal(t, tc.before, got, name)
		}
		got, err := feedStraight(t, &Receiver{Side: tc.side, Deflate: tc.deflate}, tc.wire, whole)
		requireCode(t, tc.code, err)
		require.Equal(t, tc.before, got, "straight")
	})
}

func TestWS01MaskOnTheWrongSide(t *testing.T) {
	for _, op := range []Opcode{Text, Binary, Ping, Pong, Close} {
		h := Header{Fin: true, Opcode: op}
		broken{"unmasked to a server: " + op.String(), Server, false, wire(Client, h, ""), 1002, nil}.check(t)
		broken{"masked to a client: " + op.String(), Client, false, wire(Server, h, ""), 1002, nil}.check(t)
	}
	// The payload is not delivered, not even that of the frame with the fault.
	good := wire(Server, Header{Opcode: Binary}, "good")
	broken{
		"second frame unmasked", Server, false,
		append(good, wire(Client, Header{Fin: true}, "bad")...), 1002,
		[]taken{{Data, Binary, true, false, false, "good"}},
	}.check(t)
}

func TestWS02ReservedBits(t *testing.T) {
	for _, deflate := range []bool{false, true} {
		broken{"RSV2", Server, deflate, wire(Server, Header{Fin: true, RSV2: true, Opcode: Text}, "x"), 1002, nil}.check(t)
		broken{"RSV3", Client, deflate, wire(Client, Header{Fin: true, RSV3: true, Opcode: Binary}, "x"), 1002, nil}.check(t)
		broken{"RSV2 on a ping", Client, deflate, wire(Client, Header{Fin: true, RSV2: true, Opcode: Ping}, ""), 1002, nil}.check(t)
	}
	broken{"RSV1 not negotiated", Server, false, wire(Server, Header{Fin: true, RSV1: true, Opcode: Text}, "x"), 1002, nil}.check(t)
}

func TestPMD03RSV1WhereNoMessageBegins(t *testing.T) {
	for _, op := range []Opcode{Ping, Pong, Close} {
		broken{op.String(), Server, true, wire(Server, Header{Fin: true, RSV1: true, Opcode: op}, ""), 1002, nil}.check(t)
	}
	for _, compressed := range []bool{false, true} {
		broken{
			"continuation", Server, true,
			stream(
				wire(Server, Header{RSV1: compressed, Opcode: Binary}, "x"),
				wire(Server, Header{Fin: true, RSV1: true}, "y"),
			),
			1002, []taken{{Data, Binary, true, false, compressed, "x"}},
		}.check(t)
	}
}

func TestWS03ReservedOpcodes(t *testing.T) {
	for _, op := range []Opcode{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		broken{op.String(), Server, true, wire(Server, Header{Fin: true, Opcode: op}, ""), 1002, nil}.check(t)
		broken{op.String() + " in a message", Client, true, stream(
			wire(Client, Header{Opcode: Binary}, ""), wire(Client, Header{Opcode: op}, "x"),
		), 1002, []taken{{Data, Binary, true, false, false, ""}}}.check(t)
	}
}

func TestWS04ControlFrames(t *testing.T) {
	for _, op := range []Opcode{Close, Ping, Pong} {
		broken{op.String() + " fragmented", Server, false, wire(Server, Header{Opcode: op}, ""), 1002, nil}.check(t)
		// Refused by its header, before any payload: 126 bytes never come.
		h := Header{Fin: true, Opcode: op, Masked: true, Length: 126}
		broken{op.String() + " of 126 bytes", Server, false, h.Append(nil), 1002, nil}.check(t)
		h = Header{Fin: true, Opcode: op, Length: math.MaxInt64}
		broken{op.String() + " of 2^63-1 bytes", Client, false, h.Append(nil), 1002, nil}.check(t)
	}
}

func TestWS07FragmentsOutOfOrder(t *testing.T) {
	broken{"continuation first", Server, false, wire(Server, Header{Fin: true}, "x"), 1002, nil}.check(t)
	broken{"continuation after a whole message", Client, false, stream(
		wire(Client, Header{Fin: true, Opcode: Text}, "x"), wire(Client, Header{Fin: true}, "y"),
	), 1002, []taken{{Data, Text, true, true, false, "x"}}}.check(t)
	for _, op := range []Opcode{Text, Binary} {
		broken{"new message in mid-message: " + op.String(), Server, false, stream(
			wire(Server, Header{Opcode: Text}, "x"),
			wire(Server, Header{Fin: true, Opcode: Ping}, ""),
			wire(Server, Header{Fin: true, Opcode: op}, "y"),
		), 1002, []taken{{Data, Text, true, false, false, "x"}, {Control, Ping, false, false, false, ""}}}.check(t)
	}
}

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

// badText are texts and the place of the first bad byte in them.
var badText = []struct {
	name string
	text string
	at   int
}{
	{"lone continuation byte", "ab\x80c", 2},
	{"FF", "\xFF", 0},
	{"overlong, two bytes", "a\xC0\xAF", 1},
	{"overlong, C1", "a\xC1\xBF", 1},
	{"overlong, three bytes", "a\xE0\x9F\xBF", 2},
	{"overlong, four bytes", "a\xF0\x8F\xBF\xBF", 2},
	{"surrogate U+D800", "a\xED\xA0\x80", 2},
	{"surrogate U+DFFF", "a\xED\xBF\xBF", 2},
	{"beyond U+10FFFF", "a\xF4\x90\x80\x80", 2},
	{"F5", "a\xF5\x80\x80\x80", 1},
	{"five bytes", "\xF8\x88\x80\x80\x80", 0},
	{"code point cut off by ASCII", "κ\xE2\x82a", 4},
	{"code point cut off by another", "\xF0\x9F\x90κ", 3},
	{"cut off at the end, two bytes", "abc\xCE", 3},
	{"cut off at the end, three bytes", "abc\xE2\x82", 4},
	{"cut off at the end, four bytes", "abc\xF0\x9F\x90", 5},
	{"cut off at the end, nothing else", "\xCE", 0},
	{"late, behind long ASCII", strings.Repeat("a", 1000) + "\xFF", 1000},
	{"late, behind long text", strings.Repeat("κόσμε ", 200) + "\xED\xA0\x80", 200*len("κόσμε ") + 1},
}

func TestWS12BadUTF8FailsAtTheFirstBadByte(t *testing.T) {
	for _, side := range []Side{Server, Client} {
		for _, tc := range badText {
			broken{
				tc.name + ", one frame", side, true, wire(side, Header{Fin: true, Opcode: Text}, tc.text), 1007,
				[]taken{{Data, Text, true, false, false, tc.text[:tc.at]}},
			}.check(t)
		}
	}
}

func TestWS12BadUTF8InTheFirstOfManyFragmentsFailsBeforeLaterBytes(t *testing.T) {
	for _, tc := range badText {
		if strings.HasPrefix(tc.name, "cut off at the end") {
			continue // that text may go on
		}
		r := &Receiver{Side: Client}
		p := Header{Opcode: Text, Length: int64(len(tc.text)) + 1000}.Append(nil)
		// All that is there ends with the bad byte.
		p = append(p, tc.text[:tc.at+1]...)
		got, err := feed(t, r, p, single)
		requireCode(t, StatusInvalidPayload, err)
		require.Equal(t, []taken{{Data, Text, true, false, false, tc.text[:tc.at]}}, got, tc.name)
	}
}

func TestWS12TextEndsWithinACodePoint(t *testing.T) {
	first := wire(Server, Header{Opcode: Text}, "ab\xE2\x82")
	broken{
		"the final frame is empty", Server, false, stream(first, wire(Server, Header{Fin: true}, "")), 1007,
		[]taken{{Data, Text, true, false, false, "ab\xE2\x82"}},
	}.check(t)
	broken{
		"the final frame begins another code point", Server, false, stream(first, wire(Server, Header{Fin: true}, "\xAC\xE2")), 1007,
		[]taken{{Data, Text, true, false, false, "ab\xE2\x82"}, {Data, Text, false, false, false, "\xAC"}},
	}.check(t)
	broken{
		"the final frame goes on with something else", Server, false, stream(first, wire(Server, Header{Fin: true}, "x")), 1007,
		[]taken{{Data, Text, true, false, false, "ab\xE2\x82"}, {Data, Text, false, false, false, ""}},
	}.check(t)
}

// WS-13: what is handed out before the bad byte is the good beginning, and the
// error comes with the call after it.
func TestWS13GoodBytesFirstThenTheError(t *testing.T) {
	var r Receiver
	p := wire(Server, Header{Fin: true, Opcode: Text}, "good \xC0 never")
	ev, n, err := r.Next(p)
	require.NoError(t, err)
	require.Equal(t, "good ", string(ev.Payload))
	require.False(t, ev.Last)
	require.Less(t, n, len(p), "nothing is left to come back with")
	ev, n, err = r.Next(p[n:])
	requireCode(t, StatusInvalidPayload, err)
	require.Zero(t, ev)
	require.Positive(t, n)
}

func TestWS14AndWS15IllegalClosePayloadIsAnError(t *testing.T) {
	for _, tc := range closePayloads {
		t.Run(tc.name, func(t *testing.T) {
			p := stream(
				wire(Server, Header{Fin: true, Opcode: Close}, tc.payload),
				wire(Server, Header{Fin: true, Opcode: Text}, "late"),
			)
			got, err := feed(t, &Receiver{}, p, single)
			if tc.broken != 0 {
				requireCode(t, tc.broken, err)
				require.Empty(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []taken{{Control, Close, false, false, false, tc.payload}}, got)
		})
	}
}

func TestWS16AfterCloseEverythingIsTakenAndIgnored(t *testing.T) {
	var r Receiver
	_, err := feed(t, &r, wire(Server, Header{Fin: true, Opcode: Close}, ""), whole)
	require.NoError(t, err)
	for _, p := range [][]byte{nil, {0xFF}, wire(Server, Header{Fin: true, Opcode: Close}, ""), make([]byte, 100_000)} {
		ev, n, err := r.Next(p)
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		require.Zero(t, ev)
	}
	require.Zero(t, r.Remaining())
}

func TestReceiverAllocatesNothing(t *testing.T) {
	p := stream(
		wire(Client, Header{Opcode: Text}, strings.Repeat("κόσμε", 100)),
		wire(Client, Header{Fin: true, Opcode: Ping}, "ping"),
		wire(Client, Header{Fin: true}, strings.Repeat("a", 1000)),
	)
	r := Receiver{Side: Client, MaxMessage: 1 << 20, MaxFragments: 10, MaxEmptyFragments: 10}
	allocs := testing.AllocsPerRun(100, func() {
		for rest := p; len(rest) > 0; {
			_, n, err := r.Next(rest[:min(len(rest), 150)])
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
	})
	require.Zero(t, allocs)
}
