package h2connect

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// request starts a round trip and returns where its result will be.
func request(cc *ClientConn, req *http.Request) <-chan error {
	done := make(chan error, 1)
	go func() {
		resp, err := cc.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		done <- err
	}()
	return done
}

func getRequest(ctx context.Context) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://localhost/", nil)
	return req
}

func TestClientWaitsForAFreeStream(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	p.settle()
	first := request(cc, getRequest(t.Context()))
	p.wantHeaders(1, true, "the first request")
	second := request(cc, getRequest(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	third := request(cc, getRequest(ctx))
	cancel()
	require.ErrorIs(t, <-third, context.Canceled, "the wait is bounded by the context")
	assert.False(t, cc.CanTakeNewRequest())
	p.wantAlive("nothing was sent beyond the limit")
	p.headers(1, true, ":status", "200")
	require.NoError(t, <-first)
	p.wantHeaders(3, true, "the second request")
	p.headers(3, true, ":status", "204")
	require.NoError(t, <-second)
}

func TestClientCancelsWithReset(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	ctx, cancel := context.WithCancel(t.Context())
	done := request(cc, getRequest(ctx))
	p.wantHeaders(1, true, "the request")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	p.wantReset(1, http2.ErrCodeCancel, "P21")

	resp := make(chan *http.Response, 1)
	go func() {
		r, err := cc.RoundTrip(getRequest(t.Context()))
		assert.NoError(t, err)
		resp <- r
	}()
	p.wantHeaders(3, true, "the request")
	p.headers(3, false, ":status", "200")
	(<-resp).Body.Close()
	p.wantReset(3, http2.ErrCodeCancel, "the content is not wanted")
	p.fr.WriteData(3, true, []byte("late"))
	p.wantAlive("what crosses the reset is ignored")
}

func TestRefusedStreamMayBeSentAgain(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	done := request(cc, getRequest(t.Context()))
	p.wantHeaders(1, true, "the request")
	p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	err := <-done
	assert.True(t, retryable(err), "P28")
	done = request(cc, getRequest(t.Context()))
	p.wantHeaders(3, true, "the request")
	p.fr.WriteRSTStream(3, http2.ErrCodeInternal)
	err = <-done
	assert.False(t, retryable(err), "it may have been processed")
	var se *StreamError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, http2.ErrCodeInternal, se.Code)
	assert.True(t, se.Remote)
}

func TestMalformedResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		fields []string
		data   string
		trail  []string
	}{
		"no status":                  {fields: []string{"a", "b"}},
		"status of two digits":       {fields: []string{":status", "20"}},
		"request field":              {fields: []string{":status", "200", ":path", "/"}},
		"101":                        {fields: []string{":status", "101"}},
		"connection-specific":        {fields: []string{":status", "200", "connection", "close"}},
		"upper case":                 {fields: []string{":status", "200", "Upper", "x"}},
		"longer than content-length": {fields: []string{":status", "200", "content-length", "2"}, data: "123"},
		"pseudo-header in a trailer": {fields: []string{":status", "200"}, data: "1", trail: []string{":status", "200"}},
	} {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		done := request(cc, getRequest(t.Context()))
		p.wantHeaders(1, true, name)
		p.headers(1, false, tt.fields...)
		if tt.data != "" {
			p.fr.WriteData(1, false, []byte(tt.data))
		}
		if tt.trail != nil {
			p.headers(1, true, tt.trail...)
		}
		p.wantReset(1, http2.ErrCodeProtocol, name)
		require.Error(t, <-done, name)
		p.hangUp()
	}
}

func TestServerMayNotOpenStreams(t *testing.T) {
	p, _ := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	p.headers(2, true, ":status", "200")
	p.wantGoAway(http2.ErrCodeProtocol, "H2-22")
}

func TestPingMakesTheRoundTrip(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	done := make(chan error, 1)
	go func() { done <- cc.Ping(t.Context()) }()
	ping, ok := p.next("PING").(*http2.PingFrame)
	require.True(t, ok)
	p.fr.WritePing(true, [8]byte{1})
	select {
	case <-done:
		t.Error("another's answer is none")
	default:
	}
	p.fr.WritePing(true, ping.Data)
	require.NoError(t, <-done)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, cc.Ping(ctx), context.Canceled)
}

func TestClientShutdownWaitsForItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		down := make(chan error, 1)
		go func() { down <- cc.Shutdown(context.Background()) }()
		g, ok := p.next("GOAWAY").(*http2.GoAwayFrame)
		require.True(t, ok)
		assert.Equal(t, http2.ErrCodeNo, g.ErrCode)
		require.Error(t, <-request(cc, getRequest(context.Background())), "no new streams")
		p.headers(1, true, ":status", "200")
		require.NoError(t, <-done)
		require.NoError(t, <-down)
		p.hangUp()
	})
}

func TestServerThatNeverSendsSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		begin := time.Now()
		_, err := cc.WaitForSettings(context.Background())
		require.Error(t, err)
		assert.Equal(t, 10*time.Second, time.Since(begin))
		p.hangUp()
	})
}

func TestTransportRetriesOnAnotherConnection(t *testing.T) {
	s := startTLS(t, nil, ordinary())
	tr := testTransport(t)
	client := &http.Client{Transport: tr}
	resp, err := client.Get(s.url("/hello"))
	require.NoError(t, err)
	readAll(t, resp.Body)
	for range 20 {
		tr.CloseIdleConnections()
		resp, err := client.Post(s.url("/echo"), "x/y", strings.NewReader("content"))
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, resp.Body))
	}
}
