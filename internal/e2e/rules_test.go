package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A breach is what a peer may not send, and the status that it costs.
type breach struct {
	name   string
	code   websocket.StatusCode
	frames []wstest.Frame
}

// breaches are the rules of RFC 6455 §5, by the numbers of their cases. That the
// codec knows each of them in every form is for its own tests to show; here each
// passes through the whole of every transport, in both roles.
var breaches = []breach{
	{"WS-01 masked where it must not be, or not where it must", 1002, []wstest.Frame{{Opcode: frame.Text, Payload: []byte("x"), WrongMask: true}}},
	{"WS-02 RSV1 without permessage-deflate", 1002, []wstest.Frame{wstest.Text("x").Compressed()}},
	{"WS-02 RSV2", 1002, []wstest.Frame{{Opcode: frame.Text, RSV2: true}}},
	{"WS-02 RSV3", 1002, []wstest.Frame{{Opcode: frame.Binary, RSV3: true}}},
	{"WS-03 reserved data opcode", 1002, []wstest.Frame{{Opcode: 3}}},
	{"WS-03 reserved control opcode", 1002, []wstest.Frame{{Opcode: 0xB}}},
	{"WS-04 fragmented ping", 1002, []wstest.Frame{wstest.Ping("x").Fragment()}},
	{"WS-04 ping of 126 bytes", 1002, []wstest.Frame{wstest.Ping(strings.Repeat("x", 126))}},
	{"WS-05 short length in 16 bits", 1002, []wstest.Frame{{Opcode: frame.Text, Payload: []byte("x"), LengthBits: 16}}},
	{"WS-05 short length in 64 bits", 1002, []wstest.Frame{{Opcode: frame.Binary, Payload: make([]byte, 300), LengthBits: 64}}},
	{"WS-06 top bit of the length", 1002, []wstest.Frame{{Opcode: frame.Binary, Length: 1 << 63}}},
	{"WS-06 an exbibyte announced", 1009, []wstest.Frame{{Opcode: frame.Binary, Length: 1 << 60}}},
	{"WS-07 continuation of nothing", 1002, []wstest.Frame{wstest.Continuation("x")}},
	{"WS-07 message inside a message", 1002, []wstest.Frame{wstest.Text("x").Fragment(), wstest.Text("y")}},
	{"WS-12 surrogate", 1007, []wstest.Frame{wstest.Text("\xed\xa0\x80")}},
	{"WS-12 overlong form", 1007, []wstest.Frame{wstest.Text("\xc0\xaf")}},
	{"WS-12 beyond U+10FFFF", 1007, []wstest.Frame{wstest.Text("\xf4\x90\x80\x80")}},
	{"WS-12 cut within a character", 1007, []wstest.Frame{wstest.Text("\xe2\x82")}},
	{"WS-12 bad in the first of many fragments", 1007, []wstest.Frame{wstest.Text("good \xff bad").Fragment()}},
	{"WS-14 close payload of one byte", 1002, []wstest.Frame{{Opcode: frame.Close, Payload: []byte{3}}}},
	{"WS-14 close code 999", 1002, []wstest.Frame{wstest.Close(999, "")}},
	{"WS-14 close code 1005", 1002, []wstest.Frame{wstest.Close(1005, "")}},
	{"WS-14 close code 1006", 1002, []wstest.Frame{wstest.Close(1006, "")}},
	{"WS-14 close code 1015", 1002, []wstest.Frame{wstest.Close(1015, "")}},
	{"WS-14 close code 5000", 1002, []wstest.Frame{wstest.Close(5000, "")}},
	{"WS-15 close reason that is not UTF-8", 1007, []wstest.Frame{wstest.Close(1000, "\xff")}},
}

func TestWSRulesBroken(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			for _, b := range breaches {
				h, why := s.open(), s.role+": "+b.name
				h.peer.Send(t, b.frames...)
				ce := h.wantRefused(t, b.code, why)
				if b.code != websocket.StatusMessageTooBig {
					wantRule(t, ce, b.code, why)
				}
				assert.Error(t, h.conn.Write(soon(t), websocket.MessageText, nil), why)
				assert.Error(t, h.conn.Ping(soon(t)), why)
			}
		}
	})
}

// The messages before a breach are delivered, and nothing of what comes with it.
func TestMessagesBeforeABreachAreDelivered(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			h := s.open()
			h.peer.Send(t, wstest.Text("before"), wstest.Ping("before"), wstest.Frame{Opcode: 0xF}, wstest.Text("after"), wstest.Ping("after"))
			wantMessage(t, h.conn, websocket.MessageText, []byte("before"))
			_, _, err := h.conn.Read(soon(t))
			wantEnd(t, err, 1002, false)
			h.peer.WantFrame(t, frame.Pong, "before", "a ping before the breach is answered")
			h.peer.WantClose(t, 1002, "and the one behind it is not")
			h.wantEndOfRefusal(t, "END")
		}
	})
}

// Codes that may travel come back as they went, with our END behind them.
func TestWS14CloseCodesAreEchoed(t *testing.T) {
	codes := []websocket.StatusCode{0, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			for _, code := range codes {
				h, why := s.open(), fmt.Sprint(s.role, " receives ", code)
				reason, want := "why not", code
				if code == 0 {
					reason, want = "", websocket.StatusNoStatusReceived
				}
				h.peer.Send(t, wstest.Close(code, reason))
				_, _, err := h.conn.Read(soon(t))
				assert.Equal(t, reason, wantEnd(t, err, want, true).Reason, why)
				h.peer.WantClose(t, code, why)
				h.wantEnded(t, why)
				assert.NoError(t, h.conn.Close(soon(t), 1000, ""), why)
			}
		}
	})
}

// WS-16: what comes after the peer's Close frame is ignored, and we send one
// Close frame, however often either side closes.
func TestWS16NothingAfterACloseFrameCounts(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			h := s.open()
			h.peer.Send(t, wstest.Close(4001, "first"), wstest.Text("late"), wstest.Ping("late"), wstest.Frame{Opcode: 0xF}, wstest.Close(4002, "second"))
			_, _, err := h.conn.Read(soon(t))
			assert.Equal(t, "first", wantEnd(t, err, 4001, true).Reason)
			for range 3 {
				assert.NoError(t, h.conn.Close(soon(t), 4003, "third"))
			}
			assert.Error(t, h.conn.Write(soon(t), websocket.MessageText, []byte("late")))
			h.peer.WantClose(t, 4001, "the reply")
			h.wantEnded(t, "and nothing else")
		}
	})
}

// WS-11: control frames between the fragments of a message are answered at once,
// and the message stays whole.
func TestWS11ControlFramesBetweenFragments(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			h := s.open()
			read := begin(func() error {
				_, p, err := h.conn.Read(soon(t))
				if err == nil && string(p) != "one €two€ three" {
					err = fmt.Errorf("read %q", p)
				}
				return err
			})
			h.peer.Send(t, wstest.Text("one \xe2\x82").Fragment(), wstest.Ping("a"))
			h.peer.WantFrame(t, frame.Pong, "a", "before the message ends")
			h.peer.Send(t, wstest.Pong("of nothing"), wstest.Continuation("\xactwo\xe2").Fragment())
			h.peer.Send(t, wstest.Ping(strings.Repeat("b", 125)), wstest.Continuation("").Fragment())
			h.peer.WantFrame(t, frame.Pong, strings.Repeat("b", 125), "all of its payload")
			h.peer.Send(t, wstest.Continuation("\x82\xac three"))
			require.NoError(t, <-read)
			h.wantClosed(t, s.role)
			assert.EqualValues(t, 1, h.conn.Stats().PongsIgnored, "WS-21")
		}
	})
}

// Our own Pings pass between the fragments of our own message.
func TestPingsPassBetweenOurFragments(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			h := s.open()
			w, err := h.conn.Writer(soon(t), websocket.MessageText)
			require.NoError(t, err)
			fragment := strings.Repeat("fragment ", 8000)
			_, err = w.Write([]byte(fragment))
			require.NoError(t, err)
			pinged := begin(func() error { return h.conn.Ping(soon(t)) })
			got := ""
			for {
				f := h.peer.Next(t, "fragments, and a ping")
				if f.Opcode == frame.Ping {
					h.peer.Send(t, wstest.Pong(string(f.Payload)))
					break
				}
				require.True(t, f.More, "the message goes on")
				got += string(f.Payload)
			}
			require.NoError(t, <-pinged)
			_, err = w.Write([]byte("the end"))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			for f := (wstest.Frame{More: true}); f.More; got += string(f.Payload) {
				f = h.peer.Next(t, "the rest")
				require.Equal(t, frame.Continuation, f.Opcode)
			}
			assert.True(t, got == fragment+"the end")
			h.wantClosed(t, s.role)
		}
	})
}
