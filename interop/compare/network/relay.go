// Package network makes networks that are slow and lose packets, for processes that
// measure what comes of that: a cable between two network namespaces, whose ends are
// TUN devices, so that the kernel's TCP and QUIC meet the loss of real packets.
package network

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Link is what a cable does to packets, each way.
type Link struct {
	Delay time.Duration // of each packet
	Loss  float64       // the share of packets that are lost, at random
	Rate  int64         // bits per second; 0: no limit

	// Queue is how many bytes may wait for the rate; what comes then is lost.
	// 0: what the rate carries in 50 ms, at least 32 KiB.
	Queue int
}

func (l Link) queue() int {
	if l.Queue > 0 {
		return l.Queue
	}
	return max(32<<10, int(l.Rate/8/20))
}

// A Way counts what one direction has carried.
type Way struct {
	Packets, Bytes  atomic.Int64 // sent into it
	Lost, Overflown atomic.Int64 // packets of them that were lost at random, and for want of room
}

// A Cable carries packets between two ends. A Read of an end yields a packet, and a
// Write takes one.
type Cable struct {
	a, b   io.ReadWriteCloser
	ended  sync.WaitGroup
	AB, BA Way
}

// Connect lays a cable. It takes over both ends.
func Connect(a, b io.ReadWriteCloser, l Link) *Cable {
	c := &Cable{a: a, b: b}
	for _, d := range []struct {
		from, to io.ReadWriteCloser
		way      *Way
	}{{a, b, &c.AB}, {b, a, &c.BA}} {
		under := make(chan packet, 1<<14) // never full: the queue and the delay bound it
		// One goroutine takes packets in, and says when each is to arrive; another
		// hands them out then. They end when the ends are closed.
		c.ended.Go(func() {
			defer close(under)
			take(d.from, under, l, d.way)
		})
		c.ended.Go(func() { hand(d.to, under) })
	}
	return c
}

// Close closes both ends, and returns when nothing is under way any more.
func (c *Cable) Close() {
	c.a.Close()
	c.b.Close()
	c.ended.Wait()
}

// A packet is one that is under way.
type packet struct {
	data []byte
	at   time.Time // when it arrives
}

// take reads packets and sends on those that are not lost. Packets leave one after
// the other as the rate allows, and arrive after the delay.
func take(from io.Reader, under chan<- packet, l Link, w *Way) {
	buf := make([]byte, 64<<10)
	var free time.Time // when the packets before have left
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.Packets.Add(1)
		w.Bytes.Add(int64(n))
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if l.Rate > 0 {
			if waiting := int64(free.Sub(now)) * l.Rate / 8 / int64(time.Second); waiting > int64(l.queue()) {
				w.Overflown.Add(1)
				continue
			}
			free = free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / l.Rate))
		}
		if rand.Float64() < l.Loss { // it has used the link all the same
			w.Lost.Add(1)
			continue
		}
		select {
		case under <- packet{append([]byte(nil), buf[:n]...), free.Add(l.Delay)}:
		default:
			w.Overflown.Add(1)
		}
	}
}

// hand hands out packets when they are due. What cannot be written is lost, as the
// end is being closed.
func hand(to io.Writer, under <-chan packet) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range under {
		if d := time.Until(p.at); d > 0 {
			timer.Reset(d)
			<-timer.C
		}
		_, _ = to.Write(p.data)
	}
}
