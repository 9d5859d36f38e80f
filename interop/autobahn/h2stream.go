package autobahn

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Stream is one stream of an h2Conn, whose mu guards it.
type h2Stream struct {
	c  *h2Conn
	id uint32

	head    []hpack.HeaderField // of the response
	in      bytes.Buffer
	ended   bool  // the peer has sent END_STREAM
	taken   int   // octets for which no credit was given back
	window  int64 // octets of DATA that may be sent
	sentEnd bool
	err     error
}

var errAborted = errors.New("stream aborted")

// fail ends the stream. The caller holds mu.
func (s *h2Stream) fail(err error) {
	if s.err == nil {
		s.err = err
		delete(s.c.streams, s.id)
	}
}

// padding gives credit back for what is not read. The caller holds mu.
func (s *h2Stream) padding(n int) {
	s.taken += n
	if n := s.taken; n > h2StreamWindow/4 {
		s.taken = 0
		s.c.queue(func() error { return s.c.fr.WriteWindowUpdate(s.id, uint32(n)) })
	}
}

func (s *h2Stream) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case s.in.Len() > 0:
			n, _ := s.in.Read(p)
			s.padding(n)
			return n, nil
		case s.ended:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.err
		}
		s.c.changed.Wait()
	}
}

// Write sends p in one DATA frame, or in as few as the peer's limits allow.
func (s *h2Stream) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		size, err := s.reserve(len(p) - n)
		if err != nil {
			return n, err
		}
		piece := p[n : n+size]
		if err := s.c.write(func() error { return s.c.fr.WriteData(s.id, false, piece) }); err != nil {
			s.c.fail(err)
			return n, err
		}
		n += size
	}
	return len(p), nil
}

// reserve waits for leave to send up to want octets, and takes it.
func (s *h2Stream) reserve(want int) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if s.err != nil {
			return 0, s.err
		}
		if s.sentEnd {
			return 0, errors.New("write after CloseWrite")
		}
		if n := min(int64(want), int64(c.maxFrame), c.window, s.window); n > 0 {
			c.window -= n
			s.window -= n
			return int(n), nil
		}
		c.changed.Wait()
	}
}

func (s *h2Stream) CloseWrite() error {
	s.c.mu.Lock()
	done := s.sentEnd || s.err != nil
	s.sentEnd = true
	s.c.mu.Unlock()
	if done {
		return nil
	}
	return s.c.write(func() error { return s.c.fr.WriteData(s.id, true, nil) })
}

// Close releases the stream, and resets it if one side has not ended.
func (s *h2Stream) Close() error {
	s.c.mu.Lock()
	over := s.ended && s.sentEnd
	if over {
		s.fail(errAborted)
	}
	s.c.mu.Unlock()
	if over {
		return nil
	}
	return s.Abort()
}

func (s *h2Stream) Abort() error {
	s.c.mu.Lock()
	gone := s.err != nil
	s.fail(errAborted)
	s.in.Reset()
	s.c.changed.Broadcast()
	s.c.mu.Unlock()
	if !gone {
		s.c.queue(func() error { return s.c.fr.WriteRSTStream(s.id, http2.ErrCodeCancel) })
	}
	return nil
}
