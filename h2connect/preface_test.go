package h2connect

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

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

// CVE-2022-27664: a fatal error while the connection drains ends it like any
// other.
func TestFatalErrorWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		p.greet()
		p.headers(1, true, get("/")...)
		p.ours.role.(*serverConn).drain()
		_, ok := p.next("the first GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		begin := time.Now()
		p.nc.Write(raw(http2.FramePing, 0, 1, make([]byte, 8)))
		p.wantGoAway(http2.ErrCodeProtocol, "the fatal one")
		p.wantEOF("closed, although a stream was open")
		assert.Equal(t, time.Second, time.Since(begin))
		p.hangUp()
	})
}
