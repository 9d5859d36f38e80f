package frame

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
