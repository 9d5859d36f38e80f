package deflate

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A tableSizer finds the largest table that any complete code needs, by trying
// every number of codes of every length.
type tableSizer struct {
	root int
	memo map[[4]int]int
}

// largest returns the most entries in linked tables that codes of n bits and
// more can take, and -1 if there is no complete code. open code words of n bits
// are not given out yet, symbols is how many there are for them, and the linked
// table that has been begun has unfilled code words of n bits left.
func (t *tableSizer) largest(n, open, symbols, unfilled int) int {
	if open > symbols {
		return -1
	}
	if open == 0 {
		return 0
	}
	key := [4]int{n, open, symbols, unfilled}
	if v, ok := t.memo[key]; ok {
		return v
	}
	best := -1
	for used := 0; used <= open; used++ {
		if n == 15 {
			used = open
		}
		entries, rest := 0, unfilled
		if n > t.root {
			entries, rest = t.fill(n, used, unfilled)
		}
		if more := t.largest(n+1, 2*(open-used), symbols-used, 2*rest); more >= 0 {
			best = max(best, entries+more)
		}
	}
	t.memo[key] = best
	return best
}

// fill gives out used code words of n bits, and returns the size of the linked
// tables that became full by it and what is left to fill of the last one.
func (t *tableSizer) fill(n, used, unfilled int) (entries, rest int) {
	size := 1 << (n - t.root)
	if unfilled > 0 {
		if used < unfilled {
			return 0, unfilled - used
		}
		used -= unfilled
		entries = size
	}
	entries += used / size * size
	if used%size != 0 {
		rest = size - used%size
	}
	return entries, rest
}

func TestTableRoomIsEnough(t *testing.T) {
	if raceEnabled {
		t.Skip("arithmetic, and slow")
	}
	for _, c := range []struct {
		name                string
		symbols, root, room int
	}{
		{"literals and lengths", 288, litRoot, litRoom},
		{"distances", 32, distRoot, distRoom},
		{"code lengths", numCodeLens, codeLenRoot, codeLenRoom},
	} {
		s := tableSizer{root: c.root, memo: map[[4]int]int{}}
		linked := s.largest(1, 2, c.symbols, 0)
		if c.root == codeLenRoot {
			linked = 0 // its codes are not longer
		}
		assert.Equal(t, c.room, 1<<c.root+linked, c.name)
	}
}

// randomCode returns the code lengths of a complete code of n symbols among
// size, some of them long.
func randomCode(r *rand.Rand, n, size, longest int) []int {
	leaves := []int{1, 1}
	deep := r.IntN(2) == 0
	for len(leaves) < n {
		i := r.IntN(len(leaves))
		if deep && r.IntN(4) > 0 {
			i = len(leaves) - 1
		}
		if leaves[i] < longest {
			leaves[i]++
			leaves = append(leaves, leaves[i])
		}
	}
	lengths := make([]int, size)
	for i, s := range r.Perm(size)[:n] {
		lengths[s] = leaves[i]
	}
	return lengths
}

// Every code word, followed by any bits, leads to its symbol.
func TestBuildTableFindsEverySymbol(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for _, c := range []struct {
			root, room, longest int
			symbols             []uint32
		}{
			{litRoot, litRoom, 15, litSymbols[:]},
			{distRoot, distRoom, 15, distSymbols[:]},
			{codeLenRoot, codeLenRoom, 7, codeLenSymbols[:]},
		} {
			lengths := randomCode(r, 2+r.IntN(len(c.symbols)-1), len(c.symbols), c.longest)
			var packed []codeLen
			for i, n := range lengths {
				if n > 0 {
					packed = append(packed, makeCodeLen(100+i, n))
				}
			}
			table := make([]uint32, c.room)
			require.True(t, buildTable(table, c.root, packed, c.symbols, 100))
			for i, code := range canonicalCode(lengths) {
				if code == "" {
					continue
				}
				bits := uint32(0)
				for j := range code {
					bits |= uint32(code[j]-'0') << j
				}
				bits |= r.Uint32() << len(code)
				e := table[bits&(1<<c.root-1)]
				if e&entryLink != 0 {
					e = table[e>>16+bits>>c.root&(1<<(e>>8&15)-1)]
				}
				require.Equal(t, c.symbols[i]+uint32(len(code))*codeBit, e, "symbol %d of %v", i, lengths)
			}
		}
	}
}
