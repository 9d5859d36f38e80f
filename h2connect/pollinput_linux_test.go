package h2connect

import (
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// A watchedConn is our end of a connection of TCP whose reads can be looked at.
type watchedConn struct {
	net.Conn
	rawConner
	late     atomic.Int32  // deadlines that had passed
	harmless chan struct{} // one for each that was put back
	after    atomic.Pointer[func(n int)]
}

func (c *watchedConn) SetReadDeadline(t time.Time) error {
	switch {
	case t.Equal(longAgo):
		c.late.Add(1)
	case t.IsZero():
		c.harmless <- struct{}{}
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if f := c.after.Load(); f != nil {
		(*f)(n)
	}
	return n, err
}

// wantHarmless waits until the reader has put a deadline back: its answers are sent
// before.
func (c *watchedConn) wantHarmless(t *testing.T) {
	t.Helper()
	select {
	case <-c.harmless:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the deadline has not been put back")
	}
}

type rawConner interface {
	SyscallConn() (syscall.RawConn, error)
}

// watchedPeer plays a client to a server whose connection is watched.
func watchedPeer(t *testing.T, h http.Handler) (*peer, *watchedConn) {
	nc, theirs := tcpPair(t)
	ours := &watchedConn{Conn: nc, rawConner: nc.(rawConner), harmless: make(chan struct{}, 1<<10)}
	p := clientAt(t, ours, theirs, nil, h)
	p.greet()
	return p, ours
}

// A sender that does not pause wakes the reader when something has come, but neither
// without a socket nor too often, and the reader goes on reading.
func TestAConnectionThatOnlySendsHearsWhatComes(t *testing.T) {
	p, ours := watchedPeer(t, http.HandlerFunc(endlessAndEcho))
	summonsAfter := func(before func(c *conn), sent int, something bool) int {
		c := p.ours
		c.mu.Lock()
		defer c.mu.Unlock()
		before(c)
		poll, late := c.room.poll, ours.late.Load()
		c.room.poll = func(uintptr) { c.room.ready, c.room.input = false, something }
		c.unpolled = sent
		c.pollInput()
		c.room.poll, c.unpolled = poll, 0 // so that answers ask for themselves, and not yet
		return int(ours.late.Load() - late)
	}
	summons := func(sent int, something bool) int { return summonsAfter(func(*conn) {}, sent, something) }
	assert.Zero(t, summons(pollEvery, true), "there is no socket")
	p.headers(1, false, connect()...)
	p.wantStatus(1, "200", false, "a socket")
	assert.Zero(t, summons(2*pollEvery, false), "there is nothing to read")
	assert.Zero(t, summons(pollEvery-1, true), "that was asked a moment ago")
	for len(ours.harmless) > 0 {
		<-ours.harmless
	}
	for range 3 {
		assert.Equal(t, 1, summons(pollEvery, true))
		p.wantAlive("a reader that was woken goes on")
		ours.wantHarmless(t)
	}
	// As if it had been summoned before, and had put the deadline back in a read of its own.
	already := func(c *conn) { c.summoned = true }
	assert.Zero(t, summonsAfter(already, pollEvery, true), "the reader is on its way")
	p.wantAlive("and has been there")
	ours.wantHarmless(t)
	assert.Equal(t, 1, summons(pollEvery, true))
}

// Who has been woken while it was about to end the connection still takes all that
// comes, so that the peer gets the GOAWAY.
func TestAReaderThatIsWokenStillLingers(t *testing.T) {
	p, ours := watchedPeer(t, http.HandlerFunc(endlessAndEcho))
	taken := make(chan int, 1<<10)
	wake := func(n int) {
		c := p.ours
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.dead() {
			c.summoned = true
			c.nc.SetReadDeadline(longAgo)
		}
		taken <- n
	}
	ours.after.Store(&wake)
	p.fr.WriteWindowUpdate(0, 0)
	p.wantGoAway(http2.ErrCodeProtocol, "an increment of 0")
	for len(taken) > 0 {
		<-taken
	}
	p.nc.Write(make([]byte, 1000))
	for n := 0; n < 1000; {
		select {
		case m := <-taken:
			require.NotZero(t, m, "a deadline has ended the reading")
			n += m
		case <-time.After(10 * time.Second):
			t.Fatal("what comes is not read")
		}
	}
}
