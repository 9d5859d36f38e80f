package carry

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
)

// An events is a channel of an event stream down, and POSTs up.
type events struct{ *exchange }

func (c *Client) openEvents(ctx context.Context, o *Options) (Channel, error) {
	e := c.newExchange(o)
	q := o.query()
	if o.Heartbeat > 0 {
		q.Set("heartbeat", o.Heartbeat.String())
	}
	stop := context.AfterFunc(ctx, func() { e.cancel(context.Cause(ctx)) })
	resp, err := e.get(c.at("/events", q))
	if !stop() && err == nil {
		resp.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		e.end()
		return nil, err
	}
	stream := &events{e}
	// The goroutine reads the stream until it, or the channel, ends.
	e.running.Go(func() {
		defer resp.Body.Close()
		e.lost(stream.read(resp.Body))
	})
	return stream, nil
}

// Close ends the stream, to which HTTP knows no other way than to cancel it.
func (e *events) Close(context.Context) error {
	e.end()
	return nil
}

// maxLine bounds a line of an event stream or of a poll's content.
const maxLine = 1 << 20

// read reads events of one data field each, as the server sends them.
func (e *events) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	lines.Split(scanRaw)
	for lines.Scan() {
		line := lines.Bytes()
		m, isData := bytes.CutPrefix(line, []byte(dataField))
		if isData {
			m = bytes.TrimSuffix(m, []byte{'\n'})
			e.client.account.down.add(len(m), len(line)-len(m))
			e.options.Received(m)
			continue
		}
		e.client.account.down.add(0, len(line))
		if line[0] == ':' && e.options.Beat != nil {
			e.options.Beat()
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the event stream has ended: %w", io.ErrUnexpectedEOF)
}

// scanRaw is bufio.ScanLines with the newlines left on, to be counted.
func scanRaw(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
