//go:build !race

package deflate

// raceEnabled says that the race detector is at work.
const raceEnabled = false
