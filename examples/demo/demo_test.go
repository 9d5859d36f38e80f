package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }

// small is a self-check that is over soon, with every size of message in it.
var small = plan{sockets: 3, messages: len(sizes), requests: 6}

// tinyFlags are for a self-check where its having run is enough.
var tinyFlags = []string{"-sockets", "2", "-messages", "3", "-requests", "2"}

func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func decodeReport(t *testing.T, stdout string) report {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	var r report
	require.NoError(t, dec.Decode(&r), "%s", stdout)
	_, err := dec.Token()
	require.ErrorIs(t, err, io.EOF, "nothing but one JSON value on stdout")
	return r
}

func TestSelfCheckFindsOneConnectionWhereStreamsAreShared(t *testing.T) {
	status, stdout, stderr := command(t, "-once", "-json", "-addr", "127.0.0.1:0",
		"-sockets", strconv.Itoa(small.sockets), "-messages", strconv.Itoa(small.messages), "-requests", strconv.Itoa(small.requests))
	require.Zero(t, status, "%s\n%s", stdout, stderr)
	r := decodeReport(t, stdout)
	assert.True(t, r.OK)
	require.Len(t, r.Rows, 3)
	for i, name := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
		row := r.Rows[i]
		assert.Equal(t, name, row.Bootstrap)
		assert.True(t, row.OK, row.Problem)
		assert.Equal(t, small.sockets, row.Sockets, name)
		assert.Equal(t, small.sockets*small.messages, row.Messages, name)
		assert.Equal(t, small.requests, row.Requests, name)
		assert.Equal(t, row.Connections, row.Handshakes, name)
		assert.Greater(t, row.Bytes, int64(small.sockets<<20), "%s: each socket has sent its MiB", name)
		assert.Positive(t, row.OnTheWire, name)
		assert.Less(t, row.OnTheWire, row.Deflated/2, name)
		assert.Positive(t, row.OpenMedian, name)
		assert.Positive(t, row.RoundTripMedian, name)
		assert.GreaterOrEqual(t, row.RoundTripP99, row.RoundTripMedian, name)
		if name == "HTTP/1.1" {
			assert.Greater(t, row.Connections, small.sockets, "the sockets' and the requests'")
			assert.Zero(t, row.SharedRequests)
			continue
		}
		assert.Equal(t, 1, row.Connections, name)
		assert.Equal(t, small.requests, row.SharedRequests, name)
	}
}

func TestTableGoesToStdoutAndProgressToStderr(t *testing.T) {
	status, stdout, stderr := command(t, append(tinyFlags, "-once", "-addr", "127.0.0.1:0")...)
	require.Zero(t, status, "%s\n%s", stdout, stderr)
	for _, name := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
		assert.Contains(t, stdout, "\n"+name)
		assert.Contains(t, stderr, "checking "+name+": 2 sockets, 6 messages, 2 requests\n")
	}
	assert.NotContains(t, stdout, "checking")
	assert.NotContains(t, stdout, "Open https", "there is nothing to open with -once")
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	status, stdout, stderr := command(t, "-once", "-addr", l.Addr().String())
	assert.Equal(t, 1, status)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, l.Addr().String()+" is in use")
	assert.Contains(t, stderr, "-addr 127.0.0.1:0")
}

func TestWithoutUDPTheRowSaysWhy(t *testing.T) {
	pc, addr := udpAlone(t)
	defer pc.Close()
	status, stdout, stderr := command(t, append(tinyFlags, "-once", "-json", "-addr", addr)...)
	assert.Equal(t, 1, status, "not everything was verified: %s", stderr)
	r := decodeReport(t, stdout)
	require.Len(t, r.Rows, 3)
	assert.False(t, r.OK)
	assert.True(t, r.Rows[0].OK, r.Rows[0].Problem)
	assert.True(t, r.Rows[1].OK, r.Rows[1].Problem)
	assert.False(t, r.Rows[2].OK)
	assert.Contains(t, r.Rows[2].Problem, "UDP port")
	assert.Contains(t, r.Rows[2].Problem, "-addr 127.0.0.1:0")
}

// udpAlone returns a UDP socket on a port that is free on TCP.
func udpAlone(t *testing.T) (net.PacketConn, string) {
	t.Helper()
	for range 10 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := pc.LocalAddr().String()
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return pc, addr
		}
		pc.Close()
	}
	t.Fatal("no port is free on TCP and UDP")
	return nil, ""
}

func TestBadFlagsSayWhatIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no sockets", []string{"-sockets", "0"}, "-sockets must be from 1 to 64"},
		{"too many sockets", []string{"-sockets", "65"}, "-sockets must be from 1 to 64"},
		{"no messages", []string{"-messages", "0"}, "-messages must be from 1"},
		{"no requests", []string{"-requests", "-1"}, "-requests must be from 1"},
		{"an argument", []string{"8443"}, `unexpected argument "8443"`},
		{"an unknown flag", []string{"-port", "1"}, "flag provided but not defined"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, stdout, stderr := command(t, tc.args...)
			assert.Equal(t, 2, status)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, tc.want)
			assert.Contains(t, stderr, "-addr host:port")
		})
	}

	status, _, stderr := command(t, "-h")
	assert.Zero(t, status)
	assert.Contains(t, stderr, "-once")

	status, _, stderr = command(t, "-addr", "8443")
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "-addr must be host:port")
}

func TestInterruptEndsTheCheck(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	assert.Equal(t, 1, run(ctx, []string{"-addr", "127.0.0.1:0"}, &out, &errs))
	assert.Empty(t, out.String())
	assert.Contains(t, errs.String(), "interrupted")
}

// newNotes returns a writer, and a function that waits until something has been
// written to it.
func newNotes(t *testing.T) (io.Writer, func(until string) string) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	var seen strings.Builder
	buf := make([]byte, 4096)
	return w, func(until string) string {
		t.Helper()
		for !strings.Contains(seen.String(), until) {
			n, err := r.Read(buf)
			require.NoError(t, err, "waiting for %q in %q", until, seen.String())
			seen.Write(buf[:n])
		}
		return seen.String()
	}
}

func TestInterruptSaysGoodbyeToEverySocket(t *testing.T) {
	cert, err := newCertificate("127.0.0.1")
	require.NoError(t, err)
	s, err := serve("127.0.0.1:0", cert, routes)
	require.NoError(t, err)
	defer s.close()
	var conns []*websocket.Conn
	for _, b := range bootstraps {
		tr := newTrial(&checker{server: s, cert: cert, plan: plan{sockets: 1}, progress: newProgress(io.Discard)}, b)
		defer tr.release()
		require.NoError(t, tr.open(t.Context(), tr.sockets[0]))
		conns = append(conns, tr.sockets[0].conn)
	}

	ctx, cancel := context.WithCancel(t.Context())
	notes, waitFor := newNotes(t)
	ended := make(chan error, 1)
	go func() { ended <- s.serveUntil(ctx, notes) }()
	cancel()
	waitFor("status 1001 (going away) to 3 sockets")
	for _, c := range conns {
		_, _, err := c.Read(t.Context())
		var ce *websocket.CloseError
		require.ErrorAs(t, err, &ce, c.Bootstrap())
		assert.Equal(t, websocket.StatusGoingAway, ce.Code, c.Bootstrap())
		assert.True(t, ce.Remote, c.Bootstrap())
	}
	waitFor("\nclosed\n")
	assert.NoError(t, <-ended)
}

func TestAFailedServerEndsTheProgram(t *testing.T) {
	cert, err := newCertificate("127.0.0.1")
	require.NoError(t, err)
	s, err := serve("127.0.0.1:0", cert, routes)
	require.NoError(t, err)
	s.close()
	err = s.serveUntil(t.Context(), io.Discard)
	assert.ErrorIs(t, err, http.ErrServerClosed)
}
