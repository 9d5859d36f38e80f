package h3connect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
)

// A scriptedStream is a quicStream that does as it is told, and writes down what
// is done to it.
type scriptedStream struct {
	reads  []func(p []byte) (int, error)
	takes  []int // how many bytes each write takes before its deadline; then all
	narrow int   // if not zero: larger writes take nothing before their deadline
	out    bytes.Buffer
	writes int
	log    []string
	onOut  func() // called within Write
}

func (s *scriptedStream) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	read := s.reads[0]
	s.reads = s.reads[1:]
	return read(p)
}

func (s *scriptedStream) Write(p []byte) (int, error) {
	s.writes++
	if s.onOut != nil {
		s.onOut()
	}
	if s.narrow > 0 && len(p) > s.narrow {
		return 0, os.ErrDeadlineExceeded
	}
	if len(s.takes) > 0 {
		n := s.takes[0]
		s.takes = s.takes[1:]
		if n < len(p) {
			s.out.Write(p[:n])
			return n, os.ErrDeadlineExceeded
		}
	}
	s.out.Write(p)
	return len(p), nil
}

func (s *scriptedStream) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *scriptedStream) Close() error                       { s.note("FIN"); return nil }
func (s *scriptedStream) CancelRead(c quic.StreamErrorCode)  { s.note("STOP %#x", uint64(c)) }
func (s *scriptedStream) CancelWrite(c quic.StreamErrorCode) { s.note("RESET %#x", uint64(c)) }
func (s *scriptedStream) SetReadDeadline(time.Time) error    { return nil }
func (s *scriptedStream) SetWriteDeadline(time.Time) error   { return nil }

// gives returns a read that returns b and err.
func gives(b []byte, err error) func([]byte) (int, error) {
	return func(p []byte) (int, error) { return copy(p, b), err }
}

func remoteReset(code http3.ErrCode) error {
	return &quic.StreamError{ErrorCode: quic.StreamErrorCode(code), Remote: true}
}

func TestH3_03DataTogetherWithEnd(t *testing.T) {
	s := &stream{qs: &scriptedStream{reads: []func([]byte) (int, error){gives(dataFrame("hello"), io.EOF)}}}
	p := make([]byte, 100)
	n, err := s.Read(p)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p[:n]))
	_, err = s.Read(p)
	require.Equal(t, io.EOF, err)
	_, err = s.Read(p)
	require.Equal(t, io.EOF, err, "the end is for ever")
}

func TestH3_03DataTogetherWithReset(t *testing.T) {
	s := &stream{qs: &scriptedStream{reads: []func([]byte) (int, error){
		gives(dataFrame("hello"), remoteReset(http3.ErrCodeInternalError)),
	}}}
	p := make([]byte, 100)
	n, err := s.Read(p)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p[:n]))
	_, err = s.Read(p)
	se, ok := errors.AsType[*StreamError](err)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeInternalError, se.Code)
	require.True(t, se.Remote)
}

func TestStreamReadsOnAfterTimeout(t *testing.T) {
	f := dataFrame("hello")
	s := &stream{qs: &scriptedStream{reads: []func([]byte) (int, error){
		gives(f[:1], os.ErrDeadlineExceeded), // half a frame header
		gives(nil, os.ErrDeadlineExceeded),
		gives(f[1:4], os.ErrDeadlineExceeded),
		gives(f[4:], nil),
	}}}
	p := make([]byte, 100)
	for range 2 {
		n, err := s.Read(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, n)
	}
	n, err := s.Read(p)
	require.NoError(t, err, "what came with the timeout is not lost")
	require.Equal(t, "he", string(p[:n]))
	n, err = s.Read(p)
	require.NoError(t, err)
	require.Equal(t, "llo", string(p[:n]))
}

func TestStreamReadOfNothing(t *testing.T) {
	n, err := (&stream{qs: new(scriptedStream)}).Read(nil)
	require.Zero(t, n)
	require.NoError(t, err)
}

// TestP40EndWithinFrame: FIN inside a frame is a connection error, and never the
// orderly end.
func TestP40EndWithinFrame(t *testing.T) {
	for _, in := range [][]byte{dataFrame("hello")[:1], dataFrame("hello")[:3], greaseFrame("xx")[:3]} {
		var failed []http3.ErrCode
		s := &stream{
			qs:   &scriptedStream{reads: []func([]byte) (int, error){gives(in, io.EOF)}},
			link: link{fail: func(code http3.ErrCode, _ string) { failed = append(failed, code) }},
		}
		_, err := io.ReadAll(s)
		ce, ok := errors.AsType[*ConnError](err)
		require.True(t, ok, "%v", err)
		require.EqualValues(t, http3.ErrCodeFrameError, ce.Code)
		require.False(t, ce.Remote)
		require.Equal(t, []http3.ErrCode{http3.ErrCodeFrameError}, failed)
	}
}

func TestViolationWithoutConnectionResetsStream(t *testing.T) {
	qs := &scriptedStream{reads: []func([]byte) (int, error){gives(settingsFrame(), nil)}}
	s := &stream{qs: qs}
	_, err := s.Read(make([]byte, 100))
	se, ok := errors.AsType[*StreamError](err)
	require.True(t, ok)
	require.EqualValues(t, http3.ErrCodeFrameUnexpected, se.Code)
	require.Equal(t, []string{"RESET 0x105", "STOP 0x105"}, qs.log)
	_, err = s.Write([]byte("x"))
	require.ErrorIs(t, err, se, "writing fails for the same reason")
}

func TestWriteFramesInOneCall(t *testing.T) {
	for _, n := range []int{1, 63, 64, 4000, inlined} {
		qs := new(scriptedStream)
		p := bytes.Repeat([]byte{'x'}, n)
		m, err := (&stream{qs: qs}).Write(p)
		require.NoError(t, err)
		require.Equal(t, n, m)
		require.Equal(t, 1, qs.writes, "frame header and payload go together")
		require.Equal(t, dataFrame(string(p)), qs.out.Bytes())
	}
	qs := new(scriptedStream)
	n, err := (&stream{qs: qs}).Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, qs.writes, "no empty DATA frame (XC-21)")
}

func TestWriteBuffersMakesOneFrame(t *testing.T) {
	for _, c := range []struct{ header, payload int }{{2, 0}, {0, 3}, {2, 3}, {2, inlined}, {14, 1 << 20}, {inlined + 1, 10}} {
		qs := new(scriptedStream)
		h, p := bytes.Repeat([]byte{'h'}, c.header), bytes.Repeat([]byte{'p'}, c.payload)
		n, err := (&stream{qs: qs}).WriteBuffers(h, p)
		require.NoError(t, err)
		require.EqualValues(t, len(h)+len(p), n)
		require.True(t, bytes.Equal(dataFrame(string(h)+string(p)), qs.out.Bytes()))
		require.LessOrEqual(t, qs.writes, 3)
	}
}

// TestInterruptedWrites: wherever a deadline cuts a frame, even within its own
// header, the write has taken something, and nothing can follow. A deadline that
// passes with the last byte has cut nothing.
func TestInterruptedWrites(t *testing.T) {
	const msg = "the message"
	f := dataFrame(msg)
	for cut := range len(f) {
		qs := &scriptedStream{takes: []int{cut}}
		s := &stream{qs: qs}
		n, err := s.WriteBuffers([]byte(msg[:4]), []byte(msg[4:]))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, string(f[:cut]), qs.out.String())
		if cut == 0 {
			require.Zero(t, n)
			continue
		}
		require.EqualValues(t, max(1, cut-2), n)
		_, err = s.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Len(t, qs.out.Bytes(), cut)
	}
	late := lateStream{new(scriptedStream)}
	n, err := (&stream{qs: late}).Write([]byte(msg))
	require.NoError(t, err)
	require.Equal(t, len(msg), n)
	require.Equal(t, f, late.out.Bytes())
}

// A lateStream takes everything, and its deadline has passed all the same, as
// quic-go has it when a packet takes what a write waits for.
type lateStream struct{ *scriptedStream }

func (s lateStream) Write(p []byte) (int, error) {
	n, _ := s.scriptedStream.Write(p)
	return n, os.ErrDeadlineExceeded
}

func TestNothingTakenIsNothingBegun(t *testing.T) {
	qs := &scriptedStream{takes: []int{0}}
	s := &stream{qs: qs}
	n, err := s.Write([]byte("hello"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, n)
	require.NoError(t, s.CloseWrite())
	require.Equal(t, []string{"FIN"}, qs.log)
}

// TestNoFrameHeaderByItself: quic-go takes a few bytes at any time. If it took a
// DATA header for a message that it has no room for, the Close frame that comes
// next would be a piece of that frame, and lost with it.
func TestNoFrameHeaderByItself(t *testing.T) {
	for _, size := range []int{inlined, inlined + 1, 16 << 10, 1 << 20} {
		for name, write := range map[string]func(*stream, []byte) (int64, error){
			"Write":        func(s *stream, p []byte) (int64, error) { n, err := s.Write(p); return int64(n), err },
			"WriteBuffers": func(s *stream, p []byte) (int64, error) { return s.WriteBuffers(p[:14], p[14:]) },
		} {
			qs := &scriptedStream{narrow: 1000}
			s := &stream{qs: qs}
			n, err := write(s, make([]byte, size))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Zero(t, n, "%s of %d", name, size)
			_, err = s.Write([]byte("close"))
			require.NoError(t, err)
			require.NoError(t, s.CloseWrite())
			require.Equal(t, dataFrame("close"), qs.out.Bytes())
			require.Equal(t, []string{"FIN"}, qs.log)
		}
	}
}

// TestNoFINWithinFrame: a frame that a write has left unfinished is not ended by
// FIN, which would cost the connection.
func TestNoFINWithinFrame(t *testing.T) {
	for _, cut := range []int{1, 2, 4} {
		qs := &scriptedStream{takes: []int{cut}}
		s := &stream{qs: qs}
		_, err := s.Write([]byte("hello"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, s.CloseWrite())
		require.Equal(t, []string{"RESET 0x10c"}, qs.log)
	}
}

func TestStreamEnds(t *testing.T) {
	const closeWrite, closing, abort, readEOF, readReset = "CloseWrite", "Close", "Abort", "EOF", "reset"
	for _, c := range []struct {
		name  string
		steps []string
		log   []string
	}{
		{"FIN once", []string{closeWrite, closeWrite}, []string{"FIN"}},
		{"P34 Close sends FIN and stops the peer", []string{closing}, []string{"FIN", "STOP 0x10c"}},
		{"Close after CloseWrite", []string{closeWrite, readEOF, closing}, []string{"FIN", "STOP 0x10c"}},
		{"P35 P42 Abort resets both ways", []string{abort}, []string{"RESET 0x10c", "STOP 0x10c"}},
		{"Abort after CloseWrite", []string{closeWrite, abort}, []string{"FIN", "RESET 0x10c", "STOP 0x10c"}},
		{"Abort when all is over resets nothing", []string{closeWrite, readEOF, abort}, []string{"FIN", "STOP 0x10c"}},
		{"Abort after Close", []string{closing, abort, abort}, []string{"FIN", "STOP 0x10c"}},
		{"Close after Abort", []string{abort, closing, closeWrite}, []string{"RESET 0x10c", "STOP 0x10c"}},
		{"C5 a reset is answered with a reset", []string{readReset, closing}, []string{"RESET 0x10c", "STOP 0x10c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			qs := new(scriptedStream)
			released := 0
			s := &stream{qs: qs, link: link{released: func() { released++ }}}
			ends := 0
			for _, step := range c.steps {
				switch step {
				case closeWrite:
					require.NoError(t, s.CloseWrite())
				case closing:
					require.NoError(t, s.Close())
					ends = 1
				case abort:
					require.NoError(t, s.Abort())
					ends = 1
				case readEOF:
					qs.reads = append(qs.reads, gives(nil, io.EOF))
					_, err := s.Read(make([]byte, 1))
					require.Equal(t, io.EOF, err)
				case readReset:
					qs.reads = append(qs.reads, gives(nil, remoteReset(http3.ErrCodeRequestCanceled)))
					_, err := s.Read(make([]byte, 1))
					require.Error(t, err)
				}
			}
			require.Equal(t, c.log, qs.log)
			require.Equal(t, ends, released, "released once")
			_, err := s.Write([]byte("x"))
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

func TestCloseWriteDuringWrite(t *testing.T) {
	for name, end := range map[string]func(*stream) error{"CloseWrite": (*stream).CloseWrite, "Close": (*stream).Close} {
		qs := new(scriptedStream)
		s := &stream{qs: qs}
		qs.onOut = func() {
			require.NoError(t, end(s))
			require.NotContains(t, qs.log, "FIN", "not in the middle of a write")
		}
		_, err := s.Write([]byte("hello"))
		require.NoError(t, err)
		require.Contains(t, qs.log, "FIN", name)
		_, err = s.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

func TestStreamIdentity(t *testing.T) {
	l := &net.UDPAddr{Port: 1}
	r := &net.UDPAddr{Port: 2}
	s := &stream{link: link{local: l, remote: r}}
	assert.Equal(t, websocket.HTTP3, s.Bootstrap())
	assert.Equal(t, l, s.LocalAddr())
	assert.Equal(t, r, s.RemoteAddr())
	assert.Nil(t, s.TLS())
}
