package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// Thousands of messages of one byte pass in both directions at once: none is
// lost, none overtakes another, and no limit takes them for an attack.
func TestTinyMessages(t *testing.T) {
	const messages = 4000
	send := func(ctx context.Context, c *websocket.Conn) error {
		for i := range messages {
			if err := c.Write(ctx, websocket.MessageBinary, []byte{byte(i)}); err != nil {
				return err
			}
		}
		return nil
	}
	receive := func(ctx context.Context, c *websocket.Conn) error {
		buf := make([]byte, 8)
		for i := range messages {
			_, p, err := c.ReadInto(ctx, buf)
			if err != nil {
				return err
			}
			if !bytes.Equal(p, []byte{byte(i)}) {
				return fmt.Errorf("message %d is %x", i, p)
			}
		}
		return nil
	}
	onEach(t, func(t *testing.T, tr transport) {
		p, ctx := tr.connect(t, nil, nil), soon(t)
		for _, done := range []<-chan error{
			begin(func() error { return send(ctx, p.server) }), begin(func() error { return send(ctx, p.client) }),
			begin(func() error { return receive(ctx, p.server) }), begin(func() error { return receive(ctx, p.client) }),
		} {
			require.NoError(t, <-done)
		}
		for _, ends := range p.ends() {
			assert.EqualValues(t, messages, ends[0].Stats().MessagesRead)
			assert.EqualValues(t, messages, ends[0].Stats().MessagesWritten)
		}
	})
}

// WS-22: both ends ping at once while neither application reads, and what had
// arrived before the pongs is still there afterwards.
func TestWS22PingBothWaysWhileNobodyReads(t *testing.T) {
	onEachWay(t, func(t *testing.T, tr transport) {
		p := tr.connect(t, nil, nil)
		for _, ends := range p.ends() {
			for i := range 10 {
				require.NoError(t, ends[0].Write(soon(t), websocket.MessageText, fmt.Appendf(nil, "message %d", i)))
			}
		}
		for range 3 {
			server := begin(func() error { return p.server.Ping(soon(t)) })
			require.NoError(t, p.client.Ping(soon(t)))
			// The client no longer reads for its own ping: the server's may be
			// waiting for somebody who does.
			again := begin(func() error { return p.client.Ping(soon(t)) })
			require.NoError(t, <-server)
			require.NoError(t, pingUntil(t, p.server, again))
		}
		for _, ends := range p.ends() {
			for i := range 10 {
				wantMessage(t, ends[1], websocket.MessageText, fmt.Appendf(nil, "message %d", i))
			}
		}
	})
}

// pingUntil pings, and thereby reads, until done has a result.
func pingUntil(t testing.TB, c *websocket.Conn, done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		err := c.Ping(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// OP-08: reads, writes, pings, limits and statistics at once from many goroutines
// on both ends, and at last a Close or an abort in the middle of them. What is
// read is what was written, and everybody gets to know the same end.
func TestOP08EverythingAtOnce(t *testing.T) {
	deflate := &websocket.Compression{ServerContextTakeover: true, Threshold: 100}
	type ending struct {
		code websocket.StatusCode
		end  func(context.Context, pair) error
	}
	endings := []ending{
		{4000, func(ctx context.Context, p pair) error { return p.server.Close(ctx, 4000, "enough") }},
		{4001, func(ctx context.Context, p pair) error { return p.client.Close(ctx, 4001, "enough") }},
		{1006, func(_ context.Context, p pair) error { return p.server.CloseNow() }},
		{1006, func(_ context.Context, p pair) error { return p.client.CloseNow() }},
	}
	limits := quick
	limits.ControlBurst = 1 << 20 // on a slow machine the pings are a flood
	onEach(t, func(t *testing.T, tr transport) {
		for round, e := range endings {
			p := tr.connect(t, &websocket.AcceptOptions{Limits: limits, Compression: deflate}, &websocket.DialOptions{Limits: limits, Compression: deflate})
			var results []<-chan error
			for _, ends := range p.ends() {
				results = append(results, uproar(soon(t), ends[0], uint64(round))...)
			}
			soon := soon(t)
			for soon.Err() == nil && min(p.server.Stats().MessagesRead, p.client.Stats().MessagesRead) < 50 {
				<-time.After(time.Millisecond)
			}
			assert.NoError(t, e.end(soon, p))
			for _, result := range results {
				err := <-result
				var ce *websocket.CloseError
				require.ErrorAs(t, err, &ce)
				assert.Equal(t, e.code, ce.Code, "%v", err)
			}
		}
	})
}

// uproar uses c from many goroutines, which end with it and return why.
func uproar(ctx context.Context, c *websocket.Conn, seed uint64) []<-chan error {
	forever := func(f func() error) <-chan error {
		return begin(func() error {
			for {
				if err := f(); err != nil {
					return err
				}
			}
		})
	}
	write := func(stream uint64) func() error {
		r := rand.New(rand.NewPCG(seed, stream))
		return func() error {
			m := checked(r)
			if r.IntN(4) > 0 {
				return c.Write(ctx, websocket.MessageBinary, m)
			}
			w, err := c.Writer(ctx, websocket.MessageBinary)
			if err != nil {
				return err
			}
			for len(m) > 0 {
				k := r.IntN(len(m)) + 1
				if _, err := w.Write(m[:k]); err != nil {
					return err
				}
				m = m[k:]
			}
			return w.Close()
		}
	}
	return []<-chan error{
		forever(write(1)), forever(write(2)), forever(write(3)),
		forever(func() error { // reads, some of which are given up
			short, cancel := context.WithTimeout(ctx, 300*time.Microsecond)
			_, m, err := c.Read(short)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				_, m, err = c.Read(ctx)
			}
			if err == nil && !intact(m) {
				err = fmt.Errorf("a message of %d bytes is damaged", len(m))
			}
			return err
		}),
		forever(func() error { return c.Ping(ctx) }), forever(func() error { return c.Ping(ctx) }),
		forever(func() error {
			c.SetReadLimit(1 << 20)
			c.Stats()
			select {
			case <-time.After(time.Millisecond):
				return c.Ping(ctx)
			case <-ctx.Done():
				return ctx.Err()
			}
		}),
	}
}

// checked returns a message of up to 20,000 bytes, more or less compressible, with
// its checksum in front.
func checked(r *rand.Rand) []byte {
	m := make([]byte, 4+r.IntN(20_000))
	for i := range m[4:] {
		m[4+i] = byte(r.Uint32() >> (24 + r.IntN(8)))
	}
	binary.BigEndian.PutUint32(m, crc32.ChecksumIEEE(m[4:]))
	return m
}

func intact(m []byte) bool {
	return len(m) >= 4 && binary.BigEndian.Uint32(m) == crc32.ChecksumIEEE(m[4:])
}
