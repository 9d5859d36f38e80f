package soak

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMatches(t *testing.T) {
	m := func(name byte) message { return message{typ: websocket.MessageText, size: 1, hash: uint64(name)} }
	cases := []struct {
		name  string
		sent  string // a capital was refused, one behind a "-" has failed
		got   string
		whole bool
		wrong string
	}{
		{"everything", "abc", "abc", true, ""},
		{"nothing", "", "", true, ""},
		{"a beginning", "abc", "ab", false, ""},
		{"a beginning where the end was seen", "abc", "ab", true, "did not come"},
		{"one lost", "abc", "ac", false, "came as"},
		{"one lost that can be mistaken", "aab", "ab", false, "came as"},
		{"one twice", "abc", "abbc", false, "came as"},
		{"the last one twice", "abc", "abcc", false, "too many"},
		{"two swapped", "abc", "acb", false, "came as"},
		{"one changed", "abc", "axc", false, "came as"},
		{"one that failed", "ab-c", "ab", true, ""},
		{"one that failed and arrived", "ab-c", "abc", true, ""},
		{"one that failed, arrived, and had successors", "a-bc", "abc", false, "came as"},
		{"one that failed and has successors", "a-bc", "ac", true, ""},
		{"one that was refused", "abC", "ab", true, ""},
		{"one that was refused and arrived", "abC", "abC", true, "too many"},
		{"out of nowhere", "", "a", false, "too many"},
	}
	for _, tt := range cases {
		var sent []sentMessage
		state := accepted
		for _, c := range []byte(tt.sent) {
			switch {
			case c == '-':
				state = failed
				continue
			case c < 'a':
				state = refused
			}
			sent = append(sent, sentMessage{m(c), state})
			state = accepted
		}
		var got []message
		for _, c := range []byte(tt.got) {
			got = append(got, m(c))
		}
		err := matches(sent, got, tt.whole)
		if tt.wrong == "" {
			assert.NoError(t, err, tt.name)
			continue
		}
		assert.ErrorContains(t, err, tt.wrong, tt.name)
	}
}

// What happens to the frames of a socket on their way is found out by its ends'
// records, and only that.
func TestJudgeNoticesWhatHappensOnTheWay(t *testing.T) {
	cases := map[string]struct {
		spoil func(frames [][]byte) [][]byte
		wrong string
	}{
		"nothing": {func(f [][]byte) [][]byte { return f }, ""},
		"a bit changed": {func(f [][]byte) [][]byte {
			f[3][90] ^= 0x10
			return f
		}, "came as"},
		"one lost":    {func(f [][]byte) [][]byte { return slices.Delete(f, 3, 4) }, "came as"},
		"one doubled": {func(f [][]byte) [][]byte { return slices.Insert(f, 3, f[3]) }, "came as"},
		"two swapped": {func(f [][]byte) [][]byte {
			f[3], f[4] = f[4], f[3]
			return f
		}, "came as"},
		"all lost": {func(f [][]byte) [][]byte { return f[10:] }, "did not come"},
		"the end forged": {func(f [][]byte) [][]byte {
			f[10] = []byte{0x88, 0x02, 0x03, 0xe9} // 1001
			return f
		}, "nobody wanted that"},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			wrong := playSpoiled(t, tt.spoil)
			if tt.wrong == "" {
				assert.Empty(t, wrong)
				return
			}
			require.NotEmpty(t, wrong)
			assert.Contains(t, wrong[0], tt.wrong)
		})
	}
}

// playSpoiled plays a socket whose server sends ten messages and closes, with
// what spoil makes of its frames, and returns the verdict.
func playSpoiled(t *testing.T, spoil func([][]byte) [][]byte) []string {
	plan := socketPlan{
		client: endPlan{ending: waits, code: 3000},
		server: endPlan{lanes: make([][]op, 1), ending: closes, code: 4000},
	}
	for i := range 10 {
		plan.server.lanes[0] = append(plan.server.lanes[0], op{message: messagePlan{
			typ: websocket.MessageBinary, size: 100, style: noise, seed: uint64(i),
		}})
	}
	near, far := wstest.Pipe(wstest.PipeOptions{})
	client, server := newEnd(&plan.client), newEnd(&plan.server)
	done := make(chan struct{})
	go func() { // ends with the socket
		defer close(done)
		server.run(t.Context(), websocket.New(&spoiler{Stream: near, spoil: spoil}, websocket.Params{}))
	}()
	client.run(t.Context(), websocket.New(far, websocket.Params{Client: true}))
	for _, e := range []*end{client, server} {
		<-e.read
	}
	<-done
	return judge(client, server, false)
}

// A spoiler holds the frames of ten messages and a Close back, and sends what it
// makes of them.
type spoiler struct {
	websocket.Stream
	frames [][]byte
	spoil  func([][]byte) [][]byte
}

func (s *spoiler) Write(p []byte) (int, error) {
	s.frames = append(s.frames, slices.Clone(p))
	if len(s.frames) != 11 {
		return len(p), nil
	}
	for _, f := range s.spoil(s.frames) {
		if _, err := s.Stream.Write(f); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// An episode is the same whenever it is drawn, and no weather, ending, operation
// or bootstrap is left out of many.
func TestDrawIsRepeatableAndLeavesNothingOut(t *testing.T) {
	sc := scope{[]websocket.Bootstrap{websocket.HTTP1, websocket.HTTP2, websocket.HTTP3}, true}
	seen := make(map[any]int)
	for n := range 300 {
		ep := draw(7, n, sc)
		require.Equal(t, ep, draw(7, n, sc))
		seen[ep.bootstrap]++
		seen[ep.weather]++
		for _, s := range ep.sockets {
			seen[s.client.ending]++
			seen[s.server.ending]++
			require.False(t, s.client.ending == waits && s.server.ending == waits, "somebody ends it")
			for _, e := range [][][]op{s.client.lanes, s.server.lanes} {
				for _, lane := range e {
					for _, o := range lane {
						seen[o.kind]++
						require.LessOrEqual(t, o.message.size, maxMessage)
					}
				}
			}
		}
	}
	assert.Len(t, seen, 3+int(weathers)+int(endings)+int(opKinds))
	assert.NotEqual(t, draw(7, 1, sc), draw(8, 1, sc))
	assert.NotEqual(t, draw(7, 1, sc), draw(7, 2, sc))
}

// Content of every kind has the size that was asked for, and text is text.
func TestMessagesAreValid(t *testing.T) {
	server, client := connect(t)
	for s := range styles {
		for size := range 300 {
			for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				m := messagePlan{typ: typ, size: size, style: s, seed: uint64(size)}
				p := m.bytes()
				require.Len(t, p, size)
				require.NoError(t, client.Write(t.Context(), typ, p), "%v %d", s, size)
				gotType, got, err := server.Read(t.Context())
				require.NoError(t, err)
				require.Equal(t, digest(typ, p), digest(gotType, got))
			}
		}
	}
}

func connect(t *testing.T) (server, client *websocket.Conn) {
	near, far := wstest.Pipe(wstest.PipeOptions{})
	server = websocket.New(near, websocket.Params{})
	client = websocket.New(far, websocket.Params{Client: true})
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}
