package wstest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A half is one direction of a pipe: a bounded buffer with two ends. Whoever
// has to wait does so on changed, which counts as durably blocked in a
// synctest bubble.
type half struct {
	options PipeOptions

	mu      sync.Mutex
	changed sync.Cond // broadcast when anything below has changed

	buf      []byte // written and not yet read
	finished bool   // no more will be written: io.EOF follows buf
	readErr  error  // what every read returns from now on
	writeErr error  // what every write returns from now on
	empty    bool   // the last read was one of options.EmptyReads

	readDeadline, writeDeadline deadline

	written int64
	record  []byte
	ends    []int // offsets in record at which a call ended
}

// A deadline is one end's deadline in a half, guarded by the half's lock.
type deadline struct {
	timer   *time.Timer
	setting int // counts the settings, so that a late timer knows it is one
	passed  bool
}

func newHalf(o PipeOptions) *half {
	h := &half{options: o}
	h.changed.L = &h.mu
	return h
}

// read takes what there is, up to the chunk, and blocks while there is nothing.
func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readErr != nil:
			return 0, h.readErr
		case h.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(h.buf) > 0 && h.options.EmptyReads && !h.empty:
			h.empty = true
			return 0, nil
		case len(h.buf) > 0:
			h.empty = false
			return h.take(p), nil
		case h.finished:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) take(p []byte) int {
	if c := h.options.ReadChunk; c > 0 && len(p) > c {
		p = p[:c]
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	if len(h.buf) == 0 {
		h.buf = nil
	}
	h.changed.Broadcast()
	return n
}

// write puts the parts into the buffer, in order, as room appears.
func (h *half) write(parts ...[]byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.endCall()
	n := 0
	for _, p := range parts {
		for len(p) > 0 {
			if err := h.waitForRoom(); err != nil {
				return n, err
			}
			took := h.put(p)
			p, n = p[took:], n+took
		}
	}
	return n, h.writable()
}

// waitForRoom blocks until at least one byte fits.
func (h *half) waitForRoom() error {
	for {
		if err := h.writable(); err != nil {
			return err
		}
		if h.writeDeadline.passed {
			return os.ErrDeadlineExceeded
		}
		if len(h.buf) < h.options.Buffer {
			return nil
		}
		h.changed.Wait()
	}
}

// writable returns why no write can succeed any more, nil if one can.
func (h *half) writable() error {
	if h.writeErr == nil && h.finished {
		return net.ErrClosed
	}
	return h.writeErr
}

func (h *half) put(p []byte) int {
	n := min(len(p), h.options.Buffer-len(h.buf))
	if c := h.options.WriteChunk; c > 0 {
		n = min(n, c)
	}
	h.buf = append(h.buf, p[:n]...)
	h.written += int64(n)
	if h.options.Record {
		h.record = append(h.record, p[:n]...)
	}
	h.changed.Broadcast()
	if h.options.WriteChunk > 0 {
		h.mu.Unlock() // lets the reader see this much and no more
		h.mu.Lock()
	}
	return n
}

func (h *half) endCall() {
	if h.options.Record && (len(h.ends) == 0 || h.ends[len(h.ends)-1] < len(h.record)) {
		h.ends = append(h.ends, len(h.record))
	}
}

// finish ends the direction in an orderly way.
func (h *half) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finished = true
	h.changed.Broadcast()
}

// fail makes reads or writes fail from now on, where the error is not nil and
// they do not fail already. Failing reads lose what was not read.
func (h *half) fail(readErr, writeErr error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr == nil && readErr != nil {
		h.readErr = readErr
		h.buf = nil
		h.readDeadline.clear()
	}
	if h.writeErr == nil && writeErr != nil {
		h.writeErr = writeErr
		h.writeDeadline.clear()
	}
	h.changed.Broadcast()
}

// setDeadline moves one of the half's two deadlines.
func (h *half) setDeadline(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.clear()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		h.changed.Broadcast()
		return
	}
	setting := d.setting
	d.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if d.setting == setting {
			d.passed = true
			h.changed.Broadcast()
		}
	})
}

func (d *deadline) clear() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.setting++
	d.passed = false
}

func (h *half) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf)
}

func (h *half) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf) == 0 && !h.finished && h.readErr == nil && !h.readDeadline.passed
}

func (h *half) total() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.written
}

func (h *half) recorded() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.record)
}

func (h *half) calls() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	var calls [][]byte
	start := 0
	for _, end := range h.ends {
		calls = append(calls, bytes.Clone(h.record[start:end]))
		start = end
	}
	return calls
}
