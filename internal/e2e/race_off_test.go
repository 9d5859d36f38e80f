//go:build !race

package e2e

// raceEnabled says that the race detector is at work.
const raceEnabled = false
