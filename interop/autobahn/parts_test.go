package autobahn

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestDataSetsHaveTheSuitesSizes(t *testing.T) {
	for i, size := range []int{194056, 263222, 222218, 263647, 1042328} {
		d := dataSets[i]
		d.load()
		assert.Len(t, d.data, size, d.name)
		if !d.binary {
			assert.True(t, utf8.Valid(d.data), d.name)
			assert.Less(t, len(d.starts), size, "text has characters of several octets")
			assert.Equal(t, 100000, utf8.RuneCount(d.piece(7, 100000)), "a message that goes on at the beginning")
		} else {
			assert.Len(t, d.piece(7, 131072), 131072)
		}
	}
	assert.True(t, json.Valid(dataSets[0].data))
}

func TestAnswerIsCheckedAgainstTheOffer(t *testing.T) {
	nine := []terms{{noTakeover: true, bits: 9}}
	for _, tc := range []struct {
		answer string
		all    []terms
		want   *Agreed
		fails  bool
	}{
		{answer: "", all: nine},
		{answer: "permessage-deflate", all: []terms{{}}, want: &Agreed{ServerBits: 15, ClientBits: 15}},
		{
			answer: "permessage-deflate; client_max_window_bits=10; server_no_context_takeover; server_max_window_bits=8", all: nine,
			want: &Agreed{ServerNoTakeover: true, ServerBits: 8, ClientBits: 10},
		},
		{answer: "permessage-deflate", all: append(nine, terms{}), want: &Agreed{ServerBits: 15, ClientBits: 15}},
		{answer: "permessage-deflate", all: nine, fails: true},
		{answer: "permessage-deflate; server_no_context_takeover; server_max_window_bits=10", all: nine, fails: true},
		{answer: "permessage-deflate; server_no_context_takeover; server_max_window_bits=09", all: nine, fails: true},
		{answer: "permessage-deflate; server_no_context_takeover; server_no_context_takeover", all: []terms{{}}, fails: true},
		{answer: "permessage-deflate; mystery", all: []terms{{}}, fails: true},
		{answer: "permessage-deflate", fails: true},
		{answer: "x-webkit-deflate-frame", all: []terms{{}}, fails: true},
		{answer: "permessage-deflate, permessage-deflate", all: []terms{{}}, fails: true},
	} {
		got, err := checkAnswer(tc.answer, tc.all)
		assert.Equal(t, tc.fails, err != nil, "%q: %v", tc.answer, err)
		assert.Equal(t, tc.want, got, tc.answer)
	}
}

func TestAnswerGrantsTheOffer(t *testing.T) {
	for _, tc := range []struct {
		offer string
		all   []terms
		want  string
	}{
		{"", []terms{{}}, ""},
		{"permessage-deflate", []terms{{}}, "permessage-deflate"},
		{"permessage-deflate", []terms{{bits: 9}}, ""},
		{"permessage-deflate", parameters[6], "permessage-deflate; client_no_context_takeover"},
		{
			"permessage-deflate; client_max_window_bits", parameters[6],
			"permessage-deflate; client_no_context_takeover; client_max_window_bits=9",
		},
		{
			"permessage-deflate; client_max_window_bits=8; server_max_window_bits=10; server_no_context_takeover",
			[]terms{{bits: 9}},
			"permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=8",
		},
	} {
		got, agreed, err := answerTo(tc.offer, tc.all)
		require.NoError(t, err)
		assert.Equal(t, tc.want, got)
		assert.Equal(t, tc.want == "", agreed == nil)
	}
}

func TestFramesThatMayNotBeSentAreBreaches(t *testing.T) {
	fragment := wstest.Text("a").Fragment()
	wrong := wstest.Text("a")
	wrong.WrongMask = true
	long := wstest.Text("a")
	long.LengthBits = 16
	for name, frames := range map[string][]wstest.Frame{
		"masked the wrong way":           {wrong},
		"a reserved bit":                 {wstest.Text("a").Compressed()},
		"a reserved opcode":              {reservedOpcode(3, "")},
		"a reserved control opcode":      {reservedOpcode(11, "")},
		"a longer form of the length":    {long},
		"a fragment of a Ping":           {wstest.Ping("").Fragment()},
		"a Ping of 126 octets":           {wstest.Ping(strings.Repeat("*", 126))},
		"a continuation of nothing":      {wstest.Continuation("a")},
		"a message within a message":     {fragment, wstest.Text("b")},
		"text that is no UTF-8":          {wstest.Text("\xff")},
		"a Close frame of one octet":     {{Opcode: frame.Close, Payload: []byte("a")}},
		"a Close frame with 1005":        {closeFrame(1005, "")},
		"a Close frame with bad reason":  {closeFrame(1000, "\xff")},
		"a frame behind the Close frame": {wstest.Close(1000, ""), wstest.Ping("")},
	} {
		for _, client := range []bool{true, false} {
			a := assembler{masks: client}
			var wire []byte
			for _, f := range frames {
				wire = f.Append(wire, client, 0x12345678)
			}
			br := bufio.NewReader(strings.NewReader(string(wire)))
			var err error
			for range frames {
				require.NoError(t, err, "%s: too early", name)
				f, readErr := readFrame(br)
				require.NoError(t, readErr)
				_, _, err = a.add(f)
			}
			assert.ErrorAs(t, err, new(breach), name)
		}
	}
}

func TestFrameCutShortIsNoEnd(t *testing.T) {
	whole := wstest.Text(strings.Repeat("*", 200)).Append(nil, true, 1)
	for n := 1; n < len(whole); n++ {
		_, err := readFrame(bufio.NewReader(strings.NewReader(string(whole[:n]))))
		require.ErrorIs(t, err, errCutShort)
	}
	_, err := readFrame(bufio.NewReader(strings.NewReader("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")))
	assert.ErrorAs(t, err, new(breach), "nothing is allocated for a length like this")
}

func TestWireLogKeepsBothEnds(t *testing.T) {
	var l wireLog
	for i := range 200 {
		l.note("line %d", i)
	}
	lines := l.lines()
	require.Len(t, lines, keepFirst+1+keepLast)
	assert.Equal(t, "line 0", lines[0].Text)
	assert.Equal(t, "120 lines left out", lines[keepFirst].Text)
	assert.Equal(t, "line 180", lines[keepFirst+1].Text)
	assert.Equal(t, "line 199", lines[len(lines)-1].Text)
}

func TestReportSaysWhatFailed(t *testing.T) {
	rep := play(t, Server, defects{wrongPong: true}, Select(Cases(), "1.1.*", "2.*", "13.1.1"))
	rep.Agent, rep.Transport = "<b>mutant</b>", "memory"
	dir := filepath.Join(t.TempDir(), "new")
	path, err := rep.Write(dir, "memory-server")
	require.NoError(t, err)
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, want := range []string{
		`<details id="c1.1.1" data-ok="true">`, `<details id="c2.2" data-ok="false">`, `<a href="#c2.2">2.2</a>`,
		"2 Pings/Pongs", "1.1 Text Messages", "&lt;b&gt;mutant", "16 sent", "permessage-deflate",
		"4 of 11 passed", "→", "←",
	} {
		assert.True(t, strings.Contains(string(page), want), "%s is not on the page", want)
	}
	assert.False(t, strings.Contains(string(page), "<b>mutant"))
	data, err := os.ReadFile(filepath.Join(dir, "memory-server.json"))
	require.NoError(t, err)
	var back Report
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, rep.Counts(), back.Counts())
	assert.Len(t, back.Failures(), 7)
	assert.Contains(t, rep.String(), "20 cases against a server over memory")
}

func TestGroupsHaveTheSuitesNames(t *testing.T) {
	for id, want := range map[string]string{
		"2.10":   "2 Pings/Pongs",
		"6.4.1":  "6.4 Fail-fast on invalid UTF-8",
		"6.22.3": "6.22 Non-character code points (valid UTF-8)",
		"7.13.2": "7.13 Informational close information (fuzzer initiated)",
		"9.8.1":  "9.8 Binary Message Roundtrip Time (fixed number, increasing size)",
		"12.5.1": "12.5 A larger PDF (binary, 1042328 bytes)",
		"13.5.1": "13.5 Large JSON data file (utf8, 194056 bytes) - asks for (requestNoContextTakeover, requestMaxWindowBits): [(true, 9)]",
	} {
		assert.Equal(t, want, GroupName(id))
	}
}
