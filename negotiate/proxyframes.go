package negotiate

import "github.com/wsmux/websocket/frame"

// frames follows the frames in one direction of a proxied socket, by their
// headers alone: to know where one ends, so that a frame of ours can stand behind
// it, and whether a Close frame has passed. What breaks the rules of a header
// passes like everything else; from there on nothing is known.
type frames struct {
	header [frame.MaxHeaderSize]byte
	have   int   // bytes of a header that is not whole
	left   int64 // bytes of payload still to come
	ending bool  // the payload is a Close frame's
	closed bool  // a Close frame has passed: what follows means nothing
	lost   bool  // no header where there should be one
}

// follow takes the bytes that come next. With stop it ends behind the first frame
// that they complete; it returns how many bytes it has followed.
func (f *frames) follow(p []byte, stop bool) int {
	total := len(p)
	for len(p) > 0 && !f.lost && !f.closed {
		if f.left == 0 {
			p = p[f.followHeader(p):]
		}
		if f.have > 0 {
			continue // not a whole header yet, and p is empty
		}
		n := min(f.left, int64(len(p)))
		f.left -= n
		p = p[n:]
		if f.left > 0 {
			continue
		}
		f.closed = f.ending
		if stop {
			return total - len(p)
		}
	}
	return total
}

// followHeader takes bytes of a header and returns how many.
func (f *frames) followHeader(p []byte) int {
	before := f.have
	f.have += copy(f.header[f.have:], p)
	h, size, err := frame.ParseHeader(f.header[:f.have])
	switch {
	case err != nil:
		f.lost, f.have = true, 0
		return len(p)
	case size > 0:
		f.left, f.ending, f.have = h.Length, h.Opcode == frame.Close, 0
		return size - before
	}
	return f.have - before
}

// between says whether a frame could stand here.
func (f *frames) between() bool {
	return f.have == 0 && f.left == 0 && !f.lost && !f.closed
}
