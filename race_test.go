package websocket_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// OP-08: every method from any goroutine at any time, on the wall's clock, for
// the race detector.
func TestOP08EverythingAtOnce(t *testing.T) {
	for name, finish := range map[string]func(c *websocket.Conn) error{
		"Close":    func(c *websocket.Conn) error { return c.Close(context.Background(), 1000, "done") },
		"CloseNow": (*websocket.Conn).CloseNow,
	} {
		t.Run(name, func(t *testing.T) {
			wstest.NoLeaks(t)
			var ended sync.WaitGroup
			ended.Add(2)
			server, client := joined(t, wstest.PipeOptions{Buffer: 256 << 10, WriteChunk: 700}, websocket.Params{
				Deflate: &websocket.DeflateParams{},
				Limits:  websocket.Limits{PingInterval: time.Millisecond, PingTimeout: time.Minute, ControlBurst: -1, CloseTimeout: 500 * time.Millisecond},
				OnEnd:   ended.Done,
			})
			m, err := websocket.NewPreparedMessage(websocket.MessageBinary, randomBytes(8, 3000))
			require.NoError(t, err)
			stop := make(chan struct{})
			var all sync.WaitGroup
			for _, c := range []*websocket.Conn{server, client} {
				calls := []func(ctx context.Context, r *rand.Rand){
					func(ctx context.Context, r *rand.Rand) { c.Read(ctx) },
					func(ctx context.Context, r *rand.Rand) {
						if _, r, err := c.Reader(ctx); err == nil {
							r.Read(make([]byte, 100))
						}
					},
					func(ctx context.Context, r *rand.Rand) { writeSomehow(t, c, r.IntN(4), randomBytes(1, r.IntN(9000))) },
					func(ctx context.Context, r *rand.Rand) { c.WritePrepared(context.Background(), m) },
					func(ctx context.Context, r *rand.Rand) { c.Ping(ctx) },
					func(ctx context.Context, r *rand.Rand) { c.SetReadLimit(int64(1<<20 + r.IntN(1<<20))); c.Stats() },
				}
				for i, call := range calls {
					for range 2 {
						all.Go(func() {
							r := rand.New(rand.NewPCG(uint64(i), 8))
							for {
								select {
								case <-stop:
									return
								default:
								}
								ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.IntN(5))*time.Millisecond)
								call(ctx, r)
								cancel()
							}
						})
					}
				}
			}
			<-time.After(300 * time.Millisecond)
			var closing sync.WaitGroup
			for _, c := range []*websocket.Conn{server, client, server, client} {
				closing.Go(func() {
					// In the crowd the closing handshake may time out, and the end
					// that gives up first aborts under the other.
					var aborted *websocket.CloseError
					err := finish(c)
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && assert.ErrorAs(t, err, &aborted) {
						assert.Equal(t, websocket.StatusAbnormalClosure, aborted.Code, "%v", err)
						assert.True(t, aborted.Remote, "%v", err)
					}
				})
			}
			closing.Wait()
			close(stop)
			all.Wait()
			ended.Wait()
		})
	}
}
