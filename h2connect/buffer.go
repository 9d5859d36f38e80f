package h2connect

import "sync"

// A buffer is bytes that wait, first in, first out. Its storage comes from
// pools, grows with what arrives, and goes back as soon as nothing waits, so
// that an empty buffer holds nothing. How much it may hold is its user's to
// bound.
type buffer struct {
	data []byte // data[off:] waits
	off  int
}

func (b *buffer) len() int { return len(b.data) - b.off }

// append adds p.
func (b *buffer) append(p []byte) {
	if len(p) == 0 {
		return
	}
	if len(b.data)+len(p) > cap(b.data) {
		b.makeRoom(len(p))
	}
	b.data = append(b.data, p...)
}

// prepend puts p in front of what waits.
func (b *buffer) prepend(p []byte) {
	if b.len() == 0 {
		b.append(p)
		return
	}
	var whole buffer
	whole.append(p)
	whole.append(b.data[b.off:])
	b.free()
	*b = whole
}

// makeRoom makes room for n more bytes: in place if what has been read leaves
// half of the storage free, else in storage that is larger by a part of what
// waits, so that bytes are moved a bounded number of times.
func (b *buffer) makeRoom(n int) {
	waiting := b.len()
	if cap(b.data) > 0 && waiting+n <= cap(b.data)/2 {
		copy(b.data, b.data[b.off:])
		b.data, b.off = b.data[:waiting], 0
		return
	}
	size := max(waiting+n, min(2*waiting, largestStorage))
	if size > largestStorage {
		size += size / 2
	}
	grown := getStorage(size)
	grown = append(grown, b.data[b.off:]...)
	putStorage(b.data)
	b.data, b.off = grown, 0
}

// peek returns the first n bytes that wait, n ≤ len.
func (b *buffer) peek(n int) []byte { return b.data[b.off : b.off+n] }

// skip drops the first n bytes.
func (b *buffer) skip(n int) {
	b.off += n
	if b.off == len(b.data) {
		b.free()
	}
}

// read moves bytes to p.
func (b *buffer) read(p []byte) int {
	n := copy(p, b.data[b.off:])
	b.skip(n)
	return n
}

// free drops everything and gives the storage back.
func (b *buffer) free() {
	putStorage(b.data)
	b.data, b.off = nil, 0
}

// largestStorage is the largest that is pooled.
const largestStorage = 64 << 10

// The sizes of storage that are pooled. Anything larger is the garbage
// collector's.
var (
	storage1  = sync.Pool{New: func() any { return new([1 << 10]byte) }}
	storage4  = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	storage16 = sync.Pool{New: func() any { return new([16 << 10]byte) }}
	storage64 = sync.Pool{New: func() any { return new([64 << 10]byte) }}
)

// getStorage returns an empty slice with a capacity of at least n.
func getStorage(n int) []byte {
	switch {
	case n <= 1<<10:
		return storage1.Get().(*[1 << 10]byte)[:0]
	case n <= 4<<10:
		return storage4.Get().(*[4 << 10]byte)[:0]
	case n <= 16<<10:
		return storage16.Get().(*[16 << 10]byte)[:0]
	case n <= 64<<10:
		return storage64.Get().(*[64 << 10]byte)[:0]
	}
	return make([]byte, 0, n)
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
	case 64 << 10:
		storage64.Put((*[64 << 10]byte)(p))
	}
}
