package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/wsmux/websocket/frame"
)

// quicConns dials connections when they are first needed.
type quicConns struct {
	task     task
	protocol string
	begin    func(*quic.Conn) error // on a new connection; nil: nothing

	mu    sync.Mutex
	conns map[int]func() (*quic.Conn, error)
}

// patientQUIC does not give up connections that are idle, or slow to begin because
// the machine is busy with others.
var patientQUIC = &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: 2 * patience, MaxIncomingStreams: manyStreams}

func (c *quicConns) get(i int) (*quic.Conn, error) {
	c.mu.Lock()
	dial := c.conns[i]
	if dial == nil {
		dial = sync.OnceValues(func() (*quic.Conn, error) {
			conn, err := quic.DialAddr(context.Background(), c.task.Addr, clientTLS(c.task, c.protocol), patientQUIC)
			if err != nil || c.begin == nil {
				return conn, err
			}
			return conn, c.begin(conn)
		})
		c.conns[i] = dial
	}
	c.mu.Unlock()
	return dial()
}

// The few things of HTTP/3 that the client needs (RFC 9114 §6.2.1, §7.2).
const (
	h3Control  = 0x00 // stream type
	h3Data     = 0x00
	h3Headers  = 0x01
	h3Settings = 0x04
)

// wireH3 is the client of HTTP/3 servers: sockets are streams.
func wireH3(t task) client {
	conns := &quicConns{task: t, protocol: "h3", conns: make(map[int]func() (*quic.Conn, error)), begin: beginH3}
	var request bytes.Buffer
	e := qpack.NewEncoder(&request)
	for _, f := range connectFields(t.Addr) {
		e.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}) // to a bytes.Buffer
	}
	headers := quicvarint.Append(quicvarint.Append(nil, h3Headers), uint64(request.Len()))
	headers = append(headers, request.Bytes()...)
	return &streamClient{
		dial: func(ctx context.Context, i int) (io.ReadWriter, error) {
			conn, err := conns.get(i)
			if err != nil {
				return nil, err
			}
			s, err := conn.OpenStreamSync(ctx)
			if err != nil {
				return nil, err
			}
			if _, err := s.Write(headers); err != nil {
				return nil, err
			}
			return s, response(s)
		},
		framing: func(got piece) framing { return &h3Framing{ws: newWSFraming(got)} },
	}
}

// connectFields is the header of the request that opens a socket on a stream
// (RFC 8441 §5, RFC 9220 §3).
func connectFields(authority string) [][2]string {
	return [][2]string{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", "https"},
		{":path", "/"},
		{":authority", authority},
		{"sec-websocket-version", "13"},
	}
}

func beginH3(conn *quic.Conn) error {
	control, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	if _, err := control.Write([]byte{h3Control, h3Settings, 0}); err != nil {
		return err
	}
	go func() { // takes the server's control streams, and ends with the connection
		for {
			s, err := conn.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go io.Copy(io.Discard, s) // ends with the connection
		}
	}()
	return nil
}

// response reads the response's header, byte by byte where it must not read on.
func response(s io.Reader) error {
	r := quicvarint.NewReader(s)
	for {
		kind, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		size, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		if size > 64<<10 {
			return errors.New("a large frame before the response")
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if kind != h3Headers {
			continue // reserved frame types (RFC 9114 §7.2.8)
		}
		next := qpack.NewDecoder().Decode(b)
		f, err := next()
		if err != nil {
			return err
		}
		if f.Name != ":status" || f.Value != "200" {
			return fmt.Errorf("connect: %s %s", f.Name, f.Value)
		}
		return nil
	}
}

// h3Framing is wsFraming in DATA frames, one for each message sent.
type h3Framing struct {
	ws   *wsFraming
	data bool   // in a DATA frame, else in one that is passed over
	rest uint64 // bytes to come of the frame
	held []byte // a frame header that has not come whole
}

func (f *h3Framing) append(b, p []byte) []byte {
	size := frame.Header{Masked: true, Length: int64(len(p))}.Size() + len(p)
	return f.ws.append(quicvarint.Append(append(b, h3Data), uint64(size)), p)
}

func (f *h3Framing) feed(b []byte) error {
	if len(f.held) > 0 {
		b = append(f.held, b...)
		f.held = nil
	}
	for len(b) > 0 {
		if f.rest == 0 {
			kind, n, err := quicvarint.Parse(b)
			if err != nil {
				break // it has not come whole
			}
			size, m, err := quicvarint.Parse(b[n:])
			if err != nil {
				break
			}
			f.data, f.rest, b = kind == h3Data, size, b[n+m:]
			continue
		}
		n := int(min(f.rest, uint64(len(b))))
		f.rest -= uint64(n)
		if f.data {
			if err := f.ws.feed(b[:n]); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	f.held = append(f.held, b...)
	return nil
}
