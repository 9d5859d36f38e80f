package h2connect

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

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
