package websocket

import (
	"context"
	"math/bits"
	"sync"
)

// messageBuffers are where messages are put together that do not lie in one piece
// in what was read: between messages a socket has none. Those of number i have room
// for 1<<(smallestBuffer+i) bytes at least; what is larger than the last is left to
// the collector.
var messageBuffers [largestBuffer - smallestBuffer + 1]sync.Pool

// The logarithms of the sizes in bytes of the smallest and the largest buffers that
// are kept.
const (
	smallestBuffer = 9
	largestBuffer  = 22
)

// getMessageBuffer returns an empty buffer with room for n bytes.
func getMessageBuffer(n int) *[]byte {
	class := max(bits.Len(uint(max(n, 1)-1)), smallestBuffer)
	if class <= largestBuffer {
		if b, ok := messageBuffers[class-smallestBuffer].Get().(*[]byte); ok {
			return b
		}
		n = 1 << class
	}
	b := make([]byte, 0, n)
	return &b
}

func putMessageBuffer(b *[]byte) {
	class := bits.Len(uint(cap(*b))) - 1
	if class < smallestBuffer || class > largestBuffer {
		return
	}
	*b = (*b)[:0]
	messageBuffers[class-smallestBuffer].Put(b)
}

// A gathering is a message that is being put together. Its memory grows with what
// has arrived, not with what is announced: it is never larger than firstRoom, twice
// of what has come, and the last message of the same socket, all at once. (So a peer
// holds no more memory than it has filled at least half.)
type gathering struct {
	p      []byte  // what has come
	pooled *[]byte // what p lies in, if that is a message buffer
	keep   bool    // p is for somebody who keeps it
}

// makeRoom makes room for n bytes that have come, and for some of the rest bytes
// that are announced behind them. The last message had about 1<<usual bytes.
func (g *gathering) makeRoom(n int, rest int64, usual uint8) {
	have := len(g.p) + n
	most := max(2*have, firstRoom, 1<<usual)
	want := int(min(int64(have)+rest, int64(most)))
	if cap(g.p) >= want || len(g.p) > 0 && cap(g.p) >= have+int(min(rest, directRead)) {
		return
	}
	if g.keep && int64(want) == int64(have)+rest { // for good, most likely
		g.move(make([]byte, 0, want), nil)
		return
	}
	g.grow(want)
}

// grow moves what has come into a buffer with room for n bytes.
func (g *gathering) grow(n int) {
	b := getMessageBuffer(n)
	g.move(*b, b)
}

// move moves what has come into b, which lies in pooled.
func (g *gathering) move(b []byte, pooled *[]byte) {
	b = append(b, g.p...)
	g.release()
	g.p, g.pooled = b, pooled
}

// release gives a message buffer back.
func (g *gathering) release() {
	if g.pooled != nil {
		putMessageBuffer(g.pooled)
		g.p, g.pooled = nil, nil
	}
}

// kept returns the message in memory that is the caller's: in buf if it fits.
func (g *gathering) kept(buf []byte) []byte {
	if g.pooled == nil {
		return g.p
	}
	if len(g.p) > cap(buf) {
		buf = nil
	}
	p := append(buf[:0], g.p...)
	g.release()
	return p
}

// buffer returns the message in a message buffer, which the caller gives back.
func (g *gathering) buffer() *[]byte {
	if g.pooled == nil {
		g.grow(len(g.p))
	}
	*g.pooled = g.p
	return g.pooled
}

// usualSize returns inbound.usual for a message of n bytes.
func usualSize(n int) uint8 { return uint8(min(bits.Len(uint(max(n, 1)-1)), largestBuffer)) }

// gather puts the next message together. Should that fail, what has come is kept for
// the next read.
func (c *Conn) gather(ctx context.Context, g *gathering) (MessageType, error) {
	in := c.in
	if in.gathered != nil {
		g.p, g.pooled, in.gathered = *in.gathered, in.gathered, nil
	}
	for {
		if rest := in.directNext(); rest > 0 {
			g.makeRoom(0, rest, in.usual)
		}
		if err := c.nextPiece(ctx, &g.p); err != nil {
			if in.open && len(g.p) > 0 {
				in.gathered = g.buffer()
			} else {
				g.release()
			}
			return 0, err
		}
		if err := c.takePiece(g); err != nil {
			g.release()
			return 0, err
		}
		if in.last {
			in.usual = usualSize(len(g.p))
			return in.messageType, c.endMessage()
		}
	}
}

// takeGathered takes what fits into p of what a read that was given up has gathered.
func (in *inbound) takeGathered(p []byte) int {
	rest := *in.gathered
	n := copy(p, rest)
	if *in.gathered = rest[n:]; n == len(rest) {
		in.gathered = nil
	}
	return n
}

// takePiece moves in.piece behind what has come of its message, inflated if the
// message is compressed.
func (c *Conn) takePiece(g *gathering) error {
	in := c.in
	if in.compressed {
		return c.inflateAll(g)
	}
	if len(in.piece) == 0 {
		return nil
	}
	rest := in.recv.Remaining()
	if in.last {
		rest = 0
	}
	g.makeRoom(len(in.piece), rest, in.usual)
	g.p = append(g.p, in.piece...)
	in.piece = nil
	return nil
}

// inflateAll inflates what there is of in.piece.
func (c *Conn) inflateAll(g *gathering) error {
	if cap(g.p) == 0 {
		g.grow(4 * len(c.in.piece))
	}
	for {
		before := len(g.p)
		most := min(inflateStep, cap(g.p)-before)
		d, done, err := c.inflate(g.p, most)
		g.p = d
		if err != nil || done || len(d)-before < most {
			return err
		}
		if len(d) == cap(d) {
			g.grow(2 * len(d))
		}
	}
}

// inflateStep bounds, in bytes, one step of inflating a whole message.
const inflateStep = 64 << 10
