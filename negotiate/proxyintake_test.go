package negotiate

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plenty fills every buffer.
type plenty struct{}

func (plenty) Read(p []byte) (int, error) { return len(p), nil }

// fill has in read until it borrows nothing larger.
func fill(t *testing.T, in *intake) {
	for {
		_, err := in.read(plenty{})
		require.NoError(t, err)
		if !in.fit() {
			return
		}
	}
}

func TestAnIntakeBorrowsAsItIsFilled(t *testing.T) {
	var in intake
	defer in.giveBack()
	for _, size := range []int{smallBuffer, middleBuffer, largeBuffer, largeBuffer} {
		assert.Equal(t, size > smallBuffer, in.borrowing.Load())
		p, err := in.read(plenty{})
		require.NoError(t, err)
		require.Len(t, p, size)
		assert.Equal(t, size < largeBuffer, in.fit())
	}
	in.giveBack()
	assert.False(t, in.borrowing.Load())
	assert.Zero(t, largeBorrowed.Load())
	p, err := in.read(bytes.NewReader(make([]byte, smallBuffer-1)))
	require.NoError(t, err)
	assert.Len(t, p, smallBuffer-1)
	assert.False(t, in.fit(), "there was room")
	_, err = in.read(bytes.NewReader(nil))
	assert.Equal(t, io.EOF, err)
}

// However many directions are held up with what was read for them, the large buffers
// among them are no more than largeMost, and the next one is there when one of those
// comes back.
func TestLargeBuffersAreBounded(t *testing.T) {
	intakes := make([]intake, largeMost+3)
	large := func() (n int) {
		for i := range intakes {
			if len(intakes[i].borrowed) == largeBuffer {
				n++
			}
		}
		return n
	}
	for i := range intakes {
		fill(t, &intakes[i])
	}
	assert.Equal(t, largeMost, large())
	assert.Len(t, intakes[largeMost].borrowed, middleBuffer)
	assert.EqualValues(t, largeMost, largeBorrowed.Load())
	intakes[0].giveBack()
	fill(t, &intakes[largeMost])
	assert.Len(t, intakes[largeMost].borrowed, largeBuffer)
	for i := range intakes {
		intakes[i].giveBack()
		intakes[i].giveBack() // a second time it has nothing
	}
	assert.Zero(t, large())
	assert.Zero(t, largeBorrowed.Load())
}
