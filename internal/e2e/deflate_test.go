package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// deflating opens sockets for which each end has a configuration of its own.
func (tr transport) deflating(t testing.TB) func(server, client *websocket.Compression) (pair, http.Header) {
	options := make(chan *websocket.Compression, 1)
	accepted := make(chan *websocket.Conn, 1)
	authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := tr.accept(w, r, &websocket.AcceptOptions{Compression: <-options, Limits: quick})
		if assert.NoError(t, err) {
			accepted <- c
			<-t.Context().Done()
			c.CloseNow()
		}
	}))
	return func(server, client *websocket.Compression) (pair, http.Header) {
		t.Helper()
		options <- server
		c, resp, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Compression: client, Limits: quick})
		require.NoError(t, err)
		t.Cleanup(func() { c.CloseNow() })
		return pair{<-accepted, c}, resp.Header
	}
}

// costs sends p and returns the number of bytes that its compressed form has on
// the wire, 0 if it went as it is.
func costs(t testing.TB, from, to *websocket.Conn, p []byte) int64 {
	t.Helper()
	before := from.Stats().CompressedWritten
	sent := begin(func() error { return from.Write(soon(t), websocket.MessageText, p) })
	wantMessage(t, to, websocket.MessageText, p)
	require.NoError(t, <-sent)
	require.Equal(t, from.Stats().CompressedWritten, to.Stats().CompressedRead, "both ends count the same")
	return from.Stats().CompressedWritten - before
}

// A direction has context takeover if both ends want it, and not otherwise: what
// is repeated costs little then, and the same as before without.
func TestContextTakeoverIsWhatBothEndsWant(t *testing.T) {
	p := []byte(fmt.Sprintf("%x", random(5, 1000))) // repeats nothing within
	flags := []bool{false, true}
	onEach(t, func(t *testing.T, tr transport) {
		open := tr.deflating(t)
		for i := range 16 {
			server := websocket.Compression{ServerContextTakeover: flags[i&1], ClientContextTakeover: flags[i>>1&1]}
			client := websocket.Compression{ServerContextTakeover: flags[i>>2&1], ClientContextTakeover: flags[i>>3&1]}
			why := fmt.Sprintf("server %+v, client %+v", server, client)
			ends, _ := open(&server, &client)
			for name, e := range ends.ends() {
				takeover := server.ServerContextTakeover && client.ServerContextTakeover
				if name == "client to server" {
					takeover = server.ClientContextTakeover && client.ClientContextTakeover
				}
				first, second := costs(t, e[0], e[1], p), costs(t, e[0], e[1], p)
				assert.Less(t, first, int64(len(p)+20), "%s: %s", name, why)
				if takeover {
					assert.Less(t, second, first/10, "%s: %s", name, why)
				} else {
					assert.Equal(t, first, second, "%s: %s", name, why)
				}
			}
		}
	})
}

// Windows of every size are agreed upon, for each role, and kept: what comes again
// 3,000 bytes later is found in a window of 2^12 bytes, and not in one of 2^11.
func TestPMD09WindowBits(t *testing.T) {
	const distance = 3000
	noise := fmt.Sprintf("%x", random(6, distance/2))
	p := []byte(noise + noise)
	onEach(t, func(t *testing.T, tr transport) {
		open := tr.deflating(t)
		for bits := 8; bits <= 15; bits++ {
			for _, both := range []websocket.Compression{
				{ServerMaxWindowBits: bits, ServerContextTakeover: true},
				{ClientMaxWindowBits: bits, ClientContextTakeover: true},
				{ServerMaxWindowBits: bits, ClientMaxWindowBits: 23 - bits, Level: 9},
			} {
				ends, h := open(&both, &both)
				checkWindow(t, p, "server_max_window_bits", both.ServerMaxWindowBits, ends.server, ends.client, h)
				checkWindow(t, p, "client_max_window_bits", both.ClientMaxWindowBits, ends.client, ends.server, h)
			}
		}
	})
}

// checkWindow checks that a window was agreed on, and sends p, whose second half
// is its first, in it.
func checkWindow(t testing.TB, p []byte, param string, bits int, from, to *websocket.Conn, h http.Header) {
	t.Helper()
	if bits == 0 || bits == 15 {
		bits = 15
	} else {
		assert.Contains(t, h.Get("Sec-WebSocket-Extensions"), fmt.Sprint(param, "=", bits))
	}
	bare := costs(t, from, to, p[:len(p)/2])
	twice := costs(t, from, to, slices.Concat([]byte{'.'}, p)) // with takeover the context holds it already
	if len(p)/2 <= 1<<bits {
		assert.Less(t, twice, bare+bare/4, "%s %d: the repetition is in the window", param, bits)
	} else {
		assert.Greater(t, twice, 2*bare-bare/4, "%s %d: the repetition is beyond the window", param, bits)
	}
}

func TestThresholdAndUncompressed(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		open := tr.deflating(t)
		ends, _ := open(&websocket.Compression{}, &websocket.Compression{Threshold: -1})
		x := func(n int) []byte { return []byte(strings.Repeat("x", n)) }

		assert.Zero(t, costs(t, ends.server, ends.client, x(511)), "below the default threshold")
		assert.Positive(t, costs(t, ends.server, ends.client, x(512)), "at it")
		assert.EqualValues(t, 1, costs(t, ends.client, ends.server, nil), "every message: an empty one is one byte")
		assert.Positive(t, costs(t, ends.client, ends.server, x(1)))

		before := ends.client.Stats().CompressedWritten
		sent := begin(func() error { return ends.client.Write(soon(t), websocket.MessageBinary.Uncompressed(), x(5000)) })
		wantMessage(t, ends.server, websocket.MessageBinary, x(5000))
		require.NoError(t, <-sent)
		assert.Equal(t, before, ends.client.Stats().CompressedWritten, "marked as not to be compressed")
	})
}

// One end without deflate, or with nothing in common, is two without.
func TestDeflateNeedsBothEnds(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		open := tr.deflating(t)
		for _, c := range [][2]*websocket.Compression{{nil, {}}, {{}, nil}} {
			ends, h := open(c[0], c[1])
			assert.Empty(t, h.Get("Sec-WebSocket-Extensions"))
			assert.Zero(t, costs(t, ends.server, ends.client, []byte(strings.Repeat("x", 5000))))
			assert.Zero(t, costs(t, ends.client, ends.server, []byte(strings.Repeat("x", 5000))))
		}
	})
}

// Compressed messages of another implementation, good and bad.
func TestPMDMessagesOfAnotherCompressor(t *testing.T) {
	hello := squeeze(t, []byte("hello, hello, hello"))
	final := "\x01\x05\x00\xfa\xffhello" // a stored block with BFINAL (RFC 7692 §7.2.3.4), without the 00 behind it
	for name, c := range map[string]struct {
		frames []wstest.Frame
		want   string
		code   websocket.StatusCode // 0: want is read
	}{
		"in one frame":                 {[]wstest.Frame{wstest.Text(hello).Compressed()}, "hello, hello, hello", 0},
		"in fragments":                 {[]wstest.Frame{wstest.Text(hello[:1]).Compressed().Fragment(), wstest.Continuation("").Fragment(), wstest.Continuation(hello[1:])}, "hello, hello, hello", 0},
		"BFINAL":                       {[]wstest.Frame{wstest.Text(final + "\x00").Compressed()}, "hello", 0},
		"PMD-05 empty":                 {[]wstest.Frame{wstest.Text("\x00").Compressed()}, "", 0},
		"PMD-05 of no bytes":           {[]wstest.Frame{wstest.Text("").Compressed()}, "", 0},
		"PMD-03 RSV1 in the middle":    {[]wstest.Frame{wstest.Text("\x00").Compressed().Fragment(), wstest.Continuation("").Compressed()}, "", 1002},
		"PMD-03 RSV1 on a ping":        {[]wstest.Frame{wstest.Ping("").Compressed()}, "", 1002},
		"PMD-04 reserved block type":   {[]wstest.Frame{wstest.Text("\xff\xff\xff").Compressed()}, "", 1007},
		"PMD-04 cut short":             {[]wstest.Frame{wstest.Text(hello[:4]).Compressed()}, "", 1007},
		"PMD-07 text that is not":      {[]wstest.Frame{wstest.Text(squeeze(t, []byte("good \xff"))).Compressed()}, "", 1007},
		"PMD-07 text cut short":        {[]wstest.Frame{wstest.Text(squeeze(t, []byte("\xe2\x82"))).Compressed()}, "", 1007},
		"PMD-08 reference before time": {[]wstest.Frame{wstest.Text("\x4a\x04\x11\x00").Compressed()}, "", 1007},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				offerDeflate(t, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
				for _, s := range tr.sides(t, quick, &websocket.Compression{}) {
					h := s.open()
					h.peer.Send(t, c.frames...)
					if c.code != 0 {
						h.wantRefused(t, c.code, s.role)
						continue
					}
					wantMessage(t, h.conn, websocket.MessageText, []byte(c.want))
					require.NoError(t, h.conn.Write(soon(t), websocket.MessageText, []byte("plain")))
					h.peer.WantFrame(t, frame.Text, "plain", "below the threshold")
					h.wantClosed(t, s.role)
				}
			})
		})
	}
}
