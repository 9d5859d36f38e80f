package autobahn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Conn is one end of an HTTP/2 connection that carries nothing but sockets,
// written for the fuzzer: DATA frames are as long as the writes are, if the peer
// allows it, and nothing is delayed or merged.
type h2Conn struct {
	nc     net.Conn
	fr     *http2.Framer
	client bool

	// request, of a server, is called for each request, on a goroutine of its
	// own.
	request func(s *h2Stream, fields []hpack.HeaderField)

	// control holds what the reading side has to send. A goroutine of its own
	// sends it, so that reading never waits for writing. It ends when done is
	// closed, as the connection is.
	control chan func() error
	done    chan struct{}

	wmu  sync.Mutex // guards writing
	bw   *bufio.Writer
	henc *hpack.Encoder
	hbuf bytes.Buffer

	mu       sync.Mutex
	changed  *sync.Cond // of anything below
	streams  map[uint32]*h2Stream
	nextID   uint32
	window   int64 // octets of DATA that may be sent
	initial  int64 // the peer's SETTINGS_INITIAL_WINDOW_SIZE
	maxFrame int
	settled  bool // the peer's SETTINGS are here
	connect  bool // it takes extended CONNECT
	unread   int  // octets received for which no credit was given back
	err      error
}

// What the fuzzer is willing to receive.
const (
	h2StreamWindow = 1 << 20
	h2ConnWindow   = 16 << 20
)

// newH2Conn does the fuzzer's part of the connection preface and starts reading.
func newH2Conn(nc net.Conn, client bool, request func(*h2Stream, []hpack.HeaderField)) (*h2Conn, error) {
	c := &h2Conn{
		nc: nc, client: client, request: request,
		control: make(chan func() error, 1<<14), done: make(chan struct{}),
		bw:      bufio.NewWriterSize(nc, 64<<10),
		streams: make(map[uint32]*h2Stream), nextID: 1,
		window: 65535, initial: 65535, maxFrame: 16384,
	}
	c.changed = sync.NewCond(&c.mu)
	c.henc = hpack.NewEncoder(&c.hbuf)
	c.fr = http2.NewFramer(c.bw, bufio.NewReaderSize(nc, 64<<10))
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: h2StreamWindow}}
	if client {
		io.WriteString(c.bw, http2.ClientPreface)
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		if err := c.readPreface(); err != nil {
			return nil, err
		}
	}
	err := errors.Join(c.fr.WriteSettings(settings...), c.fr.WriteWindowUpdate(0, h2ConnWindow-65535), c.bw.Flush())
	if err != nil {
		nc.Close()
		return nil, err
	}
	go c.read()
	go c.sendControl()
	return c, nil
}

func (c *h2Conn) readPreface() error {
	p := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.nc, p); err != nil || string(p) != http2.ClientPreface {
		c.nc.Close()
		return fmt.Errorf("no client preface: %w", err)
	}
	return nil
}

// fail ends the connection and everything on it.
func (c *h2Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	for _, s := range c.streams {
		s.fail(err)
	}
	c.nc.Close()
	c.changed.Broadcast()
}

// queue has the control goroutine write something.
func (c *h2Conn) queue(write func() error) {
	select {
	case c.control <- write:
	case <-c.done:
	default:
		go c.fail(errors.New("the peer makes too much work"))
	}
}

func (c *h2Conn) sendControl() {
	for {
		select {
		case write := <-c.control:
			if err := c.write(write); err != nil {
				c.fail(err)
			}
		case <-c.done:
			return
		}
	}
}

// write calls f, which writes frames, and flushes.
func (c *h2Conn) write(f func() error) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := f(); err != nil {
		return err
	}
	return c.bw.Flush()
}

// writeHead writes a header block. The caller is within write.
func (c *h2Conn) writeHead(id uint32, fields [][2]string) error {
	c.hbuf.Reset()
	for _, f := range fields {
		c.henc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.hbuf.Bytes(), EndHeaders: true})
}

// read is the goroutine that reads the connection. It ends with it.
func (c *h2Conn) read() {
	for {
		f, err := c.fr.ReadFrame()
		if err == nil {
			err = c.process(f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *h2Conn) process(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	s := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if data := f.Data; !f.IsAck() {
			c.queue(func() error { return c.fr.WritePing(true, data) })
		}
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			return fmt.Errorf("GOAWAY %v %q", f.ErrCode, f.DebugData())
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		} else if s != nil {
			s.window += int64(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		c.headers(s, f)
	case *http2.DataFrame:
		c.data(s, f)
	case *http2.RSTStreamFrame:
		if s != nil {
			s.fail(fmt.Errorf("RST_STREAM %v", f.ErrCode))
		}
	}
	return nil
}

func (c *h2Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			for _, stream := range c.streams {
				stream.window += int64(s.Val) - c.initial
			}
			c.initial = int64(s.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(s.Val)
		case http2.SettingEnableConnectProtocol:
			c.connect = s.Val == 1
		}
		return s.Valid()
	})
	c.settled = true
	c.queue(c.fr.WriteSettingsAck)
	return err
}

func (c *h2Conn) headers(s *h2Stream, f *http2.MetaHeadersFrame) {
	switch {
	case s != nil && c.client && s.head == nil:
		s.head = f.Fields
		s.ended = f.StreamEnded()
	case s == nil && !c.client:
		s = c.add(f.StreamID)
		s.ended = f.StreamEnded()
		go c.request(s, f.Fields)
	case s != nil: // trailers have no place in a socket (RFC 8441 §5)
		s.fail(errors.New("HEADERS within a socket"))
	}
}

func (c *h2Conn) data(s *h2Stream, f *http2.DataFrame) {
	if s != nil {
		s.in.Write(f.Data())
		s.padding(int(f.Length) - len(f.Data()))
		s.ended = s.ended || f.StreamEnded()
	}
	c.unread += int(f.Length)
	if n := c.unread; n > h2ConnWindow/4 {
		c.unread = 0
		c.queue(func() error { return c.fr.WriteWindowUpdate(0, uint32(n)) })
	}
}

// add makes a stream. The caller holds mu.
func (c *h2Conn) add(id uint32) *h2Stream {
	s := &h2Stream{c: c, id: id, window: c.initial}
	c.streams[id] = s
	return s
}
