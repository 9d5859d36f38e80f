package autobahn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
)

// A dataSet is what the messages of a group of category 12 are cut from. The
// suite uses five files; these are made by a generator to be of the same kinds
// and of the same sizes, always the same octets.
type dataSet struct {
	name     string
	binary   bool
	size     int
	generate func(r *rand.Rand, size int) []byte

	once   sync.Once
	data   []byte
	starts []int // of text: where each character begins
}

var dataSets = [...]*dataSet{
	{name: "Large JSON data file", size: 194056, generate: makeJSON},
	{name: "Picture, bitmap 512x512 bw", binary: true, size: 263222, generate: makeBitmap},
	{name: "Human readable text (German)", binary: true, size: 222218, generate: makeProse},
	{name: "Large HTML file", size: 263647, generate: makeHTML},
	{name: "A larger PDF", binary: true, size: 1042328, generate: makePDF},
}

// String returns the name and size as the suite writes them.
func (d *dataSet) String() string {
	kind := "utf8"
	if d.binary {
		kind = "binary"
	}
	return fmt.Sprintf("%s (%s, %d bytes)", d.name, kind, d.size)
}

// load makes the data when it is first needed.
func (d *dataSet) load() {
	d.once.Do(func() {
		d.data = d.generate(rand.New(rand.NewPCG(6455, uint64(d.size))), d.size)
		if !d.binary {
			for i := range string(d.data) {
				d.starts = append(d.starts, i)
			}
		}
	})
}

// piece returns the i-th message of n octets, of n characters if the data is
// text. Messages follow each other in the data, and go on at its beginning.
func (d *dataSet) piece(i, n int) []byte {
	d.load()
	at, units := func(i int) int { return i }, len(d.data)
	if !d.binary {
		at, units = func(i int) int { return d.starts[i] }, len(d.starts)
	}
	from := i * n % units
	if from+n < units {
		return d.data[at(from):at(from+n)]
	}
	return append(d.data[at(from):len(d.data):len(d.data)], d.data[:at(from+n-units)]...)
}

// fit makes b exactly size octets of text by blanks at its end, for generators
// that stop short of it.
func fit(b *bytes.Buffer, size int) []byte {
	return append(b.Bytes(), bytes.Repeat([]byte(" "), size-b.Len())...)
}

// pick returns one of the blank-separated words.
func pick(r *rand.Rand, words []string) string { return words[r.IntN(len(words))] }

var (
	names  = strings.Fields("Ada Björn Chloé Dmitri Émile Fatma Grète Håkon İpek José Käthe Łukasz Mårten Noël Özlem 日向 Σοφία")
	places = strings.Fields("Ålesund Brno Cádiz Düsseldorf Espoo Fès Göteborg Hälsingborg İzmir Jávea Köln Łódź München 東京 Αθήνα")
	nouns  = strings.Fields("Baum Brücke Fluss Gärten Häuser Himmel Kräfte Licht Mühle Nächte Öfen Quelle Sinne Straße Türme Wälder Wörter Zeit")
	verbs  = strings.Fields("blüht fällt fließt gehört glüht hält klingt lässt prüft ruft schläft spürt träumt übt wächst zählt")
	small  = strings.Fields("und aber denn doch für gegen über unter zwischen während nicht schon immer früher später dort hier wenn daß weil")
)

func makeJSON(r *rand.Rand, size int) []byte {
	var b bytes.Buffer
	b.WriteString("[")
	for i := 0; b.Len() < size-512; i++ {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"id": %d, "guid": "%08x-%04x", "isActive": %t, "balance": "$%d.%02d", "name": "%s %s", "city": %q, `,
			i, r.Uint32(), r.UintN(1<<16), r.IntN(2) == 0, r.IntN(4000), r.IntN(100), pick(r, names), pick(r, names), pick(r, places))
		fmt.Fprintf(&b, `"latitude": %.6f, "longitude": %.6f, "tags": [%q, %q, %q], "about": "%s"}`,
			r.Float64()*180-90, r.Float64()*360-180, pick(r, nouns), pick(r, verbs), pick(r, small), sentence(r))
	}
	b.WriteString("]")
	return fit(&b, size)
}

func sentence(r *rand.Rand) string {
	words := []string{"Der", pick(r, nouns), pick(r, verbs)}
	for range r.IntN(9) {
		words = append(words, pick(r, small), pick(r, nouns))
	}
	return strings.Join(words, " ") + "."
}

func makeProse(r *rand.Rand, size int) []byte {
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, "%s\r\n", sentence(r))
		if r.IntN(8) == 0 {
			fmt.Fprintf(&b, "\r\n%s:\r\n", strings.ToUpper(pick(r, names)))
		}
	}
	return b.Bytes()[:size]
}

func makeHTML(r *rand.Rand, size int) []byte {
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html>\n<html lang=\"de\"><head><meta charset=\"utf-8\"><title>Liste</title></head><body>\n")
	for i := 0; b.Len() < size-512; i++ {
		fmt.Fprintf(&b, "  <div class=\"row %s\" id=\"r%d\">\n    <a href=\"/%s/%d.html\" title=\"%s\">%s</a>\n    <p class=\"note\">%s</p>\n  </div>\n",
			[]string{"odd", "even"}[i%2], i, pick(r, nouns), r.IntN(10000), pick(r, names), pick(r, places), sentence(r))
	}
	b.WriteString("</body></html>\n")
	return fit(&b, size)
}

// makeBitmap draws waves with grain, 8 bits a pixel, behind a header of 1,078
// octets: header, and a palette of greys.
func makeBitmap(r *rand.Rand, size int) []byte {
	const side, header = 512, 1078
	b := make([]byte, 0, size)
	b = append(b, "BM"...)
	for _, v := range []uint32{uint32(size), 0, header, 40, side, side, 1 | 8<<16, 0, side * side, 2835, 2835, 256, 256} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for i := range 256 {
		b = append(b, byte(i), byte(i), byte(i), 0)
	}
	for y := range side {
		for x := range side {
			fx, fy := float64(x), float64(y)
			v := 128 + 60*math.Sin(fx/37+fy/91) + 40*math.Cos(fy/23) + 8*r.NormFloat64()
			b = append(b, byte(max(0, min(255, v))))
		}
	}
	return b[:size]
}

// makePDF puts streams that do not compress between objects that do.
func makePDF(r *rand.Rand, size int) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	for i := 1; b.Len() < size; i++ {
		n := 2000 + r.IntN(14000)
		fmt.Fprintf(&b, "%d 0 obj\n<< /Type /XObject /Filter /FlateDecode /Length %d >>\nstream\n", i, n)
		for range n {
			b.WriteByte(byte(r.Uint32()))
		}
		b.WriteString("\nendstream\nendobj\n")
		for j := range 20 {
			fmt.Fprintf(&b, "%010d %05d n \n", b.Len()*(j+1)%1000000, 0)
		}
	}
	return b.Bytes()[:size]
}
