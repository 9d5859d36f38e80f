package h2connect

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestStatsCountWhatIsOpen(t *testing.T) {
	release := make(chan struct{})
	conf := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", rawEcho)
	mux.HandleFunc("/wait", func(http.ResponseWriter, *http.Request) { <-release })
	p := clientOf(t, conf, mux)
	assert.Equal(t, Stats{Connections: 1, LimitHits: map[string]int64{}}, conf.Stats())
	p.greet()
	n := p.neighbour()
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "a socket")
	p.headers(3, true, get("/wait")...)
	n.headers(1, true, get("/wait")...)
	n.wantAlive("the requests have been taken")
	p.wantAlive("the requests have been taken")
	assert.Equal(t, Stats{Connections: 2, Streams: 3, Sockets: 1, LimitHits: map[string]int64{}}, conf.Stats())
	p.fr.WriteRSTStream(3, http2.ErrCodeCancel)
	p.wantAlive("it has been reset")
	assert.Equal(t, 3, conf.Stats().Streams, "its handler runs on")
	close(release)
	n.wantStatus(1, "200", true, "")
	p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	p.wantAlive("it has been reset")
	require.Eventually(t, func() bool { return conf.Stats().Streams == 0 }, 10*time.Second, time.Millisecond)
	assert.Zero(t, conf.Stats().Sockets)
	n.hangUp()
	assert.Equal(t, 1, conf.Stats().Connections)
}

func TestStatsAddUpOverServers(t *testing.T) {
	conf := &Server{}
	for range 2 {
		require.NoError(t, ConfigureServer(&http.Server{}, conf))
	}
	conf.servers[0].hits.count(limitIdle)
	conf.servers[1].hits.count(limitIdle)
	conf.servers[1].hits.count(limitResets)
	assert.Equal(t, map[string]int64{"Idle": 2, "ResetBurst": 1}, conf.Stats().LimitHits)
	assert.Empty(t, (&Server{}).Stats().LimitHits, "before it is configured")
}

// The names in statistics and GOAWAY are those of the options, and no option
// is without one.
func TestLimitsAreNamedAfterTheirFields(t *testing.T) {
	fields := make(map[string]bool)
	for f := range reflect.TypeFor[Limits]().Fields() {
		fields[f.Name] = true
	}
	for l := noLimit + 1; l < numLimits; l++ {
		assert.True(t, fields[l.String()], l.String())
		delete(fields, l.String())
	}
	// Not met but kept, or part of another.
	for _, name := range []string{"HeaderTable", "MaxStreamWindow", "ResetRate", "GlitchRate", "ReadIdle", "Linger"} {
		delete(fields, name)
	}
	assert.Empty(t, fields, "options that count nothing")
}

// Limits that end or refuse a single stream or a silent connection are counted
// as those that GOAWAY names.
func TestLimitsOfStreamsAndOfTimeAreCounted(t *testing.T) {
	wait := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
			return
		}
		ordinary().ServeHTTP(w, r)
	})
	greeted := func(p *peer) { p.greet() }
	limits := Limits{ConcurrentStreams: 3, ReadIdle: 10 * time.Minute, ConnWindow: 128 << 10, ConnBuffer: 128 << 10}
	for _, tt := range []struct {
		limit string
		begin func(p *peer)
		do    func(p *peer)
	}{
		{"ConcurrentStreams", greeted, func(p *peer) {
			for id := uint32(1); id <= 7; id += 2 {
				p.headers(id, true, get("/wait")...)
			}
			p.wantReset(7, http2.ErrCodeRefusedStream, "the fourth")
		}},
		{"HeaderBytes", greeted, func(p *peer) {
			p.headers(1, true, get("/hello", "a", strings.Repeat("v", 8200), "b", strings.Repeat("w", 8200))...)
			p.wantStatus(1, "431", true, "")
		}},
		{"HeaderFields", greeted, func(p *peer) {
			p.nc.Write(raw(http2.FrameHeaders, 5, 1, append(p.block(get("/hello", "a", "b")...), bytes.Repeat([]byte{0x80 | 62}, 256)...)))
			p.wantStatus(1, "431", true, "")
		}},
		{"FrameSize", greeted, func(p *peer) {
			p.nc.Write(raw(http2.FrameData, 0, 1, make([]byte, 16385)))
			p.wantGoAway(http2.ErrCodeFrameSize, "")
		}},
		{"StreamWindow", greeted, func(p *peer) {
			p.headers(1, false, with(get("/wait"), ":method", "POST")...)
			for range 5 {
				p.fr.WriteData(1, false, make([]byte, 16384))
			}
			p.wantReset(1, http2.ErrCodeFlowControl, "")
		}},
		{"WriteStall", func(p *peer) { p.greet(http2.Setting{ID: http2.SettingInitialWindowSize}) }, func(p *peer) {
			p.headers(1, true, get("/big")...)
			p.wantStatus(1, "200", false, "")
			p.wantReset(1, http2.ErrCodeCancel, "")
		}},
		{"Preface", func(*peer) {}, func(p *peer) { p.wantEOF("") }},
		{"Preface", greeted, func(p *peer) {
			p.nc.Write(raw(http2.FrameHeaders, 1, 1, nil))
			p.wantEOF("")
		}},
		{"FirstSettings", func(p *peer) { io.WriteString(p.nc, http2.ClientPreface) }, func(p *peer) { p.wantEOF("") }},
		{"SettingsAck", func(p *peer) { io.WriteString(p.nc, http2.ClientPreface); p.fr.WriteSettings() }, func(p *peer) { p.wantEOF("") }},
		{"Idle", greeted, func(p *peer) {
			p.nc.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, p.nc)
		}},
		{"PingTimeout", greeted, func(p *peer) {
			p.headers(1, true, get("/wait")...)
			p.nc.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, p.nc)
		}},
		{"ConnWindow", greeted, func(p *peer) {
			for id := uint32(1); id <= 5; id += 2 {
				p.headers(id, false, with(get("/wait"), ":method", "POST")...)
				for range 4 {
					p.fr.WriteData(id, false, make([]byte, 16384))
				}
			}
			p.wantGoAway(http2.ErrCodeFlowControl, "H2-17: 64 KiB of three streams, and the connection's 128 KiB are full")
		}},
		{"DrainPing", greeted, func(p *peer) {
			p.ours.role.(*serverConn).drain()
			p.wantEOF("")
		}},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := clientOf(t, &Server{Limits: limits}, wait)
				tt.begin(p)
				tt.do(p)
				hits := p.conf.Stats().LimitHits
				delete(hits, "ConnBuffer") // whatever waits meets it here
				assert.Equal(t, map[string]int64{tt.limit: 1}, hits)
				p.hangUp()
			})
		})
	}
}

// A client counts the limits that its servers meet, as a server does.
func TestTransportCountsLimits(t *testing.T) {
	request := func(p *peer) {
		p.wantHeaders(1, true, "the request")
	}
	for _, tt := range []struct {
		limit string
		do    func(p *peer)
	}{
		{"HeaderBytes", func(p *peer) {
			request(p)
			p.headers(1, true, ":status", "200", "a", strings.Repeat("v", 8200), "b", strings.Repeat("w", 8200))
			p.wantReset(1, http2.ErrCodeCancel, "")
		}},
		{"HeaderFields", func(p *peer) {
			request(p)
			p.nc.Write(raw(http2.FrameHeaders, 5, 1, append(p.block(":status", "200", "a", "b"), bytes.Repeat([]byte{0x80 | 62}, 300)...)))
			p.wantReset(1, http2.ErrCodeCancel, "")
		}},
		{"Continuations", func(p *peer) {
			request(p)
			p.nc.Write(raw(http2.FrameHeaders, 0, 1, p.block(":status", "200")))
			for range 9 {
				p.nc.Write(raw(http2.FrameContinuation, 0, 1, nil))
			}
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "Continuations: ")
		}},
		{"FrameSize", func(p *peer) {
			p.nc.Write(raw(http2.FrameData, 0, 1, make([]byte, 16385)))
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeFrameSize, ""), "FrameSize: ")
		}},
		{"Settings", func(p *peer) {
			p.nc.Write(raw(http2.FrameSettings, 0, 0, bytes.Repeat(setting(0x99, 1), 33)))
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "Settings: ")
		}},
		{"GlitchBurst", func(p *peer) {
			p.attack(11_000, always(raw(0xfa, 0, 0, nil)))
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "GlitchBurst: ")
		}},
		{"ResetBurst", func(p *peer) {
			request(p)
			p.attack(2_000, always(raw(http2.FrameRSTStream, 0, 1, word(8))))
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "ResetBurst: ")
		}},
		{"EmptyData", func(p *peer) {
			request(p)
			p.headers(1, false, ":status", "200")
			for range 101 {
				p.fr.WriteData(1, false, nil)
			}
			assert.Contains(p.t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "EmptyData: ")
		}},
		{"StreamWindow", func(p *peer) {
			request(p)
			p.headers(1, false, ":status", "200")
			for range clientStreamWindow/16384 + 1 {
				p.fr.WriteData(1, false, make([]byte, 16384))
			}
			p.wantReset(1, http2.ErrCodeFlowControl, "")
		}},
		{"PingTimeout", func(p *peer) {
			request(p)
			p.nc.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, p.nc)
		}},
		{"Idle", func(p *peer) {
			request(p)
			p.headers(1, true, ":status", "204")
			p.nc.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, p.nc)
		}},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &Transport{}
				p := serverOfTransport(t, tr)
				p.fr.WriteSettings()
				p.settle()
				go func() {
					// The content is not read: some limits are about that.
					if resp, err := p.client.RoundTrip(getRequest(context.Background())); err == nil {
						<-p.done
						resp.Body.Close()
					}
				}()
				tt.do(p)
				p.nc.SetReadDeadline(time.Time{})
				assert.Equal(t, map[string]int64{tt.limit: 1}, tr.Stats().LimitHits)
				p.hangUp()
			})
		})
	}
}

func TestTransportStatsCountWhatIsOpen(t *testing.T) {
	s := startTLS(t, nil, socketHandler())
	tr := testTransport(t)
	assert.Equal(t, Stats{LimitHits: map[string]int64{}}, tr.Stats())
	a, _, err := tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	_, _, err = tr.Dial(testContext(t), s.url("/ws"), nil)
	require.NoError(t, err)
	assert.Equal(t, Stats{Connections: 1, Streams: 2, Sockets: 2, LimitHits: map[string]int64{}}, tr.Stats())
	require.NoError(t, a.CloseNow())
	require.Eventually(t, func() bool { return tr.Stats().Sockets == 1 && tr.Stats().Streams == 1 }, 10*time.Second, time.Millisecond)
}
