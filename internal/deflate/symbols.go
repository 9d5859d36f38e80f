package deflate

import "encoding/binary"

// The fast loop runs while there are fastInput octets of input, which is one
// load, and fastRoom bytes of room: three literals, or one and a match's first
// word. (A match that is longer than the room beyond that is left to be copied
// with care.)
const (
	fastInput = 8
	fastRoom  = 3
)

// symbols decodes a compressed block's data: fast while there is enough of
// input and room, with care at the borders of both.
func (d *decoder) symbols() verdict {
	for {
		if v := d.copyMatch(); v != goOn {
			return v
		}
		if len(d.src)-d.in < fastInput || len(d.out)-d.pos < fastRoom {
			return d.carefulSymbols()
		}
		if v := d.fastSymbols(); v != goOn || d.step != stepSymbols {
			return v
		}
	}
}

// fastSymbols decodes until input or room runs short or the block ends.
func (d *decoder) fastSymbols() verdict {
	src, in, lastIn := d.src, d.in, len(d.src)-fastInput
	out, pos, lastPos := d.out, d.pos, len(d.out)-fastRoom
	bits, nbits := d.bits, d.nbits
	codes := d.codes
	v, ended := goOn, false
loop:
	for in <= lastIn && pos <= lastPos {
		bits |= binary.LittleEndian.Uint64(src[in:]) << (nbits & 63)
		in += int((63 - nbits) >> 3)
		nbits |= 56

		// 56 bits: three literals with short codes, or one match of up to 48.
		e := codes.lit[bits&(1<<litRoot-1)]
		if int32(e) < 0 {
			out[pos] = byte(e >> 16)
			pos++
			bits >>= e & 63
			nbits -= uint(e & 63)
			e = codes.lit[bits&(1<<litRoot-1)]
			if int32(e) < 0 {
				out[pos] = byte(e >> 16)
				pos++
				bits >>= e & 63
				nbits -= uint(e & 63)
				e = codes.lit[bits&(1<<litRoot-1)]
				if int32(e) < 0 {
					out[pos] = byte(e >> 16)
					pos++
					bits >>= e & 63
					nbits -= uint(e & 63)
					continue
				}
			}
			if nbits < 48 {
				if in > lastIn {
					break
				}
				bits |= binary.LittleEndian.Uint64(src[in:]) << (nbits & 63)
				in += int((63 - nbits) >> 3)
				nbits |= 56
			}
		}
		if e&entryLink != 0 {
			e = codes.lit[e>>16+uint32(bits>>litRoot)&(1<<(e>>8&15)-1)]
		}
		extra := bits & (1<<(e&63) - 1) >> (e >> 8 & 15)
		bits >>= e & 63
		nbits -= uint(e & 63)
		if int32(e) < 0 {
			out[pos] = byte(e >> 16)
			pos++
			continue
		}
		if e&entryOther != 0 {
			if ended = e&entryEnd != 0; !ended {
				v = d.fail(errSymbol)
			}
			break
		}
		length := int(e>>16) + int(extra)

		e = codes.dist[bits&(1<<distRoot-1)]
		if e&entryLink != 0 {
			e = codes.dist[e>>16+uint32(bits>>distRoot)&(1<<(e>>8&15)-1)]
		}
		dist := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		nbits -= uint(e & 63)
		if e&entryOther != 0 {
			v = d.fail(errSymbol)
			break
		}

		if !d.reachable(pos, dist) {
			v = d.fail(errDistance)
			break
		}
		switch from, wordsFit := pos-dist, length <= len(out)-7-pos; {
		case from >= d.base && dist >= 8 && wordsFit:
			copyWords(out[pos:], out[from:], length)
		case from < d.base && wordsFit && d.window.contiguous(d.base-from, length):
			copyWords(out[pos:], d.window.from(d.base-from), length)
		case length <= len(out)-pos:
			d.copyBytes(pos, dist, length)
		default:
			d.copyLen, d.copyDist = length, dist
			break loop
		}
		pos += length
	}
	d.in, d.pos = in, pos
	d.bits, d.nbits = bits&(1<<(nbits&63)-1), nbits
	if ended {
		return d.endBlock()
	}
	return v
}

// copyWords copies n bytes from src to dst and up to seven more. Where src runs
// into dst, at least eight bytes on, it copies what it has put there.
func copyWords(dst, src []byte, n int) {
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
	}
}

// carefulSymbols decodes until the input or the room is used up or the block
// ends. What is left of the input when it stops for want of more is less than
// a symbol with all that belongs to it.
func (d *decoder) carefulSymbols() verdict {
	for {
		if d.nbits < 48 {
			d.bits, d.nbits, d.in = refillSlowly(d.bits, d.nbits, d.src, d.in)
		}
		e := d.codes.lit[d.bits&(1<<litRoot-1)]
		if e&entryLink != 0 {
			e = d.codes.lit[e>>16+uint32(d.bits>>litRoot)&(1<<(e>>8&15)-1)]
		}
		n := uint(e & 63)
		switch {
		case n > d.nbits:
			return needInput
		case int32(e) < 0: // entryPlain
			if d.pos == len(d.out) {
				return needRoom
			}
			d.out[d.pos] = byte(e >> 16)
			d.pos++
			d.bits >>= n
			d.nbits -= n
		case e&entryEnd != 0:
			d.take(n)
			return d.endBlock()
		case e&entryOther != 0:
			return d.fail(errSymbol)
		default:
			if v := d.match(e); v != goOn {
				return v
			}
		}
	}
}

// match decodes a match whose length has the entry e, and copies it.
func (d *decoder) match(e uint32) verdict {
	n := uint(e & 63)
	length := int(e>>16) + int(d.bits&(1<<n-1)>>(e>>8&15))
	bits, nbits := d.bits>>n, d.nbits-n
	e = d.codes.dist[bits&(1<<distRoot-1)]
	if e&entryLink != 0 {
		e = d.codes.dist[e>>16+uint32(bits>>distRoot)&(1<<(e>>8&15)-1)]
	}
	n = uint(e & 63)
	if n > nbits {
		return needInput
	}
	if e&entryOther != 0 {
		return d.fail(errSymbol)
	}
	dist := int(e>>16) + int(bits&(1<<n-1)>>(e>>8&15))
	if !d.reachable(d.pos, dist) {
		return d.fail(errDistance)
	}
	if d.pos == len(d.out) {
		return needRoom
	}
	d.bits, d.nbits = bits>>n, nbits-n
	d.copyLen, d.copyDist = length, dist
	return d.copyMatch()
}

// reachable reports whether there is a byte dist before pos, within the agreed
// window (RFC 7692 §7.1.2) and the data that is known.
func (d *decoder) reachable(pos, dist int) bool {
	return dist <= d.reach && dist <= pos-d.base+d.window.known()
}

// copyMatch copies what is left of the match that was read last.
func (d *decoder) copyMatch() verdict {
	if d.copyLen == 0 {
		return goOn
	}
	n := min(d.copyLen, len(d.out)-d.pos)
	d.copyBytes(d.pos, d.copyDist, n)
	d.pos += n
	d.copyLen -= n
	if d.copyLen > 0 {
		return needRoom
	}
	return goOn
}

// copyBytes copies to pos the n bytes that stand dist before it, which may
// begin in the window and overlap those that it makes.
func (d *decoder) copyBytes(pos, dist, n int) {
	dst, from := d.out[pos:pos+n], pos-dist
	if from < d.base {
		c := d.window.copyTo(dst, d.base-from)
		dst, pos, from = dst[c:], pos+c, from+c
	}
	for len(dst) > 0 {
		c := copy(dst, d.out[from:pos])
		dst, pos = dst[c:], pos+c
	}
}
