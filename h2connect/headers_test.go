package h2connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

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
	p.attack(1_000_000, always(raw(http2.FrameContinuation, 0, 3, nil)))
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

// The other half of the bomb: what requests made the server hold is kept there by
// windows that stay shut. It is bounded, and ends with WriteStall.
func TestH2_06WhatABombHoldsIsBoundedAndEnds(t *testing.T) {
	content := make([]byte, 1<<20)
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 250)
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(content)
			failed <- err
		}))
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		go io.Copy(io.Discard, p.nc)
		before := heldMemory()
		block := p.block(get("/", "bomb", strings.Repeat("b", 3900))...)
		for i := range uint32(250) {
			// Four times 3.9 KB, which is what one request may have, and as
			// many fields as it may have besides.
			fields := append(slices.Clone(block), bytes.Repeat([]byte{0x80 | 62}, 3)...)
			fields = append(fields, bytes.Repeat([]byte{0x80 | 18}, 10)...)
			p.nc.Write(raw(http2.FrameHeaders, 5, 2*i+1, fields))
			block = p.block(get("/", "bomb", strings.Repeat("b", 3900))...)
		}
		synctest.Wait()
		assert.Equal(t, 250, p.conf.Stats().Streams, "all of them run")
		held := heldMemory() - before
		assert.Less(t, held, int64(8<<20))
		t.Logf("%d KiB held by 250 streams", held>>10)
		time.Sleep(31 * time.Second)
		for range 250 {
			require.ErrorIs(t, <-failed, errWriteStall)
		}
		synctest.Wait()
		assert.Zero(t, p.conf.Stats().Streams)
		assert.EqualValues(t, 250, p.hits("WriteStall"))
		p.hangUp()
	})
	assert.Less(t, heldMemory(), int64(64<<20))
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

// CVE-2026-50560: a client that says that it takes no header lists at all does
// not make every response a failure. The setting is advice (RFC 9113 §6.5.2).
func TestTinyMaxHeaderListSizeFailsNoResponse(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1})
	for i := range uint32(2000) {
		p.served(2*i + 1)
	}
	assert.Empty(t, p.conf.Stats().LimitHits)
}

// A header block that has begun has to be complete in time, in however many frames it
// comes.
func TestH2_03ABlockIsToBeCompleteInTime(t *testing.T) {
	for name, parts := range map[string]func(block []byte) [2][]byte{
		"one frame": func(block []byte) [2][]byte {
			frame := raw(http2.FrameHeaders, 5, 3, block)
			return [2][]byte{frame[:len(frame)-1], frame[len(frame)-1:]}
		},
		"its header": func(block []byte) [2][]byte {
			frame := raw(http2.FrameHeaders, 5, 3, block)
			return [2][]byte{frame[:frameHeader], frame[frameHeader:]}
		},
		"two frames": func(block []byte) [2][]byte {
			return [2][]byte{raw(http2.FrameHeaders, 1, 3, block), raw(http2.FrameContinuation, 4, 3, nil)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				late time.Duration
				cut  bool
			}{{9 * time.Second, false}, {11 * time.Second, true}} {
				synctest.Test(t, func(t *testing.T) {
					p := clientOf(t, nil, ordinary())
					p.greet()
					p.headers(1, false, with(get("/echo"), ":method", "POST")...) // the connection is not idle
					p.wantStatus(1, "200", false, "")
					part := parts(p.block(get("/hello")...))
					p.nc.Write(part[0])
					time.Sleep(tt.late)
					p.nc.Write(part[1])
					if tt.cut {
						p.wantEOF("cut")
						assert.EqualValues(t, 1, p.hits("Preface"))
					} else {
						p.wantStatus(3, "200", false, "")
						p.wantData(3, "<p>hello", true, "")
						time.Sleep(time.Minute)
						p.wantAlive("the time is over")
					}
					p.hangUp()
				})
			}
		})
	}
}

// What a block is answered with may take its time: the block is complete.
func TestH2_03ABlockInTimeIsNotLateAfterwards(t *testing.T) {
	for name, parts := range map[string]func(block []byte) [2][]byte{
		"one frame": func(block []byte) [2][]byte {
			frame := raw(http2.FrameHeaders, 5, 1, block)
			return [2][]byte{frame[:frameHeader], frame[frameHeader:]}
		},
		"two frames": func(block []byte) [2][]byte {
			return [2][]byte{raw(http2.FrameHeaders, 1, 1, block), raw(http2.FrameContinuation, 4, 1, nil)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GotFirstResponseByte: func() { time.Sleep(11 * time.Second) },
				}), "GET", "http://localhost/", nil)
				require.NoError(t, err)
				p, result := asking(t, req)
				p.next("the request")
				part := parts(p.block(":status", "200"))
				p.nc.Write(part[0])
				time.Sleep(time.Second)
				p.nc.Write(part[1])
				a := <-result
				require.NoError(t, a.err)
				assert.Equal(t, 200, a.resp.StatusCode)
				p.hangUp()
			})
		})
	}
}
