package wstest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

// The pipe is buffered, in both directions, and each end knows its place.
func TestPipeCarriesBytesBothWays(t *testing.T) {
	a, b := wstest.Pipe(wstest.PipeOptions{Bootstrap: websocket.HTTP3, TLS: &tls.ConnectionState{Version: tls.VersionTLS13}})
	write(t, a, "to b")
	write(t, b, "to a")
	assert.Equal(t, "to b", read(t, b, 10))
	assert.Equal(t, "to a", read(t, a, 10))
	assert.Equal(t, websocket.HTTP3, a.Bootstrap())
	assert.Equal(t, "a", b.RemoteAddr().String())
	assert.Equal(t, "a", a.LocalAddr().String())
	assert.EqualValues(t, tls.VersionTLS13, b.TLS().Version)
}

// A full buffer blocks the writer, and reading frees it: backpressure. Inside a
// bubble "blocked" is something that a test can see without waiting.
func TestPipeWriteBlocksWhileTheBufferIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := wstest.Pipe(wstest.PipeOptions{Buffer: 4})
		done := false
		go func() {
			write(t, a, "123456")
			done = true
		}()
		synctest.Wait()
		assert.False(t, done)
		assert.Equal(t, 4, b.Readable())
		assert.Equal(t, "12", read(t, b, 2))
		synctest.Wait()
		assert.True(t, done, "room for the last two bytes")
		assert.Equal(t, "3456", read(t, b, 10))
		assert.EqualValues(t, 6, a.WrittenBytes())
	})
}

func TestPipeReadsInPiecesAndEmpty(t *testing.T) {
	a, b := wstest.Pipe(wstest.PipeOptions{ReadChunk: 2, EmptyReads: true})
	write(t, a, "abc")
	buf := make([]byte, 10)
	var got []string
	for range 4 {
		n, err := b.Read(buf)
		require.NoError(t, err)
		got = append(got, string(buf[:n]))
	}
	assert.Equal(t, []string{"", "ab", "", "c"}, got)
}

func TestPipeRecordsWhatEachCallWrote(t *testing.T) {
	a, b := wstest.Pipe(wstest.PipeOptions{Record: true, WriteChunk: 1})
	write(t, a, "one")
	v := a.Vectored().(interface {
		WriteBuffers(header, payload []byte) (int64, error)
	})
	n, err := v.WriteBuffers([]byte("two"), []byte(" parts"))
	require.NoError(t, err)
	assert.EqualValues(t, 9, n)
	assert.Equal(t, "onetwo parts", string(a.Written()))
	assert.Equal(t, [][]byte{[]byte("one"), []byte("two parts")}, a.Writes())
	assert.Equal(t, "onetwo parts", read(t, b, 20))
}

func TestPipeEndsInOrder(t *testing.T) {
	a, b := wstest.Pipe(wstest.PipeOptions{})
	write(t, a, "last")
	require.NoError(t, a.CloseWrite())
	require.NoError(t, a.CloseWrite())
	assert.Equal(t, wstest.EndCloseWrite, a.Ended())
	_, err := a.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	write(t, b, "other direction")
	assert.Equal(t, "other direction", read(t, a, 20))

	require.NoError(t, a.Close())
	require.NoError(t, a.Abort(), "does nothing after Close")
	assert.Equal(t, wstest.EndClose, a.Ended())
	assert.Equal(t, "last", read(t, b, 20), "what was written before Close still goes out")
	_, err = b.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "io.EOF itself, as from net.Conn")
	_, err = b.Write([]byte("x"))
	require.ErrorIs(t, err, wstest.ErrReset)
	_, err = a.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, a.SetReadDeadline(time.Now()), net.ErrClosed)
}

func TestPipeAbortEndsBlockedCalls(t *testing.T) {
	for name, want := range map[string]error{"here": net.ErrClosed, "there": wstest.ErrReset} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := wstest.Pipe(wstest.PipeOptions{Buffer: 1})
				reads, writes := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := a.Read(make([]byte, 1))
					reads <- err
				}()
				go func() {
					_, err := a.Write(make([]byte, 2))
					writes <- err
				}()
				synctest.Wait()
				end := map[string]*wstest.PipeStream{"here": a, "there": b}[name]
				require.NoError(t, end.Abort())
				require.ErrorIs(t, <-reads, want)
				require.ErrorIs(t, <-writes, want)
				assert.Equal(t, wstest.EndAbort, end.Ended())
			})
		})
	}
}

func TestPipeBreaksAsATransportDoes(t *testing.T) {
	lost := errors.New("connection lost")
	a, b := wstest.Pipe(wstest.PipeOptions{})
	a.Break(lost)
	for _, end := range []*wstest.PipeStream{a, b} {
		_, err := end.Read(make([]byte, 1))
		require.ErrorIs(t, err, lost)
		_, err = end.Write(make([]byte, 1))
		require.ErrorIs(t, err, lost)
	}

	a, b = wstest.Pipe(wstest.PipeOptions{})
	write(t, a, "readable")
	a.StopSending(lost)
	_, err := b.Write([]byte("x"))
	require.ErrorIs(t, err, lost)
	assert.Equal(t, "readable", read(t, b, 10))
	a.ResetWrite(lost)
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, lost)
}

// OP-05 for the pipe itself: net.Conn's rules, to the nanosecond.
func TestPipeDeadlinesAreNetConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := wstest.Pipe(wstest.PipeOptions{Buffer: 1})
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		a.SetWriteDeadline(start.Add(2 * time.Second))

		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		assert.True(t, ne.Timeout())

		n, err := a.Write([]byte("123"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 1, n, "the number of bytes taken")
		assert.Equal(t, 2*time.Second, time.Since(start))

		a.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			a.SetReadDeadline(time.Unix(1, 0))
		}()
		_, err = a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "changed while blocked")
		assert.Equal(t, time.Minute+2*time.Second, time.Since(start))

		write(t, b, "!")
		_, err = a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "although there is data")
		a.SetReadDeadline(time.Now().Add(time.Hour))
		assert.Equal(t, "!", read(t, a, 1), "usable once the deadline is moved")
	})
}

// A Peer plays one side by hand. Here both sides are Peers.
func TestPeersTalk(t *testing.T) {
	a, b := wstest.Pipe(wstest.PipeOptions{ReadChunk: 3, Buffer: 128 << 10})
	client, server := wstest.NewClient(a), wstest.NewServer(b)

	client.Send(t, wstest.Text("hel").Fragment(), wstest.Ping("?"), wstest.Continuation("lo"))
	server.Want(t, wstest.Text("hel").Fragment(), "first fragment")
	server.WantFrame(t, frame.Ping, "?", "between fragments")
	server.WantFrame(t, frame.Continuation, "lo", "last fragment")

	server.Send(t, wstest.Binary(make([]byte, 70_000)).Compressed(), wstest.Close(1000, "bye"))
	f := client.Next(t, "64-bit length")
	assert.Equal(t, 64, f.LengthBits)
	assert.True(t, f.RSV1)
	assert.Equal(t, "bye", client.WantClose(t, 1000, "the server closes"))

	client.Send(t, wstest.Close(0, ""))
	server.WantClose(t, 0, "an empty Close")
	client.SendRaw(t, []byte{0x81})
	require.NoError(t, a.CloseWrite())
	_, err := server.TryNext()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "ends inside a frame")
	require.NoError(t, b.CloseWrite())
	client.WantEOF(t, "the server ended")
	require.NoError(t, a.Close())
	_, err = b.Write([]byte("late"))
	require.Error(t, err)
}

func TestPeerSeesEndsAndSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := wstest.Pipe(wstest.PipeOptions{})
		p := wstest.NewServer(b)
		go func() {
			time.Sleep(time.Hour)
			a.Abort()
		}()
		p.WantIdle(t, "nothing happens for an hour")
		_, err := p.TryNext()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		time.Sleep(time.Hour)
		p.WantReset(t, "the other end was aborted")
	})
}

// What a Peer is not given it reports through the testing.TB.
func TestPeerFailsTheTestOtherwise(t *testing.T) {
	for name, want := range map[string]func(testing.TB, *wstest.Peer){
		"WantFrame": func(t testing.TB, p *wstest.Peer) { p.WantFrame(t, frame.Text, "other", "why") },
		"Want":      func(t testing.TB, p *wstest.Peer) { p.Want(t, wstest.Text("text").Fragment(), "why") },
		"WantClose": func(t testing.TB, p *wstest.Peer) { p.WantClose(t, 1000, "why") },
		"WantEOF":   func(t testing.TB, p *wstest.Peer) { p.WantEOF(t, "why") },
		"WantReset": func(t testing.TB, p *wstest.Peer) { p.WantReset(t, "why") },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := wstest.Pipe(wstest.PipeOptions{})
			wstest.NewServer(a).Send(t, wstest.Text("text"))
			require.NoError(t, a.CloseWrite())
			rec := &recorder{TB: t}
			func() {
				defer func() { recover() }()
				want(rec, wstest.NewClient(b))
			}()
			assert.Contains(t, rec.failure, "why")
		})
	}
}

// A recorder is a testing.TB whose Fatalf panics with what it was told.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r.failure)
}

// RFC 6455 §5.7's examples, both ways.
func TestFrameExamplesOfRFC6455(t *testing.T) {
	for _, c := range []struct {
		name   string
		frame  wstest.Frame
		client bool
		want   string
	}{
		{"unmasked text", wstest.Text("Hello"), false, "\x81\x05\x48\x65\x6c\x6c\x6f"},
		{"masked text", wstest.Text("Hello"), true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"first fragment", wstest.Text("Hel").Fragment(), false, "\x01\x03\x48\x65\x6c"},
		{"last fragment", wstest.Continuation("lo"), false, "\x80\x02\x6c\x6f"},
		{"unmasked ping", wstest.Ping("Hello"), false, "\x89\x05\x48\x65\x6c\x6c\x6f"},
		{"masked pong", wstest.Pong("Hello"), true, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"256 bytes", wstest.Binary(make([]byte, 256)), false, "\x82\x7E\x01\x00" + strings.Repeat("\x00", 256)},
		{"64 KiB", wstest.Binary(make([]byte, 65536)), false, "\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("\x00", 65536)},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := c.frame.Append(nil, c.client, 0x37fa213d)
			require.Equal(t, c.want, string(wire))
			got, n, err := wstest.ParseFrame(append(wire, 0xFF), c.client)
			require.NoError(t, err)
			assert.Equal(t, len(wire), n)
			assert.Equal(t, c.frame.String(), got.String())
			for cut := range min(len(wire), 20) {
				_, _, err := wstest.ParseFrame(wire[:cut], c.client)
				require.Error(t, err, "cut after %d bytes", cut)
			}
		})
	}
}

func TestFrameIllegalOnPurpose(t *testing.T) {
	assert.Equal(t, []byte{0x81, 126, 0, 1, 'x'}, wstest.Frame{Opcode: frame.Text, Payload: []byte("x"), LengthBits: 16}.Append(nil, false, 0))
	assert.Equal(t, []byte{0x81, 0x81, 0, 0, 0, 0, 'x'}, wstest.Frame{Opcode: frame.Text, Payload: []byte("x"), WrongMask: true}.Append(nil, false, 0))
	assert.Equal(t, []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, wstest.Frame{Opcode: frame.Binary, Length: 1 << 63}.Append(nil, true, 0x01020304))
	assert.Equal(t, []byte{0xF3, 0}, wstest.Frame{RSV1: true, RSV2: true, RSV3: true, Opcode: 3}.Append(nil, false, 0))
	for _, illegal := range []wstest.Frame{
		{Opcode: frame.Text, Payload: []byte("x"), LengthBits: 16},
		{Opcode: frame.Text, Payload: []byte("x"), LengthBits: 64},
		{Opcode: frame.Text, Payload: []byte("x"), WrongMask: true},
		{Opcode: frame.Text, Length: 1 << 63},
	} {
		_, _, err := wstest.ParseFrame(illegal.Append(nil, false, 1), false)
		require.Error(t, err)
	}
}

func TestCertificatesServeLoopback(t *testing.T) {
	server, client := wstest.Certificates()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	client.ServerName = "127.0.0.1"
	errs := make(chan error)
	go func() { errs <- tls.Server(a, server).Handshake() }()
	require.NoError(t, tls.Client(b, client).Handshake())
	require.NoError(t, <-errs)
}

// NoLeaks notices a goroutine that stays, and only that.
func TestNoLeaksReportsWhatStays(t *testing.T) {
	rec := &cleanups{TB: t}
	wstest.NoLeaks(rec)
	stop := make(chan struct{})
	go func() { <-stop }()
	close(stop)
	rec.run()
	assert.Empty(t, rec.errors)
}

type cleanups struct {
	testing.TB
	fns    []func()
	errors string
}

func (c *cleanups) Cleanup(f func())          { c.fns = append(c.fns, f) }
func (c *cleanups) Errorf(f string, a ...any) { c.errors += fmt.Sprintf(f, a...) }
func (c *cleanups) run() {
	for _, f := range c.fns {
		f()
	}
}

// The same seed gives the same pieces.
func TestFaultsAreRepeatable(t *testing.T) {
	pieces := func(seed uint64) (sizes []int) {
		a, b := wstest.Pipe(wstest.PipeOptions{Record: true})
		defer b.Close()
		c := wstest.Faults{Seed: seed, Slice: 10}.Wrap(a.NetConn())
		_, err := c.Write(make([]byte, 200))
		require.NoError(t, err)
		for _, w := range a.Writes() {
			sizes = append(sizes, len(w))
		}
		return sizes
	}
	assert.Equal(t, pieces(1), pieces(1))
	assert.NotEqual(t, pieces(1), pieces(2))
	assert.Greater(t, len(pieces(1)), 19)
}

func TestFaultsComeAfterTheirByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := func(f wstest.Faults) (net.Conn, *wstest.PipeStream) {
			a, b := wstest.Pipe(wstest.PipeOptions{})
			return f.Wrap(a.NetConn()), b
		}
		c, b := open(wstest.Faults{CutAfter: 3})
		n, err := c.Write([]byte("12345"))
		require.Error(t, err)
		assert.Equal(t, 3, n)
		all, err := io.ReadAll(b)
		require.NoError(t, err, "an orderly end")
		assert.Equal(t, "123", string(all))

		c, b = open(wstest.Faults{StallAfter: 3, Delay: time.Second})
		start := time.Now()
		c.SetWriteDeadline(start.Add(time.Minute))
		n, err = c.Write([]byte("12345"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 3, n)
		assert.Equal(t, time.Minute, time.Since(start))
		assert.Equal(t, 3, b.Readable())

		c.SetWriteDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			c.Close()
		}()
		_, err = c.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestFaultsResetTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	accepted, err := l.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	c := wstest.Faults{ResetAfter: 2}.Wrap(dialed)
	n, err := c.Write([]byte("123"))
	require.Error(t, err)
	assert.Equal(t, 2, n)
	_, err = io.ReadAll(accepted)
	require.Error(t, err, "RST, not FIN")
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	n, err := w.Write([]byte(s))
	assert.NoError(t, err)
	assert.Equal(t, len(s), n)
}

func read(t testing.TB, r io.Reader, n int) string {
	t.Helper()
	buf := make([]byte, n)
	n, err := r.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

// Whichever clock runs where the certificates are made, they are valid by both.
func TestCertificatesAreValidInAndOutOfBubbles(t *testing.T) {
	server, client := wstest.Certificates()
	leaf, err := x509.ParseCertificate(server.Certificates[0].Certificate[0])
	require.NoError(t, err)
	verify := func(now time.Time) {
		t.Helper()
		_, err := leaf.Verify(x509.VerifyOptions{Roots: client.RootCAs, DNSName: "localhost", CurrentTime: now})
		assert.NoError(t, err)
	}
	verify(time.Now())
	synctest.Test(t, func(t *testing.T) { verify(time.Now()) })
}
