package h2connect

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// followed reports how a check follows all of p.
func followed(check *tableSizeCheck, p []byte) bool {
	for len(p) > 0 {
		n, ok := check.follow(p)
		if !ok {
			return false
		}
		p = p[n:]
	}
	return true
}

// scanned reports how a check follows blocks, each split at every place.
func scanned(t *testing.T, check tableSizeCheck, block []byte) bool {
	t.Helper()
	whole := check
	whole.begin()
	want := followed(&whole, block)
	for i := range block {
		split := check
		split.begin()
		got := followed(&split, block[:i]) && followed(&split, block[i:])
		require.Equal(t, want, got, "split at %d", i)
	}
	return want
}

func TestH2_07TableSizeUpdatesComeFirst(t *testing.T) {
	for _, tt := range []struct {
		name  string
		block []byte
		ok    bool
	}{
		{"none", []byte{0x82, 0x87}, true},
		{"first", []byte{0x20, 0x82}, true},
		{"two, the smallest and the last", []byte{0x20, 0x3f, 0xe1, 0x1f, 0x82}, true},
		{"alone", []byte{0x20}, true},
		{"behind an indexed field", []byte{0x82, 0x20}, false},
		{"behind an index of several bytes", []byte{0xff, 0x80, 0x00, 0x20}, false},
		{"behind a literal", []byte{0x00, 1, 'a', 1, 'b', 0x20}, false},
		{"behind a literal with an indexed name", []byte{0x04, 1, '/', 0x20}, false},
		{"behind a literal never indexed", []byte{0x1f, 0x01, 1, '/', 0x20}, false},
		{"behind an empty literal", []byte{0x40, 1, 'a', 0, 0x20}, false},
		{"what looks like one in a name", []byte{0x00, 2, 0x20, 0x20, 1, 'b'}, true},
		{"what looks like one in a value", []byte{0x44, 3, 0x20, 0x20, 0x3f, 0x82}, true},
		{"what looks like one in a long value", append([]byte{0x44, 0x7f, 0x01}, append(bytes.Repeat([]byte{0x20}, 128), 0x82)...), true},
		{"behind a long value", append([]byte{0x44, 0x7f, 0x01}, bytes.Repeat([]byte{0x20}, 129)...), false},
	} {
		assert.Equal(t, tt.ok, scanned(t, tableSizeCheck{}, tt.block), tt.name)
	}
	assert.True(t, scanned(t, tableSizeCheck{owed: true}, []byte{0x20, 0x82}), "what is owed comes")
	assert.False(t, scanned(t, tableSizeCheck{owed: true}, []byte{0x82}), "what is owed does not come")
}

// x/net's decoder lets an update in mid-block pass while its table is empty.
func TestH2_07TableSizeUpdateInMidBlock(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	p.nc.Write(raw(http2.FrameHeaders, 5, 1, []byte{0x82, 0x20, 0x86, 0x84}))
	assert.Contains(t, p.wantGoAway(http2.ErrCodeCompression, "an update behind a field"), "table size update")
}

// "at most two dynamic table size updates": the smallest and the last (RFC 7541 §4.2),
// whatever the table holds.
func TestH2_07TwoTableSizeUpdates(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	p.served(1) // the table holds something
	p.enc.SetMaxDynamicTableSize(100)
	p.enc.SetMaxDynamicTableSize(4096)
	p.served(3)
	for id, i := uint32(5), 0; i < 5; id, i = id+2, i+1 {
		p.enc.SetMaxDynamicTableSize(100)
		p.enc.SetMaxDynamicTableSize(4096)
		block := p.block(get("/hello")...)
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, BlockFragment: block[:i]})
		p.fr.WriteContinuation(id, true, block[i:])
		p.wantStatus(id, "200", false, "wherever the block is cut")
		p.wantData(id, "<p>hello", true, "")
	}
}

func TestH2_07LongStrings(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	p.greet()
	huge := append([]byte{0x00, 1, 'a', 0x7f}, 0x82, 0xff, 0x03) // 65,537 bytes, to come
	p.nc.Write(raw(http2.FrameHeaders, 4, 1, append(huge, make([]byte, 1000)...)))
	p.wantGoAway(http2.ErrCodeCompression, "a string of more than four times the limit")
}

// A table smaller than the protocol's counts from the acknowledgement on: "MUST
// treat a field block that follows an acknowledgment of the reduction […] as a
// connection error […] if it does not start with a conformant Dynamic Table Size
// Update instruction" (RFC 9113 §4.3.1).
func TestSmallerHeaderTable(t *testing.T) {
	conf := &Server{Limits: Limits{HeaderTable: -1}}
	p := clientOf(t, conf, ordinary())
	io.WriteString(p.nc, http2.ClientPreface)
	p.fr.WriteSettings()
	p.headers(1, true, get("/hello", "x", "y")...) // it has not seen our SETTINGS
	settings := p.next("SETTINGS").(*http2.SettingsFrame)
	size, ok := settings.Value(http2.SettingHeaderTableSize)
	require.True(t, ok)
	assert.Zero(t, size)
	p.next("acknowledgement")
	p.wantStatus(1, "200", false, "the protocol's table served")
	p.wantData(1, "<p>hello", true, "")
	p.fr.WriteSettingsAck()
	p.enc.SetMaxDynamicTableSize(0)
	p.served(3)
	assert.Zero(t, p.ours.enc.MaxDynamicTableSize(), "nor do we fill one")
	p.hangUp()

	p = clientOf(t, conf, ordinary())
	p.greet()
	p.headers(1, true, get("/hello")...)
	p.wantGoAway(http2.ErrCodeCompression, "no update")
}

// Who has made the table small of his own accord owes nothing.
func TestHeaderTableThatIsSmallAlready(t *testing.T) {
	for _, tt := range []struct {
		limit, table int // ours, and what the peer makes of its own before
		ok           bool
	}{
		{-1, 0, true},
		{1000, 0, true},
		{1000, 999, true},
		{1000, 1000, true},
		{1000, 1001, false},
		{1000, 4095, false},
	} {
		p := clientOf(t, &Server{Limits: Limits{HeaderTable: tt.limit}}, ordinary())
		io.WriteString(p.nc, http2.ClientPreface)
		p.fr.WriteSettings()
		p.enc.SetMaxDynamicTableSize(uint32(tt.table))
		p.headers(1, true, get("/hello", "x", "y")...) // it has not seen our SETTINGS
		p.next("SETTINGS")
		p.next("acknowledgement")
		p.wantStatus(1, "200", false, "the protocol's table served")
		p.wantData(1, "<p>hello", true, "")
		p.fr.WriteSettingsAck()
		if !tt.ok {
			p.headers(3, true, get("/hello")...)
			p.wantGoAway(http2.ErrCodeCompression, "no update")
			continue
		}
		p.served(3)
		p.hangUp()
	}
}

// FuzzTableSizeCheck: wherever the decoder sees fields, the check has followed
// it there, in one piece or in two; what an encoder says passes.
func FuzzTableSizeCheck(f *testing.F) {
	f.Add([]byte{0x82, 0x20}, uint8(1), "a", "b")
	f.Add([]byte{0x20, 0x40, 1, 'a', 1, 'b'}, uint8(3), "name", "value")
	f.Fuzz(func(t *testing.T, block []byte, cut uint8, name, value string) {
		var a, b tableSizeCheck
		i := min(int(cut), len(block))
		if followed(&a, block) != (followed(&b, block[:i]) && followed(&b, block[i:])) {
			t.Fatal("depends on the split")
		}
		fields := 0
		dec := hpack.NewDecoder(protocolTable, func(hpack.HeaderField) { fields++ })
		if _, err := dec.Write(block); err == nil && dec.Close() == nil {
			var c tableSizeCheck
			if followed(&c, block) && c.state != atRepresentation {
				t.Fatal("a whole block, and the check waits for more")
			}
			if c.field != (fields > 0) {
				t.Fatal("decoder and check differ about fields")
			}
		}
		var buf bytes.Buffer
		enc := hpack.NewEncoder(&buf)
		for _, size := range []uint32{0, 100, 4096} {
			enc.SetMaxDynamicTableSize(size)
			buf.Reset()
			enc.WriteField(hpack.HeaderField{Name: name, Value: value})
			enc.WriteField(hpack.HeaderField{Name: value, Value: name, Sensitive: true})
			enc.WriteField(hpack.HeaderField{Name: name, Value: value})
			k := tableSizeCheck{owed: true}
			if !followed(&k, buf.Bytes()) || k.state != atRepresentation {
				t.Fatal("an encoder's block does not pass")
			}
		}
	})
}
