package websocket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// maxPooledJSON is the size in bytes up to which a buffer is kept for the next
// JSON message.
const maxPooledJSON = 64 << 10

var jsonBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// ReadJSON reads a message and decodes it as JSON into v. A message that is not
// JSON is an error of encoding/json and leaves the Conn usable; the message is
// consumed.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	b := jsonBuffers.Get().(*bytes.Buffer)
	defer putJSONBuffer(b)
	_, p, err := c.ReadInto(ctx, b.Bytes()[:0])
	if err != nil {
		return err
	}
	err = json.Unmarshal(p, v)
	*b = *bytes.NewBuffer(p[:0]) // keep what reading has grown
	if err != nil {
		return fmt.Errorf("websocket: decode message: %w", err)
	}
	return nil
}

// WriteJSON writes v as JSON in a text message. If v cannot be encoded nothing
// is written.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	b := jsonBuffers.Get().(*bytes.Buffer)
	defer putJSONBuffer(b)
	b.Reset()
	if err := json.NewEncoder(b).Encode(v); err != nil {
		return fmt.Errorf("websocket: encode message: %w", err)
	}
	return c.Write(ctx, MessageText, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func putJSONBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooledJSON {
		jsonBuffers.Put(b)
	}
}
