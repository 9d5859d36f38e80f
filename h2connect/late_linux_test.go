package h2connect

import (
	"crypto/tls"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/arrivals"
	"github.com/wsmux/websocket/internal/wstest"
)

// piece is what a record carries at most.
const piece = 16 << 10

// A lateTest is a connection over TLS and TCP whose reader the test is, and a stream on
// which somebody reads.
type lateTest struct {
	*testing.T
	c      *conn
	st     *stream
	client *tls.Conn
	wire   *gatherer // below the client
	got    chan readResult
}

type readResult struct {
	n   int
	err error
}

func newLateTest(t *testing.T) *lateTest {
	near, far := tcpPair(t)
	serverTLS, clientTLS := wstest.Certificates()
	clientTLS.ServerName = "localhost"
	clientTLS.DynamicRecordSizingDisabled = true
	l := &lateTest{T: t, wire: &gatherer{Conn: far}, got: make(chan readResult, 1)}
	l.client = tls.Client(l.wire, clientTLS)
	done := make(chan error)
	go func() { done <- l.client.HandshakeContext(testContext(t)) }() // ends with the handshake
	l.c = &conn{nc: tls.Server(near, serverTLS)}
	require.NoError(t, l.c.nc.(*tls.Conn).HandshakeContext(testContext(t)))
	require.NoError(t, <-done)
	l.c.in.init(l.c)
	l.c.in.borrow()
	l.c.room.watch(l.c.nc)
	l.st = &stream{c: l.c, id: 1}
	l.st.recv.init(1 << 20)
	return l
}

// send has pieces arrive, but for the last cut bytes of their records.
func (l *lateTest) send(pieces, cut int) {
	l.wire.keeps = true
	_, err := l.client.Write(make([]byte, pieces*piece))
	require.NoError(l, err)
	all := l.wire.kept
	l.wire.keeps, l.wire.kept = false, nil
	before := l.arrived()
	_, err = l.wire.Conn.Write(all[:len(all)-cut])
	require.NoError(l, err)
	for l.arrived() < before+len(all)-cut {
		runtime.Gosched() // TCP's own delivery is under way
	}
}

// arrived returns how many bytes the kernel has received that have not been read.
func (l *lateTest) arrived() int {
	late := &l.c.in.late
	late.hasRecord(l.c.nc)
	return late.arrived.Unread()
}

// read has somebody read into a buffer of this size, and waits until that waits.
func (l *lateTest) read(size int) {
	go func() { // ends with the read
		n, _, _, err := l.st.recv.read(make([]byte, size), nil)
		l.got <- readResult{n, err}
	}()
	l.awaitBlocked()
}

func (l *lateTest) awaitBlocked() {
	r := &l.st.recv
	for blocked := false; !blocked; runtime.Gosched() {
		r.mu.Lock()
		blocked = r.blocked()
		r.mu.Unlock()
	}
}

// deliver takes a piece off the network and delivers it.
func (l *lateTest) deliver() {
	for left := piece; left > 0; {
		p, err := l.c.in.next(left)
		require.NoError(l, err)
		left -= len(p)
		require.NoError(l, l.c.deliver(l.st, p, 0, true))
	}
}

// fill has the connection's reader wait for more until the test ends.
func (l *lateTest) fill() {
	filled := make(chan error)
	go func() { filled <- l.c.in.fill() }() // ends with the connection
	l.Cleanup(func() {
		l.c.nc.Close()
		<-filled
	})
}

func (l *lateTest) want(n int, why string) {
	l.Helper()
	r := <-l.got
	require.NoError(l, r.err, why)
	require.Equal(l, n, r.n, why)
}

// A read that waits, with much room, is woken once for the records that have come, and
// not kept waiting when no further one has come whole.
func TestABlockedReadGetsAtOnceTheRecordsThatHaveCome(t *testing.T) {
	for name, cut := range map[string]int{"nothing more comes": 0, "the next record is not complete": 100} {
		t.Run(name, func(t *testing.T) {
			l := newLateTest(t)
			l.read(1 << 20)
			l.send(4, cut)
			records := 0
			for ready := true; ready; ready = l.c.in.late.n < arrivals.Together && l.arrived() >= arrivals.LargestRecord {
				l.deliver()
				require.Same(t, l.st, l.c.in.late.st)
				records++
			}
			require.Greater(t, records, 1)
			l.fill()
			l.want(records*piece, "at one wake-up")
		})
	}
}

// However much has come, a wake-up is not put off beyond arrivals.Together.
func TestAWakeUpIsPutOffForNoMoreThanAMessage(t *testing.T) {
	l := newLateTest(t)
	l.read(1 << 20)
	l.send(6, 0)
	for range 4 {
		l.deliver()
	}
	require.GreaterOrEqual(t, l.c.in.late.n, arrivals.Together)
	require.NoError(t, l.c.in.fill()) // of which there is more
	require.Nil(t, l.c.in.late.st)
	l.want(4*piece, "what comes then is for the next read")
}

// What the connection has to send does not wait for what more there is to read.
func TestAWakeUpIsNotPutOffWhileThereIsSomethingToSend(t *testing.T) {
	l := newLateTest(t)
	l.read(1 << 20)
	l.send(3, 0)
	l.deliver()
	l.c.out = []byte{0}
	_, _, ok := l.c.in.readLate()
	require.False(t, ok)
	l.c.out = nil
	n, err, ok := l.c.in.readLate()
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, piece, n)
	l.c.wakeLate()
	l.want(piece, "what has been delivered")
}

// The flusher's summons does not end the connection that reads on already.
func TestAWakeUpIsPutOffWhateverTheFlusherSummons(t *testing.T) {
	l := newLateTest(t)
	l.read(1 << 20)
	l.send(3, 0)
	l.deliver()
	l.c.summoned = true
	require.NoError(t, l.c.nc.SetReadDeadline(longAgo))
	n, err, ok := l.c.in.readLate()
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, piece, n)
	require.False(t, l.c.summoned)
	l.c.wakeLate()
	l.want(piece, "what has been delivered")
}

// A deadline and the stream's end wake a read whose wake-up is put off.
func TestALateReadEndsAtItsDeadlineAndWithItsStream(t *testing.T) {
	reset := errors.New("reset")
	for name, end := range map[string]func(st *stream) error{
		"deadline": func(st *stream) error {
			assert.NoError(t, st.SetReadDeadline(longAgo))
			return os.ErrDeadlineExceeded
		},
		"reset": func(st *stream) error {
			st.recv.discard(st, reset)
			return reset
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLateTest(t)
			l.read(1 << 20)
			l.send(2, 0)
			l.deliver()
			require.Same(t, l.st, l.c.in.late.st)
			want := end(l.st)
			l.want(piece, "it returns what it has, while the reader does something else")
			n, _, _, err := l.st.recv.read(make([]byte, 1), nil)
			require.Zero(t, n)
			require.ErrorIs(t, err, want)
			l.c.wakeLate() // of whom nobody is left
		})
	}
}

// Who reads a message is woken for the first of it, and so is anybody for a little; a
// socket among others is lined up for the baton.
func TestWakeUpsAreNotPutOff(t *testing.T) {
	for _, tt := range []struct {
		name      string
		size, n   int
		shares    bool
		cleartext bool
		late      bool
	}{
		{"a large piece of much", lateSpace, largePiece, false, false, true},
		{"little", lateSpace, largePiece - 1, false, false, false},
		{"a message", lateSpace - 1, largePiece, false, false, false},
		{"one of several", lateSpace, largePiece, true, false, false},
		{"without TLS", lateSpace, largePiece, false, true, false},
	} {
		c := &conn{}
		c.in.layered = !tt.cleartext
		st := &stream{c: c, id: 1}
		st.recv.init(1 << 20)
		st.recv.begin()
		st.recv.dst = make([]byte, tt.size+tt.n)
		c.burst.shares = tt.shares
		require.NoError(t, c.deliver(st, make([]byte, tt.n), tt.n, true))
		assert.Equal(t, tt.late, c.in.late.st == st, tt.name)
		assert.Equal(t, !tt.late, c.baton.Load().waiting(), tt.name)
	}
}
