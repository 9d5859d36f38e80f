//go:build amd64 || arm64

package sockets

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A Scope stays as long as its socket does.
func TestScopeKeepsItsSize(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Scope{}), uintptr(64))
}
