//go:build !linux

package child

// OnProcessor has the processes that the calling goroutine starts run on one
// processor, until release is called, where the system allows that. This one does not.
func OnProcessor(int) (release func()) { return func() {} }
