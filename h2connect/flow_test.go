package h2connect

import (
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is the send windows computed the slow way: each stream's own number,
// all of them moved when the initial size moves (RFC 9113 §6.9.2).
type model struct {
	initial int64
	windows []int64
}

func (m *model) set(initial uint32) bool {
	fits := true
	for i := range m.windows {
		m.windows[i] += int64(initial) - m.initial
		fits = fits && m.windows[i] <= maxWindow
	}
	m.initial = int64(initial)
	return fits
}

func TestSendWindowsAgreeWithTheSlowWay(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		base := outbase{initial: protocolWindow}
		deltas := make([]outdelta, 5)
		m := model{initial: protocolWindow, windows: slices.Repeat([]int64{protocolWindow}, 5)}
		for range 200 {
			i := r.IntN(len(deltas))
			switch r.IntN(3) {
			case 0:
				inc := 1 + r.Uint32N(1<<31-1)>>r.IntN(31)
				want := m.windows[i]+int64(inc) <= maxWindow
				require.Equal(t, want, base.add(&deltas[i], inc), "overflow, and only overflow, is refused")
				if want {
					m.windows[i] += int64(inc)
				}
			case 1:
				if w := base.window(deltas[i]); w > 0 {
					n := 1 + r.Int64N(min(w, 1<<20))
					deltas[i] -= outdelta(n)
					m.windows[i] -= n
				}
			case 2:
				initial := r.Uint32N(1<<31) >> r.IntN(31)
				want := m.set(initial)
				got := base.set(initial, slices.Values(deltas))
				if want {
					require.True(t, got, "no window is too large")
				}
				if !want {
					require.False(t, got, "a window is too large")
					goto next // the connection ends here
				}
			}
			for j := range deltas {
				if m.windows[j] != base.window(deltas[j]) {
					require.Equal(t, m.windows[j], base.window(deltas[j]))
				}
			}
		}
	next:
	}
}

func TestH2_16WindowMayTurnNegative(t *testing.T) {
	base := outbase{initial: 100}
	var d outdelta
	d -= 80
	require.True(t, base.set(10, slices.Values([]outdelta{d})))
	assert.EqualValues(t, -70, base.window(d))
	require.True(t, base.add(&d, 70))
	assert.EqualValues(t, 0, base.window(d))
}

// At every moment no more has been announced than was taken, nothing is lost,
// and at rest everything has come back: H2-18's invariant.
func TestH2_18ReceiveCreditReturnsExactlyOnce(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		size := int32(protocolWindow + r.IntN(1<<20))
		f := newInflow(size)
		var taken, given, announced int64
		for range 500 {
			if r.IntN(2) == 0 {
				n := r.Uint32N(20000)
				allowed := taken-announced+int64(n) <= int64(size)
				require.Equal(t, allowed, f.take(n), "the window, and only the window, decides")
				if allowed {
					taken += int64(n)
				}
				continue
			}
			if pending := taken - given; pending > 0 {
				n := 1 + r.Int64N(pending)
				given += n
				announced += int64(f.give(int(n)))
			}
			require.LessOrEqual(t, announced, given)
			require.Less(t, given-announced, int64(size)/2+1, "held back for a frame worth sending")
		}
		announced += int64(f.give(int(taken - given)))
		announced += int64(f.flush())
		require.Equal(t, taken, announced)
		require.Equal(t, size, f.avail)
	}
}

func TestReceiveWindowNeverStallsAPeerThatIsRead(t *testing.T) {
	f := newInflow(protocolWindow)
	for range 1000 {
		n := uint32(f.avail)
		require.True(t, f.take(n))
		require.NotZero(t, f.give(int(n)), "a peer with nothing left hears of its credit")
	}
}

func TestBufferIsFirstInFirstOut(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		var b buffer
		var in, out byte
		for range 500 {
			if r.IntN(2) == 0 {
				p := make([]byte, r.IntN(3000*(1+r.IntN(8))))
				for i := range p {
					p[i] = in
					in++
				}
				b.append(p)
				continue
			}
			p := make([]byte, r.IntN(4000*(1+r.IntN(8))))
			for _, x := range p[:b.read(p)] {
				if x != out {
					require.Equal(t, out, x)
				}
				out++
			}
		}
		b.free()
		require.Equal(t, buffer{}, b, "an empty buffer holds nothing")
	}
}

// A large buffer that fills in small pieces moves its bytes a few times, not
// once for every piece, and beyond the largest storage it moves none.
func TestBufferGrowsByParts(t *testing.T) {
	var b buffer
	grown, last := 0, 0
	for n := range 4 << 10 {
		b.append(make([]byte, 1<<10))
		if cap(b.data) != last {
			grown, last = grown+1, cap(b.data)
		}
		require.Equal(t, (n+1)<<10, b.len())
	}
	require.LessOrEqual(t, grown, 4)
	require.Equal(t, largestStorage, last)
	require.Equal(t, 4<<20, b.more.size+len(b.data))
	b.free()
	require.Equal(t, buffer{}, b)
}

// A window that may grow to the largest there is does so by doublings that it has room
// for, on systems with 32 bits too.
func TestWindowDoublesUpToTheLargest(t *testing.T) {
	for most, want := range map[int]int{maxWindow: 1 << 30, 100 << 10: 64 << 10, 128 << 10: 128 << 10} {
		r := receiver{keepsUp: true, err: io.EOF}
		r.init(64 << 10)
		require.Zero(t, r.widen(maxWindow, maxWindow), "for what nobody reads")
		r.err = nil
		for r.widen(most, maxWindow) > 0 {
		}
		require.Equal(t, want, r.window(), most)
	}
}
