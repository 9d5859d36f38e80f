package autobahn

import (
	"bufio"
	"sync"
)

// A feed is what has arrived and was not looked at yet. It has no bound, so that
// an endpoint that sends while the fuzzer writes never waits for the fuzzer.
type feed struct {
	wake  chan struct{} // has a value when there is something to take
	ended chan struct{} // closed when nothing more comes

	mu    sync.Mutex
	items []arrival
}

// An arrival is a frame, or the end.
type arrival struct {
	frame received
	err   error
}

// newFeed reads the stream to its end. The goroutine that does it ends with the
// stream's input and owns the stream's Read.
func newFeed(s Stream) *feed {
	f := &feed{wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		br := bufio.NewReaderSize(s, 32<<10)
		for {
			fr, err := readFrame(br)
			f.put(arrival{fr, err})
			if err != nil {
				return
			}
		}
	}()
	return f
}

func (f *feed) put(a arrival) {
	f.mu.Lock()
	f.items = append(f.items, a)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) take() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := f.items
	f.items = nil
	return items
}
