package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"
)

// The wire itself: a message is four bytes of length and its payload, one write
// each way.
func init() {
	add("raw TLS", &contender{
		about: "crypto/tls, a goroutine for each connection, messages with a length in front", transport: "raw",
		serve: func(load) (ready, error) { return serveRaw(echoRaw) },
		client: func(t task) client {
			return &rawClient{dial: func(ctx context.Context) (io.ReadWriter, error) {
				d := tls.Dialer{Config: clientTLS(t, rawProtocol)}
				return d.DialContext(ctx, "tcp", t.Addr)
			}}
		},
	})
	add("raw QUIC", &contender{
		about: "quic-go, a goroutine for each stream, messages with a length in front", transport: "raw", shared: true,
		serve:  serveRawQUIC,
		client: rawQUIC,
	})
}

const rawProtocol = "bench"

// serveRaw serves TLS connections, each by a call of handle.
func serveRaw(handle func(io.ReadWriter)) (ready, error) {
	config, cert := serverTLS(rawProtocol)
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return ready{}, err
	}
	go func() { // ends with the process
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return ready{Addr: l.Addr().String(), Cert: cert}, nil
}

func serveRawQUIC(load) (ready, error) {
	config, cert := serverTLS(rawProtocol)
	l, err := quic.ListenAddr("127.0.0.1:0", config, &quic.Config{MaxIncomingStreams: manyStreams, HandshakeIdleTimeout: patience})
	if err != nil {
		return ready{}, err
	}
	go func() { // ends with the process
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go echoRaw(s)
				}
			}()
		}
	}()
	return ready{Addr: l.Addr().String(), Cert: cert}, nil
}

// echoRaw echoes messages until in ends.
func echoRaw(c io.ReadWriter) {
	r := rawReader{in: c}
	for {
		m, err := r.next()
		if err != nil {
			return
		}
		if _, err := c.Write(m); err != nil {
			return
		}
	}
}

// A rawReader reads messages.
type rawReader struct {
	in   io.Reader
	buf  []byte
	r, w int
}

// next returns the next message with its length in front, valid until the next
// call.
func (r *rawReader) next() ([]byte, error) {
	for {
		if have := r.buf[r.r:r.w]; len(have) >= 4 {
			size := 4 + int(binary.BigEndian.Uint32(have))
			if len(have) >= size {
				r.r += size
				return have[:size], nil
			}
			r.room(size)
		} else {
			r.room(4 << 10)
		}
		n, err := r.in.Read(r.buf[r.w:])
		if r.w += n; err != nil && n == 0 {
			return nil, err
		}
	}
}

// room makes room for size bytes from r.r on.
func (r *rawReader) room(size int) {
	if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if len(r.buf) < size {
		b := make([]byte, size)
		copy(b, r.buf[:r.w])
		r.buf = b
	}
}

// A rawClient opens connections or streams.
type rawClient struct {
	dial   func(context.Context) (io.ReadWriter, error)
	opened int
}

func (c *rawClient) open(ctx context.Context, n, _ int, got func(int, []byte)) ([]socket, error) {
	first := c.opened
	c.opened += n
	sockets := make([]socket, n)
	g, dialing := errgroup.WithContext(ctx)
	g.SetLimit(dialsAtOnce)
	for k := range n {
		g.Go(func() error {
			conn, err := c.dial(dialing)
			if err != nil {
				return err
			}
			sockets[k] = &rawSocket{out: conn}
			go func() { // ends with the connection
				r := rawReader{in: conn}
				for {
					m, err := r.next()
					if err != nil {
						return
					}
					got(first+k, m[4:])
				}
			}()
			return nil
		})
	}
	return sockets, g.Wait()
}

func (c *rawClient) fetch(context.Context) (io.ReadCloser, error) { return nil, nil }

// A rawSocket sends messages.
type rawSocket struct {
	out io.Writer
	buf []byte
}

func (s *rawSocket) send(p []byte) error {
	s.buf = binary.BigEndian.AppendUint32(s.buf[:0], uint32(len(p)))
	s.buf = append(s.buf, p...)
	_, err := s.out.Write(s.buf)
	return err
}

// rawQUIC opens streams of one connection.
func rawQUIC(t task) client {
	conn, err := quic.DialAddr(context.Background(), t.Addr, clientTLS(t, rawProtocol), &quic.Config{HandshakeIdleTimeout: patience})
	return &rawClient{dial: func(ctx context.Context) (io.ReadWriter, error) {
		if err != nil {
			return nil, err
		}
		return conn.OpenStreamSync(ctx)
	}}
}
