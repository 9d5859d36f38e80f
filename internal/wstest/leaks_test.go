package wstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A goroutine that stays is reported with its stack, and only as long as it
// stays.
func TestLeakCheckNamesTheGoroutine(t *testing.T) {
	before := goroutines()
	begun, stop := make(chan struct{}), make(chan struct{})
	go leakedOnPurpose(begun, stop)
	<-begun
	left := awaitGoroutines(before, 10*time.Millisecond)
	require.Len(t, left, 1)
	assert.Contains(t, left[0], "wstest.leakedOnPurpose")
	close(stop)
	assert.Empty(t, awaitGoroutines(before, leakPatience))
}

func leakedOnPurpose(begun, stop chan struct{}) {
	close(begun)
	<-stop
}
