package autobahn

import (
	"bytes"
	"compress/flate"
)

// A compressor compresses the fuzzer's messages, with the standard library.
type compressor struct {
	bits     int
	takeover bool
	w        *flate.Writer
	out      bytes.Buffer
}

// newCompressor returns a compressor for messages of about this size: the larger
// ones are compressed faster.
func newCompressor(bits int, takeover bool, size int) *compressor {
	c := &compressor{bits: bits, takeover: takeover}
	level := 6
	if size >= 4<<10 {
		level = flate.BestSpeed
	}
	c.w, _ = flate.NewWriter(&c.out, level) // fails for impossible levels only
	return c
}

// message compresses p as RFC 7692 §7.2.1 has it. The result is valid until the
// next call.
//
// The standard library's window cannot be made smaller. Where a smaller one was
// agreed on, the compressor forgets everything after as many octets as the
// window has, so that it cannot refer too far back.
func (c *compressor) message(p []byte) []byte {
	c.out.Reset()
	if !c.takeover || c.bits < 15 {
		c.w.Reset(&c.out)
	}
	if window := 1 << c.bits; c.bits < 15 {
		for ; len(p) > window; p = p[window:] {
			c.w.Write(p[:window])
			c.w.Flush()
			c.w.Reset(&c.out)
		}
	}
	c.w.Write(p) // a bytes.Buffer takes everything
	c.w.Flush()
	return bytes.TrimSuffix(c.out.Bytes(), []byte(deflateTail))
}

// deflateTail is what RFC 7692 §7.2.1 cuts from a message and §7.2.2 appends.
const deflateTail = "\x00\x00\xff\xff"
