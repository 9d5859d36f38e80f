package deflate

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unhex returns the octets that s shows, spaces aside.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// The vectors of RFC 7692 §7.2.3, each a sequence of messages on one socket.
var vectors = []struct {
	name     string
	takeover bool
	messages []string
	want     []string
}{
	{"7.2.3.1 one block", false, []string{"f2 48 cd c9 c9 07 00"}, []string{"Hello"}},
	{"7.2.3.2 shared window", true, []string{"f2 48 cd c9 c9 07 00", "f2 00 11 00 00"}, []string{"Hello", "Hello"}},
	{"7.2.3.2 same window again", true, []string{"f2 48 cd c9 c9 07 00", "f2 48 cd c9 c9 07 00"}, []string{"Hello", "Hello"}},
	{"7.2.3.3 stored block", false, []string{"00 05 00 fa ff 48 65 6c 6c 6f 00"}, []string{"Hello"}},
	{"7.2.3.4 BFINAL", false, []string{"f3 48 cd c9 c9 07 00 00"}, []string{"Hello"}},
	{"7.2.3.5 two blocks", false, []string{"f2 48 05 00 00 00 ff ff ca c9 c9 07 00"}, []string{"Hello"}},
	{"7.2.3.6 empty message", false, []string{"00", "02 00"}, []string{"", ""}},
}

func TestP67VectorsOfRFC7692(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			f := NewInflater(15, v.takeover)
			for i, m := range v.messages {
				got, err := inflateAll(f, unhex(t, m))
				require.NoError(t, err)
				assert.Equal(t, v.want[i], string(got))
			}
		})
	}
}

// The first vector of RFC 7692 §7.2.3.1, in the fragments shown there.
func TestP67FragmentedMessage(t *testing.T) {
	f := NewInflater(15, false)
	out, n, err := f.Inflate(nil, unhex(t, "f2 48 cd"), 100)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	out, n, done, err := f.Finish(out, unhex(t, "c9 c9 07 00"), 100)
	require.NoError(t, err)
	assert.True(t, done)
	assert.Equal(t, 4, n)
	assert.Equal(t, "Hello", string(out))
}

func TestP71BlocksAfterBFINAL(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"finished stream", "f3 48 cd c9 c9 07 00 00", "Hello"},
		{"finished stream, then a block", "f3 48 cd c9 c9 07 00" + "0a cf 2f ca 49 01 00", "HelloWorld"},
		{"finished stored block, then a block", "01 05 00 fa ff 48 65 6c 6c 6f" + "0a cf 2f ca 49 01 00", "HelloWorld"},
		{"two finished streams", "f3 48 cd c9 c9 07 00" + "f3 48 cd c9 c9 07 00" + "00", "HelloHello"},
		{"reference over the border", "f3 48 cd c9 c9 07 00" + "02 13 00 00", "HelloHello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := inflateAll(NewInflater(15, false), unhex(t, c.message))
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestPMD04CorruptDataIsAnError(t *testing.T) {
	const fixed = "0 10 " // BFINAL 0, BTYPE 01 with its low bit first
	const letterA = "10010001 "
	for _, c := range []struct {
		name    string
		message []byte
		want    DataError
	}{
		{"reserved block type", unhex(t, "06"), errBlockType},
		{"garbage after BFINAL", unhex(t, "f3 48 cd c9 c9 07 00 ff"), errBlockType},
		{"stored length does not match", unhex(t, "00 05 00 fa fe 48 65 6c 6c 6f 00"), errStoredLen},
		{"sync tail was left in", unhex(t, "f2 48 cd c9 c9 07 00 00 00 ff ff"), errUnfinished},
		{"last block's header is missing", unhex(t, "01 05 00 fa ff 48 65 6c 6c 6f"), errUnfinished},
		{"finished stream without a tail", unhex(t, "f3 48 cd c9 c9 07 00"), errUnfinished},
		{"cut in a stored block where the tail fits", unhex(t, "00 09 00 f6 ff 48 65 6c 6c 6f"), errUnfinished},
		{"cut in a stored block's length", unhex(t, "00 09 00"), errUnfinished},
		{"cut in a symbol", unhex(t, "f2 48 cd"), errUnfinished},
		{"literal/length 286", pack(fixed, "11000110", "00000"), errSymbol},
		{"literal/length 287", pack(fixed, "11000111", "00000"), errSymbol},
		{"distance 30", pack(fixed, letterA, "0000001", "11110"), errSymbol},
		{"distance 31", pack(fixed, letterA, "0000001", "11111"), errSymbol},
		{"distance 30, input left", append(pack(fixed, letterA, "0000001", "11110"), make([]byte, 20)...), errSymbol},
		{"reference before the first byte", pack(fixed, "0000001", "00000"), errDistance},
		{"reference before what is known", pack(fixed, letterA, "0000001", "00001"), errDistance},
		{"287 literal/length codes", pack("0 01", "01111", "00000", "0000"), errCounts},
		{"31 distance codes", pack("0 01", "00000", "01111", "0000"), errCounts},
		{"no code length code", pack("0 01", "00000", "00000", "0000", "000000000000", "1"), errSymbol},
		{"over-subscribed code length code", pack("0 01", "00000", "00000", "0000", "100 100 100 000"), errCode},
		{"incomplete code length code", pack("0 01", "00000", "00000", "0000", "010 010 010 000"), errCode},
		{"repeat without a length", pack("0 01", "00000", "00000", "0000", "100 000 100 000", "0 00"), errRepeat},
		{"zeros past the end", pack("0 01", "00000", "00000", "0000", "000 100 100 000", "1 1111111", "1 1111111"), errRepeat},
		{"no code for the end", pack("0 01", "00000", "00000", "0000", "000 100 100 000", "1 1111111", "1 1011011"), errNoEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, takeover := range []bool{false, true} {
				f := NewInflater(15, takeover)
				_, err := inflateAll(f, c.message)
				require.ErrorIs(t, err, c.want)
				require.EqualError(t, err, "permessage-deflate: "+string(c.want))
				_, _, err = f.Inflate(nil, unhex(t, "00"), 1)
				require.ErrorIs(t, err, c.want, "an error stays")
				_, _, done, err := f.Finish(nil, nil, 1)
				require.ErrorIs(t, err, c.want, "an error stays")
				require.False(t, done)
				assert.Nil(t, f.decoder)
				assert.Nil(t, f.window)
				f.Release()
				got, err := inflateAll(f, unhex(t, "f2 48 cd c9 c9 07 00"))
				require.NoError(t, err, "released is as new")
				require.Equal(t, "Hello", string(got))
			}
		})
	}
}

// Every prefix of a message is unfinished: no truncated message is ever whole,
// unless the cut leaves a shorter whole message.
func TestPMD04EveryTruncationIsAnError(t *testing.T) {
	for _, level := range []int{1, 5, 9} {
		whole := deflateMessage(t, mixedData(3000, rand.New(rand.NewPCG(4, 4))), level, 15)
		for n := 1; n < len(whole); n++ {
			_, err := inflateAll(NewInflater(15, false), whole[:n])
			require.ErrorIs(t, err, errUnfinished, "%d octets", n)
		}
	}
}

// The incomplete codes that zlib and compress/flate accept: a single code of
// one bit, and no distance code in a block that has no match.
func TestSingleCodesAreAccepted(t *testing.T) {
	lit := make([]int, 258)
	lit['a'], lit[endOfBlock], lit[257] = 1, 2, 2 // 0, 10, 11
	onlyEnd := make([]int, 257)
	onlyEnd[endOfBlock] = 1
	for _, c := range []struct {
		name      string
		lit, dist []int
		data      string
		want      string
		err       error
	}{
		{"single distance", lit, []int{1}, "0 11 0 11 0 10", "aaaaaaa", nil},
		{"single distance, not the first", lit, []int{0, 1}, "0 0 11 0 10", "aaaaa", nil},
		{"single distance, other bit", lit, []int{1}, "0 11 1", "a", errSymbol},
		{"no distance", lit, []int{0}, "0 0 10", "aa", nil},
		{"no distance, but a match", lit, []int{0}, "0 11 0", "a", errSymbol},
		{"only an end", onlyEnd, []int{0}, "0", "", nil},
		{"only an end, other bit", onlyEnd, []int{0}, "1", "", errSymbol},
		{"single distance of two bits", lit, []int{2}, "", "", errCode},
		{"two distances of two bits", lit, []int{2, 2}, "", "", errCode},
		{"three distances of one bit", lit, []int{1, 1, 1}, "", "", errCode},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := pack(dynamicHeader(c.lit, c.dist), c.data, "000")
			got, err := inflateAll(NewInflater(15, false), message)
			require.Equal(t, c.err, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestPMD05EmptyMessages(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		f := NewInflater(15, takeover)
		for _, m := range []string{"", "00", "", "", "02 00", "00 00 00 ff ff 00", "01 00 00 ff ff 00"} {
			out, n, done, err := f.Finish([]byte("x"), unhex(t, m), 0)
			require.NoError(t, err, m)
			assert.True(t, done, m)
			assert.Equal(t, len(unhex(t, m)), n, m)
			assert.Equal(t, "x", string(out), m)
		}
		assert.Nil(t, f.decoder)
		assert.Nil(t, f.window)
	}
}

// bomb returns a message that inflates to more than 256 MiB: with two bits, a
// match of 258 bytes with the distance 1 is as short as it can be.
func bomb() []byte {
	lit := make([]int, maxLit)
	lit[0], lit[endOfBlock], lit[285] = 2, 2, 1 // 10, 11, 0
	const matches = 256<<20/258 + 1
	return pack(dynamicHeader(lit, []int{1}), "10", strings.Repeat("00", matches), "11", "000")
}

func TestPMD01BombStopsAtTheLimit(t *testing.T) {
	const limit = 1 << 20
	c := bomb()
	require.InDelta(t, 260_000, len(c), 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := NewInflater(15, false)
	out, n, done, err := f.Finish(nil, c, limit)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.False(t, done)
	assert.Len(t, out, limit)
	assert.Less(t, n, len(c)/200, "input beyond the limit was looked at")
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))

	again, m, done, err := f.Finish(nil, c[n:], 0)
	require.NoError(t, err)
	assert.False(t, done)
	assert.Zero(t, m)
	assert.Empty(t, again)
	f.Release()
}

func TestPMD02BombInManyFragments(t *testing.T) {
	const limit = 1 << 20
	c := bomb()
	f := NewInflater(15, false)
	var out []byte
	piece := len(c) / 10_000
	for i := 0; ; i += piece {
		require.Less(t, i, len(c))
		var n int
		var err error
		out, n, err = f.Inflate(out, c[i:i+piece], limit-len(out))
		require.NoError(t, err)
		if n < piece {
			break
		}
	}
	assert.Len(t, out, limit)
	assert.LessOrEqual(t, cap(out), limit+limit/4)
}

// Blocks without data cost what they take on the wire and nothing else.
func TestPMD06EmptyBlocksYieldNothing(t *testing.T) {
	onlyEnd := make([]int, 257)
	onlyEnd[endOfBlock] = 1
	for _, c := range [][]byte{
		bytes.Repeat(unhex(t, "00 00 00 ff ff"), 100_000),
		bytes.Repeat(unhex(t, "02 00 00 00 ff ff"), 100_000),
		pack(strings.Repeat(dynamicHeader(onlyEnd, []int{0})+"0", 1000)),
	} {
		f := NewInflater(15, false)
		allocs := testing.AllocsPerRun(1, func() {
			out, n, err := f.Inflate(nil, c, 1<<20)
			require.NoError(t, err)
			require.Equal(t, len(c), n)
			require.Empty(t, out)
		})
		f.Release()
		assert.LessOrEqual(t, allocs, 4.0)
	}
}

func TestPMD08ContextTakeoverThatWasNotAgreed(t *testing.T) {
	f := NewInflater(15, false)
	got, err := inflateAll(f, unhex(t, "f2 48 cd c9 c9 07 00"))
	require.NoError(t, err)
	require.Equal(t, "Hello", string(got))
	got, err = inflateAll(f, unhex(t, "f2 00 11 00 00")) // RFC 7692 §7.2.3.2
	require.ErrorIs(t, err, errDistance)
	assert.Equal(t, "H", string(got), "nothing of the first message may show")

	// The same where the window of the first message was kept for its own sake.
	f = NewInflater(15, false)
	_, err = inflateInPieces(f, deflateMessage(t, jsonText(5000, 1), 1, 15),
		func(int) int { return 7 }, func(int) int { return 50 })
	require.NoError(t, err)
	_, err = inflateAll(f, unhex(t, "f2 00 11 00 00"))
	require.ErrorIs(t, err, errDistance)
}

// distanceMessage returns a message of dist bytes and a copy of three from dist
// bytes before.
func distanceMessage(dist int) (message, want []byte) {
	data := mixedData(dist, rand.New(rand.NewPCG(9, 9)))
	message = append(message, 0, byte(dist), byte(dist>>8), byte(^dist), byte(^dist>>8))
	message = append(message, data...)
	symbol, extra := 0, 0
	base := 1
	for dist >= base+1<<extra {
		base += 1 << extra
		symbol++
		extra = max(0, symbol/2-1)
	}
	code := fmt.Sprintf("%05b", symbol) + lowFirst(dist-base, extra)
	message = append(message, pack("0 10", "0000001", code, "0000000", "000")...)
	return message, append(data, data[:3]...)
}

func TestPMD09DistancesAreHeldAgainstTheWindow(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			for _, piece := range []int{math.MaxInt, 100} {
				in := func(int) int { return piece }
				message, want := distanceMessage(1 << bits)
				f := NewInflater(bits, takeover)
				got, err := inflateInPieces(f, message, in, in)
				require.NoError(t, err, "%d bits", bits)
				assert.True(t, bytes.Equal(want, got), "%d bits", bits)
				f.Release()

				if bits == maxWindowBits {
					continue // no larger distance can be said
				}
				message, want = distanceMessage(1<<bits + 1)
				got, err = inflateInPieces(f, message, in, in)
				require.ErrorIs(t, err, errDistance, "%d bits", bits)
				assert.True(t, bytes.Equal(want[:len(want)-3], got), "%d bits", bits)
			}
		}
	}
}

func TestLimitIsExact(t *testing.T) {
	plain := mixedData(20_000, rand.New(rand.NewPCG(5, 6)))
	c := deflateMessage(t, plain, 6, 15)
	for limit := range 600 {
		f := NewInflater(15, false)
		out, n, done, err := f.Finish(nil, c, limit)
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, plain[:limit], append([]byte{}, out...))
		out, _, done, err = f.Finish(out, c[n:], len(plain)-limit)
		require.NoError(t, err)
		require.True(t, done, "the limit is just what is needed")
		require.Equal(t, plain, out)
	}
	for _, limit := range []int{math.MaxInt, -1} {
		out, _, done, err := NewInflater(15, false).Finish([]byte("x"), c, limit)
		require.NoError(t, err)
		assert.Equal(t, limit > 0, done)
		assert.Equal(t, limit > 0, len(out) == 1+len(plain))
	}
}

// Of the input no octet is taken that the output up to the limit does not need.
func TestInputBeyondTheLimitIsLeft(t *testing.T) {
	plain := jsonText(2000, 1)
	c := deflateMessage(t, plain, 6, 15)
	for limit := 1; limit < len(plain); limit++ {
		_, n, err := NewInflater(15, false).Inflate(nil, c, limit)
		require.NoError(t, err)
		out, _, err := NewInflater(15, false).Inflate(nil, c[:n], len(plain))
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(out), limit)
		out, _, err = NewInflater(15, false).Inflate(nil, c[:n-1], len(plain))
		require.NoError(t, err)
		require.Less(t, len(out), limit)
	}
}

// Room that the caller has is used, and what lies behind the limit is left
// alone.
func TestCallersCapacity(t *testing.T) {
	plain := jsonText(3000, 3)
	c := deflateMessage(t, plain, 1, 15)
	buf := bytes.Repeat([]byte{0xee}, 4096)
	out, _, done, err := NewInflater(15, false).Finish(buf[:10], c, 3000)
	require.NoError(t, err)
	require.True(t, done)
	assert.Same(t, &buf[0], &out[0])
	assert.Equal(t, plain, out[10:])
	assert.Equal(t, bytes.Repeat([]byte{0xee}, 10), buf[:10])
	assert.Equal(t, bytes.Repeat([]byte{0xee}, 4096-3010), buf[3010:])

	out, _, done, err = NewInflater(15, false).Finish(make([]byte, 0, 3000), c, math.MaxInt)
	require.NoError(t, err)
	require.True(t, done)
	assert.Equal(t, 3000, cap(out), "grown without need")
}

// pieces returns functions that cut a message in one of several ways.
func pieces(r *rand.Rand) func(int) int {
	switch most := 1 << r.IntN(14); r.IntN(4) {
	case 0:
		return func(int) int { return 1 }
	case 1:
		return func(int) int { return math.MaxInt }
	default:
		return func(int) int { return r.IntN(most + 1) }
	}
}

// Any cut of the input and any sequence of limits gives the same bytes and the
// same error.
func TestSplitInvariance(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	rounds := 400
	if raceEnabled {
		rounds = 60
	}
	for i := range rounds {
		plain := mixedData(r.IntN(1<<r.IntN(17)), r)
		bits := minWindowBits + r.IntN(8)
		c := deflateMessage(t, plain, 1+i%9, bits)
		if i%2 == 1 { // spoil it
			c[r.IntN(len(c))] ^= 1 << r.IntN(8)
		}
		f := NewInflater(bits, i%4 < 2)
		want, wantErr := inflateAll(f, c)
		if i%2 == 0 {
			require.NoError(t, wantErr)
			require.True(t, bytes.Equal(plain, want))
		}
		for range 3 {
			f.Release()
			cut, room := pieces(r), pieces(r)
			got, err := inflateInPieces(f, c, cut, room)
			require.Equal(t, wantErr, err)
			require.True(t, bytes.Equal(want, got))
		}
	}
}

// Blocks of all kinds in any order, with codes of every length: input that was
// loaded for a symbol turns out to be another block's, matches are as long in
// bits as they can be.
func TestBlocksOfAllKinds(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	rounds := 400
	if raceEnabled {
		rounds = 20
	}
	for range rounds {
		message, want := mixedBlocks(1+r.IntN(10), r)
		wantAgreement(t, message)
		for range 5 {
			got, err := inflateInPieces(NewInflater(15, false), message, pieces(r), pieces(r))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		}
	}
}

// A match takes up to 48 bits: 15 of each code, 5 and 13 extra ones.
func TestMatchesOf48Bits(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	lit, dist := make([]int, maxLit), make([]int, maxDist)
	for n := 1; n <= 13; n++ {
		lit['a'+n], dist[n] = n, n
	}
	lit[endOfBlock], lit[283], lit[284] = 14, 15, 15
	dist[14], dist[28], dist[29] = 14, 15, 15
	litCodes, distCodes := canonicalCode(lit), canonicalCode(dist)
	for range 12 {
		w := &blockWriter{r: r}
		w.stored(mixedData(32_768, r))
		w.write(dynamicHeader(lit, dist))
		for range 200 {
			for range r.IntN(5) {
				letter := 'a' + 1 + r.IntN(13)
				w.write(litCodes[letter])
				w.want = append(w.want, byte(letter))
			}
			length, lengthBits := valueOf(284-257, 3, 4, r)
			distance, distanceBits := valueOf(29, 1, 2, r)
			w.write(litCodes[284] + lengthBits + distCodes[29] + distanceBits)
			for range length {
				w.want = append(w.want, w.want[len(w.want)-distance])
			}
		}
		w.write(litCodes[endOfBlock] + "000")
		message := pack(string(w.bits))
		for _, cut := range []func(int) int{pieces(r), func(int) int { return math.MaxInt }} {
			got, err := inflateInPieces(NewInflater(15, false), message, cut, pieces(r))
			require.NoError(t, err)
			require.True(t, bytes.Equal(w.want, got))
		}
	}
}

// A message that one call inflates leaves no trace without takeover, and with
// it no more than its window, which is no larger than it needs to be.
func TestPMD10WhatIsHeldBetweenMessages(t *testing.T) {
	small, large := deflateMessage(t, jsonText(1000, 1), 1, 15), deflateMessage(t, jsonText(100_000, 1), 1, 15)
	f := NewInflater(15, false)
	for _, c := range [][]byte{small, large} {
		_, _, err := f.Inflate(nil, c[:len(c)/2], 1<<20)
		require.NoError(t, err)
		require.NotNil(t, f.decoder)
		require.NotNil(t, f.window, "what the first half made may be referred to")
		_, _, done, err := f.Finish(nil, c[len(c)/2:], 1<<20)
		require.NoError(t, err)
		require.True(t, done)
		assert.Equal(t, Inflater{windowBits: 15}, *f)
	}

	f = NewInflater(15, true)
	for _, size := range []int{2048, 1 << 15} {
		_, err := inflateAll(f, small)
		require.NoError(t, err)
		assert.Nil(t, f.decoder)
		assert.Len(t, f.window.buf, size)
		_, err = inflateAll(f, large)
		require.NoError(t, err)
		assert.Len(t, f.window.buf, 1<<15)
	}
	f.Release()
	assert.Equal(t, Inflater{windowBits: 15, takeover: true}, *f)
}

func TestPMD10IdleSocketsHoldNothing(t *testing.T) {
	const sockets = 100_000
	message := deflateMessage(t, jsonText(1000, 1), 1, 15)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold outlives one collection
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	type pair struct {
		*Inflater
		*Deflater
	}
	all := make([]pair, sockets)
	buf, buf2 := make([]byte, 0, 2000), make([]byte, 0, 2000)
	before := heap()
	for i := range all {
		all[i] = pair{NewInflater(15, false), NewDeflater(1, 15, false)}
		if i%500 == 0 { // it has been used
			out, _, done, err := all[i].Finish(buf, message, 2000)
			require.NoError(t, err)
			require.True(t, done)
			_, err = all[i].Append(buf2, out, true)
			require.NoError(t, err)
		}
	}
	after := heap()
	assert.Less(t, (after-min(after, before))/sockets, uint64(100), "bytes for each pair")
	runtime.KeepAlive(all)
}
