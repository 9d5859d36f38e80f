package h2connect

import (
	"context"
	"crypto/rand"
)

// ping queues a PING frame and returns what is closed when it is acknowledged
// (RFC 9113 §6.7). c.mu is held.
func (c *conn) ping(data [8]byte) <-chan struct{} {
	answered := make(chan struct{})
	if c.pings == nil {
		c.pings = make(map[[8]byte]chan struct{})
	}
	c.pings[data] = answered
	c.lastData = nil
	c.fr.WritePing(false, data)
	return answered
}

// awaitPing sends a PING and waits until it has made the round trip.
func (c *conn) awaitPing(ctx context.Context) error {
	var data [8]byte
	rand.Read(data[:])
	c.mu.Lock()
	if c.dead() {
		defer c.mu.Unlock()
		return c.cause()
	}
	answered := c.ping(data)
	c.flush()
	c.mu.Unlock()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pings, data)
		return context.Cause(ctx)
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cause()
	}
}

// cause returns why the connection takes no more requests. c.mu is held.
func (c *conn) cause() error {
	if c.err != nil {
		return c.err
	}
	return errConnDrained
}
