package h2connect

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What refills a bucket is hard to see from outside, exactly: 33 resets a second are
// not 34.
func TestBucketsRefillAsDocumented(t *testing.T) {
	l := Limits{}.withDefaults()
	assert.Equal(t, 1000, l.ResetBurst)
	assert.Equal(t, 33, l.ResetRate)
	assert.Equal(t, 10_000, l.GlitchBurst)
	assert.Equal(t, 330, l.GlitchRate)
}
