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
			1002,
			[]taken{{Data, Binary, true, false, compressed, "x"}},
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

func TestNextIntoReplacesTheEvent(t *testing.T) {
	var r Receiver
	ev := Event{Kind: Control, Opcode: Ping, First: true, Last: true, FrameStart: true, Compressed: true, Payload: []byte("old")}
	n, err := r.NextInto(&ev, nil)
	assert.NoError(t, err)
	assert.Zero(t, n)
	assert.Equal(t, Event{}, ev)

	p := wire(Server, Header{Fin: true, Opcode: Binary}, "abc")
	n, err = r.NextInto(&ev, p)
	assert.NoError(t, err)
	assert.Equal(t, len(p), n)
	assert.Equal(t, Event{Kind: Data, Opcode: Binary, First: true, Last: true, FrameStart: true, Payload: []byte("abc")}, ev)
}
