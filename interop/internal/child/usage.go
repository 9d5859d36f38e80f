package child

import (
	"os"
	"strconv"
	"strings"
)

// Resident returns the bytes of this process's memory that are resident, 0 where
// the system does not tell.
func Resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
