package frame

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

var benchKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

var sizes = []int{16, 125, 1 << 10, 16 << 10, 1 << 20}

func BenchmarkMask(b *testing.B) {
	for _, size := range sizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			p := make([]byte, 6+size)[6:] // behind a header, as in life
			b.SetBytes(int64(size))
			pos := 0
			for b.Loop() {
				pos = Mask(p, benchKey, pos)
			}
		})
	}
}

func BenchmarkAppendMasked(b *testing.B) {
	for _, size := range sizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			p := make([]byte, size)
			dst := make([]byte, 0, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendMasked(dst[:0], p, benchKey, 0)
			}
		})
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, bench := range []struct {
		name   string
		header Header
	}{
		{"plain7", Header{Fin: true, Opcode: Text, Length: 100}},
		{"masked7", Header{Fin: true, Opcode: Text, Masked: true, Key: benchKey, Length: 100}},
		{"masked16", Header{Fin: true, Opcode: Text, Masked: true, Key: benchKey, Length: 1000}},
		{"masked64", Header{Fin: true, Opcode: Text, Masked: true, Key: benchKey, Length: 1 << 20}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := bench.header.Append(nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, n, err := ParseHeader(p); n != len(p) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkHeaderAppend(b *testing.B) {
	h := Header{Fin: true, Opcode: Text, Masked: true, Key: benchKey, Length: 1000}
	dst := make([]byte, 0, MaxHeaderSize)
	b.ReportAllocs()
	for b.Loop() {
		dst = h.Append(dst[:0])
	}
}

func BenchmarkReceiverNext(b *testing.B) {
	for _, bench := range []struct {
		name string
		side Side
		op   Opcode
		size int
	}{
		{"server/binary125", Server, Binary, 125},
		{"server/text125", Server, Text, 125},
		{"client/binary125", Client, Binary, 125},
		{"server/text1Ki", Server, Text, 1 << 10},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := Header{
				Fin: true, Opcode: bench.op, Masked: bench.side == Server,
				Length: int64(bench.size), // an all-zero key: the frame stays text however often it is unmasked
			}
			p := append(h.Append(nil), bytes.Repeat([]byte{'a'}, bench.size)...)
			r := Receiver{Side: bench.side, MaxMessage: 1 << 20, MaxFragments: 16384, MaxEmptyFragments: 100}
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			for b.Loop() {
				if ev, n, err := r.Next(p); !ev.Last || n != len(p) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkSenderAppend(b *testing.B) {
	for _, side := range []Side{Server, Client} {
		b.Run(side.String()+"/text125", func(b *testing.B) {
			s := Sender{Side: side}
			payload := bytes.Repeat([]byte{'a'}, 125)
			dst := make([]byte, 0, 256)
			h := Header{Fin: true, Opcode: Text, Key: benchKey}
			b.SetBytes(125)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = s.Append(dst[:0], h, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"ascii", "The quick brown fox jumps over the lazy dog. "},
		{"german", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. "},
		{"russian", "Съешь же ещё этих мягких французских булок, да выпей чаю. "},
		{"chinese", "视野无限广，窗外有蓝天。"},
		{"korean", "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. "},
		{"thai", "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน "},
		{"emoji", "😀😃😄😁😆😅🤣😂"},
		{"mixed", "naïve 漢字 and кошка 🐈, plain text. "},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := []byte(strings.Repeat(bench.text, 1+1024/len(bench.text)))[:1024]
			for !func() bool { var u UTF8; return u.Check(p) == len(p) && u.Complete() }() {
				p = p[:len(p)-1]
			}
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				var u UTF8
				if u.Check(p) != len(p) {
					b.Fatal("invalid")
				}
			}
		})
	}
}
