package frame

import "math/bits"

// Mask masks p in place, or unmasks it, which is the same:
//
//	"j = i MOD 4
//	 transformed-octet-i = original-octet-i XOR masking-key-octet-j"
//
// https://www.rfc-editor.org/rfc/rfc6455#section-5.3
//
// pos is the number of payload bytes before p that the same key has masked
// already, and Mask returns the value to give with the bytes behind p. Only its
// remainder by 4 counts, and what is returned is that remainder.
func Mask(p []byte, key [4]byte, pos int) int {
	xor(p, p, keyAt(key, pos))
	return (pos + len(p)) & 3
}

// AppendMasked appends p masked to dst and returns the extended slice. p stays
// as it is, and the room behind dst must not overlap it. key and pos are those
// of [Mask].
func AppendMasked(dst, p []byte, key [4]byte, pos int) []byte {
	n := len(dst)
	if cap(dst)-n < len(p) {
		dst = append(dst, make([]byte, len(p))...)
	}
	dst = dst[:n+len(p)]
	xor(dst[n:], p, keyAt(key, pos))
	return dst
}

// keyAt returns the key as a little-endian word, turned so that its lowest byte
// masks the payload's byte pos.
func keyAt(key [4]byte, pos int) uint32 {
	k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
	return turn(k, pos)
}

// turn returns the key to mask the byte with that stands n bytes behind the one
// that k masks.
func turn(k uint32, n int) uint32 { return bits.RotateLeft32(k, -8*(n&3)) }

// xor sets dst to src masked with k. dst is as long as src, and either the same
// memory or apart from it.
func xor(dst, src []byte, k uint32) {
	n := len(src)
	dst = dst[:n]
	if n < 8 {
		for i := range src {
			dst[i] = src[i] ^ byte(k)
			k = turn(k, 1)
		}
		return
	}

	kk := uint64(k)<<32 | uint64(k)
	if n >= wide {
		xorWide(dst, src, kk)
		return
	}

	// The last word overlaps those before it. Its source is read first, since
	// that may be the very memory they are written to.
	last := load64(src[n-8:]) ^ bits.RotateLeft64(kk, -8*(n&3))
	i := 0
	for ; i <= n-64; i += 64 {
		d, s := (*[64]byte)(dst[i:]), (*[64]byte)(src[i:])
		store64(d[0:8], load64(s[0:8])^kk)
		store64(d[8:16], load64(s[8:16])^kk)
		store64(d[16:24], load64(s[16:24])^kk)
		store64(d[24:32], load64(s[24:32])^kk)
		store64(d[32:40], load64(s[32:40])^kk)
		store64(d[40:48], load64(s[40:48])^kk)
		store64(d[48:56], load64(s[48:56])^kk)
		store64(d[56:64], load64(s[56:64])^kk)
	}
	for ; i <= n-8; i += 8 {
		store64(dst[i:i+8], load64(src[i:i+8])^kk)
	}
	store64(dst[n-8:], last)
}

func load64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func load64be(b []byte) uint64 {
	_ = b[7]
	return uint64(b[7]) | uint64(b[6])<<8 | uint64(b[5])<<16 | uint64(b[4])<<24 |
		uint64(b[3])<<32 | uint64(b[2])<<40 | uint64(b[1])<<48 | uint64(b[0])<<56
}

func store64(b []byte, v uint64) {
	_ = b[7]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	b[4], b[5], b[6], b[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}
