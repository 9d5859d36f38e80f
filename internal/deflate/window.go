package deflate

import (
	"math/bits"
	"sync"
)

// minWindowClass is the binary logarithm of the smallest window that is handed
// out, or the negotiated one's if that is smaller.
const minWindowClass = 11

// A window keeps the last bytes of a direction's uncompressed data as a ring.
// It starts small and grows with the data up to the negotiated size, so that a
// socket that has said little holds little. Until it has that size it never
// wraps.
type window struct {
	buf  []byte // its length is a power of two
	pos  int    // where the next byte goes, always below len(buf)
	size int    // how many bytes are known, at most len(buf)
}

// windows pools windows by the binary logarithm of their length.
var windows [maxWindowBits + 1]sync.Pool

// newWindow returns an empty window of 2^class bytes.
func newWindow(class int) *window {
	if w, ok := windows[class].Get().(*window); ok {
		w.pos, w.size = 0, 0
		return w
	}
	return &window{buf: make([]byte, 1<<class)}
}

// free returns w to its pool. A nil window is fine.
func (w *window) free() {
	if w != nil {
		windows[bits.Len(uint(len(w.buf)))-1].Put(w)
	}
}

// known returns how many bytes lie in w, 0 if it is nil.
func (w *window) known() int {
	if w == nil {
		return 0
	}
	return w.size
}

// remember adds p to w and returns the window to use from now on: w itself, or
// a larger one if w was nil or too small, never larger than 2^windowBits.
func (w *window) remember(p []byte, windowBits int) *window {
	if len(p) == 0 {
		return w
	}
	if limit := 1 << windowBits; len(p) > limit {
		p = p[len(p)-limit:]
	}
	class := min(windowBits, max(minWindowClass, bits.Len(uint(w.known()+len(p)-1))))
	if w == nil {
		w = newWindow(class)
	} else if len(w.buf) < 1<<class {
		w = w.grow(class)
	}
	n := copy(w.buf[w.pos:], p)
	copy(w.buf, p[n:])
	w.pos = (w.pos + len(p)) & (len(w.buf) - 1)
	w.size = min(w.size+len(p), len(w.buf))
	return w
}

// grow moves what w knows into a window of 2^class bytes and frees w.
func (w *window) grow(class int) *window {
	g := newWindow(class)
	n := w.copyTo(g.buf[:w.size], w.size)
	g.pos, g.size = n&(len(g.buf)-1), n
	w.free()
	return g
}

// copyTo copies bytes from w to dst, beginning with the one back bytes before
// w's end, until dst is full or w ends. It returns how many it copied. back
// must not exceed what is known.
func (w *window) copyTo(dst []byte, back int) int {
	dst = dst[:min(len(dst), back)]
	n := copy(dst, w.buf[(w.pos-back)&(len(w.buf)-1):])
	return n + copy(dst[n:], w.buf)
}

// from returns the bytes from the one back bytes before w's end up to the place
// where the ring closes, or more than is known where it does not.
func (w *window) from(back int) []byte {
	return w.buf[(w.pos-back)&(len(w.buf)-1):]
}

// contiguous reports whether n bytes, the first of them back bytes before w's
// end, lie in w and in one piece, with room for a word more to be read.
func (w *window) contiguous(back, n int) bool {
	return n <= back && n+7 <= len(w.buf)-(w.pos-back)&(len(w.buf)-1)
}
