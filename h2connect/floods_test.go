package h2connect

import (
	"bytes"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// An attack is what a client does again and again until a limit ends its
// connection.
type attack struct {
	name  string   // with the number of the case
	limit string   // what GOAWAY's debug data and the statistics call the limit
	open  []string // a request to begin with, on stream 1
	frame func(p *peer, i int) []byte
}

func always(frame []byte) func(*peer, int) []byte {
	return func(*peer, int) []byte { return frame }
}

// onNewStream opens a stream with a request that waits and does something to it.
func onNewStream(frame func(p *peer, id uint32) []byte) func(*peer, int) []byte {
	return func(p *peer, i int) []byte {
		id := uint32(2*i + 1)
		return append(raw(http2.FrameHeaders, 5, id, p.block(get("/wait")...)), frame(p, id)...)
	}
}

// madeYouReset is the six ways of CVE-2025-8671 to make a server reset a stream
// whose request is being handled.
var madeYouReset = map[string]func(p *peer, id uint32) []byte{
	"WINDOW_UPDATE 0":       func(_ *peer, id uint32) []byte { return raw(http2.FrameWindowUpdate, 0, id, word(0)) },
	"window overflow":       func(_ *peer, id uint32) []byte { return raw(http2.FrameWindowUpdate, 0, id, word(1<<31-1)) },
	"DATA after END_STREAM": func(_ *peer, id uint32) []byte { return raw(http2.FrameData, 0, id, []byte("x")) },
	"HEADERS after END_STREAM": func(p *peer, id uint32) []byte {
		return raw(http2.FrameHeaders, 5, id, p.block("a", "b"))
	},
	"PRIORITY of a bad length": func(_ *peer, id uint32) []byte { return raw(http2.FramePriority, 0, id, word(1)) },
	"PRIORITY on itself": func(_ *peer, id uint32) []byte {
		return raw(http2.FramePriority, 0, id, append(word(id), 1))
	},
}

func attacks() []attack {
	post := with(get("/echo"), ":method", "POST")
	all := []attack{
		{"H2-03 CONTINUATION", "Continuations", nil, func(p *peer, i int) []byte {
			if i == 0 {
				return raw(http2.FrameHeaders, 1, 1, p.block(get("/hello")...))
			}
			return raw(http2.FrameContinuation, 0, 1, nil)
		}},
		{"H2-05 header fields", "HeaderFields", nil, func(p *peer, i int) []byte {
			block := p.block(append(get("/hello"), "a", "b")...)
			return raw(http2.FrameHeaders, 5, uint32(2*i+1), append(block, bytes.Repeat([]byte{0x80 | 62}, 1024)...))
		}},
		{"H2-06 bomb", "HeaderBytes", nil, func(p *peer, i int) []byte {
			block := p.block(get("/hello", "bomb", strings.Repeat("b", 3900))...)
			return raw(http2.FrameHeaders, 5, uint32(2*i+1), append(block, bytes.Repeat([]byte{0x80 | 62}, 10000)...))
		}},
		{"H2-09 parameters", "Settings", nil, always(raw(http2.FrameSettings, 0, 0, bytes.Repeat(setting(0x99, 1), 33)))},
		{"H2-10 SETTINGS", "GlitchBurst", nil, always(raw(http2.FrameSettings, 0, 0, nil))},
		{"H2-10 SETTINGS that change something", "GlitchBurst", nil, func(_ *peer, i int) []byte {
			return raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, uint32(i%2*65535)))
		}},
		{"H2-12 PING", "GlitchBurst", nil, always(raw(http2.FramePing, 0, 0, make([]byte, 8)))},
		{"PING ACK", "GlitchBurst", nil, always(raw(http2.FramePing, 1, 0, make([]byte, 8)))},
		{"GOAWAY", "GlitchBurst", nil, always(raw(http2.FrameGoAway, 0, 0, make([]byte, 8)))},
		{"H2-13 rapid reset", "ResetBurst", nil, onNewStream(func(_ *peer, id uint32) []byte {
			return raw(http2.FrameRSTStream, 0, id, word(uint32(http2.ErrCodeCancel)))
		})},
		{"RST_STREAM of a closed stream", "ResetBurst", get("/hello"), always(raw(http2.FrameRSTStream, 0, 1, word(8)))},
		{"H2-21 more streams than allowed", "ResetBurst", nil, onNewStream(func(*peer, uint32) []byte { return nil })},
		{"malformed requests", "ResetBurst", nil, func(p *peer, i int) []byte {
			return raw(http2.FrameHeaders, 5, uint32(2*i+1), p.block(":method", "GET"))
		}},
		{"H2-19 empty DATA", "EmptyData", post, always(raw(http2.FrameData, 0, 1, nil))},
		{"H2-19 DATA of nothing but padding", "EmptyData", post, always(raw(http2.FrameData, 8, 1, []byte{3, 0, 0, 0}))},
		{"DATA for a stream that was reset", "GlitchBurst", with(get("/hello"), ":method", "POST"), always(raw(http2.FrameData, 0, 1, []byte("x")))},
		{"H2-20 PRIORITY", "GlitchBurst", nil, always(raw(http2.FramePriority, 0, 1, []byte{0, 0, 0, 3, 1}))},
		{"H2-20 PRIORITY_UPDATE", "GlitchBurst", nil, always(raw(http2.FramePriorityUpdate, 0, 0, word(1)))},
		{"H2-20 PRIORITY_UPDATE of a live stream", "GlitchBurst", get("/wait"), func(_ *peer, i int) []byte {
			return raw(http2.FramePriorityUpdate, 0, 0, append(word(1), "u="+strconv.Itoa(i%8)...))
		}},
		{"H2-20 PRIORITY_UPDATE with a long value", "GlitchBurst", nil, always(raw(http2.FramePriorityUpdate, 0, 0,
			append(word(1), "u=1"+strings.Repeat(", a=(b c)", 1700)...)))},
		{"H2-20 unknown type", "GlitchBurst", nil, always(raw(0xfa, 0, 0, []byte("grease")))},
		{"H2-20 WINDOW_UPDATE of the connection", "GlitchBurst", nil, always(raw(http2.FrameWindowUpdate, 0, 0, word(1)))},
		{"H2-20 WINDOW_UPDATE of a live stream", "GlitchBurst", get("/wait"), always(raw(http2.FrameWindowUpdate, 0, 1, word(1)))},
		{"H2-20 WINDOW_UPDATE of a closed stream", "GlitchBurst", get("/hello"), always(raw(http2.FrameWindowUpdate, 0, 1, word(1)))},
	}
	for name, frame := range madeYouReset {
		all = append(all, attack{"H2-14 " + name, "ResetBurst", nil, onNewStream(frame)})
	}
	return all
}

// Every attack of the table ends its own connection with a GOAWAY that names
// the limit, and nothing else: another client is served meanwhile and after,
// never do more handlers run than streams are allowed, and what the attack made
// the server hold goes with it.
func TestH2AttacksMeetTheirLimits(t *testing.T) {
	const most = 50
	for _, tt := range attacks() {
		t.Run(tt.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			held := heldMemory()
			var running, highest atomic.Int32
			mux := http.NewServeMux()
			mux.Handle("/", ordinary())
			mux.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) {
				n := running.Add(1)
				for m := highest.Load(); n > m && !highest.CompareAndSwap(m, n); m = highest.Load() {
				}
				<-r.Context().Done()
				running.Add(-1)
			})
			p := clientOf(t, &Server{Limits: Limits{
				ConcurrentStreams: most, Linger: 10 * time.Millisecond,
				ControlFrames: 1 << 20, // which of two limits is met first would be chance
			}}, mux)
			p.greet()
			honest := p.neighbour()
			if tt.open != nil {
				p.headers(1, slices.Equal(tt.open, get("/wait")) || slices.Equal(tt.open, get("/hello")), tt.open...)
			}
			p.attack(1_000_000, tt.frame)
			end := p.awaitGoAway()
			for i := range uint32(10) {
				honest.served(1 + 2*i)
			}
			goAway := <-end
			assert.Equal(t, http2.ErrCodeEnhanceYourCalm, goAway.Code)
			met, _, _ := strings.Cut(goAway.Debug, ":")
			assert.Equal(t, tt.limit, met)
			assert.EqualValues(t, 1, p.hits(met), "counted once")
			honest.served(101)
			p.hangUp()
			require.Eventually(t, func() bool { return running.Load() == 0 }, 10*time.Second, time.Millisecond)
			assert.LessOrEqual(t, highest.Load(), int32(most))
			honest.served(103)
			stats := p.conf.Stats()
			assert.Equal(t, 1, stats.Connections, "only the honest one is left")
			honest.hangUp()
			assert.Less(t, heldMemory()-held, int64(4<<20))
		})
	}
}

// awaitGoAway reads from a goroutine of its own until GOAWAY comes.
func (p *peer) awaitGoAway() <-chan ConnError {
	end := make(chan ConnError, 1)
	go func() {
		defer close(end)
		for {
			f, err := p.fr.ReadFrame()
			if err != nil {
				return
			}
			if g, ok := f.(*http2.GoAwayFrame); ok {
				end <- ConnError{Code: g.ErrCode, Debug: string(g.DebugData())}
				return
			}
		}
	}()
	return end
}

// heldMemory returns the bytes of memory in use.
func heldMemory() int64 {
	runtime.GC()
	runtime.GC() // pools need two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestH2_20TenThousandPass(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	for range 9_000 {
		p.nc.Write(raw(0xfa, 0, 0, nil))
	}
	p.served(1)
	assert.Empty(t, p.conf.Stats().LimitHits)
}

// A peer that does not read the answers meets the limit of those that wait,
// however generous the bucket, and is cut when it does not even take GOAWAY.
func TestH2_12PingFloodWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOver(t, wstest.PipeOptions{Buffer: 4 << 10}, &Server{Limits: Limits{GlitchBurst: -1}}, ordinary())
		p.greet()
		honest := p.neighbour()
		begin := time.Now()
		p.attack(1_000_000, always(raw(http2.FramePing, 0, 0, make([]byte, 8))))
		synctest.Wait()
		assert.EqualValues(t, 1, p.hits("ControlFrames"))
		p.ours.mu.Lock()
		assert.True(t, p.ours.dying.Load())
		assert.LessOrEqual(t, len(p.ours.out), 1001*17+64, "what waits is bounded")
		p.ours.mu.Unlock()
		honest.served(1)
		<-p.done
		assert.LessOrEqual(t, time.Since(begin), 31*time.Second, "cut within the write timeout")
		assert.EqualValues(t, 1, p.hits("WriteStall"))
		p.hangUp()
		honest.hangUp()
	})
}

// A client that does not take the responses has them wait in the batch, although
// their streams are closed: no more of them than may be open.
func TestRequestsWithoutReadingTheResponses(t *testing.T) {
	for name, fields := range map[string][]string{
		"handled": get("/none"),
		"refused": append(get("/"), "x", strings.Repeat("x", 17<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := clientOver(t, wstest.PipeOptions{Buffer: 4 << 10}, nil, ordinary())
				p.greet()
				honest := p.neighbour()
				for i := range 4000 {
					block := p.block(fields...) // but for the first all of it is in the table
					frame := raw(http2.FrameHeaders, 5, uint32(2*i+1), block[:min(len(block), maxFrame)])
					if len(block) > maxFrame {
						frame[4] = 1
						frame = append(frame, raw(http2.FrameContinuation, 4, uint32(2*i+1), block[maxFrame:])...)
					}
					p.nc.Write(frame)
					synctest.Wait() // until the response waits
				}
				p.ours.mu.Lock()
				assert.True(t, p.ours.dying.Load(), "it is told, and ended for it")
				assert.Less(t, len(p.ours.out), 32<<10, "what waits is bounded")
				p.ours.mu.Unlock()
				assert.Positive(t, p.hits("ConcurrentStreams"))
				honest.served(1)
				p.hangUp()
				honest.hangUp()
			})
		})
	}
}

// Peers that are busy keeping a connection going are no attackers. The bucket is
// nearly empty here: what they do must not touch it.
func TestH2_20UpkeepOfHonestPeers(t *testing.T) {
	conf := func() *Server { return &Server{Limits: Limits{GlitchBurst: 4, GlitchRate: 1}} }
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			ordinary().ServeHTTP(w, r)
			return
		}
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	const bytes = 4 << 20
	for _, tt := range []struct {
		name string
		data func(p *peer, n int) // what the peer does about n bytes of content
	}{
		{"credit for every frame", func(p *peer, n int) {
			p.fr.WriteWindowUpdate(1, uint32(n))
			p.fr.WriteWindowUpdate(0, uint32(n))
		}},
		{"credit by the piece", func(p *peer, n int) {
			for ; n > 0; n -= 128 {
				p.fr.WriteWindowUpdate(1, uint32(min(n, 128)))
				p.fr.WriteWindowUpdate(0, uint32(min(n, 128)))
			}
		}},
		{"a PING for every frame, to measure the bandwidth", func(p *peer, n int) {
			p.fr.WriteWindowUpdate(1, uint32(n))
			p.fr.WriteWindowUpdate(0, uint32(n))
			p.fr.WritePing(false, [8]byte{2, 4, 16, 16, 9, 14, 7, 7})
		}},
	} {
		t.Run("download, "+tt.name, func(t *testing.T) {
			p := clientOf(t, conf(), endless)
			p.greet()
			p.headers(1, true, get("/endless")...)
			for got := 0; got < bytes; {
				if d, ok := p.next("content").(*http2.DataFrame); ok {
					got += len(d.Data())
					tt.data(p, len(d.Data()))
				}
			}
			assert.Empty(t, p.conf.Stats().LimitHits)
		})
	}
	t.Run("upload with a PING for every frame", func(t *testing.T) {
		p := clientOf(t, conf(), ordinary())
		p.greet()
		p.headers(1, false, with(get("/echo"), ":method", "POST")...)
		p.wantStatus(1, "200", false, "")
		for range 5000 {
			p.fr.WriteData(1, false, []byte("x"))
			p.wantData(1, "x", false, "")
			p.wantAlive("a PING")
		}
	})
	t.Run("a window for every stream", func(t *testing.T) {
		p := clientOf(t, conf(), ordinary())
		p.greet()
		for i := range uint32(3000) {
			p.headers(2*i+1, true, get("/hello")...)
			p.fr.WriteWindowUpdate(2*i+1, 1<<20)
			p.fr.WriteWindowUpdate(0, 9)
			p.wantStatus(2*i+1, "200", false, "")
			p.wantData(2*i+1, "<p>hello", true, "")
		}
	})
}

func TestH2_19EmptyDataIsPaidForByContent(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	p.headers(1, false, with(get("/echo"), ":method", "POST")...)
	p.wantStatus(1, "200", false, "")
	for range 1000 {
		p.fr.WriteData(1, false, []byte("x"))
		p.wantData(1, "x", false, "consumed")
		p.fr.WriteData(1, false, nil)
	}
	p.wantAlive("data that is consumed pays for empty frames")
	for range 99 { // and the last one above
		p.fr.WriteData(1, false, nil)
	}
	p.wantAlive("a hundred in a row are allowed")
	p.fr.WriteData(1, false, nil)
	assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "the 101st"), "EmptyData")
}

// hyper 0.4.16 took honest connections for attackers here: a million messages
// of one byte, each in a DATA frame of its own, all arrive.
func TestH2_19AMillionMessagesOfOneByte(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 50_000
	}
	got := make(chan int, 1)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err != nil {
			return
		}
		count := 0
		for {
			_, m, err := c.Read(r.Context())
			if err != nil {
				break
			}
			if len(m) == 1 {
				count++
			}
		}
		got <- count
	}))
	p.greet()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "")
	credit := make(chan int, 1024)
	go func() {
		defer close(credit)
		for {
			f, err := p.fr.ReadFrame()
			if err != nil {
				return
			}
			if u, ok := f.(*http2.WindowUpdateFrame); ok && u.StreamID == 1 {
				credit <- int(u.Increment)
			}
		}
	}()
	client := wstest.NewClient(nil)
	var message [64][]byte
	for i := range message {
		message[i] = raw(http2.FrameData, 0, 1, client.Append(nil, wstest.Text("x")))
	}
	window := 64 << 10
	batch := make([]byte, 0, 32<<10)
	for sent := 0; sent < n; {
		for window < 7 || len(credit) > 0 {
			c, ok := <-credit
			require.True(t, ok, "the connection lives")
			window += c
		}
		batch = batch[:0]
		for ; sent < n && window >= 7 && len(batch) < 16<<10; sent++ {
			batch = append(batch, message[sent%64]...)
			window -= 7
		}
		_, err := p.nc.Write(batch)
		require.NoError(t, err)
	}
	p.fr.WriteData(1, true, client.Append(nil, wstest.Close(1000, "")))
	assert.Equal(t, n, <-got)
	assert.Empty(t, p.conf.Stats().LimitHits)
}
