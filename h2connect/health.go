package h2connect

import "time"

// This file is how a connection finds out that its peer has died without a
// word: see Limits.ReadIdle. Whatever the peer sends is a sign of life, not just
// the answer to our PING, which may be queued behind a long response.

// A health is what a connection knows of its peer's. The connection's lock
// guards it.
type health struct {
	waiting time.Time // since when the reader has been waiting for bytes
	asked   time.Time // when a PING asked for a sign of life; zero: none has
	timer   *time.Timer
	armed   bool
}

// clientReadIdle is a client's default of Limits.ReadIdle.
const clientReadIdle = 30 * time.Second

// healthPing is the content of the PING frames. One is on its way at a time.
var healthPing = [8]byte{'a', 'l', 'i', 'v', 'e', '?'}

// watchHealth is called when a stream opens. The timer runs on while there are
// streams, and is not touched by what they do. c.mu is held.
func (c *conn) watchHealth() {
	if c.limits.ReadIdle <= 0 || c.health.armed || c.dead() {
		return
	}
	if c.health.waiting.IsZero() {
		c.health.waiting = time.Now()
	}
	c.armHealth(c.limits.ReadIdle - time.Since(c.health.waiting))
}

// armHealth looks at the peer's health in d. c.mu is held.
func (c *conn) armHealth(d time.Duration) {
	h := &c.health
	h.armed = true
	if h.timer == nil {
		h.timer = time.AfterFunc(max(d, 0), c.checkHealth)
		return
	}
	h.timer.Reset(max(d, 0))
}

func (c *conn) checkHealth() {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.health
	h.armed = false
	if !h.waiting.Before(h.asked) {
		h.asked = time.Time{}
	}
	if c.dead() || c.slots == 0 {
		h.asked = time.Time{}
		return
	}
	if !h.asked.IsZero() {
		if left := c.limits.PingTimeout - time.Since(h.asked); left > 0 {
			c.armHealth(left)
			return
		}
		c.expire(limitPingTimeout, errUnhealthy)
		return
	}
	if left := c.limits.ReadIdle - time.Since(h.waiting); left > 0 {
		c.armHealth(left)
		return
	}
	h.asked = time.Now()
	c.armHealth(c.limits.PingTimeout)
	c.ping(healthPing)
	c.flush()
}

const errUnhealthy = timeoutError("the peer has died: it answers no PING")
