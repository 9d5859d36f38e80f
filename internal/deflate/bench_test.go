package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/require"
)

// benchSizes are the sizes of JSON-like messages measured.
var benchSizes = []int{128, 1 << 10, 64 << 10}

// benchMessages returns 64 messages of this size, uncompressed and compressed
// one after the other at level 1. With takeover only the first can be inflated
// by itself.
func benchMessages(b *testing.B, size int, takeover bool) (plain, compressed [][]byte) {
	b.Helper()
	d := NewDeflater(1, 15, takeover)
	defer d.Release()
	for i := range 64 {
		p := jsonText(size, uint64(i))
		c, err := d.Append(nil, p, true)
		require.NoError(b, err)
		plain, compressed = append(plain, p), append(compressed, c)
	}
	return plain, compressed
}

// eachCase runs a benchmark for every size, with takeover and without.
func eachCase(b *testing.B, run func(b *testing.B, plain, compressed [][]byte, takeover bool)) {
	for _, size := range benchSizes {
		for _, takeover := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%d/takeover=%v", size, takeover), func(b *testing.B) {
				plain, compressed := benchMessages(b, size, takeover)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				run(b, plain, compressed, takeover)
			})
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	eachCase(b, func(b *testing.B, plain, compressed [][]byte, takeover bool) {
		f := NewInflater(15, takeover)
		out := make([]byte, 0, len(plain[0]))
		for i := 0; b.Loop(); i++ {
			if i%len(compressed) == 0 {
				f.Release()
			}
			var err error
			out, _, _, err = f.Finish(out[:0], compressed[i%len(compressed)], 1<<20)
			if err != nil || len(out) != len(plain[0]) {
				b.Fatal(len(out), err)
			}
		}
	})
}

// BenchmarkInflateInParts gives the message in pieces of 256 octets and takes
// it in pieces of 1 KiB, as a streaming reader does.
func BenchmarkInflateInParts(b *testing.B) {
	plain, compressed := benchMessages(b, 64<<10, false)
	f := NewInflater(15, false)
	buf := make([]byte, 0, 1024)
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		made := 0
		for rest, done := compressed[i%len(compressed)], false; !done; {
			piece := rest[:min(256, len(rest))]
			var out []byte
			var n int
			var err error
			if len(piece) < len(rest) {
				out, n, err = f.Inflate(buf, piece, cap(buf))
			} else {
				out, n, done, err = f.Finish(buf, piece, cap(buf))
			}
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
			made += len(out)
		}
		if made != len(plain[0]) {
			b.Fatal(made)
		}
	}
}

// The other decoders, as they are used for permessage-deflate: reset for each
// message, with the window as the dictionary if there is takeover.
func BenchmarkInflateStd(b *testing.B) { benchOther(b, stdflate.NewReader) }

func BenchmarkInflateKlauspost(b *testing.B) { benchOther(b, flate.NewReader) }

func benchOther(b *testing.B, open func(io.Reader) io.ReadCloser) {
	eachCase(b, func(b *testing.B, plain, compressed [][]byte, takeover bool) {
		in := bytes.NewReader(nil)
		r := open(in)
		out := make([]byte, len(plain[0]))
		var octets, window []byte
		for i := 0; b.Loop(); i++ {
			if i%len(compressed) == 0 {
				window = window[:0]
			}
			octets = append(octets[:0], compressed[i%len(compressed)]...)
			octets = append(append(octets, syncTail...), finalBlock...)
			in.Reset(octets)
			if err := r.(stdflate.Resetter).Reset(in, window); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, out); err != nil {
				b.Fatal(err)
			}
			if takeover {
				window = append(window, out...)
				window = window[:copy(window, window[max(0, len(window)-1<<15):])]
			}
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, level := range []int{1, 5, 9} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) { benchDeflate(b, level, 15) })
	}
	b.Run("window=2^10", func(b *testing.B) { benchDeflate(b, 1, 10) })
}

func benchDeflate(b *testing.B, level, bits int) {
	eachCase(b, func(b *testing.B, plain, _ [][]byte, takeover bool) {
		d := NewDeflater(level, bits, takeover)
		defer d.Release()
		var out []byte
		made, i := 0, 0
		for ; b.Loop(); i++ {
			var err error
			out, err = d.Append(out[:0], plain[i%len(plain)], true)
			if err != nil {
				b.Fatal(err)
			}
			made += len(out)
		}
		b.ReportMetric(float64(made)/float64(i), "wire-B/op")
	})
}

// BenchmarkDeflateStateless is the choice that was not taken for messages
// without takeover: see newCompressor.
func BenchmarkDeflateStateless(b *testing.B) {
	eachCase(b, func(b *testing.B, plain, _ [][]byte, takeover bool) {
		if takeover {
			b.Skip()
		}
		var out bytes.Buffer
		made, i := 0, 0
		for ; b.Loop(); i++ {
			out.Reset()
			if err := flate.StatelessDeflate(&out, plain[i%len(plain)], false, nil); err != nil {
				b.Fatal(err)
			}
			made += out.Len()
		}
		b.ReportMetric(float64(made)/float64(i), "wire-B/op")
	})
}
