package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// This file measures what a socket and large responses have of sharing a
// connection. How long a message waits behind a download depends on where the
// download's bytes queue, and that on what is slowest: before a client that takes
// all at once hardly anything queues, before one that does not everything does
// that the server has sent ahead. So there are clients of each kind (neutral.go),
// and every server meets the same ones. How they are measured with and without the
// socket is in alternate.go.

// kept is what a download keeps of the speed that it has without a socket.
var kept = metric{"× without socket", func(f figures) float64 {
	switch {
	case f.Kept > 0:
		return f.Kept
	case f.Alone == 0:
		return 0
	}
	return f.Bulk / f.Alone // results from before there was Kept
}, short, false}

// besideRate is how many messages the socket sends per second where it is measured
// what the downloads keep: few enough that what they lose is not the processor time
// that the messages take.
//
// That makes about a hundred messages a round, too few for a p99: on two processors
// that are both busy, whatever else runs on the machine takes one of them for some
// milliseconds several times a second, and one message in fifty meets that. So how
// long a message takes is measured of thousands, each sent when the answer to the one
// before is there.
const besideRate = 200

// besideBulk returns the cases.
func besideBulk(d time.Duration) []benchmark {
	var list []benchmark
	for _, how := range []reading{atOnce, hashing, gigabit} {
		for _, downloads := range []int{0, 1, 8} {
			beside := fmt.Sprintf("beside %s, client that %s", downloadsOf(downloads), how)
			trips := benchmark{
				name:       "a socket, 64 B, echo after echo " + beside,
				load:       load{Kind: echoing, Size: 64, Sockets: 1, Bulk: downloads, Reading: how, Time: 4 * d, Separate: true},
				contenders: []string{"h2 loop", "h2 handler", "x/net h2"}, shows: []metric{p50, p99, perSecond},
			}
			if downloads == 0 {
				list = append(list, trips)
				continue
			}
			trips.shows = append(trips.shows, download)
			trips.goals = both(h2Ours, goal{metric: p99, to: xnet, ratio: 0.2})
			keeping := benchmark{
				name: "a socket, 64 B, " + beside, load: trips.load, contenders: trips.contenders,
				shows: []metric{p50, p99, download, kept},
				goals: both(h2Ours, goal{metric: kept, ratio: 0.95}),
			}
			keeping.load.Rate, keeping.load.Time = besideRate, 2*d
			keeping.vary(apart("h2 handler"), "h2 handler", func(l *load) { l.Apart = true })
			list = append(list, trips, keeping)
		}
	}
	for _, downloads := range []int{1, 8} {
		list = append(list, benchmark{
			name:       fmt.Sprintf("a socket, 64 B, beside endless downloads: %d", downloads),
			load:       load{Kind: echoing, Size: 64, Sockets: 1, Bulk: downloads, Time: d},
			contenders: []string{"h2 loop", "h2 handler", "x/net h2", "h3 loop", "http3"}, shows: []metric{p50, p99, download},
			goals: []goal{{"h2 handler", p99, xnet, 0.2}},
		})
	}
	return list
}

// apart is a socket on a connection of its own: what it costs the downloads by the
// work that it is, which no server can give back, and how long its messages take on
// processors that are busy with downloads, without any queue.
func apart(name string) string { return name + ", socket apart" }

func downloadsOf(n int) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "an endless download"
	}
	return fmt.Sprintf("%d endless downloads", n)
}

// A downloader is a client that reads downloads itself and counts their bytes, until
// ctx ends.
type downloader interface {
	download(ctx context.Context, loaded *atomic.Int64) error
}

// download starts the downloads, which end with ctx, and counts their bytes.
func (l load) download(ctx context.Context, c client) (*atomic.Int64, error) {
	loaded := new(atomic.Int64)
	for range l.Bulk {
		if d, ok := c.(downloader); ok {
			if err := d.download(ctx, loaded); err != nil {
				return nil, err
			}
			continue
		}
		body, err := c.fetch(ctx)
		if err != nil {
			return nil, err
		}
		go func() { // ends with the download
			defer body.Close()
			b := make([]byte, 64<<10)
			for {
				n, err := body.Read(b)
				if loaded.Add(int64(n)); err != nil {
					return
				}
			}
		}()
	}
	return loaded, nil
}

// pause waits for a while, less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
