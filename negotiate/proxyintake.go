package negotiate

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Buffers of an intake. The small one is its own and does for a socket that has
// little to say. A larger one is borrowed when a read has filled the one before, and
// given back when nothing has moved for bufferRest. The middle one is more than a
// TLS record yields.
//
// A peer that takes nothing keeps the buffer with what was read for it: middle ones
// there are as many as there are such directions, but of large ones no more than
// largeMost in the process. Who finds none goes on with the middle one.
const (
	smallBuffer  = 512
	middleBuffer = 18 << 10
	largeBuffer  = 256 << 10
	largeMost    = 256
	bufferRest   = time.Second
)

var (
	middleBuffers = sync.Pool{New: func() any { return new([middleBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
	largeBorrowed atomic.Int64
)

// An intake is the buffer that a pump reads into. It is the pump's goroutine's, but for
// borrowing.
type intake struct {
	small     [smallBuffer]byte
	borrowed  []byte
	borrowing atomic.Bool // there is something in borrowed; anybody may look
	full      bool        // the last read has filled the buffer
}

// read waits for bytes, which stay as they are until the next call of fit, read or
// giveBack.
func (in *intake) read(from io.Reader) ([]byte, error) {
	buffer := in.borrowed
	if buffer == nil {
		buffer = in.small[:]
	}
	n, err := from.Read(buffer)
	in.full = n == len(buffer)
	return buffer[:n], err
}

// fit borrows a larger buffer if the last read has filled the one that there is, and
// reports whether it has.
func (in *intake) fit() bool {
	if !in.full {
		return false
	}
	in.full = false
	switch len(in.borrowed) {
	case 0:
		in.borrowed = middleBuffers.Get().(*[middleBuffer]byte)[:]
	case middleBuffer:
		if largeBorrowed.Add(1) > largeMost {
			largeBorrowed.Add(-1)
			return false
		}
		in.putBack()
		in.borrowed = largeBuffers.Get().(*[largeBuffer]byte)[:]
	default:
		return false
	}
	in.borrowing.Store(true)
	return true
}

// giveBack gives back whatever is not the intake's own.
func (in *intake) giveBack() {
	in.putBack()
	in.borrowed, in.full = nil, false
	in.borrowing.Store(false)
}

func (in *intake) putBack() {
	switch len(in.borrowed) {
	case middleBuffer:
		middleBuffers.Put((*[middleBuffer]byte)(in.borrowed))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(in.borrowed))
		largeBorrowed.Add(-1)
	}
}
