package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A reading is how a neutral client reads.
type reading string

const (
	atOnce  reading = "drops what it reads"  // as fast as it comes
	hashing reading = "hashes what it reads" // SHA-256, as who checks or keeps the content
	gigabit reading = "reads 1 Gbit/s"       // no faster than a link of that speed
)

const gigabitRate = 125e6 // bytes per second, the overhead of the wire left aside

// What Chromium announces, in bytes.
const (
	chromiumStream = 6 << 20
	chromiumConn   = 15 << 20
)

// A neutral is an HTTP/2 client that is no contender's: the same few lines for
// every server, so that differences are the servers'. As in a browser one
// goroutine reads the connection, does with what comes what is to be done, in the
// order in which it comes, and has the windows of one.
type neutral struct {
	addr    string
	config  *tls.Config
	how     reading
	apart   *neutral // has the sockets, if not nil
	opened  int
	first   sync.Once
	failure error // to connect

	conn    net.Conn
	fr      *http2.Framer // reads for the reader; writes under mu
	hash    hash.Hash     // the reader's
	unsaid  int           // the reader's: bytes read that no WINDOW_UPDATE has told of
	ready   chan struct{} // closed when the server's SETTINGS are there
	ended   chan struct{} // closed when the reader has ended
	err     error         // why, then
	mu      sync.Mutex
	enc     *hpack.Encoder
	block   bytes.Buffer
	last    uint32 // id of the newest stream
	streams map[uint32]*neutralStream
}

// A neutralStream is a download or a socket. Its fields are the reader's.
type neutralStream struct {
	c        *neutral
	id       uint32
	answered chan struct{} // closed when the response's header is there
	unsaid   int           // as neutral.unsaid

	loaded *atomic.Int64 // a download's bytes so far
	socket framing       // nil: it is a download
}

func newNeutral(t task) *neutral {
	c := &neutral{
		addr: t.Addr, config: clientTLS(t, "h2"), how: t.Load.Reading, hash: sha256.New(),
		ready: make(chan struct{}), ended: make(chan struct{}), streams: make(map[uint32]*neutralStream),
	}
	if t.Load.Apart {
		t.Load.Apart = false
		c.apart = newNeutral(t)
	}
	return c
}

// connect connects once.
func (c *neutral) connect(ctx context.Context) error {
	c.first.Do(func() { c.failure = c.dial(ctx) })
	if c.failure != nil {
		return c.failure
	}
	return c.wait(ctx, c.ready)
}

func (c *neutral) dial(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	if c.how == gigabit {
		conn = &pacedConn{Conn: conn, rate: gigabitRate}
	}
	tc := tls.Client(conn, c.config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	c.conn, c.enc = tc, hpack.NewEncoder(&c.block)
	c.fr = http2.NewFramer(tc, bufio.NewReaderSize(tc, 32<<10))
	c.fr.SetReuseFrames()
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := tc.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	if err := c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: chromiumStream}); err != nil {
		return err
	}
	if err := c.fr.WriteWindowUpdate(0, chromiumConn-65535); err != nil {
		return err
	}
	go func() { // the reader; it ends with the connection
		defer close(c.ended)
		for c.err == nil {
			c.err = c.readFrame()
		}
	}()
	return nil
}

// wait waits for one of the reader's channels.
func (c *neutral) wait(ctx context.Context, happened chan struct{}) error {
	select {
	case <-happened:
		return nil
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *neutral) readFrame() error {
	f, err := c.fr.ReadFrame()
	if err != nil {
		return err
	}
	c.mu.Lock()
	st := c.streams[f.Header().StreamID]
	c.mu.Unlock()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.readSettings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.write(func() error { return c.fr.WritePing(true, f.Data) })
		}
	case *http2.MetaHeadersFrame:
		if st == nil || f.PseudoValue("status") != "200" {
			return fmt.Errorf("answered with status %s", f.PseudoValue("status"))
		}
		close(st.answered)
	case *http2.DataFrame:
		if st == nil {
			return errors.New("DATA on no stream of ours")
		}
		return c.readData(st, f.Data())
	case *http2.RSTStreamFrame:
		return fmt.Errorf("a stream was reset: %v", f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server goes away: %v, %q", f.ErrCode, f.DebugData())
	}
	return nil
}

func (c *neutral) readSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	select {
	case <-c.ready:
	default:
		if v, _ := f.Value(http2.SettingEnableConnectProtocol); v != 1 {
			return errors.New("the server takes no extended CONNECT")
		}
		close(c.ready)
	}
	return c.write(c.fr.WriteSettingsAck)
}

// readData takes content of st's, and gives the server credit for it in large
// pieces, as browsers do.
func (c *neutral) readData(st *neutralStream, p []byte) error {
	if st.socket != nil {
		if err := st.socket.feed(p); err != nil {
			return err
		}
	} else {
		if c.how == hashing {
			c.hash.Write(p)
		}
		st.loaded.Add(int64(len(p)))
	}
	c.unsaid += len(p)
	st.unsaid += len(p)
	return c.write(func() error {
		if n := st.unsaid; n >= chromiumStream/2 {
			st.unsaid = 0
			if err := c.fr.WriteWindowUpdate(st.id, uint32(n)); err != nil {
				return err
			}
		}
		if n := c.unsaid; n >= chromiumConn/2 {
			c.unsaid = 0
			return c.fr.WriteWindowUpdate(0, uint32(n))
		}
		return nil
	})
}

func (c *neutral) write(frames func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return frames()
}

// start sends a request and waits for the response's header.
func (c *neutral) start(ctx context.Context, st *neutralStream, end bool, fields ...string) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	st.c, st.answered = c, make(chan struct{})
	err := c.write(func() error {
		c.last += 2
		st.id = c.last - 1
		c.streams[st.id] = st
		c.block.Reset()
		for i := 0; i < len(fields); i += 2 {
			c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return c.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: st.id, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true,
		})
	})
	if err != nil {
		return err
	}
	return c.wait(ctx, st.answered)
}

func (c *neutral) open(ctx context.Context, n, conns int, got received) ([]socket, error) {
	if c.apart != nil {
		return c.apart.open(ctx, n, conns, got)
	}
	first := c.opened
	c.opened += n
	sockets := make([]socket, n)
	for k := range sockets {
		st := &neutralStream{socket: newWSFraming(func(p []byte, last bool) { got(first+k, p, last) })}
		err := c.start(ctx, st, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https",
			":authority", c.addr, ":path", "/", "sec-websocket-version", "13")
		if err != nil {
			return nil, err
		}
		sockets[k] = st
	}
	return sockets, nil
}

func (c *neutral) fetch(context.Context) (io.ReadCloser, error) { return nil, errNoDownloads }

// download implements downloader.
func (c *neutral) download(ctx context.Context, loaded *atomic.Int64) error {
	return c.start(ctx, &neutralStream{loaded: loaded}, true,
		":method", "GET", ":scheme", "https", ":authority", c.addr, ":path", "/bulk")
}

func (st *neutralStream) send(p []byte) error {
	return st.c.write(func() error { return st.c.fr.WriteData(st.id, false, st.socket.append(nil, p)) })
}

// end resets the stream.
func (st *neutralStream) end() error {
	return st.c.write(func() error { return st.c.fr.WriteRSTStream(st.id, http2.ErrCodeCancel) })
}

// A pacedConn is read at no more than a rate, as if it came over a link of that
// speed. What it has not read yet waits in the kernels, where a link would have it
// wait.
type pacedConn struct {
	net.Conn
	rate float64   // bytes per second
	due  time.Time // when what has been read would have come
}

func (c *pacedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	now := time.Now()
	if c.due.Before(now.Add(-pacedBurst)) {
		c.due = now.Add(-pacedBurst)
	}
	c.due = c.due.Add(time.Duration(float64(n) / c.rate * float64(time.Second)))
	if ahead := c.due.Sub(now); ahead > 0 {
		time.Sleep(ahead)
	}
	return n, err
}

// pacedBurst is what a pacedConn makes up for after it has slept too long: timers
// are no more exact than about a millisecond.
const pacedBurst = 2 * time.Millisecond
