package h2connect

// A tableSizeCheck follows a header block to where its representations begin
// (RFC 7541 §6) and sees to it that dynamic table size updates come where they
// may, "at the beginning of the first header block following the change" (§4.2),
// and where they must. It needs to understand no more than lengths: everything
// else about the block is the decoder's, which does not look at this.
type tableSizeCheck struct {
	owed  bool   // the next block has to begin with an update
	size  uint64 // of the last update
	field bool   // a field has begun in this block

	state   tableSizeState
	strings int    // string literals left of the representation
	length  uint64 // bytes left of the string literal
	shift   uint   // where the next part of length, or size, goes
}

type tableSizeState uint8

const (
	atRepresentation tableSizeState = iota
	inInteger                       // behind its prefix
	inSize                          // of an update, behind its prefix
	atString                        // a literal's length begins
	inLength                        // behind its prefix
	inString
)

// begin says that a new block begins.
func (k *tableSizeCheck) begin() { *k = tableSizeCheck{owed: k.owed, size: k.size} }

// follow takes the block's next bytes, but of those that stand behind an update none,
// and reports how many and whether all is well.
func (k *tableSizeCheck) follow(p []byte) (n int, ok bool) {
	for n < len(p) {
		if k.state == inString {
			m := min(k.length, uint64(len(p)-n))
			n += int(m)
			k.length -= m
			k.stringDone()
			continue
		}
		b := p[n]
		n++
		switch k.state {
		case atRepresentation:
			if !k.representation(b) {
				return n, false
			}
		case inInteger:
			if b < 0x80 {
				k.next()
			}
		case inSize:
			if k.shift < 63 {
				k.size += uint64(b&0x7f) << k.shift
				k.shift += 7
			}
			if b < 0x80 {
				k.next()
			}
		case atString:
			k.length, k.shift = uint64(b&0x7f), 0
			k.state = inLength
			if b&0x7f < 0x7f {
				k.state = inString
				k.stringDone()
			}
		case inLength:
			if k.shift < 63 { // beyond it the decoder gives up
				k.length += uint64(b&0x7f) << k.shift
				k.shift += 7
			}
			if b < 0x80 {
				k.state = inString
				k.stringDone()
			}
		}
		if k.updated() {
			break
		}
	}
	return n, true
}

// updated reports whether an update stands before what comes next.
func (k *tableSizeCheck) updated() bool { return !k.field && k.state == atRepresentation }

// representation takes a representation's first byte.
//
//	1xxxxxxx  indexed field                            §6.1
//	01xxxxxx  literal with incremental indexing        §6.2.1
//	001xxxxx  dynamic table size update                §6.3
//	0001xxxx  literal never indexed                    §6.2.3
//	0000xxxx  literal without indexing                 §6.2.2
func (k *tableSizeCheck) representation(b byte) bool {
	var mask byte
	update := false
	switch {
	case b >= 0x80:
		mask, k.strings = 0x7f, 0
	case b >= 0x40:
		mask, k.strings = 0x3f, 1
	case b >= 0x20:
		mask, k.strings, update = 0x1f, 0, true
	default:
		mask, k.strings = 0x0f, 1
	}
	if update && k.field || !update && k.owed {
		return false
	}
	k.field, k.owed = !update, false
	if k.strings == 1 && b&mask == 0 {
		k.strings = 2 // the name is not in a table
	}
	if update {
		k.size, k.shift = uint64(b&mask), 0
	}
	switch {
	case b&mask != mask:
	case update:
		k.state = inSize
		return true
	default:
		k.state = inInteger
		return true
	}
	k.next()
	return true
}

// stringDone goes on if the string literal is at its end.
func (k *tableSizeCheck) stringDone() {
	if k.length == 0 {
		k.strings--
		k.next()
	}
}

// next goes on to what the representation has left.
func (k *tableSizeCheck) next() {
	k.state = atRepresentation
	if k.strings > 0 {
		k.state = atString
	}
}
