package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"

	"github.com/wsmux/websocket/frame"
)

// wireH2 is the client of HTTP/2 servers: sockets are streams. It announces windows
// of Chromium's size, and takes everything at once.
func wireH2(t task) client {
	return &h2Client{task: t, conns: make(map[int]*h2Conn)}
}

const (
	h2StreamWindow = 6 << 20
	h2ConnWindow   = 15 << 20
	h2HeaderSize   = 9        // RFC 9113 §4.1
	h2FrameSize    = 16 << 10 // the largest frame that may be sent and received (RFC 9113 §4.2)
	h2FirstWindow  = 65_535   // RFC 9113 §6.9.2
)

type h2Client struct {
	task   task
	conns  map[int]*h2Conn
	opened int
}

func (c *h2Client) open(ctx context.Context, n, conns int, got received) ([]socket, error) {
	first := c.opened
	c.opened += n
	var dials errgroup.Group
	dials.SetLimit(dialsAtOnce)
	var mu sync.Mutex
	for i := range min(conns, n) {
		mu.Lock()
		have := c.conns[i] != nil
		mu.Unlock()
		if have {
			continue
		}
		dials.Go(func() error {
			conn, err := dialH2(ctx, c.task)
			mu.Lock()
			defer mu.Unlock()
			c.conns[i] = conn
			return err
		})
	}
	if err := dials.Wait(); err != nil {
		return nil, err
	}
	sockets := make([]socket, n)
	var opens errgroup.Group
	for i := range min(conns, n) {
		opens.Go(func() error {
			var share []*h2Socket
			for k := i; k < n; k += conns {
				s := &h2Socket{conn: c.conns[i]}
				s.framing = newWSFraming(func(p []byte, last bool) { got(first+k, p, last) })
				s.framing.told = s.told
				sockets[k] = s
				share = append(share, s)
			}
			return c.conns[i].open(ctx, share, max(1, dialsAtOnce/conns))
		})
	}
	return sockets, opens.Wait()
}

func (c *h2Client) fetch(context.Context) (io.ReadCloser, error) { return nil, errNoDownloads }

// An h2Conn is a connection. Its reader, started by dialH2, lives as long as the
// process. What is sent while the reader handles what it has read is written when
// it is done with that; what is sent else, at once. Whoever finds nobody writing
// writes for all, but a load of much data at once has a goroutine for that: the
// reader must not wait for the server to read.
type h2Conn struct {
	tls    *tls.Conn
	in     *bufio.Reader // below tls
	wake   chan struct{} // nil without a goroutine that writes
	decode *hpack.Decoder
	status string // of the response that is being decoded

	mu       sync.Mutex
	encode   *hpack.Encoder
	fields   bytes.Buffer
	streams  []*h2Socket // stream 1, 3, 5 and so on
	window   int64       // what may be sent
	initial  int64       // a new stream's
	blocked  []*h2Socket // wait for either window
	out      []byte      // to be written
	spare    []byte
	writing  bool
	handling bool // the reader will write

	waiting   []*h2Socket // to be opened
	unopened  int         // of those and others
	allOpened chan struct{}

	taken int64 // by the reader, since credit was given
}

// An h2Socket is a stream. What stands in the second block is the connection's, under
// its lock.
type h2Socket struct {
	conn    *h2Conn
	framing *wsFraming
	open    bool  // the reader's
	taken   int64 // likewise, since credit was given

	id      uint32
	window  int64
	queued  []byte
	blocked bool
	pong    func(p []byte)
}

func dialH2(ctx context.Context, t task) (*h2Conn, error) {
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(tcp, 64<<10)
	c := &h2Conn{
		tls: tls.Client(readFrom{tcp, in}, clientTLS(t, "h2")), in: in,
		window: h2FirstWindow, initial: h2FirstWindow,
	}
	c.encode = hpack.NewEncoder(&c.fields)
	c.decode = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			c.status = f.Value
		}
	})
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if t.Load.Sockets*t.Load.Size > 32<<10 {
		c.wake = make(chan struct{}, 1)
		go c.write()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, http2.ClientPreface...)
	c.out = appendFrame(c.out, http2.FrameSettings, 0, 0, 6)
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(http2.SettingInitialWindowSize))
	c.out = binary.BigEndian.AppendUint32(c.out, h2StreamWindow)
	c.credit(0, h2ConnWindow-h2FirstWindow)
	c.flush()
	go c.read()
	return c, nil
}

// readFrom is a connection that is read through a buffer.
type readFrom struct {
	net.Conn
	in io.Reader
}

func (c readFrom) Read(p []byte) (int, error) { return c.in.Read(p) }

// appendFrame appends a frame's header.
func appendFrame(b []byte, t http2.FrameType, flags http2.Flags, stream uint32, size int) []byte {
	b = append(b, byte(size>>16), byte(size>>8), byte(size), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

// credit gives credit for a stream, or for the connection. c.mu is held.
func (c *h2Conn) credit(stream uint32, n int64) {
	c.out = appendFrame(c.out, http2.FrameWindowUpdate, 0, stream, 4)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(n))
}

// open opens sockets, so many at a time.
func (c *h2Conn) open(ctx context.Context, sockets []*h2Socket, atOnce int) error {
	c.mu.Lock()
	c.waiting, c.unopened, c.allOpened = sockets, len(sockets), make(chan struct{})
	for range min(atOnce, len(sockets)) {
		c.request()
	}
	c.flush()
	opened := c.allOpened
	c.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request opens the next socket. c.mu is held.
func (c *h2Conn) request() {
	if len(c.waiting) == 0 {
		return
	}
	s := c.waiting[0]
	c.waiting = c.waiting[1:]
	s.id = uint32(2*len(c.streams) + 1)
	s.window = c.initial
	c.streams = append(c.streams, s)
	c.fields.Reset()
	for _, f := range connectFields("localhost") {
		c.encode.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to a bytes.Buffer
	}
	c.out = appendFrame(c.out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, s.id, c.fields.Len())
	c.out = append(c.out, c.fields.Bytes()...)
}

func (s *h2Socket) send(p []byte) error { return s.sendFrame(frame.Binary, p) }

// ping implements pinger.
func (s *h2Socket) ping(p []byte, pong func(p []byte)) error {
	s.conn.mu.Lock()
	s.pong = pong
	s.conn.mu.Unlock()
	return s.sendFrame(frame.Ping, p)
}

// told takes the server's Pings and Pongs.
func (s *h2Socket) told(op frame.Opcode, p []byte) {
	if op == frame.Ping {
		s.sendFrame(frame.Pong, p)
		return
	}
	s.conn.mu.Lock()
	pong := s.pong
	s.conn.mu.Unlock()
	if pong != nil {
		pong(p)
	}
}

func (s *h2Socket) sendFrame(op frame.Opcode, p []byte) error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if most := int64(len(p) + 14); len(s.queued) == 0 && most <= min(h2FrameSize, s.window, c.window) {
		at := len(c.out)
		c.out = s.framing.appendFrame(appendFrame(c.out, http2.FrameData, 0, s.id, 0), op, p)
		size := len(c.out) - at - h2HeaderSize
		c.out[at], c.out[at+1], c.out[at+2] = byte(size>>16), byte(size>>8), byte(size)
		s.window -= int64(size)
		c.window -= int64(size)
	} else {
		s.queued = s.framing.appendFrame(s.queued, op, p)
		c.pump(s)
	}
	c.flush()
	return nil
}

// pump moves as much of a socket's queue to the output as the windows allow. c.mu is
// held.
func (c *h2Conn) pump(s *h2Socket) {
	sent := 0
	for rest := s.queued; len(rest) > 0; rest = s.queued[sent:] {
		n := min(int64(len(rest)), h2FrameSize, s.window, c.window)
		if n <= 0 {
			break
		}
		c.out = append(appendFrame(c.out, http2.FrameData, 0, s.id, int(n)), rest[:n]...)
		s.window -= n
		c.window -= n
		sent += int(n)
	}
	s.queued = s.queued[:copy(s.queued, s.queued[sent:])]
	if len(s.queued) > 0 && !s.blocked {
		s.blocked = true
		c.blocked = append(c.blocked, s)
	}
}

// pumpAll does that for all that waited, the first first. c.mu is held.
func (c *h2Conn) pumpAll() {
	waited := c.blocked
	c.blocked = nil
	for _, s := range waited {
		s.blocked = false
		c.pump(s)
	}
}

// flush sees to it that the output is written. c.mu is held, but not while it
// writes.
func (c *h2Conn) flush() {
	switch {
	case c.handling || len(c.out) == 0:
	case c.wake == nil:
		c.drain()
	default:
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// write is the goroutine that writes where the reader must not. It ends with the
// process.
func (c *h2Conn) write() {
	for range c.wake {
		c.mu.Lock()
		c.drain()
		c.mu.Unlock()
	}
}

// drain writes until nothing is left to write, unless somebody does. c.mu is held,
// but not while it writes.
func (c *h2Conn) drain() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.out) > 0 {
		b := c.out
		c.out = c.spare[:0]
		c.mu.Unlock()
		if _, err := c.tls.Write(b); err != nil {
			lost(err)
		}
		c.mu.Lock()
		c.spare = b
	}
	c.writing = false
}

// read is the goroutine that reads. It ends with the process.
func (c *h2Conn) read() {
	b := make([]byte, 64<<10)
	have := 0
	for {
		n, err := c.tls.Read(b[have:])
		if err != nil {
			lost(err)
		}
		c.mu.Lock()
		c.handling = true
		streams := c.streams
		c.mu.Unlock()
		rest := b[:have+n]
		for len(rest) >= h2HeaderSize {
			size := h2HeaderSize + int(rest[0])<<16 + int(rest[1])<<8 + int(rest[2])
			if size > h2HeaderSize+h2FrameSize {
				lost(errors.New("a frame that is too large"))
			}
			if len(rest) < size {
				break
			}
			if err := c.handle(streams, rest[:size]); err != nil {
				lost(err)
			}
			rest = rest[size:]
		}
		have = copy(b, rest)
		if c.in.Buffered() > 0 {
			continue // there is more to handle
		}
		c.mu.Lock()
		c.handling = false
		c.flush()
		c.mu.Unlock()
	}
}

// handle takes a frame. streams are those there were when it was read.
func (c *h2Conn) handle(streams []*h2Socket, f []byte) error {
	kind, flags, id := http2.FrameType(f[3]), http2.Flags(f[4]), binary.BigEndian.Uint32(f[5:])
	p := f[h2HeaderSize:]
	var s *h2Socket
	if i := int(id / 2); id%2 == 1 && i < len(streams) {
		s = streams[i]
	}
	switch kind {
	case http2.FrameData:
		if s == nil || flags&(http2.FlagDataPadded|http2.FlagDataEndStream) != 0 {
			return fmt.Errorf("stream %d: unexpected DATA frame, flags %v", id, flags)
		}
		c.took(s, int64(len(p)))
		return s.framing.feed(p)
	case http2.FrameHeaders:
		if s == nil || s.open || flags != http2.FlagHeadersEndHeaders {
			return fmt.Errorf("stream %d: unexpected HEADERS frame, flags %v", id, flags)
		}
		return c.answered(s, p)
	case http2.FrameRSTStream, http2.FrameGoAway:
		return fmt.Errorf("stream %d: %v, % x", id, kind, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case flags&http2.FlagSettingsAck != 0: // PING's is the same bit
	case kind == http2.FrameSettings:
		c.settings(p)
	case kind == http2.FramePing:
		c.out = append(appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, len(p)), p...)
	case kind == http2.FrameWindowUpdate && id == 0:
		c.window += int64(binary.BigEndian.Uint32(p))
		c.pumpAll()
	case kind == http2.FrameWindowUpdate && s != nil:
		s.window += int64(binary.BigEndian.Uint32(p))
		c.pump(s)
	}
	return nil
}

// took gives credit back when half of a window has been taken.
func (c *h2Conn) took(s *h2Socket, n int64) {
	s.taken += n
	c.taken += n
	if s.taken < h2StreamWindow/2 && c.taken < h2ConnWindow/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.taken >= h2StreamWindow/2 {
		c.credit(s.id, s.taken)
		s.taken = 0
	}
	if c.taken >= h2ConnWindow/2 {
		c.credit(0, c.taken)
		c.taken = 0
	}
}

// answered takes the response that opens a socket, and opens the next.
func (c *h2Conn) answered(s *h2Socket, block []byte) error {
	c.status = ""
	if _, err := c.decode.Write(block); err != nil {
		return err
	}
	if err := c.decode.Close(); err != nil {
		return err
	}
	if c.status != "200" {
		return fmt.Errorf("connect: status %q", c.status)
	}
	s.open = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.request()
	if c.unopened--; c.unopened == 0 {
		close(c.allOpened)
	}
	return nil
}

// settings applies the server's. c.mu is held.
func (c *h2Conn) settings(p []byte) {
	for ; len(p) >= 6; p = p[6:] {
		v := binary.BigEndian.Uint32(p[2:])
		switch http2.SettingID(binary.BigEndian.Uint16(p)) {
		case http2.SettingHeaderTableSize:
			c.encode.SetMaxDynamicTableSizeLimit(v)
		case http2.SettingInitialWindowSize:
			for _, s := range c.streams {
				s.window += int64(v) - c.initial
			}
			c.initial = int64(v)
		}
	}
	c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	c.pumpAll()
}
