package h2connect

import (
	"errors"
	"os"
	"runtime"
	"time"
)

// This file has a connection with sockets hear what comes while it sends without a
// pause.
//
// What comes makes the reader's goroutine ready to run once the runtime has asked the
// system, and that it does when a processor has nothing else to do, or after 10 ms.
// While all processors are busy, with a download for example, sockets would have to
// wait for that, and so would the answers by which bulk goes on: see flight. So the
// flusher asks between two batches, and if there is something, it wakes the reader
// itself, by a deadline that has passed, and stands aside.

// pollEvery is after how many bytes of bulk: some 80 µs of a processor's work.
const pollEvery = 128 << 10

// pollInput lets the reader run if something has come. c.mu is held; it may be
// released meanwhile.
func (c *conn) pollInput() {
	if c.sockets == 0 || c.unpolled < pollEvery {
		return
	}
	c.unpolled = 0
	if c.summoned || c.dead() || !c.room.readable() || c.nc.SetReadDeadline(longAgo) != nil {
		return
	}
	c.summoned = true
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
}

// endSummons makes the deadline harmless again, and reports whether there was one.
// c.mu is held.
func (c *conn) endSummons() bool {
	summoned := c.summoned
	if summoned {
		c.summoned = false
		c.nc.SetReadDeadline(time.Time{})
	}
	return summoned
}

// readNetwork reads from the network, however often it is summoned meanwhile. The
// connection's reader waits in no other read: a summons would end it.
func (in *input) readNetwork() (int, error) {
	c := in.c
	for {
		n, err := c.nc.Read(in.buf)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.mu.Lock()
		summoned := c.endSummons()
		c.mu.Unlock()
		if !summoned {
			return n, err
		}
	}
}
