package carry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// errEnded is the cause of the end of a channel that was closed.
var errEnded = errors.New("the channel is closed")

// maxBatch is how many bytes go in one POST, one message if that is more.
const maxBatch = 64 << 10

// An exchange is what event streams and polls have in common: messages up go by
// POST, one at a time, and requests end with the channel.
type exchange struct {
	client  *Client
	options *Options
	ctx     context.Context // of all requests
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // the goroutines of the channel
	fail    sync.Once

	mu      sync.Mutex
	queue   [][]byte
	sending bool // a goroutine sends
}

func (c *Client) newExchange(o *Options) *exchange {
	e := &exchange{client: c, options: o}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e
}

func (e *exchange) Send(_ context.Context, p []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := context.Cause(e.ctx); err != nil {
		return err
	}
	e.queue = append(e.queue, bytes.Clone(p))
	if !e.sending {
		e.sending = true
		// The goroutine sends what is queued and ends when nothing is.
		e.running.Go(e.drain)
	}
	return nil
}

func (e *exchange) Ping(context.Context) (bool, error) { return false, nil }

// drain posts until the queue is empty.
func (e *exchange) drain() {
	for {
		e.mu.Lock()
		n, size := 0, 0
		for n < len(e.queue) && (n == 0 || size+len(e.queue[n]) < maxBatch) {
			size += len(e.queue[n])
			n++
		}
		batch := e.queue[:n]
		e.queue = e.queue[n:]
		if n == 0 {
			e.sending = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		e.client.account.up.add(size, n-1)
		if err := e.post(bytes.Join(batch, []byte{'\n'})); err != nil {
			e.lost(err)
			return
		}
	}
}

func (e *exchange) post(content []byte) error {
	at := e.client.at("/send", e.options.query())
	req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, at, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := e.client.exchange.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s for /send", resp.Status)
	}
	return err
}

// get begins a request whose response has status 200.
func (e *exchange) get(at string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(e.ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.exchange.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		resp.Body.Close()
		return nil, fmt.Errorf("%s for %s", resp.Status, req.URL.Path)
	}
	return resp, nil
}

// lost ends a channel that failed.
func (e *exchange) lost(err error) {
	e.fail.Do(func() {
		e.cancel(err)
		e.options.Ended(err)
	})
}

// end ends the channel's requests and waits for its goroutines.
func (e *exchange) end() {
	e.fail.Do(func() { e.cancel(errEnded) })
	e.running.Wait()
}
