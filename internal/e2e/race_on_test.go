//go:build race

package e2e

// raceEnabled says that the race detector is at work: everything is slow, and
// pools drop what they like.
const raceEnabled = true
