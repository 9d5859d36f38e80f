package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Stream is stream 1 of an HTTP/2 connection that is played by hand: one
// socket, as client or as server, with windows that never close for the peer
// and the peer's windows obeyed.
type h2Stream struct {
	fr      *http2.Framer
	greeted chan bool   // receives a value when the other side's SETTINGS have come
	opened  chan string // receives :status or :protocol when its HEADERS come

	in   *wstest.PipeStream // what the peer's DATA is written to
	read *wstest.PipeStream // the other end of it

	mu    sync.Mutex
	moved sync.Cond
	conn  int // the peer's windows
	strm  int
	size  int // its SETTINGS_INITIAL_WINDOW_SIZE
	ended bool

	finished bool  // END_STREAM has come
	lost     error // how the connection ended
}

const (
	hugeWindow = 1<<31 - 1

	settingEnableConnect = http2.SettingID(8) // RFC 8441 §3
)

func newH2Stream(nc net.Conn) *h2Stream {
	s := &h2Stream{fr: http2.NewFramer(nc, nc), greeted: make(chan bool, 1), opened: make(chan string, 1), conn: 65535, strm: 65535, size: 65535}
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.moved.L = &s.mu
	s.in, s.read = wstest.Pipe(wstest.PipeOptions{Buffer: 1 << 30})
	return s
}

// greet sends SETTINGS and opens the connection's window.
func (s *h2Stream) greet() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fr.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: hugeWindow},
		http2.Setting{ID: settingEnableConnect, Val: 1},
	); err != nil {
		return err
	}
	return s.fr.WriteWindowUpdate(0, hugeWindow-65535)
}

// receive reads frames until the connection ends.
func (s *h2Stream) receive() {
	defer s.close()
	for {
		f, err := s.fr.ReadFrame()
		if err != nil {
			s.locked(func() { s.lost = err })
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			s.settings(f)
		case *http2.PingFrame:
			if !f.IsAck() {
				s.locked(func() { s.fr.WritePing(true, f.Data) })
			}
		case *http2.WindowUpdateFrame:
			s.locked(func() {
				if f.StreamID == 0 {
					s.conn += int(f.Increment)
				} else {
					s.strm += int(f.Increment)
				}
			})
		case *http2.MetaHeadersFrame:
			if v := f.PseudoValue("status"); v != "" {
				s.opened <- v
			} else {
				s.opened <- f.PseudoValue("protocol")
			}
		case *http2.DataFrame:
			s.in.Write(f.Data())
			if f.StreamEnded() {
				s.locked(func() { s.finished = true })
				s.in.CloseWrite()
			}
		case *http2.RSTStreamFrame:
			s.in.ResetWrite(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode})
			s.close()
		}
	}
}

func (s *h2Stream) settings(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	s.locked(func() {
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			s.strm += int(v) - s.size
			s.size = int(v)
		}
		s.fr.WriteSettingsAck()
	})
	select {
	case s.greeted <- true:
	default:
	}
}

func (s *h2Stream) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.moved.Broadcast()
}

// close ends what the connection or a reset has ended.
func (s *h2Stream) close() {
	s.in.CloseWrite()
	s.locked(func() { s.ended = true })
}

func (s *h2Stream) headers(end bool, fields ...string) error {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
}

// Read returns io.EOF behind END_STREAM only: a stream that ends with its
// connection was cut.
func (s *h2Stream) Read(p []byte) (int, error) {
	n, err := s.read.Read(p)
	if err == io.EOF {
		s.locked(func() {
			if !s.finished && s.lost != nil {
				err = fmt.Errorf("connection lost: %w", s.lost)
			}
		})
	}
	return n, err
}

func (s *h2Stream) SetReadDeadline(t time.Time) error { return s.read.SetReadDeadline(t) }

// Write sends p in one DATA frame for each piece that the windows have room for.
func (s *h2Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		for s.conn <= 0 || s.strm <= 0 {
			if s.ended {
				return n, net.ErrClosed
			}
			s.moved.Wait()
		}
		k := min(len(p)-n, s.conn, s.strm, 16384)
		if err := s.fr.WriteData(1, false, p[n:n+k]); err != nil {
			return n, err
		}
		n, s.conn, s.strm = n+k, s.conn-k, s.strm-k
	}
	return n, nil
}

func (s *h2Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fr.WriteData(1, true, nil)
}

func (s *h2Stream) Abort() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fr.WriteRSTStream(1, http2.ErrCodeCancel)
}

func alpnH2(overTLS bool) string {
	if overTLS {
		return "h2"
	}
	return ""
}

func rawDialH2(overTLS bool) func(testing.TB, string) rawStream {
	return func(t testing.TB, authority string) rawStream {
		t.Helper()
		nc := dialTCP(t, authority, alpnH2(overTLS))
		s := newH2Stream(nc)
		_, err := nc.Write([]byte(http2.ClientPreface))
		require.NoError(t, err)
		require.NoError(t, s.greet())
		done := begin(func() bool { s.receive(); return true })
		t.Cleanup(func() {
			nc.Close()
			<-done
		})
		scheme := "http"
		if overTLS {
			scheme = "https"
		}
		fields := []string{
			":method", "CONNECT", ":protocol", "websocket", ":scheme", scheme, ":authority", authority,
			":path", "/socket", "sec-websocket-version", "13",
		}
		if o := offer(t); o != "" {
			fields = append(fields, "sec-websocket-extensions", o)
		}
		<-s.greeted
		require.NoError(t, s.headers(false, fields...))
		require.Equal(t, "200", <-s.opened)
		return s
	}
}

func rawListenH2(overTLS bool) func(testing.TB, func(rawStream)) string {
	return func(t testing.TB, f func(rawStream)) string {
		return acceptTCP(t, alpnH2(overTLS), func(nc net.Conn) {
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := io.ReadFull(nc, preface); err != nil {
				return
			}
			s := newH2Stream(nc)
			if s.greet() != nil {
				return
			}
			done := begin(func() bool { s.receive(); return true })
			select {
			case <-s.opened:
				fields := []string{":status", "200"}
				if o := offer(t); o != "" {
					fields = append(fields, "sec-websocket-extensions", o)
				}
				s.locked(func() { s.fr.WriteGoAway(1, http2.ErrCodeNo, nil) }) // the next socket gets a connection of its own
				s.headers(false, fields...)
				f(s)
			case <-done:
				return
			}
			nc.Close()
			<-done
		})
	}
}
