package h1upgrade

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tlsrecord"
	"github.com/wsmux/websocket/internal/wstest"
)

// pairs makes both ends of each kind of connection.
var pairs = map[string]func(t testing.TB) (server, client net.Conn){
	"tcp":  tcpPair,
	"unix": unixPair,
	"tls":  func(t testing.TB) (server, client net.Conn) { return tlsPair(t, tcpPair) },
	"tls over unix": func(t testing.TB) (server, client net.Conn) {
		return tlsPair(t, unixPair)
	},
	"wrapped tcp": func(t testing.TB) (server, client net.Conn) {
		s, c := tcpPair(t)
		return halfClosing{s, s.(*net.TCPConn)}, c
	},
}

// A halfClosing hides all of a connection but its half-close.
type halfClosing struct {
	net.Conn
	tcp *net.TCPConn
}

func (c halfClosing) CloseWrite() error { return c.tcp.CloseWrite() }

func tcpPair(t testing.TB) (server, client net.Conn) {
	return pairOn(t, loopback(t))
}

func unixPair(t testing.TB) (server, client net.Conn) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	return pairOn(t, l)
}

func pairOn(t testing.TB, l net.Listener) (server, client net.Conn) {
	defer l.Close()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	client.SetDeadline(time.Now().Add(patience))
	server.SetDeadline(time.Now().Add(patience))
	return server, client
}

func tlsPair(t testing.TB, under func(t testing.TB) (server, client net.Conn)) (server, client net.Conn) {
	s, c := under(t)
	return handshaken(t, s, c)
}

// handshaken puts TLS over a pair. It works over net.Pipe too, which has no
// buffers, and in a synctest bubble.
func handshaken(t testing.TB, s, c net.Conn) (server, client *tls.Conn) {
	t.Helper()
	forServer, forClient := wstest.Certificates()
	forClient.ServerName = "localhost"
	server, client = tls.Server(s, forServer), tls.Client(c, forClient)
	done := make(chan error, 1)
	go func() {
		// Reading this byte the client also reads the tickets before it,
		// which would be unread input when the test closes.
		_, err := server.Write([]byte{1})
		done <- err
	}()
	_, err := client.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, <-done)
	return server, client
}

func streamOver(c net.Conn) *stream {
	if tc, ok := c.(*tls.Conn); ok {
		state := tc.ConnectionState()
		return newStream(c, &state)
	}
	return newStream(c, nil)
}

func TestStreamCarriesBytes(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s := streamOver(server)
			_, isTLS := server.(*tls.Conn)
			assert.Equal(t, isTLS, s.TLS() != nil)
			assert.Equal(t, websocket.HTTP1, s.Bootstrap())
			assert.Equal(t, server.LocalAddr(), s.LocalAddr())
			assert.Equal(t, server.RemoteAddr(), s.RemoteAddr())

			n, err := s.Write([]byte("one"))
			require.NoError(t, err)
			require.Equal(t, 3, n)
			var want []byte
			want = append(want, "one"...)
			done := make(chan error, 1)
			go func() { // ends when everything is written, or by the deadline
				for _, size := range []int{0, 1, tlsrecord.Size - 2, tlsrecord.Size - 1, tlsrecord.Size, 5 * tlsrecord.Size} {
					n, err := s.WriteBuffers([]byte("h"), bytes.Repeat([]byte("p"), size))
					if err != nil || n != int64(size)+1 {
						done <- err
						return
					}
				}
				done <- s.CloseWrite()
			}()
			for _, size := range []int{0, 1, tlsrecord.Size - 2, tlsrecord.Size - 1, tlsrecord.Size, 5 * tlsrecord.Size} {
				want = append(append(want, 'h'), bytes.Repeat([]byte("p"), size)...)
			}
			got, err := io.ReadAll(client)
			require.NoError(t, err, "an orderly end, announced on TLS too")
			require.NoError(t, <-done)
			require.True(t, bytes.Equal(want, got))

			_, err = io.WriteString(client, "back")
			require.NoError(t, err)
			buf := make([]byte, 4)
			_, err = io.ReadFull(s, buf)
			require.NoError(t, err, "CloseWrite ends one direction")
			assert.Equal(t, "back", string(buf))
			assert.NoError(t, s.CloseWrite(), "again it does nothing")

			require.NoError(t, newStream(client, nil).CloseWrite())
			_, err = s.Read(buf)
			assert.Equal(t, io.EOF, err)
			require.NoError(t, s.Close())
			assert.NoError(t, s.Close())
			assert.NoError(t, s.Abort(), "after Close it does nothing")
			_, err = s.Read(buf)
			assert.Error(t, err)
		})
	}
}

// TestCloseWriteEndsTCPUnderTLS: crypto/tls leaves that out.
func TestCloseWriteEndsTCPUnderTLS(t *testing.T) {
	rawServer, rawClient := tcpPair(t)
	server, client := handshaken(t, rawServer, rawClient)
	s := streamOver(server)
	require.NoError(t, s.CloseWrite())
	_, err := client.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "close_notify")
	_, err = rawClient.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "FIN")
}

func TestCloseDeliversAndAnnouncesTheEnd(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s := streamOver(server)
			_, err := s.Write([]byte("last words"))
			require.NoError(t, err)
			require.NoError(t, s.Close())
			got, err := io.ReadAll(client)
			require.NoError(t, err)
			assert.Equal(t, "last words", string(got))
		})
	}
}

func TestAbortResets(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s := streamOver(server)
			blocked := make(chan error, 1)
			go func() { _, err := s.Read(make([]byte, 1)); blocked <- err }()
			require.NoError(t, s.Abort())
			require.NoError(t, s.Abort())
			require.NoError(t, s.Close(), "after Abort it does nothing")
			require.NoError(t, s.CloseWrite())
			assert.Error(t, <-blocked, "a blocked call returns")
			_, err := s.Write([]byte("x"))
			assert.Error(t, err)
			_, err = client.Read(make([]byte, 1))
			switch name {
			case "tcp", "tls":
				assert.ErrorIs(t, err, syscall.ECONNRESET)
			default: // a socket of the Unix domain or hidden from us: no reset
				assert.Error(t, err)
			}
		})
	}
}

func TestAbortUnblocksWrite(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			server, _ := pair(t)
			s := streamOver(server)
			blocked := make(chan error, 1)
			go func() { // fills all buffers, as nobody reads
				for {
					if _, err := s.WriteBuffers([]byte("header"), make([]byte, 1<<20)); err != nil {
						blocked <- err
						return
					}
				}
			}()
			require.NoError(t, s.Abort())
			assert.Error(t, <-blocked)
		})
	}
}

func TestDeadlinesLeaveTheStreamUsable(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s := streamOver(server)
			require.NoError(t, s.SetReadDeadline(time.Unix(1, 0)))
			_, err := s.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, s.SetReadDeadline(time.Now().Add(patience)))
			_, err = client.Write([]byte("x"))
			require.NoError(t, err)
			_, err = s.Read(make([]byte, 1))
			require.NoError(t, err)

			require.NoError(t, s.SetWriteDeadline(time.Unix(1, 0)))
			taken := 0
			if strings.Contains(name, "tls") {
				taken = 1 // a record cannot be withdrawn: the stream is of no use any more
			}
			n, err := s.Write([]byte("x"))
			assert.Equal(t, taken, n)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			n64, err := s.WriteBuffers([]byte("x"), make([]byte, tlsrecord.Size))
			assert.EqualValues(t, taken, n64)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// WS-24: a context that ends while a frame waits for the network to take it ends
// the Conn on TLS, at once and for both ends; otherwise both could wait for ever
// for what can no longer be sent.
func TestWS24CancelledWriteEndsTheConnOnTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // takes nothing unless somebody reads
		server, client := handshaken(t, near, far)
		sc := websocket.New(streamOver(server), websocket.Params{})
		cc := websocket.New(streamOver(client), websocket.Params{Client: true})
		defer sc.CloseNow()
		defer cc.CloseNow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, sc.Write(ctx, websocket.MessageText, []byte("x")), context.DeadlineExceeded)
		for c, remote := range map[*websocket.Conn]bool{sc: false, cc: true} {
			_, _, err := c.Read(t.Context())
			var ce *websocket.CloseError
			require.ErrorAs(t, err, &ce)
			assert.EqualValues(t, 1006, ce.Code)
			assert.Equal(t, remote, ce.Remote)
		}
	})
}

// TestNoHalfClose: on a connection that has no half-close, whoever waits for our
// end must see it, and we see the peer's.
func TestNoHalfClose(t *testing.T) {
	here, there := net.Pipe()
	s := newStream(here, nil)
	require.NoError(t, s.CloseWrite())
	_, err := there.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	_, err = s.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	require.NoError(t, s.Close())
}

// TestDeadPeerDoesNotHoldUpTLS: an alert can block like data. net.Pipe has no
// buffer at all: nothing is taken unless the peer reads.
func TestDeadPeerDoesNotHoldUpTLS(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(s *stream) error
		want time.Duration
	}{
		{"CloseWrite", (*stream).CloseWrite, closeWritePatience},
		{"Close", (*stream).Close, closePatience},
		{"Close behind CloseWrite", func(s *stream) error { s.CloseWrite(); return s.Close() }, closeWritePatience},
		{"Abort", (*stream).Abort, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rawServer, rawClient := net.Pipe()
				server, _ := handshaken(t, rawServer, rawClient)
				s := streamOver(server)
				began := time.Now()
				tc.end(s)
				assert.Equal(t, tc.want, time.Since(began))
				_, err := s.Read(make([]byte, 1))
				assert.Error(t, err)
				require.NoError(t, rawClient.Close())
			})
		})
	}
}

// TestDeadPeerWhileAWriteIsBlocked: crypto/tls sends its alert behind the Write
// that is blocked.
func TestDeadPeerWhileAWriteIsBlocked(t *testing.T) {
	wstest.NoLeaks(t)
	for name, end := range map[string]func(s *stream) error{"Close": (*stream).Close, "Abort": (*stream).Abort} {
		t.Run(name, func(t *testing.T) {
			rawServer, rawClient := net.Pipe()
			server, _ := handshaken(t, rawServer, rawClient)
			defer rawClient.Close()
			s := streamOver(server)
			blocked := make(chan error, 1)
			go func() { _, err := s.Write(make([]byte, 10)); blocked <- err }()
			_, err := rawClient.Read(make([]byte, 1)) // it is being written
			require.NoError(t, err)
			began := time.Now()
			end(s)
			assert.Less(t, time.Since(began), closeWritePatience)
			assert.Error(t, <-blocked)
		})
	}
}

// A writeCounter counts the calls, and so the system calls.
type writeCounter struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (c *writeCounter) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// TestHeaderAddsNoRecord: over TLS and other wrappers, header and payload go out as
// one, or by as many records and writes as if they did.
func TestHeaderAddsNoRecord(t *testing.T) {
	header := make([]byte, 10)

	for name, pair := range map[string]func(t testing.TB) (server, client net.Conn){"tcp": tcpPair, "unix": unixPair} {
		server, _ := pair(t)
		assert.True(t, newStream(server, nil).vectored, name)
	}
	t.Run("wrapper", func(t *testing.T) {
		server, client := tcpPair(t)
		go io.Copy(io.Discard, client)
		c := &writeCounter{Conn: server}
		_, err := newStream(c, nil).WriteBuffers(header, make([]byte, 1000))
		require.NoError(t, err)
		assert.Equal(t, []int{1010}, c.sizes)
	})
	t.Run("TLS", func(t *testing.T) {
		rawServer, rawClient := tcpPair(t)
		c := &writeCounter{Conn: rawServer}
		server, client := handshaken(t, c, rawClient)
		go io.Copy(io.Discard, client)
		s := streamOver(server)
		// crypto/tls begins with small records; afterwards they are full.
		_, err := s.Write(make([]byte, 256<<10))
		require.NoError(t, err)
		c.sizes = nil
		_, err = s.Write(make([]byte, tlsrecord.Size))
		require.NoError(t, err)
		overhead := c.sizes[0] - tlsrecord.Size
		for _, tc := range []struct {
			payload int
			records []int // without overhead
		}{
			{1, []int{11}},
			{100, []int{110}},
			{tlsrecord.Size - 10, []int{tlsrecord.Size}},
			{tlsrecord.Size - 9, []int{10, tlsrecord.Size - 9}},
			{tlsrecord.Size, []int{10, tlsrecord.Size}},
			{tlsrecord.Size + 1, []int{tlsrecord.Size, 11}},
			{2*tlsrecord.Size - 10, []int{tlsrecord.Size, tlsrecord.Size}},
			{2 * tlsrecord.Size, []int{10, tlsrecord.Size, tlsrecord.Size}},
			{2*tlsrecord.Size + 5, []int{tlsrecord.Size, tlsrecord.Size, 15}},
		} {
			c.sizes = nil
			n, err := s.WriteBuffers(header, make([]byte, tc.payload))
			require.NoError(t, err)
			assert.EqualValues(t, len(header)+tc.payload, n)
			for i := range c.sizes {
				c.sizes[i] -= overhead
			}
			assert.Equal(t, tc.records, c.sizes, tc.payload)
		}
	})
}

// TestTheRecordsOfAWriteLeaveTogether: where something beneath TLS can see to it, what is
// written at once is one system call.
func TestTheRecordsOfAWriteLeaveTogether(t *testing.T) {
	rawServer, rawClient := tcpPair(t)
	c := &writeCounter{Conn: rawServer}
	server, client := handshaken(t, tlsrecord.New(c), rawClient)
	go io.Copy(io.Discard, client) // ends with the connection
	s := streamOver(server)
	for _, tc := range []struct{ header, payload, calls int }{
		{10, 1, 1},
		{10, tlsrecord.Size, 1},     // two records, the header's and the payload's
		{10, tlsrecord.Size + 1, 1}, // two, the header in the first
		{10, 64 << 10, 1},
		{0, 64 << 10, 1}, // a further step of a frame
		{0, 128 << 10, 2},
	} {
		c.sizes = nil
		p := make([]byte, tc.payload)
		var err error
		if tc.header > 0 {
			_, err = s.WriteBuffers(make([]byte, tc.header), p)
		} else {
			_, err = s.Write(p)
		}
		require.NoError(t, err)
		assert.Len(t, c.sizes, tc.calls, "%+v", tc)
	}

	// What has not left is an error of the write, and the stream is given up.
	require.NoError(t, rawServer.SetWriteDeadline(time.Now()))
	for _, write := range []func() (int64, error){
		func() (int64, error) { return s.WriteBuffers(make([]byte, 10), make([]byte, tlsrecord.Size)) },
		func() (int64, error) { return s.WriteBuffers(make([]byte, 10), make([]byte, 64<<10)) },
		func() (int64, error) { n, err := s.Write(make([]byte, 64<<10)); return int64(n), err },
	} {
		n, err := write()
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.NotZero(t, n)
	}
}

func TestWhatDialOpensGathersRecords(t *testing.T) {
	server, client := wstest.Certificates()
	addr := serveOn(t, nil, &http.Server{Handler: http.NotFoundHandler(), TLSConfig: server})
	nc, err := connect(t.Context(), &url.URL{Scheme: "https", Host: addr}, &websocket.DialOptions{TLSClientConfig: client})
	require.NoError(t, err)
	defer nc.Close()
	assert.NotNil(t, tlsrecord.Under(nc))
}

func TestWriteBuffersDoesNotAllocate(t *testing.T) {
	server, client := tcpPair(t)
	go io.Copy(io.Discard, client)
	s := streamOver(server)
	header, payload := make([]byte, 4), make([]byte, 20<<10)
	s.WriteBuffers(header, payload)
	assert.Zero(t, testing.AllocsPerRun(50, func() { s.WriteBuffers(header, payload) }))
}

func BenchmarkWriteBuffers(b *testing.B) {
	for _, name := range []string{"tcp", "tls"} {
		for _, size := range []int{17 << 10, 128 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				server, client := pairs[name](b)
				server.SetDeadline(time.Time{})
				client.SetDeadline(time.Time{})
				defer client.Close()
				go io.Copy(io.Discard, client)
				s := streamOver(server)
				defer s.Close()
				header, payload := make([]byte, 10), make([]byte, size)
				b.Run("together", func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						s.WriteBuffers(header, payload)
					}
				})
				b.Run("one by one", func(b *testing.B) {
					b.SetBytes(int64(size))
					for b.Loop() {
						s.Write(header)
						s.Write(payload)
					}
				})
			})
		}
	}
}

// A wrapper is looked into where there is something inside.
func TestWrappersWithoutAnInside(t *testing.T) {
	a, _ := net.Pipe()
	assert.Same(t, a, newStream(endless{a}, nil).base().(endless).Conn)
	assert.Equal(t, hollow{a}, newStream(hollow{a}, nil).base())
}

// An endless wraps itself, a hollow nothing.
type (
	endless struct{ net.Conn }
	hollow  struct{ net.Conn }
)

func (e endless) NetConn() net.Conn { return e }
func (hollow) NetConn() net.Conn    { return nil }
