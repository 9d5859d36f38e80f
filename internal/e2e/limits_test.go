package e2e

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// small are limits that take little to pass.
var small = websocket.Limits{
	Message: 1000, CompressedMessage: 2000, Fragments: 10, EmptyFragments: 3,
	ControlBurst: 20, ControlRate: 1, CloseTimeout: 2 * time.Second,
}

// squeeze returns p as permessage-deflate sends it (RFC 7692 §7.2.1), by the
// standard library.
func squeeze(t testing.TB, p []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// fragments returns a message in n fragments of s each; if it goes on, the last
// one is still to come.
func fragments(n int, s string, goesOn bool) []wstest.Frame {
	list := []wstest.Frame{wstest.Text(s).Fragment()}
	for len(list) < n {
		list = append(list, wstest.Continuation(s).Fragment())
	}
	if !goesOn {
		list[n-1].More = false
	}
	return list
}

// A limited is what a peer sends up to a limit, and what it sends beyond it.
type limited struct {
	name   string
	within []wstest.Frame // passes
	beyond []wstest.Frame // does not
	code   websocket.StatusCode
	is     error // what the reader can test for
}

func limitedCases(t testing.TB) []limited {
	zeros := func(n int) string { return squeeze(t, make([]byte, n)) }
	compressed := func(s string) wstest.Frame { return wstest.Binary([]byte(s)).Compressed() }
	stored := strings.Repeat("\x00\x00\x00\xff\xff", 401) // endless empty blocks: PMD-06
	return []limited{
		{
			"WS-08 a message", []wstest.Frame{wstest.Text(strings.Repeat("x", 1000))},
			[]wstest.Frame{wstest.Text(strings.Repeat("x", 1001))}, 1009, websocket.ErrMessageTooBig,
		},
		{
			"WS-08 a message in fragments, at the header that passes the limit", fragments(10, strings.Repeat("x", 100), false),
			[]wstest.Frame{wstest.Text(strings.Repeat("x", 600)).Fragment(), {Opcode: frame.Continuation, Length: 401}},
			1009, websocket.ErrMessageTooBig,
		},
		{
			"WS-09 fragments", fragments(10, "x", false), fragments(11, "x", true), 1008, websocket.ErrTooManyFragments,
		},
		{
			"WS-10 empty fragments", append(fragments(3, "", true), wstest.Continuation("x")),
			fragments(4, "", true), 1008, websocket.ErrTooManyFragments,
		},
		{
			"WS-20 pings", slices.Repeat([]wstest.Frame{wstest.Pong("")}, 10), slices.Repeat([]wstest.Frame{wstest.Pong("")}, 40), 1008, nil,
		},
		{
			"PMD-01 an inflated message", []wstest.Frame{compressed(zeros(1000))},
			[]wstest.Frame{compressed(zeros(100_000))}, 1009, websocket.ErrMessageTooBig,
		},
		{
			"PMD-02 an inflated message in fragments", []wstest.Frame{compressed(zeros(1000)[:5]).Fragment(), wstest.Continuation(zeros(1000)[5:])},
			[]wstest.Frame{compressed(zeros(100_000)[:20]).Fragment(), wstest.Continuation(zeros(100_000)[20:]).Fragment()},
			1009, websocket.ErrMessageTooBig,
		},
		{
			"PMD-06 a compressed message that yields nothing", nil,
			[]wstest.Frame{compressed(stored)}, 1009, websocket.ErrMessageTooBig,
		},
	}
}

func TestLimitsOnEveryTransport(t *testing.T) {
	readers := map[string]func(context.Context, *websocket.Conn) error{
		"Read": func(ctx context.Context, c *websocket.Conn) error {
			_, _, err := c.Read(ctx)
			return err
		},
		"Reader": func(ctx context.Context, c *websocket.Conn) error { // PMD-11
			_, r, err := c.Reader(ctx)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			if n > small.Message {
				return fmt.Errorf("%d bytes of a message of at most %d", n, small.Message)
			}
			return err
		},
	}
	cases := limitedCases(t)
	onEach(t, func(t *testing.T, tr transport) {
		offerDeflate(t, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
		for _, s := range tr.sides(t, small, &websocket.Compression{}) {
			for _, c := range cases {
				for name, read := range readers {
					h, why := s.open(), fmt.Sprintf("%s, %s: %s", s.role, name, c.name)
					h.peer.Send(t, c.within...)
					if len(c.within) > 0 && c.within[0].Opcode != frame.Pong {
						require.NoError(t, read(soon(t), h.conn), why)
					}
					h.peer.Send(t, c.beyond...)
					err := read(soon(t), h.conn)
					wantEnd(t, err, c.code, false)
					if c.is != nil {
						require.ErrorIs(t, err, c.is, why)
					}
					h.peer.WantClose(t, c.code, why)
					h.wantEndOfRefusal(t, why)
				}
			}
		}
	})
}

// A message that the application does not read to its end is skipped, within the
// limits.
func TestPMD11SkippedMessagesHaveLimitsToo(t *testing.T) {
	bomb := squeeze(t, make([]byte, 1<<20))
	onEach(t, func(t *testing.T, tr transport) {
		offerDeflate(t, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
		for _, s := range tr.sides(t, small, &websocket.Compression{}) {
			h := s.open()
			h.peer.Send(t, wstest.Text("skipped"), wstest.Binary([]byte(bomb)).Compressed())
			_, _, err := h.conn.Reader(soon(t))
			require.NoError(t, err)
			_, _, err = h.conn.Reader(soon(t)) // of the bomb
			require.NoError(t, err)
			_, _, err = h.conn.Read(soon(t)) // skips it
			wantEnd(t, err, 1009, false)
			h.peer.WantClose(t, 1009, s.role)
			h.wantEndOfRefusal(t, s.role)
		}
	})
}

// SetReadLimit moves the limit for the messages that follow, while a Reader holds
// one.
func TestSetReadLimit(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, small, nil) {
			h := s.open()
			large := strings.Repeat("x", 5000)
			h.conn.SetReadLimit(5000)
			h.peer.Send(t, wstest.Text(large))
			wantMessage(t, h.conn, websocket.MessageText, []byte(large))
			h.conn.SetReadLimit(4999)
			h.peer.Send(t, wstest.Text(large))
			assert.ErrorIs(t, h.wantRefused(t, 1009, s.role), websocket.ErrMessageTooBig)
		}
	})
}

// What cannot be sent is an error to the one who tries, and nothing else.
func TestRefusedWritesLeaveTheSocketUsable(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		for _, s := range tr.sides(t, quick, nil) {
			h := s.open()
			assert.Error(t, h.conn.Write(soon(t), websocket.MessageText, []byte("\xff")), "text that is not UTF-8")
			assert.Error(t, h.conn.Write(soon(t), 7, nil), "no type")
			assert.Error(t, h.conn.WriteJSON(soon(t), func() {}), "no JSON")
			assert.Error(t, h.conn.Close(soon(t), 1005+1, ""), "1006 does not travel")
			assert.Error(t, h.conn.Close(soon(t), 1000, strings.Repeat("x", 124)), "WS-15")
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			assert.ErrorIs(t, h.conn.Write(gone, websocket.MessageText, []byte("x")), context.Canceled, "WS-24: before the first byte")
			assert.ErrorIs(t, h.conn.Ping(gone), context.Canceled)
			require.NoError(t, h.conn.Write(soon(t), websocket.MessageText, []byte("all is well")))
			h.peer.WantFrame(t, frame.Text, "all is well", "the first frame")
			h.wantClosed(t, s.role)
		}
	})
}
