package frame

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unhex turns a block of hex digits, spaced as one likes, into bytes.
func unhex(s string) []byte {
	p, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return p
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d} // the key of RFC 6455 §5.7

// headers are drawn in bits as RFC 6455 §5.2 does: F R R R opcode, M length.
var headers = []struct {
	name   string
	bits   string // the first two bytes
	rest   string // hex: extended length, masking key
	header Header
}{
	{"empty continuation", "0 000 0000  0 0000000", "", Header{}},
	{"final text, no payload", "1 000 0001  0 0000000", "", Header{Fin: true, Opcode: Text}},
	{"binary fragment", "0 000 0010  0 0000001", "", Header{Opcode: Binary, Length: 1}},
	{"compressed text", "1 100 0001  0 0000111", "", Header{Fin: true, RSV1: true, Opcode: Text, Length: 7}},
	{"RSV2", "1 010 0001  0 0000111", "", Header{Fin: true, RSV2: true, Opcode: Text, Length: 7}},
	{"RSV3", "1 001 0001  0 0000111", "", Header{Fin: true, RSV3: true, Opcode: Text, Length: 7}},
	{"reserved opcode", "1 000 1111  0 0000000", "", Header{Fin: true, Opcode: 0xF}},
	{"longest 7-bit length", "1 000 0010  0 1111101", "", Header{Fin: true, Opcode: Binary, Length: 125}},
	{"shortest 16-bit length", "1 000 0010  0 1111110", "007e", Header{Fin: true, Opcode: Binary, Length: 126}},
	{"longest 16-bit length", "1 000 0010  0 1111110", "ffff", Header{Fin: true, Opcode: Binary, Length: 65535}},
	{"shortest 64-bit length", "1 000 0010  0 1111111", "0000000000010000", Header{Fin: true, Opcode: Binary, Length: 65536}},
	{"length of more than 32 bits", "1 000 0010  0 1111111", "0123456789abcdef", Header{Fin: true, Opcode: Binary, Length: 0x0123456789abcdef}},
	{"longest length", "1 000 0010  0 1111111", "7fffffffffffffff", Header{Fin: true, Opcode: Binary, Length: math.MaxInt64}},
	{"masked ping", "1 000 1001  1 0000101", "37fa213d", Header{Fin: true, Opcode: Ping, Masked: true, Key: testKey, Length: 5}},
	{"masked, key zero", "1 000 1010  1 0000000", "00000000", Header{Fin: true, Opcode: Pong, Masked: true}},
	{"masked, 16-bit length", "1 000 0001  1 1111110", "0100 37fa213d", Header{Fin: true, Opcode: Text, Masked: true, Key: testKey, Length: 256}},
	{"masked, 64-bit length", "0 000 0001  1 1111111", "0000000100000000 37fa213d", Header{Opcode: Text, Masked: true, Key: testKey, Length: 1 << 32}},
}

func wireOf(bits, rest string) []byte {
	var word uint16
	for _, c := range strings.ReplaceAll(bits, " ", "") {
		word = word<<1 | uint16(c-'0')
	}
	return append([]byte{byte(word >> 8), byte(word)}, unhex(rest)...)
}

func TestHeaderTable(t *testing.T) {
	for _, tc := range headers {
		t.Run(tc.name, func(t *testing.T) {
			wire := wireOf(tc.bits, tc.rest)
			assert.Equal(t, append([]byte("before"), wire...), tc.header.Append([]byte("before")))
			assert.Equal(t, len(wire), tc.header.Size())
			assert.LessOrEqual(t, len(wire), MaxHeaderSize)

			h, n, err := ParseHeader(append(wire, "payload"...))
			require.NoError(t, err)
			assert.Equal(t, len(wire), n)
			assert.Equal(t, tc.header, h)
		})
	}
}

func TestHeaderCutOffIsNoHeaderYet(t *testing.T) {
	for _, tc := range headers {
		wire := wireOf(tc.bits, tc.rest)
		for cut := range wire {
			h, n, err := ParseHeader(wire[:cut])
			require.NoError(t, err, "%s, %d bytes", tc.name, cut)
			require.Zero(t, n, "%s, %d bytes", tc.name, cut)
			require.Zero(t, h, "%s, %d bytes", tc.name, cut)
		}
	}
}

func TestHeaderAppendTakesFourBitsOfOpcode(t *testing.T) {
	require.Equal(t, []byte{0x01, 0x00}, Header{Opcode: 0xF1}.Append(nil))
}

func TestHeaderAppendMarksANegativeLength(t *testing.T) {
	wire := Header{Fin: true, Opcode: Binary, Length: -1}.Append(nil)
	require.Equal(t, unhex("82 7f ffffffffffffffff"), wire)
	require.Len(t, wire, Header{Length: -1}.Size())
}

func TestWS05LengthNotInShortestFormIsRefused(t *testing.T) {
	for _, tc := range []struct{ name, wire string }{
		{"16 bits for 0", "82 7e 0000"},
		{"16 bits for 125", "82 7e 007d"},
		{"16 bits for 124, the RFC's example", "81 7e 007c"},
		{"16 bits for 125, masked", "82 fe 007d 37fa213d"},
		{"64 bits for 0", "82 7f 0000000000000000"},
		{"64 bits for 125", "82 7f 000000000000007d"},
		{"64 bits for 126", "82 7f 000000000000007e"},
		{"64 bits for 65535", "82 7f 000000000000ffff"},
		{"64 bits for 65535, masked", "82 ff 000000000000ffff 37fa213d"},
		{"64 bits for a ping", "89 7f 0000000000000001"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireHeaderRefused(t, unhex(tc.wire), "payload length not in its shortest form")
		})
	}
}

// Run with GOARCH=386 too (WS-28): nothing may pass through an int of 32 bits.
func TestWS06LengthWithItsTopBitSetIsRefused(t *testing.T) {
	for _, wire := range []string{
		"82 7f 8000000000000000",
		"82 7f ffffffffffffffff",
		"82 7f 8000000000000001",
		"82 ff 8000000000000000 37fa213d",
		"82 ff ffffffffffffffff 37fa213d",
		"82 7f 8000000100000000",
	} {
		requireHeaderRefused(t, unhex(wire), "payload length with its top bit set")
	}
}

func requireHeaderRefused(t *testing.T, wire []byte, rule string) {
	t.Helper()
	h, n, err := ParseHeader(wire)
	require.Zero(t, h)
	require.Zero(t, n)
	var broken *Error
	require.ErrorAs(t, err, &broken)
	require.Equal(t, &Error{StatusProtocolError, rule}, broken)

	side := Client
	if wire[1]&bitMask != 0 {
		side = Server
	}
	_, err = feed(t, &Receiver{Side: side}, wire, whole)
	require.Equal(t, broken, err)
}
