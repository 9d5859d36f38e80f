package negotiate

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsmux/websocket/internal/arrivals"
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

// A recordReader is a websocket.Stream that yields TLS records one by one.
type recordReader interface {
	// Records returns how many have come, at least: so many Reads, each of which
	// yields what is left of one, do not wait. It is called between Reads.
	Records() int
}

// Of a stream that yields records, those that have come are read together: most of the
// work with one is that of passing it on, however long it is. Nothing is waited for. One
// shorter than recordsLeast is the last of a message.
const recordsLeast = 8 << 10

// read waits for bytes, which stay as they are until the next call of fit, read or
// giveBack.
func (in *intake) read(from io.Reader) ([]byte, error) {
	buffer := in.borrowed
	if buffer == nil {
		buffer = in.small[:]
	}
	n, err := from.Read(buffer)
	if n >= recordsLeast && err == nil {
		n, err = readOn(from, buffer, n)
	}
	in.full = n == len(buffer)
	return buffer[:n], err
}

// readOn reads the records that have come, and returns how much of buffer is filled
// then; n bytes of it are already.
func readOn(from io.Reader, buffer []byte, n int) (int, error) {
	records, ok := from.(recordReader)
	if !ok {
		return n, nil
	}
	most := min(arrivals.Together, len(buffer))
	for n < most {
		come := records.Records()
		if come == 0 {
			break
		}
		for ; come > 0 && n < most; come-- {
			more, err := from.Read(buffer[n:])
			n += more
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
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
