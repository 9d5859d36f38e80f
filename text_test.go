package websocket_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// invalidTexts are byte sequences that are not UTF-8, each bad at its end and
// not before (RFC 3629 §3, §10).
var invalidTexts = map[string]string{
	"stray continuation byte":  "abc\x80",
	"0xFF":                     "abc\xff",
	"overlong slash":           "abc\xc0",
	"overlong of three bytes":  "abc\xe0\x80",
	"overlong of four bytes":   "abc\xf0\x80",
	"first surrogate":          "abc\xed\xa0",
	"last surrogate":           "abc\xed\xbf",
	"U+110000":                 "abc\xf4\x90",
	"beyond any code point":    "abc\xf5",
	"character cut by another": "abc\xe2\x82A",
}

// WS-12: bad text ends the socket at its first bad byte, in whatever fragment.
func TestWS12BadTextIs1007AtItsFirstBadByte(t *testing.T) {
	for name, bad := range invalidTexts {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				e := socket{client: client}.open(t)
				e.peer.Send(t, wstest.Text(bad).Fragment())
				e.wantBreach(t, 1007)

				e = socket{client: client}.open(t)
				e.peer.Send(t, wstest.Text("good ").Fragment(), wstest.Continuation("").Fragment())
				for i := range len(bad) {
					e.peer.Send(t, wstest.Continuation(bad[i:i+1]).Fragment())
				}
				e.wantBreach(t, 1007)

				// The frame is not complete: what it still promises is not
				// waited for.
				e = socket{client: client}.open(t)
				f := wstest.Text(bad)
				f.Length = 100_000
				e.peer.Send(t, f)
				e.wantBreach(t, 1007)
			})
		})
	}
}

func TestWS12TextThatEndsWithinACharacterIs1007(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		for _, cut := range []string{"\xc3", "\xe2\x82", "\xf0\x9f\x98", "abc\xf0"} {
			e := socket{client: client}.open(t)
			e.peer.Send(t, wstest.Text(cut))
			e.wantBreach(t, 1007)

			e = socket{client: client}.open(t)
			e.peer.Send(t, wstest.Text(cut).Fragment(), wstest.Continuation(""))
			e.wantBreach(t, 1007)
		}
	})
}

func TestWS12CharactersMayBeSplitOverFragments(t *testing.T) {
	const text = "héllo wörld €5 \U0001F600\U0010FFFF\uFFFD\u0000"
	asBothRoles(t, func(t *testing.T, client bool) {
		e := socket{client: client}.open(t)
		frames := []wstest.Frame{wstest.Text("").Fragment()}
		for i := range len(text) {
			frames = append(frames, wstest.Continuation(text[i:i+1]).Fragment(), wstest.Ping("\xff"))
		}
		e.peer.Send(t, append(frames, wstest.Continuation(""))...)
		wantText(t, e.Conn, text)

		// The state of one message is not carried into the next, and binary
		// messages are not checked.
		e.peer.Send(t, wstest.Binary([]byte("\xc3")), wstest.Text("A"))
		kind, p, err := e.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, websocket.MessageBinary, kind)
		assert.Equal(t, "\xc3", string(p))
		wantText(t, e.Conn, "A")
	})
}

// Bad text in a message that is skipped or long is no different.
func TestWS12BadTextIsFoundOnEveryPath(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "beyond the buffer": 20_000, "large": 300_000} {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				bad := strings.Repeat("€", size/3) + "\xe2\x28\xa1" + strings.Repeat("x", size/3)
				e := socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20, ReadChunk: 1000}}.open(t)
				e.peer.Send(t, wstest.Text(bad))
				e.wantBreach(t, 1007)

				e = socket{client: client, pipe: wstest.PipeOptions{Buffer: 1 << 20, ReadChunk: 1001}}.open(t)
				e.peer.Send(t, wstest.Text("skipped").Fragment(), wstest.Continuation(bad))
				_, _, err := e.Reader(t.Context())
				require.NoError(t, err)
				e.wantBreach(t, 1007)
			})
		})
	}
}

// WS-13: what a Reader hands out before the bad byte is valid; then 1007.
func TestWS13ReaderHandsOutOnlyValidText(t *testing.T) {
	for name, bad := range invalidTexts {
		t.Run(name, func(t *testing.T) {
			asBothRoles(t, func(t *testing.T, client bool) {
				for _, good := range []string{"", "a€", strings.Repeat("grün ", 4000)} {
					e := socket{client: client, pipe: wstest.PipeOptions{ReadChunk: 777}}.open(t)
					e.peer.Send(t, wstest.Text(good+bad+" and more"))
					_, r, err := e.Reader(t.Context())
					if err != nil {
						wantEnd(t, err, 1007, false)
						continue
					}
					p, err := io.ReadAll(r)
					wantEnd(t, err, 1007, false)
					if strings.HasPrefix(good+bad, string(p)) {
						p = p[:len(p)-incomplete(p)]
						assert.True(t, utf8.Valid(p), "%q", p[max(0, len(p)-20):])
					} else {
						assert.Fail(t, "not a prefix of what was sent")
					}
					_, err = r.Read(make([]byte, 1))
					wantEnd(t, err, 1007, false)
					e.wantFailed(t, 1007)
				}
			})
		})
	}
}

// incomplete returns how many bytes at the end of p begin a character.
func incomplete(p []byte) int {
	for n := 1; n <= min(3, len(p)); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

// Text that is not UTF-8 is refused before anything of it is sent, and the Conn
// stays usable.
func TestInvalidTextToSendIsALocalError(t *testing.T) {
	for name, bad := range invalidTexts {
		for _, deflate := range []*websocket.DeflateParams{nil, {}} {
			t.Run(name, func(t *testing.T) {
				asBothRoles(t, func(t *testing.T, client bool) {
					e := socket{client: client, params: websocket.Params{Deflate: deflate, Compression: &websocket.Compression{Threshold: -1}}}.open(t)
					for _, text := range []string{bad, strings.Repeat("x", 100_000) + bad, bad[:len(bad)-1] + "\xe2\x82"} {
						err := e.Write(t.Context(), websocket.MessageText, []byte(text))
						require.Error(t, err)
						require.NotErrorAs(t, err, new(*websocket.CloseError))
						require.NotErrorAs(t, err, new(*frame.Error))
						_, err = websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
						require.Error(t, err)
					}
					w, err := e.Writer(t.Context(), websocket.MessageText)
					require.NoError(t, err)
					_, err = w.Write([]byte(bad))
					if err == nil {
						err = w.Close()
					}
					require.Error(t, err, "nothing was sent of it yet")
					require.NotErrorAs(t, err, new(*websocket.CloseError))
					e.peer.WantIdle(t, "nothing was sent")

					require.NoError(t, e.Write(t.Context(), websocket.MessageBinary, []byte(bad)))
					require.NoError(t, e.Write(t.Context(), websocket.MessageText.Uncompressed(), []byte("fine")))
					assert.Equal(t, frame.Binary, e.peer.Next(t, "binary is not checked").Opcode)
					e.peer.WantFrame(t, frame.Text, "fine", "usable")
				})
			})
		}
	}
}

// A Writer's text may be cut anywhere; bad text in a later fragment cannot be
// taken back and ends the Conn.
func TestWriterChecksTextAcrossFragments(t *testing.T) {
	asBothRoles(t, func(t *testing.T, client bool) {
		text := "x" + strings.Repeat("€", 10000) // no fragment ends between characters
		e := socket{client: client}.open(t)
		w, err := e.Writer(t.Context(), websocket.MessageText)
		require.NoError(t, err)
		for i := range len(text) {
			_, err = w.Write([]byte{text[i]})
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		assert.Equal(t, text, e.nextMessage(t))

		w, err = e.Writer(t.Context(), websocket.MessageText)
		require.NoError(t, err)
		_, err = io.WriteString(w, text)
		require.NoError(t, err)
		assert.True(t, e.peer.Next(t, "the fragment before").More)
		_, err = io.WriteString(w, "\xff")
		if err == nil {
			err = w.Close()
		}
		require.Error(t, err)
		e.peer.WantReset(t, "a message cut short must not pass for a whole one")
		synctest.Wait()
		require.Error(t, e.Write(t.Context(), websocket.MessageText, nil))
	})
}

// nextMessage gathers the frames of the next message that the Conn sends.
func (e *end) nextMessage(t testing.TB) string {
	t.Helper()
	f := e.peer.Next(t, "the first fragment")
	require.NotEqual(t, frame.Continuation, f.Opcode)
	p := f.Payload
	for f.More {
		f = e.peer.Next(t, "the next fragment")
		require.Equal(t, frame.Continuation, f.Opcode)
		p = append(p, f.Payload...)
	}
	return string(p)
}
