package soak

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	wstest.Certificates() // not in a bubble, by whose clock they would have expired
	os.Exit(wstest.Main(m))
}

// workers is how many episodes run at once, and episodeTime how long one may
// take at most.
const (
	workers     = 6
	episodeTime = 3 * patience
)

// SK-03, SK-05: episodes with random networks and random ends, in rounds; after
// each round everything is as it was.
func TestSK05Soak(t *testing.T) {
	seeds, single := settings(t)
	w, err := startReal(seeds[0])
	require.NoError(t, err)
	duration := 10 * time.Second
	if s := os.Getenv("SOAK_DURATION"); s != "" {
		duration, err = time.ParseDuration(s)
		require.NoError(t, err, "SOAK_DURATION")
	}
	rounds := int(max(2, duration/(20*time.Second)))
	quiet := settled(t)
	var total tally
	var heap uint64
	for round := range rounds {
		seed := seeds[round%len(seeds)]
		playRound(t, w, seed, single, duration/time.Duration(rounds), &total)
		if t.Failed() {
			break
		}
		require.Positive(t, total.episodes.Load(), "SOAK_DURATION is too short")
		end := time.Now()
		await(t, quiet, w)
		now := liveHeap()
		if round == 0 {
			heap = now // pools and tables have their size
		}
		t.Logf("seed %d: %v; %d KiB live; quiet after %v", seed, &total, now>>10, time.Since(end).Round(time.Millisecond))
		require.LessOrEqual(t, now, heap+heap/20+heapSlack, "the heap grows")
	}
	ctx, cancel := context.WithTimeout(t.Context(), episodeTime)
	defer cancel()
	unclean, err := w.stop(ctx)
	if !t.Failed() {
		require.NoError(t, errors.Join(unclean, err), "everything has ended before")
	}
}

// C14: servers that are shut down amid episodes, at some point, end all sockets
// in a way that loses nothing, in bounded time, and leave nothing behind.
func TestC14ShutdownAmidEpisodes(t *testing.T) {
	seeds, single := settings(t)
	quiet := settled(t)
	var total tally
	for round := range shutdowns {
		seed := seeds[round%len(seeds)]
		w, err := startReal(seed)
		require.NoError(t, err)
		w.calm.Handshake = 5 * time.Second // nobody answers behind a server that has gone
		var playing sync.WaitGroup
		playing.Go(func() { playRound(t, w, seed, single, time.Minute, &total) })
		wait(t.Context(), upTo(mathrand.New(mathrand.NewPCG(seed, uint64(round))), 500*time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), episodeTime)
		unclean, err := w.stop(ctx)
		cancel()
		require.NoError(t, err)
		if unclean != nil {
			require.ErrorAs(t, unclean, new(*negotiate.ShutdownError))
		}
		playing.Wait()
		if t.Failed() {
			break
		}
		await(t, quiet, w)
	}
	t.Log(&total)
}

// shutdowns is how many servers are shut down.
const shutdowns = 6

// heapSlack is by how many bytes the heap may differ by chance.
const heapSlack = 1 << 20

// settings returns the seeds, a fixed one and a new one unless one is given, and
// the one episode to play, -1 for all.
func settings(t *testing.T) (seeds []uint64, single int) {
	var b [4]byte
	rand.Read(b[:])
	seeds, single = []uint64{1, uint64(binary.BigEndian.Uint32(b[:]))}, -1
	if s := os.Getenv("SOAK_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "SOAK_SEED")
		seeds = []uint64{seed}
	}
	if s := os.Getenv("SOAK_EPISODE"); s != "" {
		var err error
		single, err = strconv.Atoi(s)
		require.NoError(t, err, "SOAK_EPISODE")
	}
	t.Logf("SOAK_SEED=%d", seeds[len(seeds)-1])
	return seeds, single
}

// A tally counts what was played.
type tally struct{ episodes, sockets, requests, next atomic.Int64 }

func (c *tally) String() string {
	return fmt.Sprintf("%d episodes, %d sockets, %d requests", c.episodes.Load(), c.sockets.Load(), c.requests.Load())
}

// playRound plays episodes for a while, or until the servers go away.
func playRound(t *testing.T, w *world, seed uint64, single int, d time.Duration, total *tally) {
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for time.Now().Before(end) && !t.Failed() && !w.leaving.Load() {
				n := int(total.next.Add(1))
				if single >= 0 {
					n = single
				}
				play(t, w, seed, n, episodeTime, total)
			}
		})
	}
	all.Wait()
}

// play plays one episode, which has to end within limit.
func play(t *testing.T, w *world, seed uint64, number int, limit time.Duration, total *tally) {
	ep := draw(seed, number, w.scope)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	wrong := w.run(ctx, ep)
	total.episodes.Add(1)
	total.sockets.Add(int64(len(ep.sockets)))
	total.requests.Add(int64(len(ep.requests)))
	if len(wrong) > 0 {
		t.Errorf("SOAK_SEED=%d SOAK_EPISODE=%d (%v, TLS %t, %v, %d sockets)\n\t%s",
			seed, number, ep.bootstrap, ep.secure, ep.weather, len(ep.sockets), strings.Join(wrong, "\n\t"))
	}
}

// resources are what must not grow.
type resources struct{ goroutines, files int }

// settled returns the resources in use once they have not changed for a while.
func settled(t *testing.T) resources {
	var last resources
	since := time.Now()
	require.Eventually(t, func() bool {
		now := inUse(t)
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	}, episodeTime, 10*time.Millisecond)
	return last
}

// inUse returns the resources in use, but for the caller's goroutine, which is
// one that waits for something to be true eventually.
func inUse(t *testing.T) resources { return resources{runtime.NumGoroutine() - 1, openFiles(t)} }

// await waits until no more resources are in use than in want, no handler runs,
// and nobody waits for one, and returns what is in use.
func await(t *testing.T, want resources, w *world) resources {
	t.Helper()
	var got resources
	require.Eventually(t, func() bool {
		got = inUse(t)
		w.mu.Lock()
		defer w.mu.Unlock()
		return got.goroutines <= want.goroutines && got.files <= want.files && w.handlers.Load() == 0 && len(w.meetings) == 0
	}, episodeTime, 20*time.Millisecond, "in use: %+v, before: %+v", &got, want)
	return got
}

// openFiles returns the number of open file descriptors, 0 where it is not to be
// had.
func openFiles(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// liveHeap returns the bytes in use after the collector and the pools have let
// go.
func liveHeap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
