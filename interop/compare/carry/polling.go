package carry

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// pollHold is how long a poll waits for messages.
const pollHold = 25 * time.Second

// A polling is a channel of long polls down, and POSTs up.
type polling struct{ *exchange }

func (c *Client) openPolling(ctx context.Context, o *Options) (Channel, error) {
	p := &polling{c.newExchange(o)}
	stop := context.AfterFunc(ctx, func() { p.cancel(context.Cause(ctx)) })
	_, _, err := p.once(0, "hold", "0s")
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	hold := pollHold
	if o.Heartbeat > 0 {
		hold = o.Heartbeat
	}
	// The goroutine polls until the channel ends.
	p.running.Go(func() {
		for last := 0; ; {
			next, n, err := p.once(last, "hold", hold.String())
			if err != nil {
				p.lost(err)
				return
			}
			if n == 0 && o.Beat != nil {
				o.Beat()
			}
			last = next
		}
	})
	return p, nil
}

// once makes a poll, with a parameter of its own, and returns the number of the
// last message, and how many came.
func (p *polling) once(after int, key, value string) (last, came int, err error) {
	q := p.options.query()
	q.Set("after", strconv.Itoa(after))
	q.Set(key, value)
	resp, err := p.get(p.client.at("/poll", q))
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return after, 0, nil
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	lines.Split(scanRaw)
	if !lines.Scan() {
		return 0, 0, fmt.Errorf("a poll without content: %w", io.ErrUnexpectedEOF)
	}
	p.client.account.down.add(0, len(lines.Bytes()))
	last, err = strconv.Atoi(string(bytes.TrimSpace(lines.Bytes())))
	if err != nil {
		return 0, 0, err
	}
	for lines.Scan() {
		m := bytes.TrimSuffix(lines.Bytes(), []byte{'\n'})
		p.client.account.down.add(len(m), len(lines.Bytes())-len(m))
		p.options.Received(m)
		came++
	}
	if err := lines.Err(); err != nil {
		return 0, 0, err
	}
	if came != last-after {
		return 0, 0, fmt.Errorf("%d messages came of %d: %w", came, last-after, io.ErrUnexpectedEOF)
	}
	return last, came, nil
}

// Close ends the poll that is waiting, and tells the server.
func (p *polling) Close(ctx context.Context) error {
	p.end()
	e := p.client.newExchange(p.options)
	defer e.end()
	stop := context.AfterFunc(ctx, func() { e.cancel(context.Cause(ctx)) })
	defer stop()
	_, _, err := (&polling{e}).once(0, "end", "")
	return err
}
