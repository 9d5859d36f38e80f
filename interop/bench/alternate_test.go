package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A download that a socket takes a tenth of keeps nine tenths, however its speed
// changes from slice to slice, and although one slice was disturbed.
func TestKeptIsWhatSlicesKeepOfThoseNextToThem(t *testing.T) {
	without := []float64{1000, 1400, 1800, 1400, 1000, 600}
	with := []float64{1080, 1440, 1440, 1080, 720}
	assert.InDelta(t, 0.9, keptOf(with, without), 1e-9)
	with[3] = 10
	assert.InDelta(t, 0.9, keptOf(with, without), 1e-9)
}

func TestSpeedIsOfAllSlicesTogether(t *testing.T) {
	var s speeds
	s.add(100, time.Second)
	s.add(100, 3*time.Second)
	assert.InDelta(t, 50, s.overall(), 1e-9)
	assert.InDeltaSlice(t, []float64{100, 33.3}, s.each, 0.1)
}

func TestResultsFromBeforeThereWasKeptAreReadAsTheyWere(t *testing.T) {
	var old figures
	require.NoError(t, json.Unmarshal([]byte(`{"Bulk": 90, "Alone": 100, "Count": 1}`), &old))
	assert.InDelta(t, 0.9, kept.of(old), 1e-9)
	assert.InDelta(t, 0.8, kept.of(figures{Bulk: 90, Alone: 100, Kept: 0.8}), 1e-9)
	assert.Zero(t, kept.of(figures{Bulk: 90}), "not measured")
}

// A shaped is a client whose download loses a fifth while there is a socket, and whose
// answers take a while, by the clock of the bubble that it is in.
type shaped struct {
	opened, ended int
	bytes         atomic.Int64 // each millisecond
	standstill    bool         // with a socket it loses all
}

const shapedTrip = 7 * time.Millisecond

func (c *shaped) download(ctx context.Context, loaded *atomic.Int64) error {
	c.bytes.Store(1000)
	go func() { // ends with ctx
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				loaded.Add(c.bytes.Load())
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

func (c *shaped) fetch(context.Context) (io.ReadCloser, error) { return nil, errNoDownloads }

func (c *shaped) open(_ context.Context, n, _ int, got received) ([]socket, error) {
	if c.opened != c.ended {
		return nil, errors.New("there are sockets still")
	}
	sockets := make([]socket, n)
	for k := range sockets {
		i := c.opened
		c.opened++
		sockets[k] = &shapedSocket{c, func(p []byte) { got(i, p, true) }}
	}
	c.bytes.Store(800)
	if c.standstill {
		c.bytes.Store(0)
	}
	return sockets, nil
}

type shapedSocket struct {
	c   *shaped
	got func(p []byte)
}

func (s *shapedSocket) send(p []byte) error {
	time.AfterFunc(shapedTrip, func() { s.got(p) })
	return nil
}

func (s *shapedSocket) end() error {
	s.c.ended++
	s.c.bytes.Store(1000)
	return nil
}

func TestSocketsComeAndGoWithTheirSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(shaped)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		l := load{Kind: echoing, Size: 64, Sockets: 2, Rate: 200, Bulk: 1, Reading: atOnce, Time: 500 * time.Millisecond}
		var marks []string
		f, err := l.run(ctx, c, func(name string) error { marks = append(marks, name); return nil })
		require.NoError(t, err)
		assert.Equal(t, 2*l.slices(), c.opened)
		assert.Equal(t, c.opened, c.ended)
		assert.Equal(t, []string{markBegin, markEnd}, marks)
		assert.InDelta(t, 0.8, f.Kept, 0.03)
		assert.InDelta(t, 1e6, f.Alone, 3e4, "where there is no socket at all")
		assert.InDelta(t, 0.8e6, f.Bulk, 3e4)
		assert.InDelta(t, 200, f.Messages, 25)
		assert.GreaterOrEqual(t, f.Count, 9.0*float64(l.slices()), "those of all slices, and those that their ends were waited for")
		assert.Equal(t, shapedTrip, f.P50)
		assert.Equal(t, shapedTrip, f.Max, "of answers alone")
	})
}

func TestNoRatioWithoutBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		l := load{Kind: echoing, Size: 64, Sockets: 1, Rate: 200, Bulk: 1, Reading: atOnce, Time: slice}
		_, err := l.run(ctx, &shaped{standstill: true}, func(string) error { return nil })
		require.ErrorIs(t, err, errNoBytes)
	})
}

func TestAlternationEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		l := load{Kind: echoing, Size: 64, Sockets: 1, Rate: 200, Bulk: 1, Reading: atOnce, Time: time.Hour}
		_, err := l.run(ctx, new(shaped), func(string) error { return nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestServerAndClientHaveOneProcessorEachIfTheyAreTo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are put on one processor on Linux only")
	}
	l := load{Kind: echoing, Size: 64, Sockets: 1, Rate: 200, Bulk: 1, Reading: atOnce, Time: slice, Separate: true}
	f, err := measure(t.Context(), "h2 loop", l, "")
	require.NoError(t, err)
	assert.Equal(t, 1, f.Own)
	assert.Zero(t, f.Processors)
	assert.Zero(t, f.ServerCPU, "most of it would be the download's")
	r := &report{Results: []*result{{Rounds: []figures{f}}}}
	assert.False(t, r.shared())
	page := string(r.markdown(nil))
	assert.Contains(t, page, alternating)
	assert.Contains(t, page, separate)
}
