package h2connect

import "sync"

// A buffer is bytes that wait, first in, first out. Its storage comes from
// pools, grows with what arrives, and goes back as soon as nothing waits, so
// that an empty buffer holds nothing. How much it may hold is its user's to
// bound.
//
// A little lies in one piece, which grows. What has no room in the largest piece
// lies in further ones of that size, so that much is not moved again and again.
type buffer struct {
	data []byte // data[off:] waits
	off  int
	more *pieces // behind data; nil for none
}

// pieces are full, but for the last, and none is empty.
type pieces struct {
	list [][]byte
	size int // of all together
}

func (b *buffer) len() int {
	n := len(b.data) - b.off
	if b.more != nil {
		n += b.more.size
	}
	return n
}

// append adds p.
func (b *buffer) append(p []byte) {
	if b.more == nil {
		if len(b.data)+len(p) > cap(b.data) && len(p) > 0 {
			b.makeRoom(len(p))
		}
		n := min(len(p), cap(b.data)-len(b.data))
		b.data = append(b.data, p[:n]...)
		p = p[n:]
	}
	if len(p) > 0 {
		b.appendMore(p)
	}
}

// appendMore adds p to what is behind data.
func (b *buffer) appendMore(p []byte) {
	if b.more == nil {
		b.more = new(pieces)
	}
	m := b.more
	m.size += len(p)
	for len(p) > 0 {
		last := len(m.list) - 1
		if last < 0 || len(m.list[last]) == cap(m.list[last]) {
			m.list = append(m.list, getStorage(largestStorage))
			last++
		}
		n := min(len(p), cap(m.list[last])-len(m.list[last]))
		m.list[last] = append(m.list[last], p[:n]...)
		p = p[n:]
	}
}

// makeRoom makes room for n more bytes behind data, or as many as go into the
// largest storage: in place if what has been read leaves half of the storage free,
// else in storage that is larger by a part of what waits, so that bytes are moved a
// bounded number of times.
func (b *buffer) makeRoom(n int) {
	waiting := len(b.data) - b.off
	if cap(b.data) > 0 && waiting+n <= cap(b.data)/2 {
		copy(b.data, b.data[b.off:])
		b.data, b.off = b.data[:waiting], 0
		return
	}
	if cap(b.data) == largestStorage {
		return
	}
	size := max(waiting+n, 2*waiting)
	if n >= largePiece {
		size = largestStorage
	}
	grown := append(getStorage(min(size, largestStorage)), b.data[b.off:]...)
	putStorage(b.data)
	b.data, b.off = grown, 0
}

// peek returns the first of the bytes that wait, some at least if there are any.
func (b *buffer) peek() []byte { return b.data[b.off:] }

// skip drops n bytes of what peek returns.
func (b *buffer) skip(n int) {
	b.off += n
	if b.off < len(b.data) {
		return
	}
	putStorage(b.data)
	b.data, b.off = nil, 0
	if m := b.more; m != nil {
		b.data = m.list[0]
		m.size -= len(b.data)
		m.list[0] = nil
		if m.list = m.list[1:]; len(m.list) == 0 {
			b.more = nil
		}
	}
}

// read moves bytes to p.
func (b *buffer) read(p []byte) (n int) {
	for n < len(p) && b.len() > 0 {
		k := copy(p[n:], b.peek())
		b.skip(k)
		n += k
	}
	return n
}

// take moves n bytes, of those that wait, to the end of dst.
func (b *buffer) take(dst []byte, n int) []byte {
	for n > 0 {
		p := b.peek()
		p = p[:min(n, len(p))]
		dst = append(dst, p...)
		b.skip(len(p))
		n -= len(p)
	}
	return dst
}

// free drops everything and gives the storage back.
func (b *buffer) free() {
	for b.len() > 0 {
		b.skip(len(b.peek()))
	}
}

// largestStorage is the largest that is pooled: a message of 64 KiB lies in it in
// one piece. What comes in pieces of largePiece lies in it from the beginning.
const (
	largestStorage = 68 << 10
	largePiece     = 8 << 10
)

// The sizes of storage that are pooled.
var (
	storage1  = sync.Pool{New: func() any { return new([1 << 10]byte) }}
	storage4  = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	storage16 = sync.Pool{New: func() any { return new([16 << 10]byte) }}
	storage68 = sync.Pool{New: func() any { return new([largestStorage]byte) }}
)

// getStorage returns an empty slice with a capacity of at least n, which is no more
// than largestStorage.
func getStorage(n int) []byte {
	switch {
	case n <= 1<<10:
		return storage1.Get().(*[1 << 10]byte)[:0]
	case n <= 4<<10:
		return storage4.Get().(*[4 << 10]byte)[:0]
	case n <= 16<<10:
		return storage16.Get().(*[16 << 10]byte)[:0]
	}
	return storage68.Get().(*[largestStorage]byte)[:0]
}

func putStorage(p []byte) {
	p = p[:cap(p)]
	switch len(p) {
	case 1 << 10:
		storage1.Put((*[1 << 10]byte)(p))
	case 4 << 10:
		storage4.Put((*[4 << 10]byte)(p))
	case 16 << 10:
		storage16.Put((*[16 << 10]byte)(p))
	case largestStorage:
		storage68.Put((*[largestStorage]byte)(p))
	}
}
