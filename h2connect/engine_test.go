package h2connect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// raw appends a frame with any header at all.
func raw(typ http2.FrameType, flags http2.Flags, id uint32, payload []byte) []byte {
	p := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), byte(typ), byte(flags)}
	return append(binary.BigEndian.AppendUint32(p, id), payload...)
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func setting(id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(id)), value)
}

func TestH2_01Preface(t *testing.T) {
	for name, tt := range map[string]struct {
		say   string
		after time.Duration
	}{
		"silence":        {"", 10 * time.Second},
		"half of it":     {http2.ClientPreface[:10], 10 * time.Second},
		"something else": {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p := clientOf(t, nil, ordinary())
				io.WriteString(p.nc, tt.say)
				p.wantEOF("closed without a word more")
				assert.Equal(t, tt.after, time.Since(begin))
				p.hangUp()
			})
		})
	}
}

func TestH2_01FirstSettingsAndTheirAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		begin := time.Now()
		io.WriteString(p.nc, http2.ClientPreface)
		p.wantGoAway(http2.ErrCodeProtocol, "no SETTINGS")
		assert.Equal(t, 2*time.Second, time.Since(begin))
		p.wantEOF("closed")
		assert.Equal(t, 3*time.Second, time.Since(begin), "after it has lingered")
		p.hangUp()

		p = clientOf(t, nil, ordinary())
		begin = time.Now()
		io.WriteString(p.nc, http2.ClientPreface)
		p.fr.WriteSettings()
		p.wantGoAway(http2.ErrCodeSettingsTimeout, "no acknowledgement")
		assert.Equal(t, 10*time.Second, time.Since(begin))
		p.hangUp()
	})
}

// Frames that cost the connection, with the code that they cost.
func TestH2FatalFrames(t *testing.T) {
	big := make([]byte, 16385)
	cases := []struct {
		name  string
		code  http2.ErrCode
		bytes []byte
	}{
		{"H2-02 frame too large", http2.ErrCodeFrameSize, raw(http2.FrameData, 0, 1, big)},
		{"H2-02 unknown frame too large", http2.ErrCodeFrameSize, raw(0x77, 0, 1, big)},
		{"H2-04 another frame in a header block", http2.ErrCodeProtocol, append(raw(http2.FrameHeaders, 0, 1, nil), raw(http2.FramePing, 0, 0, make([]byte, 8))...)},
		{"H2-04 CONTINUATION of another stream", http2.ErrCodeProtocol, append(raw(http2.FrameHeaders, 0, 1, nil), raw(http2.FrameContinuation, 4, 3, nil)...)},
		{"H2-04 CONTINUATION alone", http2.ErrCodeProtocol, raw(http2.FrameContinuation, 4, 1, nil)},
		{"H2-07 index 0", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x80})},
		{"H2-07 index past the table", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0xff, 0x80, 0x01})},
		{"H2-07 table size too large", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x3f, 0xe2, 0x1f})},
		{"H2-07 integer overflow", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, bytes.Repeat([]byte{0xff}, 20))},
		{"H2-07 Huffman padding", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x00, 0x81, 0x18, 0x01, 'x'})},
		{"H2-07 truncated", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x00, 0x05, 'a'})},
		{"H2-09 MAX_FRAME_SIZE 0", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 0))},
		{"H2-09 MAX_FRAME_SIZE 16383", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 16383))},
		{"H2-09 MAX_FRAME_SIZE 2^24", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 1<<24))},
		{"H2-09 INITIAL_WINDOW 2^31", http2.ErrCodeFlowControl, raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 1<<31))},
		{"H2-09 ENABLE_PUSH 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnablePush, 2))},
		{"H2-09, P1 ENABLE_CONNECT_PROTOCOL 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnableConnectProtocol, 2))},
		{"H2-09 length % 6", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 0, 0, make([]byte, 7))},
		{"H2-09 on a stream", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 1, nil)},
		{"H2-09 ACK with payload", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 1, 0, make([]byte, 6))},
		{"H2-09 33 settings", http2.ErrCodeEnhanceYourCalm, raw(http2.FrameSettings, 0, 0, bytes.Repeat(setting(0x99, 1), 33))},
		{"H2-11 ACK for nothing", http2.ErrCodeProtocol, raw(http2.FrameSettings, 1, 0, nil)},
		{"H2-12 PING of a wrong length", http2.ErrCodeFrameSize, raw(http2.FramePing, 0, 0, make([]byte, 7))},
		{"H2-12 PING on a stream", http2.ErrCodeProtocol, raw(http2.FramePing, 0, 1, make([]byte, 8))},
		{"H2-15 WINDOW_UPDATE 0 on the connection", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 0, word(0))},
		{"H2-15 connection window too large", http2.ErrCodeFlowControl, raw(http2.FrameWindowUpdate, 0, 0, word(1<<31-1))},
		{"H2-17 padding longer than the frame", http2.ErrCodeProtocol, raw(http2.FrameData, 8, 1, []byte{5, 1, 2, 3, 4})},
		{"H2-17 padding without a length", http2.ErrCodeProtocol, raw(http2.FrameData, 8, 1, nil)},
		{"HEADERS padding longer than the frame", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5|8, 1, []byte{5, 1})},
		{"H2-21 even stream", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5, 2, []byte{0x82})},
		{"H2-21 HEADERS on stream 0", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5, 0, []byte{0x82})},
		{"H2-21 DATA on stream 0", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 0, []byte{1})},
		{"H2-21 DATA on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 1, []byte{1})},
		{"H2-21 RST_STREAM on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 1, word(8))},
		{"H2-21 RST_STREAM on stream 0", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 0, word(8))},
		{"H2-21 WINDOW_UPDATE on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 1, word(1))},
		{"H2-22 PUSH_PROMISE", http2.ErrCodeProtocol, raw(http2.FramePushPromise, 4, 1, append(word(2), 0x82))},
		{"PRIORITY on stream 0", http2.ErrCodeProtocol, raw(http2.FramePriority, 0, 0, make([]byte, 5))},
		{"GOAWAY on a stream", http2.ErrCodeProtocol, raw(http2.FrameGoAway, 0, 1, make([]byte, 8))},
	}
	for _, tt := range cases {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.nc.Write(tt.bytes)
		debug := p.wantGoAway(tt.code, tt.name)
		assert.NotEmpty(t, debug, tt.name)
		p.hangUp()
	}
}

func TestH2_03ContinuationsAreCounted(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	block := p.block(get("/hello")...)
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true})
	for i := range 8 {
		p.fr.WriteContinuation(1, i == 7, nil)
	}
	p.wantStatus(1, "200", false, "eight are allowed")
	p.wantData(1, "<p>hello", true, "eight are allowed")
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.block(get("/hello")...), EndStream: true})
	p.flood(1_000_000, func(int) error { return p.fr.WriteContinuation(3, false, nil) })
	assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "the ninth"), "CONTINUATION")
}

func TestH2_04HeaderBlockHasToArriveInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet()
		begin := time.Now()
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(get("/hello")...), EndStream: true})
		p.wantEOF("closed")
		assert.Equal(t, 10*time.Second, time.Since(begin))
		p.hangUp()
	})
}

func TestH2_05LargeHeaders(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	many := get("/hello")
	for i := range 260 {
		many = append(many, fmt.Sprintf("x-%d", i), "v")
	}
	p.headers(1, true, many...)
	assert.Equal(t, "431", p.answer(1, true, "too many fields")[":status"])
	p.served(3)
	p.headers(5, true, get("/hello", "a", strings.Repeat("v", 8200), "b", strings.Repeat("w", 8200))...)
	assert.Equal(t, "431", p.answer(5, true, "too many bytes")[":status"])
	// The decoder's table has kept step: these fields are references now.
	p.headers(7, true, get("/hello", "x-0", "v")...)
	p.wantStatus(7, "200", false, "the table is intact")
	p.wantData(7, "<p>hello", true, "the table is intact")
	huge := get("/hello")
	for range 1100 {
		huge = append(huge, "x-0", "v")
	}
	p.headers(9, true, huge...)
	p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "more than four times the limit")
}

func TestH2_06BombIsRefusedBeforeItIsHeld(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.headers(1, true, get("/hello", "bomb", strings.Repeat("b", 3900))...)
	p.wantStatus(1, "200", false, "one copy is fine")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	block := append(p.block(get("/hello")...), bytes.Repeat([]byte{0x80 | 62}, 16000)...)
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block, EndHeaders: true, EndStream: true})
	p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "16,000 references")
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
}

func TestH2_08EncoderTableStaysSmallAndDecodable(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	id := uint32(1)
	for range 5 {
		p.served(id)
		p.fr.WriteSettings(
			http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1},
			http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0},
			http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096})
		f, ok := p.next("acknowledged").(*http2.SettingsFrame)
		require.True(t, ok && f.IsAck(), "H2-09: of duplicates the last wins")
		p.served(id + 2)
		id += 4
	}
	p.ours.mu.Lock()
	defer p.ours.mu.Unlock()
	assert.LessOrEqual(t, p.ours.enc.MaxDynamicTableSize(), uint32(4096))
}

func TestH2FloodsMeetTheirLimits(t *testing.T) {
	for _, tt := range []struct {
		name, debug string
		frame       []byte
	}{
		{"H2-10 SETTINGS", "too many", raw(http2.FrameSettings, 0, 0, nil)},
		{"H2-20 PRIORITY", "without effect", raw(http2.FramePriority, 0, 1, []byte{0, 0, 0, 3, 1})},
		{"H2-20 PRIORITY_UPDATE", "without effect", raw(http2.FramePriorityUpdate, 0, 0, word(1))},
		{"H2-20 unknown type", "without effect", raw(0xfa, 0, 0, []byte("grease"))},
	} {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.flood(100_000, func(int) error {
			_, err := p.nc.Write(tt.frame)
			return err
		})
		assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, tt.name), tt.debug, tt.name)
		p.hangUp()
	}
}

func TestH2_20TenThousandPass(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	for range 9_000 {
		p.nc.Write(raw(0xfa, 0, 0, nil))
	}
	p.served(1)
}

func TestH2_12PingFloodWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet()
		begin := time.Now()
		p.flood(1_000_000, func(int) error { return p.fr.WritePing(false, [8]byte{}) })
		<-p.done
		assert.LessOrEqual(t, time.Since(begin), 31*time.Second, "cut within the write timeout")
		p.hangUp()
	})
}

func TestH2_13RapidReset(t *testing.T) {
	var running, most atomic.Int32
	release := make(chan struct{})
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-r.Context().Done()
		<-release
		running.Add(-1)
	}))
	p.greet()
	p.flood(1_000_000, func(i int) error {
		id := uint32(2*i + 1)
		if err := p.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: p.block(get("/")...), EndHeaders: true, EndStream: true,
		}); err != nil {
			return err
		}
		return p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
	})
	assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "the bucket is empty"), "reset")
	close(release)
	assert.LessOrEqual(t, most.Load(), int32(250))
	require.Eventually(t, func() bool { return running.Load() == 0 }, time.Second, time.Millisecond)
}

// MadeYouReset (CVE-2025-8671): the peer makes us reset.
func TestH2_14MadeYouReset(t *testing.T) {
	for name, provoke := range map[string]func(p *peer, id uint32) error{
		"WINDOW_UPDATE 0": func(p *peer, id uint32) error {
			_, err := p.nc.Write(raw(http2.FrameWindowUpdate, 0, id, word(0)))
			return err
		},
		"window overflow":       func(p *peer, id uint32) error { return p.fr.WriteWindowUpdate(id, 1<<31-1) },
		"DATA after END_STREAM": func(p *peer, id uint32) error { return p.fr.WriteData(id, false, []byte("x")) },
		"HEADERS after END_STREAM": func(p *peer, id uint32) error {
			return p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block("a", "b"), EndHeaders: true, EndStream: true})
		},
		"PRIORITY of a bad length": func(p *peer, id uint32) error {
			_, err := p.nc.Write(raw(http2.FramePriority, 0, id, word(1)))
			return err
		},
		"PRIORITY on itself": func(p *peer, id uint32) error {
			_, err := p.nc.Write(raw(http2.FramePriority, 0, id, append(word(id), 1)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var running, most atomic.Int32
			p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				most.Store(max(most.Load(), running.Add(1)))
				<-r.Context().Done()
				running.Add(-1)
			}))
			p.greet()
			p.flood(100_000, func(i int) error {
				id := uint32(2*i + 1)
				if err := p.fr.WriteHeaders(http2.HeadersFrameParam{
					StreamID: id, BlockFragment: p.block(get("/")...), EndHeaders: true, EndStream: true,
				}); err != nil {
					return err
				}
				return provoke(p, id)
			})
			assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, name), "reset", name)
			assert.LessOrEqual(t, most.Load(), int32(250))
			p.hangUp()
		})
	}
}

func TestH2_15StreamWindowViolations(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	p.greet()
	p.headers(1, true, get("/")...)
	p.nc.Write(raw(http2.FrameWindowUpdate, 0, 1, word(0)))
	p.wantReset(1, http2.ErrCodeProtocol, "increment 0")
	p.headers(3, true, get("/")...)
	p.fr.WriteWindowUpdate(3, 1<<31-1)
	p.wantReset(3, http2.ErrCodeFlowControl, "overflow")
	p.headers(5, true, get("/")...)
	p.fr.WriteWindowUpdate(5, 1<<31-1-protocolWindow)
	p.wantAlive("as large as it may be")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: protocolWindow + 1})
	p.wantGoAway(http2.ErrCodeFlowControl, "overflow through INITIAL_WINDOW_SIZE")
}

func TestH2_16SenderObeysAWindowThatTurnsNegative(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	p.headers(1, true, get("/big")...)
	p.wantStatus(1, "200", false, "")
	p.wantData(1, strings.Repeat("0123456789abcdef", 7)[:100], false, "100 bytes and no more")
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 40}) // −60
	_, ok := p.next("acknowledged").(*http2.SettingsFrame)
	require.True(t, ok)
	p.fr.WriteWindowUpdate(1, 60)
	p.wantAlive("the window is 0: nothing is sent")
	p.fr.WriteWindowUpdate(1, 5)
	p.wantData(1, "45678", false, "exactly what the window allows")
	p.wantAlive("and no more")
}

func TestH2_17ReceiveWindows(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	p.greet()
	p.headers(1, false, get("/")...)
	for range 4 {
		p.fr.WriteDataPadded(1, false, make([]byte, 16384-256), make([]byte, 255))
	}
	p.wantAlive("64 KiB, padding included, is the window")
	p.fr.WriteData(1, false, make([]byte, 4*256))
	p.wantAlive("padding comes back at once")
	p.fr.WriteData(1, false, []byte("x"))
	p.wantReset(1, http2.ErrCodeFlowControl, "a byte more than the stream's window")
}

func TestH2_18DataForClosedStreamsIsPaidBackOnce(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	p.headers(1, false, get("/hello")...)
	p.answer(1, false, "answered and asked to stop")
	sent := 0
	for range 200 {
		p.fr.WriteData(1, false, make([]byte, 16384))
		sent += 16384
	}
	p.wantAlive("our own reset is remembered: nothing is said")
	p.ours.mu.Lock()
	defer p.ours.mu.Unlock()
	assert.Equal(t, p.ours.inConn.size, p.ours.inConn.avail+p.ours.inConn.unsent, "every byte once")
	assert.Zero(t, p.ours.buffered.Load())
}

func TestH2_19EmptyData(t *testing.T) {
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
	p.flood(200, func(int) error { return p.fr.WriteData(1, false, nil) })
	assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, "101 in a row"), "empty DATA")
}

func TestH2_19AMillionSmallMessagesAreFine(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	got := make(chan int64, 1)
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		assert.NoError(t, err)
		got <- n
	}))
	p.greet()
	p.headers(1, false, with(get("/"), ":method", "POST")...)
	go io.Copy(io.Discard, p.nc)
	one := raw(http2.FrameData, 0, 1, []byte("x"))
	batch := bytes.Repeat(one, 1000)
	window := 0
	for sent := 0; sent < n; sent += 1000 {
		window += 1000
		if window > 16000 {
			// Wait for credit: the receiver has consumed what it got.
			require.Eventually(t, func() bool {
				p.ours.mu.Lock()
				defer p.ours.mu.Unlock()
				st := p.ours.streams[1]
				if st == nil {
					return false
				}
				st.recv.mu.Lock()
				defer st.recv.mu.Unlock()
				return st.recv.waiting.len() == 0 && st.recv.flow.avail > 20000
			}, 5*time.Second, 50*time.Microsecond)
			window = 0
		}
		_, err := p.nc.Write(batch)
		require.NoError(t, err)
	}
	p.fr.WriteData(1, true, nil)
	assert.EqualValues(t, n, <-got)
}

func TestH2_21ConcurrentStreams(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, &Server{Limits: Limits{ConcurrentStreams: 3}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	p.greet()
	for id := uint32(1); id <= 5; id += 2 {
		p.headers(id, true, get("/")...)
	}
	p.headers(7, true, get("/")...)
	p.wantReset(7, http2.ErrCodeRefusedStream, "P29: one too many")
	p.wantAlive("the others live")
	p.ours.mu.Lock()
	assert.Len(t, p.ours.streams, 3)
	p.ours.mu.Unlock()
}

func TestH2_21FramesOnClosedAndHalfClosedStreams(t *testing.T) {
	blocked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := clientOf(t, nil, blocked)
	p.greet()
	p.headers(1, true, get("/")...)
	p.fr.WriteData(1, false, []byte("x"))
	p.wantReset(1, http2.ErrCodeStreamClosed, "DATA after END_STREAM")
	p.headers(3, true, get("/")...)
	p.headers(3, true, "a", "b")
	p.wantReset(3, http2.ErrCodeStreamClosed, "HEADERS after END_STREAM")
	p.headers(5, true, get("/")...)
	p.fr.WriteRSTStream(5, http2.ErrCodeCancel)
	p.fr.WriteData(5, false, []byte("x"))
	p.wantReset(5, http2.ErrCodeStreamClosed, "DATA after RST_STREAM")
	p.headers(7, true, get("/")...)
	p.headers(7, true, get("/")...)
	p.wantReset(7, http2.ErrCodeStreamClosed, "the id is taken")
	p.headers(9, true, get("/")...)
	p.fr.WriteRSTStream(9, http2.ErrCodeCancel)
	p.headers(9, true, get("/")...)
	p.wantGoAway(http2.ErrCodeStreamClosed, "a closed stream cannot be opened again")
}

// Identifiers only go up: one that was passed over was never a stream that
// could be closed.
func TestH2_21StreamsThatWerePassedOverCannotBeOpened(t *testing.T) {
	for _, id := range []uint32{1, 5, 7} {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.served(3)
		p.served(9)
		p.served(11)
		p.headers(id, true, get("/hello")...)
		p.wantGoAway(http2.ErrCodeProtocol, fmt.Sprintf("stream %d comes after stream 11", id))
		p.hangUp()
	}
	p := clientOf(t, nil, ordinary())
	p.greet()
	for i := range uint32(1000) {
		p.served(3 + 4*i)
	}
	p.headers(3999-4, true, get("/hello")...)
	p.wantGoAway(http2.ErrCodeStreamClosed, "this one was a stream")
}

func TestH2_23AStreamNobodyReadsStallsNobody(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stalled" {
			<-r.Context().Done()
			return
		}
		ordinary().ServeHTTP(w, r)
	}))
	p.greet()
	p.headers(1, false, with(get("/stalled"), ":method", "POST")...)
	for range 4 {
		p.fr.WriteData(1, false, make([]byte, 16384))
	}
	p.headers(3, false, with(get("/echo"), ":method", "POST")...)
	p.wantStatus(3, "200", false, "")
	for range 200 { // 3 MiB, three times the connection's window
		p.fr.WriteData(3, false, make([]byte, 16000))
		for got := 0; got < 16000; {
			d, ok := p.next("echoed").(*http2.DataFrame)
			require.True(t, ok)
			got += len(d.Data())
		}
		p.fr.WriteWindowUpdate(3, 16000)
		p.fr.WriteWindowUpdate(0, 16000)
	}
	p.wantAlive("undisturbed")
	assert.EqualValues(t, 64<<10, p.ours.buffered.Load())
}

func TestH2_23BufferedBytesAreCapped(t *testing.T) {
	limits := Limits{ConnWindow: 128 << 10, ConnBuffer: 256 << 10}
	p := clientOf(t, &Server{Limits: limits}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	p.greet()
	for id := uint32(1); id <= 7; id += 2 {
		p.headers(id, false, with(get("/"), ":method", "POST")...)
		for range 4 {
			p.fr.WriteData(id, false, make([]byte, 16384))
		}
	}
	p.wantAlive("256 KiB fit")
	p.headers(9, false, with(get("/"), ":method", "POST")...)
	p.fr.WriteData(9, false, []byte("x"))
	p.wantGoAway(http2.ErrCodeFlowControl, "and no byte more: its credit was held back")
}

func TestH2_24PeerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					ended <- err
					return
				}
			}
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.fr.WriteWindowUpdate(0, 1<<30)
		begin := time.Now()
		p.headers(1, true, get("/")...)
		err := <-ended
		assert.Equal(t, 30*time.Second, time.Since(begin))
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
		<-p.done
		p.hangUp()
	})
}

func TestH2_25WindowClosedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hello" {
				ordinary().ServeHTTP(w, r)
				return
			}
			_, err := w.Write(make([]byte, 64<<10))
			ended <- err
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		begin := time.Now()
		p.headers(1, true, get("/")...)
		p.wantStatus(1, "200", false, "")
		p.wantData(1, string(make([]byte, 1000)), false, "")
		err := <-ended
		assert.Equal(t, 30*time.Second, time.Since(begin))
		require.ErrorIs(t, err, errWriteStall)
		p.wantReset(1, http2.ErrCodeCancel, "the stream is given up")
		p.served(3)
		p.hangUp()
	})
}

func TestH2_26DrippedWindowIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		p.headers(1, true, get("/big")...)
		p.wantStatus(1, "200", false, "")
		begin := time.Now()
		go func() {
			for range 40 {
				time.Sleep(time.Second)
				p.fr.WriteWindowUpdate(1, 1)
			}
		}()
		for {
			f := p.next("until it is given up")
			if rst, ok := f.(*http2.RSTStreamFrame); ok {
				assert.Equal(t, http2.ErrCodeCancel, rst.ErrCode)
				break
			}
		}
		assert.LessOrEqual(t, time.Since(begin), 31*time.Second)
		time.Sleep(time.Minute) // let the drip end
		p.hangUp()
	})
}

func TestH2_27GoAwayFromTheServer(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	type result struct {
		resp *http.Response
		err  error
	}
	results := make([]chan result, 2)
	for i := range results {
		results[i] = make(chan result, 1)
		req, _ := http.NewRequest("GET", "http://localhost/", nil)
		go func() {
			resp, err := cc.RoundTrip(req)
			results[i] <- result{resp, err}
		}()
		p.wantHeaders(uint32(2*i+1), true, "a request")
	}
	p.fr.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
	above := <-results[1]
	require.True(t, retryable(above.err), "%v", above.err)
	var ce *ConnError
	require.ErrorAs(t, above.err, &ce)
	assert.True(t, ce.Remote)
	assert.Equal(t, "bye", ce.Debug)
	p.headers(1, true, ":status", "200")
	below := <-results[0]
	require.NoError(t, below.err, "what was taken goes on to its end")
	assert.False(t, cc.CanTakeNewRequest())
	req, _ := http.NewRequest("GET", "http://localhost/", nil)
	_, err := cc.RoundTrip(req)
	require.True(t, retryable(err))
}

func TestH2_28NothingIsDoneAfterAFatalGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("no handler starts") }))
		p.greet()
		begin := time.Now()
		p.nc.Write(raw(http2.FramePing, 0, 1, make([]byte, 8)))
		p.headers(1, true, get("/")...)
		p.wantGoAway(http2.ErrCodeProtocol, "")
		p.headers(3, true, get("/")...)
		p.fr.WriteData(3, false, make([]byte, 16000))
		p.wantEOF("closed")
		assert.Equal(t, time.Second, time.Since(begin), "it lingers")
		p.hangUp()
	})
}

func TestH2_29MalformedRequests(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []string
	}{
		{"connection", get("/hello", "connection", "close")},
		{"keep-alive", get("/hello", "keep-alive", "1")},
		{"transfer-encoding", get("/hello", "transfer-encoding", "chunked")},
		{"upgrade", get("/hello", "upgrade", "h2c")},
		{"te: gzip", get("/hello", "te", "gzip")},
		{"upper case", get("/hello", "X-Upper", "v")},
		{"CR", get("/hello", "x", "a\rb")},
		{"LF", get("/hello", "x", "a\nb")},
		{"NUL", get("/hello", "x", "a\x00b")},
		{"leading space", get("/hello", "x", " a")},
		{"trailing tab", get("/hello", "x", "a\t")},
		{"empty name", get("/hello", "", "a")},
		{"space in a name", get("/hello", "a b", "a")},
		{"no method", with(get("/hello"), ":method", "-")},
		{"no scheme", with(get("/hello"), ":scheme", "-")},
		{"no path", with(get("/hello"), ":path", "-")},
		{"empty path", with(get("/hello"), ":path", "")},
		{"path without a slash", with(get("/hello"), ":path", "hello")},
		{"status in a request", append([]string{":status", "200"}, get("/hello")...)},
		{"content-length and no content", get("/hello", "content-length", "5")},
		{"content-lengths that differ", get("/hello", "content-length", "0", "content-length", "1")},
		{"content-length no number", get("/hello", "content-length", "-1")},
		{"user info in :authority", with(get("/hello"), ":authority", "a@localhost")},
		{"host differs", get("/hello", "host", "elsewhere")},
	} {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.headers(1, true, tt.fields...)
		p.wantReset(1, http2.ErrCodeProtocol, tt.name)
		p.served(3)
		p.hangUp()
	}
}

func TestContentLengthIsCheckedAgainstTheContent(t *testing.T) {
	p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		var se *StreamError
		assert.True(t, errors.As(err, &se), "%v", err)
		<-r.Context().Done()
		assert.Error(t, context.Cause(r.Context()))
	}))
	p.greet()
	post := with(get("/", "content-length", "5"), ":method", "POST")
	p.headers(1, false, post...)
	p.fr.WriteData(1, false, []byte("123456"))
	p.wantReset(1, http2.ErrCodeProtocol, "longer")
	p.headers(3, false, post...)
	p.fr.WriteData(3, true, []byte("1234"))
	p.wantReset(3, http2.ErrCodeProtocol, "shorter")
	p.headers(5, false, post...)
	p.fr.WriteData(5, false, []byte("1234"))
	p.headers(5, true, "x", "trailer")
	p.wantReset(5, http2.ErrCodeProtocol, "shorter, with a trailer section")
}

func TestIdleConnectionSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet()
		time.Sleep(2 * time.Minute)
		p.served(1)
		begin := time.Now()
		p.nc.SetReadDeadline(time.Time{})
		f, err := p.fr.ReadFrame()
		require.NoError(t, err)
		g, ok := f.(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.Equal(t, http2.ErrCodeNo, g.ErrCode)
		assert.Equal(t, 3*time.Minute, time.Since(begin))
		p.wantEOF("closed")
		p.hangUp()
	})
}

func TestP30ShutdownInTwoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.served(1)
		p.ours.role.(*serverConn).drain()
		first, ok := p.next("GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.EqualValues(t, 1<<31-1, first.LastStreamID)
		ping, ok := p.next("PING").(*http2.PingFrame)
		require.True(t, ok)
		p.served(3) // OP-02: it was on its way
		p.fr.WritePing(true, ping.Data)
		last, ok := p.next("GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.EqualValues(t, 3, last.LastStreamID)
		p.headers(5, true, get("/hello")...)
		p.wantEOF("too late, and closed")
		p.hangUp()
	})
}
