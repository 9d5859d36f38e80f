package h2connect

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// fuzzHandler does a little of everything with what comes.
func fuzzHandler(w http.ResponseWriter, r *http.Request) {
	if c, err := Accept(w, r, &websocket.AcceptOptions{InsecureSkipOriginCheck: true}); err == nil {
		t, p, err := c.Read(r.Context())
		if err == nil {
			c.Write(r.Context(), t, p)
		}
		return
	}
	io.Copy(io.Discard, io.LimitReader(r.Body, 1<<16))
}

// FuzzServer feeds a server arbitrary bytes behind the preface. Whatever they
// are: no panic; every frame that comes back can be parsed and decoded; there is
// at most one GOAWAY with an error, and nothing behind it; the server lets go
// when the peer does, with every goroutine, or a bubble would not end; and what
// it holds and the credit it gives are bounded.
func FuzzServer(f *testing.F) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	block := func(fields []string) []byte {
		b.Reset()
		for i := 0; i < len(fields); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return bytes.Clone(b.Bytes())
	}
	settings := raw(http2.FrameSettings, 0, 0, nil)
	join := func(frames ...[]byte) []byte { return append(bytes.Clone(settings), bytes.Join(frames, nil)...) }
	ws := wstest.NewClient(nil)
	f.Add(join(raw(http2.FrameHeaders, 5, 1, block(get("/hello")))))
	f.Add(join(raw(http2.FrameHeaders, 4, 1, block(connect())), raw(http2.FrameData, 0, 1, ws.Append(nil, wstest.Text("hello"))), raw(http2.FrameRSTStream, 0, 1, word(8))))
	f.Add(join(raw(http2.FrameHeaders, 0, 1, block(get("/"))), raw(http2.FrameContinuation, 4, 1, nil)))
	f.Add(join(raw(http2.FrameHeaders, 4, 1, block(with(get("/"), ":method", "POST"))), raw(http2.FrameData, 9, 1, []byte{2, 'a', 'b', 0, 0})))
	f.Add(join(raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 0)), raw(http2.FrameWindowUpdate, 0, 0, word(1<<31-1))))
	f.Add(join(raw(http2.FramePing, 0, 0, make([]byte, 8)), raw(http2.FrameGoAway, 0, 0, make([]byte, 8)), raw(0x77, 255, 7, []byte("x"))))
	f.Fuzz(func(t *testing.T, in []byte) { synctest.Test(t, func(t *testing.T) { fuzzServer(t, in) }) })
}

func fuzzServer(t *testing.T, in []byte) {
	ours, theirs := wstest.Pipe(wstest.PipeOptions{Buffer: 8 << 20})
	h := http.HandlerFunc(fuzzHandler)
	s := newServer(&http.Server{Handler: h}, &Server{Limits: Limits{Linger: time.Millisecond}})
	sc := newServerConn(s, ours.NetConn(), h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sc.serve(false)
	}()
	nc := theirs.NetConn()
	io.WriteString(nc, http2.ClientPreface)
	nc.Write(in)
	theirs.CloseWrite()
	checkOutput(t, nc)
	<-done
	checkCredit(t, sc.c)
	if n := sc.c.buffered.Load(); n > 4<<20 {
		t.Fatalf("%d bytes buffered", n)
	}
}

// checkOutput reads what the server says to its end.
func checkOutput(t *testing.T, nc io.Reader) {
	fr := http2.NewFramer(io.Discard, nc)
	fr.SetMaxReadFrameSize(maxFrame)
	dec := hpack.NewDecoder(protocolTable, nil)
	fatal := false
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			if fr.ErrorDetail() != nil {
				t.Fatalf("a frame of ours cannot be parsed: %v", fr.ErrorDetail())
			}
			return
		}
		if fatal {
			t.Fatalf("%v behind a fatal GOAWAY", f)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			fatal = f.ErrCode != http2.ErrCodeNo
		case *http2.HeadersFrame:
			if _, err := dec.DecodeFull(f.HeaderBlockFragment()); err != nil {
				t.Fatalf("a header block of ours cannot be decoded: %v", err)
			}
		case *http2.DataFrame:
			if f.Length == 0 && !f.StreamEnded() {
				t.Fatal("empty DATA without END_STREAM")
			}
		}
	}
}

// checkCredit checks H2-18's invariant on a connection that has ended.
func checkCredit(t *testing.T, c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 {
		t.Fatal("streams left")
	}
	if got := int64(c.inConn.avail) + int64(c.inConn.unsent); got > int64(c.inConn.size) {
		t.Fatalf("more credit returned than taken: %d of %d", got, c.inConn.size)
	}
	if c.buffered.Load() < 0 {
		t.Fatal("more bytes taken out than put in")
	}
}
