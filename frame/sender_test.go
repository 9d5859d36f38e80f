package frame

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSenderServer(t *testing.T) {
	s := Sender{Deflate: true}
	var b []byte
	for _, f := range []struct {
		h       Header
		payload string
	}{
		{Header{Fin: true, Opcode: Text, Masked: true, Key: testKey, Length: 99}, "Hello"}, // set by the sender
		{Header{Opcode: Text}, "Hel"},
		{Header{Fin: true, Opcode: Ping}, "Hello"},
		{Header{Fin: true}, "lo"},
		{Header{RSV1: true, Opcode: Binary}, "\xf2"},
		{Header{Fin: true}, "\x00"},
		{Header{Fin: true, Opcode: Close}, "\x03\xe8"},
	} {
		var err error
		b, err = s.Append(b, f.h, []byte(f.payload))
		require.NoError(t, err)
	}
	require.Equal(t, unhex(`
		81 05 48656c6c6f
		01 03 48656c
		89 05 48656c6c6f
		80 02 6c6f
		42 01 f2
		80 01 00
		88 02 03e8`), b)
}

func TestSenderClientMasks(t *testing.T) {
	s := Sender{Side: Client}
	payload := []byte("Hello")
	b, err := s.Append([]byte("before"), Header{Fin: true, Opcode: Text, Key: testKey}, payload)
	require.NoError(t, err)
	require.Equal(t, append([]byte("before"), unhex("81 85 37fa213d 7f9f4d5158")...), b)
	require.Equal(t, "Hello", string(payload), "the caller's payload was masked")
}

func TestSenderAppendHeaderIsAppendWithoutThePayload(t *testing.T) {
	for _, side := range []Side{Server, Client} {
		a, b := Sender{Side: side}, Sender{Side: side}
		for _, f := range []struct {
			h       Header
			payload string
		}{
			{Header{Opcode: Text, Key: testKey}, "caf\xC3"},
			{Header{Fin: true, Opcode: Pong, Key: testKey}, "pong"},
			{Header{Fin: true, Key: testKey}, "\xA9" + strings.Repeat("x", 70_000)},
			{Header{Fin: true, Opcode: Binary, Key: testKey}, strings.Repeat("\xFF", 300)},
			{Header{Fin: true, Opcode: Close, Key: testKey}, ""},
		} {
			want, err := a.Append(nil, f.h, []byte(f.payload))
			require.NoError(t, err)
			got, err := b.AppendHeader(nil, f.h, []byte(f.payload))
			require.NoError(t, err)
			if side == Client {
				got = AppendMasked(got, []byte(f.payload), f.h.Key, 0)
			} else {
				got = append(got, f.payload...)
			}
			require.Equal(t, want, got)
			require.Equal(t, a, b)
		}
	}
}

// A step is a frame given to a Sender.
type step struct {
	h       Header
	payload string
}

func TestSenderRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		deflate bool
		before  []step
		step    step
		after   step // accepted all the same: nothing has changed
	}{
		{
			"WS-03: a reserved opcode", false, nil,
			step{Header{Fin: true, Opcode: 3}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"WS-03: a reserved control opcode", false, nil,
			step{Header{Fin: true, Opcode: 0xB}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"an opcode of more than four bits", false, nil,
			step{Header{Fin: true, Opcode: 0x11}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"an opcode of more than four bits that looks like Close", false, nil,
			step{Header{Fin: true, Opcode: 0x18}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"WS-02: RSV2", true, nil,
			step{Header{Fin: true, RSV2: true, Opcode: Text}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"WS-02: RSV3", true, nil,
			step{Header{Fin: true, RSV3: true, Opcode: Text}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"WS-02: RSV1 without deflate", false, nil,
			step{Header{Fin: true, RSV1: true, Opcode: Text}, ""},
			step{Header{Fin: true, Opcode: Text}, ""},
		},
		{
			"PMD-03: RSV1 on a continuation", true,
			[]step{{Header{RSV1: true, Opcode: Text}, "\xFF"}},
			step{Header{Fin: true, RSV1: true}, ""},
			step{Header{Fin: true}, "\xFF"},
		},
		{
			"PMD-03: RSV1 on a ping", true, nil,
			step{Header{Fin: true, RSV1: true, Opcode: Ping}, ""},
			step{Header{Fin: true, Opcode: Ping}, ""},
		},
		{
			"WS-04: a fragmented ping", false, nil,
			step{Header{Opcode: Ping}, ""},
			step{Header{Fin: true, Opcode: Ping}, ""},
		},
		{
			"WS-04: a ping of 126 bytes", false, nil,
			step{Header{Fin: true, Opcode: Ping}, strings.Repeat("p", 126)},
			step{Header{Fin: true, Opcode: Ping}, strings.Repeat("p", 125)},
		},
		{
			"WS-07: a new message in mid-message", false,
			[]step{{Header{Opcode: Text}, "a"}},
			step{Header{Fin: true, Opcode: Binary}, ""},
			step{Header{Fin: true}, ""},
		},
		{
			"WS-07: a continuation outside a message", false,
			[]step{{Header{Fin: true, Opcode: Text}, "a"}},
			step{Header{Fin: true}, ""},
			step{Header{Fin: true, Opcode: Binary}, ""},
		},
		{
			"WS-12: text that is not UTF-8", false, nil,
			step{Header{Opcode: Text}, "a\xFF"},
			step{Header{Fin: true, Opcode: Text}, "a"},
		},
		{
			"WS-12: a text that ends within a code point", false, nil,
			step{Header{Fin: true, Opcode: Text}, "a\xE2\x82"},
			step{Header{Opcode: Text}, "a\xE2\x82"},
		},
		{
			"WS-12: a fragment that breaks a code point", false,
			[]step{{Header{Opcode: Text}, "a\xE2\x82"}},
			step{Header{}, "x"},
			step{Header{Fin: true}, "\xAC"},
		},
		{
			"WS-12: an empty final fragment within a code point", false,
			[]step{{Header{Opcode: Text}, "a\xE2\x82"}},
			step{Header{Fin: true}, ""},
			step{Header{}, ""},
		},
		{
			"WS-14: a close payload of one byte", false, nil,
			step{Header{Fin: true, Opcode: Close}, "\x03"},
			step{Header{Fin: true, Opcode: Close}, ""},
		},
		{
			"WS-14: an illegal code", false, nil,
			step{Header{Fin: true, Opcode: Close}, "\x03\xee"},
			step{Header{Fin: true, Opcode: Close}, "\x03\xe8"},
		},
		{
			"WS-15: a reason that is not UTF-8", false, nil,
			step{Header{Fin: true, Opcode: Close}, "\x03\xe8\xFF"},
			step{Header{Fin: true, Opcode: Close}, "\x03\xe8ok"},
		},
	} {
		for _, side := range []Side{Server, Client} {
			t.Run(tc.name+", "+side.String(), func(t *testing.T) {
				s := Sender{Side: side, Deflate: tc.deflate}
				for _, f := range tc.before {
					_, err := s.Append(nil, f.h, []byte(f.payload))
					require.NoError(t, err)
				}
				before := s
				b, err := s.Append([]byte("before"), tc.step.h, []byte(tc.step.payload))
				require.Error(t, err)
				assert.NotErrorIs(t, err, ErrClosed)
				assert.Zero(t, codeOf(err), "a local mistake looks like the peer's")
				assert.Equal(t, "before", string(b))
				_, err = s.AppendHeader(nil, tc.step.h, []byte(tc.step.payload))
				require.Error(t, err)
				assert.Equal(t, before, s)
				_, err = s.Append(nil, tc.after.h, []byte(tc.after.payload))
				require.NoError(t, err)
			})
		}
	}
}

func TestSenderAfterClose(t *testing.T) {
	s := Sender{}
	_, err := s.Append(nil, Header{Opcode: Text}, []byte("a"))
	require.NoError(t, err)
	require.False(t, s.Closed())
	require.True(t, s.InMessage())
	_, err = s.Append(nil, Header{Fin: true, Opcode: Close}, nil)
	require.NoError(t, err, "a close frame may cut a message off")
	require.True(t, s.Closed())
	for _, op := range []Opcode{Continuation, Text, Binary, Close, Ping, Pong, 0xF} {
		b, err := s.Append([]byte("before"), Header{Fin: true, Opcode: op}, nil)
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, "before", string(b))
	}
}

func TestSenderAllocatesNothing(t *testing.T) {
	s := Sender{Side: Client}
	b := make([]byte, 0, 4096)
	payload := bytes.Repeat([]byte("κόσμε"), 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var err error
		if b, err = s.Append(b[:0], Header{Fin: true, Opcode: Text, Key: testKey}, payload); err != nil {
			t.Fatal(err)
		}
	}))
}
