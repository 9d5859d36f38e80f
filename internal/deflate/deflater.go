package deflate

import (
	"bytes"
	"errors"
	"sync"

	"github.com/klauspost/compress/flate"
)

// syncTail ends every flushed piece of DEFLATE data: LEN and NLEN of an empty
// stored block. A message goes without it (RFC 7692 §7.2.1).
var syncTail = []byte{0, 0, 0xff, 0xff}

// errSyncTail would be a fault of the compressor.
var errSyncTail = errors.New("permessage-deflate: compressor has not flushed")

// A Deflater compresses the messages of one direction of a socket, one after
// the other. It is not safe for concurrent use.
//
// Without context takeover it holds nothing between messages. With it, it keeps
// a compressor of its own from the first compressed message on: 0.8 MiB at
// level 1, up to 1.4 MiB at level 9, of which the window is the least part.
type Deflater struct {
	compressor *compressor // of the message that was begun, or the socket's own
	level      uint8
	windowBits uint8
	takeover   bool
	begun      bool // the compressor has seen a part of the message
}

// NewDeflater returns a Deflater of this level, 1 (fastest) to 9 (smallest),
// that refers back by no more than 2^windowBits bytes, 8 to 15, and, only if
// takeover, to earlier messages. It allocates nothing but itself.
//
// Windows smaller than 2^15 have one level: about 5. Only a message that is
// compressed alone and is no larger than the window has the level asked for.
//
// With takeover the levels 1 to 6 find matches in earlier messages only for
// messages of 128 bytes and more, and a smaller one makes them forget what was
// before it; the levels 7 to 9 always do.
func NewDeflater(level, windowBits int, takeover bool) *Deflater {
	return &Deflater{level: clampLevel(level), windowBits: clampBits(windowBits), takeover: takeover}
}

// clampLevel returns level as it is stored, the nearest that there is.
func clampLevel(level int) uint8 {
	return uint8(min(max(level, flate.BestSpeed), flate.BestCompression))
}

// Append compresses p, the next part of a message, and appends what is ready to
// dst, which need not be all. If p is the last part, the rest follows and the
// message is complete: without the octets that RFC 7692 §7.2.1 removes, and
// never empty (§7.2.3.6). It does not retain or change p. dst and p must not
// overlap.
//
// After an error, which means that the compressor is at fault, the socket's
// peer cannot follow any more.
func (d *Deflater) Append(dst, p []byte, last bool) ([]byte, error) {
	if !d.begun {
		switch {
		case len(p) == 0 && last:
			return append(dst, 0), nil
		case len(p) == 0:
			return dst, nil
		case last && !d.takeover:
			return AppendMessage(dst, p, int(d.level), int(d.windowBits))
		}
		if d.compressor == nil {
			d.compressor = newCompressor(d.level, d.windowBits)
		}
		d.begun = true
	}
	out, err := d.compressor.append(dst, p, last)
	if err != nil {
		d.compressor, d.begun = nil, false
		return dst, err
	}
	if last {
		d.begun = false
		if !d.takeover {
			d.Release()
		}
	}
	return out, nil
}

// Flush appends to dst what Append has held back of the parts of a message, so
// that the peer can inflate all of it. The message goes on. It costs up to five
// octets, and some compression.
func (d *Deflater) Flush(dst []byte) ([]byte, error) {
	if !d.begun {
		return dst, nil
	}
	return d.compressor.flush(dst)
}

// Release gives up what d holds and makes it as new. It ends a message that was
// begun.
func (d *Deflater) Release() {
	if d.compressor != nil {
		d.compressor.free()
		d.compressor, d.begun = nil, false
	}
}

// AppendMessage compresses p as one message without context takeover, as a
// Deflater of this level and windowBits would, and appends it to dst. It can be
// sent on every socket whose window is not smaller. But where there is context
// takeover it enters the peer's window, so that references to what was before
// it no longer fit: that socket's Deflater must be released at the same time.
func AppendMessage(dst, p []byte, level, windowBits int) ([]byte, error) {
	if len(p) == 0 {
		return append(dst, 0), nil
	}
	bits := clampBits(windowBits)
	if len(p) <= 1<<bits {
		bits = maxWindowBits // nothing in p is out of reach
	}
	c := newCompressor(clampLevel(level), bits)
	out, err := c.append(dst, p, true)
	if err != nil {
		return dst, err
	}
	c.free()
	return out, nil
}

// A compressor is a flate.Writer that appends to a slice.
type compressor struct {
	writer *flate.Writer
	out    []byte // only during a call
	pool   *sync.Pool
}

// Write appends p to c.out, for the flate.Writer.
func (c *compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// compressors pools compressors: by level those that use the largest window,
// by the window's bits those that have a smaller one and a single level.
var compressors struct {
	byLevel [flate.BestCompression + 1]sync.Pool
	byBits  [maxWindowBits]sync.Pool
}

// newCompressor returns a compressor without history.
//
// Measured against flate.StatelessDeflate, which needs no state at all: that is
// hardly slower for 1 KiB, a fifth slower and 7 % larger for 64 KiB, and knows
// neither levels nor windows.
func newCompressor(level, windowBits uint8) *compressor {
	pool := &compressors.byLevel[level]
	if windowBits < maxWindowBits {
		pool = &compressors.byBits[windowBits]
	}
	if c, ok := pool.Get().(*compressor); ok {
		c.writer.Reset(c)
		return c
	}
	c := &compressor{pool: pool}
	var err error
	if windowBits < maxWindowBits {
		c.writer, err = flate.NewWriterWindow(c, 1<<windowBits)
	} else {
		c.writer, err = flate.NewWriter(c, int(level))
	}
	if err != nil {
		panic("deflate: " + err.Error()) // level and bits are in range
	}
	return c
}

// free returns c to its pool.
func (c *compressor) free() { c.pool.Put(c) }

// append compresses p to dst and, if last, ends the message.
func (c *compressor) append(dst, p []byte, last bool) ([]byte, error) {
	c.out = dst
	_, err := c.writer.Write(p)
	out := c.out
	c.out = nil
	if err != nil || !last {
		return out, err
	}
	if out, err = c.flush(out); err != nil {
		return out, err
	}
	if !bytes.HasSuffix(out[len(dst):], syncTail) {
		return out, errSyncTail
	}
	return out[:len(out)-len(syncTail)], nil
}

// flush appends to dst what was held back and an empty stored block.
func (c *compressor) flush(dst []byte) ([]byte, error) {
	c.out = dst
	err := c.writer.Flush()
	out := c.out
	c.out = nil
	return out, err
}
