package h2connect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// wantPing reads a PING that is no answer.
func (p *peer) wantPing(why string) *http2.PingFrame {
	p.t.Helper()
	f := p.next(why)
	ping, ok := f.(*http2.PingFrame)
	require.True(p.t, ok && !ping.IsAck(), "%s: got %v", why, f)
	return ping
}

func TestSilentServerIsAskedAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		begin := time.Now()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		p.wantPing("30 s of silence")
		assert.Equal(t, 30*time.Second, time.Since(begin))
		err := <-done
		require.ErrorContains(t, err, "answers no PING")
		var ce *ConnError
		require.ErrorAs(t, err, &ce)
		assert.False(t, ce.Remote)
		assert.Equal(t, 45*time.Second, time.Since(begin))
		<-cc.Done()
		p.hangUp()
	})
}

func TestAnySignOfLifeIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{ReadIdle: 10 * time.Second, PingTimeout: 5 * time.Second})
		p.fr.WriteSettings()
		p.settle()
		begin := time.Now()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		for range 3 {
			p.fr.WritePing(true, p.wantPing("silence").Data)
		}
		p.wantPing("silence")
		p.headers(1, false, ":status", "200")
		p.wantPing("the header block was a sign of life")
		p.fr.WriteData(1, true, nil)
		require.NoError(t, <-done)
		assert.Equal(t, 50*time.Second, time.Since(begin))
		p.hangUp()
	})
}

func TestIdleConnectionIsAskedWhenAStreamOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cc := serverOf(t, Limits{})
		p.fr.WriteSettings()
		p.settle()
		time.Sleep(2 * time.Minute) // nobody asks while there are no streams
		begin := time.Now()
		done := request(cc, getRequest(context.Background()))
		p.wantHeaders(1, true, "the request")
		p.wantPing("nothing has come for long")
		require.Error(t, <-done)
		assert.Equal(t, 15*time.Second, time.Since(begin))
		p.hangUp()
	})
}

func TestServerAsksOnlyWhereToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limits := range []Limits{{}, {ReadIdle: 20 * time.Second}} {
			p := clientOf(t, &Server{Limits: limits}, ordinary())
			p.greet()
			p.headers(1, false, get("/trailers")...)
			if limits.ReadIdle == 0 {
				time.Sleep(10 * time.Minute)
				p.wantAlive("no PING has come")
			} else {
				p.wantPing("20 s of silence")
				p.wantEOF("the connection is cut")
			}
			p.hangUp()
		}
	})
}

// A timer that runs on holds the connection and its buffers: many short
// connections would pile up.
func TestAnEndedConnectionLeavesNoTimer(t *testing.T) {
	p, cc := serverOf(t, Limits{})
	p.fr.WriteSettings()
	p.settle()
	done := request(cc, getRequest(context.Background()))
	p.wantHeaders(1, true, "the request")
	require.NoError(t, cc.Close())
	require.Error(t, <-done)
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, timer := range map[string]*time.Timer{
		"handshake": c.hsTimer, "stall": c.stallTimer, "idle": c.idleTimer, "unread": c.unread.timer, "health": c.health.timer,
	} {
		assert.False(t, timer != nil && timer.Stop(), name)
	}
	assert.NotNil(t, c.health.timer, "it has run")
}
