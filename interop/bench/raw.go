package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"

	"github.com/quic-go/quic-go"
)

// The wire itself: a message is four bytes of length and its payload, one write
// each way.
func init() {
	add("raw TLS", &contender{
		about: "crypto/tls, a goroutine for each connection, messages with a length in front", transport: "raw",
		serve:  func(load) (ready, error) { return serveRaw(echoRaw) },
		client: rawTLS,
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
	l, err := quic.ListenAddr("127.0.0.1:0", config, patientQUIC)
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
			r.room(512)
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

// rawTLS opens connections.
func rawTLS(t task) client {
	d := tls.Dialer{Config: clientTLS(t, rawProtocol)}
	return &streamClient{
		dial:    func(ctx context.Context, _ int) (io.ReadWriter, error) { return d.DialContext(ctx, "tcp", t.Addr) },
		framing: func(got piece) framing { return &rawFraming{got: got} },
	}
}

// rawQUIC opens streams.
func rawQUIC(t task) client {
	conns := &quicConns{task: t, protocol: rawProtocol, conns: make(map[int]func() (*quic.Conn, error))}
	return &streamClient{
		dial: func(ctx context.Context, i int) (io.ReadWriter, error) {
			conn, err := conns.get(i)
			if err != nil {
				return nil, err
			}
			return conn.OpenStreamSync(ctx)
		},
		framing: func(got piece) framing { return &rawFraming{got: got} },
	}
}
