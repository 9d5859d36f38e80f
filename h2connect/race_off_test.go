//go:build !race

package h2connect

// raceEnabled says that the race detector is at work.
const raceEnabled = false
