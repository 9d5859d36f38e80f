package deflate

import (
	"math"
	"slices"
	"sync"
)

// The negotiable sizes of a window (RFC 7692 §7.1.2) are 2^8 to 2^15 bytes.
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// minGrowth is the least by which a caller's slice without room grows.
const minGrowth = 512

// An Inflater inflates the messages of one direction of a socket, one after
// the other. It can stop before any octet of input and before any byte of
// output, and be continued. It is not safe for concurrent use.
//
// What an Inflater holds between messages is the window if there is context
// takeover, and nothing otherwise.
type Inflater struct {
	decoder    *decoder // of the message that was begun, nil before its first octet
	window     *window  // the known data before the next call's output, nil if there is none
	err        error    // what was wrong with the data, for good
	windowBits uint8
	takeover   bool
}

var inflaters = sync.Pool{New: func() any { return new(Inflater) }}

// NewInflater returns an Inflater for a peer that compresses with a window of
// 2^windowBits bytes, 8 to 15, and, if takeover, lets messages refer to earlier
// ones. It allocates nothing but itself, and not even that if one was freed.
func NewInflater(windowBits int, takeover bool) *Inflater {
	f := inflaters.Get().(*Inflater)
	f.windowBits, f.takeover = clampBits(windowBits), takeover
	return f
}

// Free gives up f and what it holds. It is not to be used any more.
func (f *Inflater) Free() {
	f.Release()
	inflaters.Put(f)
}

// clampBits returns windowBits as it is stored, the nearest that there is.
func clampBits(windowBits int) uint8 {
	return uint8(min(max(windowBits, minWindowBits), maxWindowBits))
}

// Inflate inflates src, which are not the last octets of a message, and appends
// to dst at most limit bytes. It returns the extended slice and how much of src
// it took. It stops when it has used up src or when the next byte of output
// would be one too many, and leaves of src what it does not need so far; it may
// then be called again with the rest of src. A limit of 0 is as good as any
// other.
//
// If dst has capacity for what is appended, it is used; bytes between what was
// appended and dst's length plus limit may have been overwritten too. Otherwise
// dst grows as by append, with the data and not with the limit. The caller may
// do with the returned slice as it likes before the next call. dst and src must
// not overlap.
//
// An error is a [DataError]. It comes with what was inflated before it, and
// every further call returns it too.
func (f *Inflater) Inflate(dst, src []byte, limit int) (out []byte, n int, err error) {
	if f.err != nil || f.decoder == nil && len(src) == 0 {
		return dst, 0, f.err
	}
	out, n, v := f.inflate(dst, src, limit)
	if v == corrupt {
		return out, n, f.err
	}
	f.window = f.window.remember(out[len(dst):], int(f.windowBits))
	return out, n, nil
}

// Finish does as Inflate with the last octets of a message, which may be none.
// If it has used them up and inflated everything, it checks that the message is
// whole, readies f for the next message and returns done. Otherwise, and if
// there is no error, limit was reached: Finish must be called again with the
// rest of src.
//
// A message without any octet is an empty one.
//
// A message that Finish inflates in one call costs no window if there is no
// context takeover.
func (f *Inflater) Finish(dst, src []byte, limit int) (out []byte, n int, done bool, err error) {
	if f.err != nil || f.decoder == nil && len(src) == 0 {
		return dst, 0, f.err == nil, f.err
	}
	out, n, v := f.inflate(dst, src, limit)
	if v == needInput {
		v = f.end()
	}
	if v == corrupt {
		return out, n, false, f.err
	}
	if v == goOn && !f.takeover {
		f.window.free()
		f.window = nil
	} else {
		f.window = f.window.remember(out[len(dst):], int(f.windowBits))
	}
	return out, n, v == goOn, nil
}

// Release gives up what f holds and makes it as new.
func (f *Inflater) Release() {
	if f.decoder != nil {
		f.decoder.free()
		f.decoder = nil
	}
	f.window.free()
	f.window = nil
	f.err = nil
}

// inflate decodes src to dst, which it lets grow to at most limit bytes more.
// If the verdict is corrupt, f holds nothing but the error any more.
func (f *Inflater) inflate(dst, src []byte, limit int) (out []byte, n int, v verdict) {
	d := f.decoder
	if d == nil {
		d = newDecoder()
		f.decoder = d
	}
	end := len(dst) + min(max(limit, 0), math.MaxInt-len(dst))
	d.src, d.in = src, 0
	d.out, d.base, d.pos = dst[:min(cap(dst), end)], len(dst), len(dst)
	d.window, d.reach = f.window, 1<<f.windowBits
	for {
		if v = d.run(); v != needRoom || len(d.out) == end {
			break
		}
		more := min(max(len(d.out), minGrowth), end-len(d.out))
		d.out = slices.Grow(d.out, more)
		d.out = d.out[:min(cap(d.out), end)]
	}
	if v == needRoom {
		d.giveBack()
	}
	out, n = d.out[:d.pos], d.in
	d.src, d.out, d.window = nil, nil, nil
	if v == corrupt {
		err := d.err
		f.Release()
		f.err = err
	}
	return out, n, v
}

// end ends the message: RFC 7692 §7.2.2 appends 00 00 ff ff and inflates it. As
// the sender has removed that from an empty stored block (§7.2.1), the decoder
// must stand where that block's length is to come. Anything else is a message
// that was cut off, even if those octets would happen to complete it.
func (f *Inflater) end() verdict {
	d := f.decoder
	if d.step != stepStoredLen || d.nbits != 0 {
		f.Release()
		f.err = errUnfinished
		return corrupt
	}
	d.free()
	f.decoder = nil
	return goOn
}
