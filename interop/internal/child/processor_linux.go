package child

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnProcessor has the processes that the calling goroutine starts run on one
// processor and on no other, until release is called: the nth of those there are for
// it, from 0, or one before it if there are fewer. Where the system does not allow
// that it does nothing.
func OnProcessor(n int) (release func()) {
	var may, one unix.CPUSet
	runtime.LockOSThread() // a process inherits the processors of the thread that starts it
	if unix.SchedGetaffinity(0, &may) != nil || may.Count() == 0 {
		return runtime.UnlockOSThread
	}
	at := 0
	for n %= may.Count(); ; at++ {
		if may.IsSet(at) {
			if n == 0 {
				break
			}
			n--
		}
	}
	one.Set(at)
	if unix.SchedSetaffinity(0, &one) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.SchedSetaffinity(0, &may) == nil { // else the thread ends with its goroutine
			runtime.UnlockOSThread()
		}
	}
}
