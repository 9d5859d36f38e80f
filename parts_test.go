//go:build amd64 || arm64

package websocket

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A million idle sockets pay a megabyte for each byte of these, and the allocator
// rounds up: the bounds are its size classes. Whoever needs more of one moves
// something that few sockets need to another.
func TestPartsOfAConnKeepTheirSize(t *testing.T) {
	for name, part := range map[string]struct{ size, most uintptr }{
		"Conn":      {unsafe.Sizeof(Conn{}), 160},
		"handling":  {unsafe.Sizeof(handling{}), 48},
		"inbound":   {unsafe.Sizeof(inbound{}), 320},
		"outbound":  {unsafe.Sizeof(outbound{}), 288},
		"rarity":    {unsafe.Sizeof(rarity{}), 96},
		"interrupt": {unsafe.Sizeof(interrupt{}), 64},
	} {
		assert.LessOrEqual(t, part.size, part.most, name)
	}
}
