package h2connect

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A connection on which little happens holds a small read buffer: it gets the large
// one when a read has filled it, and gives it back when it has no use for it.
func TestReadBufferIsSmallWhileLittleHappens(t *testing.T) {
	var in input
	in.init(nil)
	in.fit(idleBuffer - 1)
	assert.Len(t, in.buf, idleBuffer)
	in.fit(idleBuffer)
	assert.Len(t, in.buf, readBuffer)
	for range idleReads - 1 {
		in.fit(1)
	}
	assert.Len(t, in.buf, readBuffer, "it may have been a pause")
	in.fit(idleBuffer + 1)
	for range idleReads - 1 {
		in.fit(idleBuffer)
	}
	assert.Len(t, in.buf, readBuffer, "there was use for it in between")
	in.fit(idleBuffer)
	assert.Len(t, in.buf, idleBuffer)
}
