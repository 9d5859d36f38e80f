//go:build amd64 || arm64

package h2connect

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// An idle socket has a stream, one whose loop waits an inlet. The bounds are size
// classes of the allocator.
func TestPartsOfAStreamKeepTheirSize(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(stream{}), uintptr(160))
	assert.LessOrEqual(t, unsafe.Sizeof(inlet{}), uintptr(128))
}
