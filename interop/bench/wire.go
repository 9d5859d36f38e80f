package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/wsmux/websocket/frame"
)

// The wire clients measure servers, so they are as little as can talk to one: the
// same for all servers of a protocol, and nobody's library. They frame with package
// frame, as the payload of a message may come in any number of pieces.

// A framing is how messages travel on one stream of bytes, both ways.
type framing interface {
	// append appends a message to b.
	append(b, p []byte) []byte

	// feed takes bytes that have arrived, all of them, and may change them. It
	// passes on the payload that is in them.
	feed(b []byte) error
}

// A piece is payload that has arrived; last ends a message.
type piece func(p []byte, last bool)

// lost ends this process: a client whose connections break has nothing to report.
func lost(err error) {
	fmt.Fprintln(os.Stderr, "connection lost:", err)
	os.Exit(1)
}

// wsFraming is RFC 6455's, for a client.
type wsFraming struct {
	got  piece
	told func(op frame.Opcode, p []byte) // of Pings and Pongs, if not nil
	in   frame.Receiver
	out  frame.Sender
	key  [4]byte
	held []byte // a header that has not come whole
}

// newWSFraming makes a framing that uses one masking key for all frames, which a
// client that is not a load generator must not (RFC 6455 §5.3): drawing keys is no
// part of what is measured.
func newWSFraming(got piece) *wsFraming {
	f := &wsFraming{got: got, in: frame.Receiver{Side: frame.Client}, out: frame.Sender{Side: frame.Client}}
	rand.Read(f.key[:]) // never fails
	return f
}

func (f *wsFraming) append(b, p []byte) []byte { return f.appendFrame(b, frame.Binary, p) }

// appendFrame appends a frame that is not a part of another's message.
func (f *wsFraming) appendFrame(b []byte, op frame.Opcode, p []byte) []byte {
	b, err := f.out.Append(b, frame.Header{Fin: true, Opcode: op, Key: f.key}, p)
	if err != nil {
		lost(err)
	}
	return b
}

func (f *wsFraming) feed(b []byte) error {
	if len(f.held) > 0 {
		b = append(f.held, b...)
	}
	for len(b) > 0 {
		ev, n, err := f.in.Next(b)
		switch b = b[n:]; {
		case err != nil:
			return err
		case ev.Kind == frame.NeedMore:
			f.held = append(f.held[:0], b...)
			return nil
		case ev.Kind == frame.Data:
			f.got(ev.Payload, ev.Last)
		case ev.Opcode == frame.Close:
			return fmt.Errorf("close frame: %q", ev.Payload)
		case f.told != nil:
			f.told(ev.Opcode, ev.Payload)
		}
	}
	f.held = f.held[:0]
	return nil
}

// rawFraming puts four bytes of length before each message.
type rawFraming struct {
	got  piece
	rest int    // payload bytes to come of this message
	held []byte // a length that has not come whole
}

func (f *rawFraming) append(b, p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
}

func (f *rawFraming) feed(b []byte) error {
	for len(b) > 0 {
		if f.rest == 0 {
			n := min(4-len(f.held), len(b))
			f.held = append(f.held, b[:n]...)
			if b = b[n:]; len(f.held) < 4 {
				return nil
			}
			if f.rest, f.held = int(binary.BigEndian.Uint32(f.held)), f.held[:0]; f.rest == 0 {
				return errors.New("an empty message")
			}
			continue
		}
		n := min(f.rest, len(b))
		f.rest -= n
		f.got(b[:n], f.rest == 0)
		b = b[n:]
	}
	return nil
}

// A streamClient opens sockets that have a stream each, with a goroutine that
// reads it.
type streamClient struct {
	// dial opens the next stream of connection conn.
	dial    func(ctx context.Context, conn int) (io.ReadWriter, error)
	framing func(piece) framing
	opened  int
}

func (c *streamClient) open(ctx context.Context, n, conns int, got received) ([]socket, error) {
	first := c.opened
	c.opened += n
	sockets := make([]socket, n)
	g, dialing := errgroup.WithContext(ctx)
	g.SetLimit(dialsAtOnce)
	for k := range n {
		g.Go(func() error {
			conn, err := c.dial(dialing, k%conns)
			if err != nil {
				return err
			}
			f := c.framing(func(p []byte, last bool) { got(first+k, p, last) })
			sockets[k] = &streamSocket{out: conn, framing: f}
			go feed(conn, f)
			return nil
		})
	}
	return sockets, g.Wait()
}

// feed is the goroutine that reads one stream. It ends with the process. The
// buffer grows when reads fill it, up to a TLS record and more.
func feed(in io.Reader, f framing) {
	b := make([]byte, 2<<10)
	for {
		n, err := in.Read(b)
		if n > 0 {
			if err := f.feed(b[:n]); err != nil {
				lost(err)
			}
		}
		if err != nil {
			lost(err)
		}
		if n == len(b) && n < 32<<10 {
			b = make([]byte, 2*n)
		}
	}
}

// A streamSocket sends each message by one write.
type streamSocket struct {
	out     io.Writer
	framing framing
	buf     []byte
}

func (s *streamSocket) send(p []byte) error {
	s.buf = s.framing.append(s.buf[:0], p)
	_, err := s.out.Write(s.buf)
	return err
}

func (c *streamClient) fetch(context.Context) (io.ReadCloser, error) { return nil, errNoDownloads }

var errNoDownloads = errors.New("no downloads with this client")
