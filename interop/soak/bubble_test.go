package soak

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// SK-03: episodes in memory, on a virtual clock, with the limits that hold by
// default: minutes of stalls pass at once, and a goroutine that stays, or waits
// for what will never happen, is found by the bubble.
func TestSK03EpisodesOnAVirtualClock(t *testing.T) {
	seeds, single := settings(t)
	var total tally
	for n := range virtualEpisodes {
		seed := seeds[n%len(seeds)]
		if single >= 0 {
			n = single
		}
		synctest.Test(t, func(t *testing.T) {
			w := startVirtual()
			play(t, w, seed, n, 2*time.Minute, &total)
			time.Sleep(time.Minute) // for closing handshakes and drains, which nobody waits for
			running := w.handlers.Load()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			unclean, err := w.stop(ctx)
			if !t.Failed() {
				require.Zero(t, running, "handlers that episode %d has left running", n)
				require.NoError(t, errors.Join(unclean, err), "episode %d has left something open", n)
			}
		})
		if t.Failed() {
			break
		}
	}
	t.Log(&total)
}

// virtualEpisodes is how many there are, each with servers of its own.
const virtualEpisodes = 100
