package websocket_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A deflater compresses a peer's messages, with context takeover.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

func newDeflater(bits, level int) *deflater {
	d := new(deflater)
	var err error
	if bits < 15 {
		d.w, err = flate.NewWriterWindow(&d.out, 1<<bits)
	} else {
		d.w, err = flate.NewWriter(&d.out, level)
	}
	if err != nil {
		panic(err)
	}
	return d
}

// payload returns p compressed, ended by an empty stored block; whole says
// that this block's last four bytes are left out, as at the end of a message
// (RFC 7692 §7.2.1).
func (d *deflater) payload(p []byte, whole bool) []byte {
	d.out.Reset()
	d.w.Write(p)
	d.w.Flush()
	out := bytes.Clone(d.out.Bytes())
	if whole {
		out = bytes.TrimSuffix(out, []byte("\x00\x00\xff\xff"))
	}
	return out
}

// An inflater decompresses what a Conn sends, as RFC 7692 §7.2.2 and RFC 1951
// describe it: slowly, bit by bit, and strictly. It knows no more of the past
// than its window holds, and notes the farthest reference.
type inflater struct {
	takeover bool
	size     int
	history  []byte // all that may be referred to

	in       []byte
	bit      int
	farthest int
}

func newInflater(bits int, takeover bool) *inflater {
	return &inflater{size: 1 << bits, takeover: takeover}
}

// message returns what a compressed message of one frame says.
func (d *inflater) message(t testing.TB, f wstest.Frame) string {
	t.Helper()
	require.True(t, f.RSV1, "%v is not compressed", f)
	require.False(t, f.More)
	require.NotEqual(t, frame.Continuation, f.Opcode)
	return string(d.payload(t, f.Payload))
}

// payload returns what a whole message's compressed payload says.
func (d *inflater) payload(t testing.TB, p []byte) []byte {
	t.Helper()
	if !d.takeover {
		d.history = nil
	}
	start := len(d.history)
	d.in, d.bit = append(bytes.Clone(p), 0, 0, 0xff, 0xff), 0
	for d.bit+7 < 8*len(d.in) {
		require.NoError(t, d.block())
	}
	out := bytes.Clone(d.history[start:])
	d.history = bytes.Clone(d.history[max(0, len(d.history)-d.size):])
	return out
}

var errDeflate = errors.New("not DEFLATE")

// bits returns the next n bits, least significant first (RFC 1951 §3.1.1).
func (d *inflater) bits(n int) (v int) {
	for i := range n {
		if d.bit>>3 < len(d.in) {
			v |= int(d.in[d.bit>>3]>>(d.bit&7)&1) << i
		}
		d.bit++
	}
	return v
}

// block reads one block (RFC 1951 §3.2.3).
func (d *inflater) block() error {
	d.bits(1) // BFINAL: other blocks may follow all the same
	switch d.bits(2) {
	case 0:
		d.bit = (d.bit + 7) &^ 7
		n := d.bits(16)
		if n^0xffff != d.bits(16) || d.bit/8+n > len(d.in) {
			return errDeflate
		}
		d.history = append(d.history, d.in[d.bit/8:d.bit/8+n]...)
		d.bit += 8 * n
		return nil
	case 1:
		lengths := bytes.Repeat([]byte{8}, 288)
		copy(lengths[144:256], bytes.Repeat([]byte{9}, 112))
		copy(lengths[256:280], bytes.Repeat([]byte{7}, 24))
		return d.symbols(newCode(lengths), newCode(bytes.Repeat([]byte{5}, 30)))
	case 2:
		literals, distances, err := d.dynamic()
		if err != nil {
			return err
		}
		return d.symbols(literals, distances)
	}
	return errDeflate
}

// dynamic reads the codes of a dynamic block (RFC 1951 §3.2.7).
func (d *inflater) dynamic() (literals, distances *code, err error) {
	nl, nd, nc := d.bits(5)+257, d.bits(5)+1, d.bits(4)+4
	lengths := make([]byte, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:nc] {
		lengths[i] = byte(d.bits(3))
	}
	c := newCode(lengths)
	lengths = nil
	for len(lengths) < nl+nd {
		s, n, last := d.symbol(c), 1, byte(0)
		switch {
		case s < 0 || s == 16 && len(lengths) == 0:
			return nil, nil, errDeflate
		case s < 16:
			last = byte(s)
		case s == 16:
			last, n = lengths[len(lengths)-1], 3+d.bits(2)
		case s == 17:
			n = 3 + d.bits(3)
		default:
			n = 11 + d.bits(7)
		}
		lengths = append(lengths, bytes.Repeat([]byte{last}, n)...)
	}
	return newCode(lengths[:nl]), newCode(lengths[nl:]), nil
}

// symbols reads literals and references until the end of the block.
func (d *inflater) symbols(literals, distances *code) error {
	for {
		s := d.symbol(literals)
		switch {
		case s < 0 || s > 285 || d.bit > 8*len(d.in):
			return errDeflate
		case s < 256:
			d.history = append(d.history, byte(s))
			continue
		case s == 256:
			return nil
		}
		n := 258
		if s < 265 {
			n = s - 254
		} else if s < 285 {
			extra := (s - 261) / 4
			n = 3 + (4+(s-261)%4)<<extra + d.bits(extra)
		}
		s = d.symbol(distances)
		if s < 0 || s > 29 {
			return errDeflate
		}
		far := s + 1
		if s > 3 {
			extra := s/2 - 1
			far = 1 + (2+s%2)<<extra + d.bits(extra)
		}
		if far > len(d.history) {
			return errDeflate
		}
		d.farthest = max(d.farthest, far)
		for range n {
			d.history = append(d.history, d.history[len(d.history)-far])
		}
	}
}

// A code is a canonical Huffman code (RFC 1951 §3.2.2): for each length the
// first pattern, and the symbols in the order of their patterns.
type code [16]struct {
	first   int
	symbols []int
}

func newCode(lengths []byte) *code {
	c, next := new(code), 0
	for s, n := range lengths {
		if n > 0 {
			c[n].symbols = append(c[n].symbols, s)
		}
	}
	for n := range c {
		c[n].first = next
		next = (next + len(c[n].symbols)) << 1
	}
	return c
}

func (d *inflater) symbol(c *code) int {
	pattern := 0
	for n := 1; n <= 15; n++ {
		pattern = pattern<<1 | d.bits(1)
		if i := pattern - c[n].first; i >= 0 && i < len(c[n].symbols) {
			return c[n].symbols[i]
		}
	}
	return -1
}
