//go:build !purego && !race

package frame

import (
	"math/bits"
	"unsafe"
)

// wide is the size from which xorWide is faster than xor's own loop.
const wide = 16

// aligned is the size from which it pays to align what is written.
const aligned = 512

// xorWide is xor for wide bytes and more, with the key twice in kk.
//
// The compiler makes no vector instructions, and eight bytes at a time reach
// half of what the second-level cache gives. SSE2 reaches all of it, and every
// amd64 processor has it. (The race detector does not see into assembly, so it
// gets xor's own loop.)
func xorWide(dst, src []byte, kk uint64) {
	n := len(src)
	last := bits.RotateLeft64(kk, -8*(n&3))
	if n < aligned {
		xorSSE2(&dst[0], &src[0], n, kk, last)
		return
	}

	// Behind a header no payload is aligned, and many of the wide accesses would
	// touch two cache lines. So the assembly begins with the first aligned byte
	// of dst. The two words before it overlap what it writes: as in xor, they
	// are read first, but written last.
	i := int(-uintptr(unsafe.Pointer(unsafe.SliceData(dst))) & 15)
	first, second := load64(src)^kk, load64(src[8:])^kk
	xorSSE2(&dst[i], &src[i], n-i, bits.RotateLeft64(kk, -8*(i&3)), last)
	store64(dst, first)
	store64(dst[8:], second)
}

// xorSSE2 sets n bytes of dst, at least 16, to those of src xor kk. It needs kk
// turned to the byte 16 before the end as well, in last.
//
//go:noescape
func xorSSE2(dst, src *byte, n int, kk, last uint64)
