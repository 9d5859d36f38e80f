package child

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOneProcessor has the processes that the calling goroutine starts run on one
// processor and on no other, always the same, until release is called. Where the
// system does not allow that it does nothing.
func OnOneProcessor() (release func()) {
	var may, one unix.CPUSet
	runtime.LockOSThread() // a process inherits the processors of the thread that starts it
	if unix.SchedGetaffinity(0, &may) != nil || may.Count() == 0 {
		return runtime.UnlockOSThread
	}
	first := 0
	for !may.IsSet(first) {
		first++
	}
	one.Set(first)
	if unix.SchedSetaffinity(0, &one) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.SchedSetaffinity(0, &may) == nil { // else the thread ends with its goroutine
			runtime.UnlockOSThread()
		}
	}
}
