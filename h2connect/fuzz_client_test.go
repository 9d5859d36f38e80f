package h2connect

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FuzzClient feeds a client arbitrary bytes as a server's side of a connection,
// while it makes a request and opens a socket. Whatever they are: no panic; no
// goroutine that stays, or a bubble would not end;
// everything the client says can be parsed and decoded, with at most one fatal
// GOAWAY and nothing of a stream's behind it; every request and every read
// ends; what was received and not read is bounded by the windows; no credit is
// given that was not taken; and nothing is left of the connection.
func FuzzClient(f *testing.F) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	block := func(fields ...string) []byte {
		b.Reset()
		for i := 0; i < len(fields); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return bytes.Clone(b.Bytes())
	}
	settings := raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnableConnectProtocol, 1))
	join := func(frames ...[]byte) []byte { return append(bytes.Clone(settings), bytes.Join(frames, nil)...) }
	ok := block(":status", "200")
	ws := wstest.NewServer(nil)
	f.Add(join(raw(http2.FrameHeaders, 4, 1, ok), raw(http2.FrameData, 1, 1, []byte("content"))))
	f.Add(join(raw(http2.FrameHeaders, 4, 1, block(":status", "103", "link", "</a>")), raw(http2.FrameHeaders, 5, 1, block(":status", "204"))))
	f.Add(join(raw(http2.FrameHeaders, 4, 1, ok), raw(http2.FrameData, 9, 1, []byte{2, 'a', 'b', 0, 0}), raw(http2.FrameHeaders, 5, 1, block("trailer", "x"))))
	f.Add(join(raw(http2.FrameHeaders, 4, 3, ok), raw(http2.FrameHeaders, 4, 1, ok),
		raw(http2.FrameData, 0, 3, ws.Append(nil, wstest.Text("hello"))), raw(http2.FrameData, 0, 1, ws.Append(nil, wstest.Text("hello"))),
		raw(http2.FrameData, 1, 1, ws.Append(nil, wstest.Close(1000, "")))))
	f.Add(join(raw(http2.FrameHeaders, 0, 1, ok), raw(http2.FrameContinuation, 4, 1, nil), raw(http2.FrameRSTStream, 0, 1, word(8))))
	f.Add(join(raw(http2.FrameGoAway, 0, 0, append(word(1), word(0)...)), raw(http2.FrameHeaders, 5, 1, ok)))
	f.Add(join(raw(http2.FrameSettings, 1, 0, nil), raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxConcurrentStreams, 0)), raw(http2.FramePing, 0, 0, make([]byte, 8))))
	f.Add(join(raw(http2.FramePushPromise, 4, 1, append(word(2), ok...))))
	f.Add(join(raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 0)), raw(http2.FrameWindowUpdate, 0, 1, word(1<<31-1)), raw(0xa, 0, 0, []byte{0, 0})))
	f.Fuzz(func(t *testing.T, in []byte) { synctest.Test(t, func(t *testing.T) { fuzzClient(t, in) }) })
}

func fuzzClient(t *testing.T, in []byte) {
	ours, theirs := wstest.Pipe(wstest.PipeOptions{Buffer: 8 << 20})
	cc := newClientConn(ours.NetConn(), Limits{}.withDefaults(), nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/", strings.NewReader("content"))
		if resp, err := cc.RoundTrip(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	wg.Go(func() {
		if c, _, err := cc.Dial(ctx, "ws://localhost/", nil); err == nil {
			c.Write(ctx, websocket.MessageText, []byte("hello"))
			for err == nil {
				_, _, err = c.Read(ctx)
			}
			c.CloseNow()
		}
	})
	nc := theirs.NetConn()
	preface := make([]byte, len(http2.ClientPreface))
	io.ReadFull(nc, preface)
	nc.Write(in)
	theirs.CloseWrite()
	checkOutput(t, nc)
	wg.Wait()
	<-cc.Done()
	if err := ctx.Err(); err != nil {
		t.Fatal("the client hangs")
	}
	if n := cc.c.buffered.Load(); n > 1<<20 {
		t.Fatalf("%d bytes buffered", n)
	}
	checkCredit(t, cc.c)
}
