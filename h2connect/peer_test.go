package h2connect

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is the other end of a connection of ours, played frame by frame: it
// may break every rule. Its want methods say why they want what they want.
type peer struct {
	t    testing.TB
	nc   net.Conn
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	dec  *hpack.Decoder
	ours *conn // the engine's end
	conf *Server
	srv  *server // what a client's peer is connected to

	client *ClientConn // what a server's peer is connected to
	done   chan struct{}
	log    *logBuffer

	noAcks bool // acknowledgements of SETTINGS are passed over
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	p := &peer{t: t, nc: nc, fr: http2.NewFramer(nc, nc), done: make(chan struct{}), log: &logBuffer{}}
	p.fr.AllowIllegalWrites = true
	p.fr.AllowIllegalReads = true
	p.enc = hpack.NewEncoder(&p.buf)
	p.dec = hpack.NewDecoder(4096, nil)
	return p
}

// clientOf plays a client to a server of ours over memory. The handshake is
// still to come.
func clientOf(t testing.TB, conf *Server, h http.Handler) *peer {
	return clientOver(t, wstest.PipeOptions{}, conf, h)
}

func clientOver(t testing.TB, o wstest.PipeOptions, conf *Server, h http.Handler) *peer {
	ours, theirs := wstest.Pipe(o)
	return clientAt(t, ours.NetConn(), theirs.NetConn(), conf, h)
}

// clientAt plays a client at theirs to a server of ours at ours.
func clientAt(t testing.TB, ours, theirs net.Conn, conf *Server, h http.Handler) *peer {
	if conf == nil {
		conf = &Server{}
	}
	l := &logBuffer{}
	s := newServer(&http.Server{Handler: h, ErrorLog: log.New(l, "", 0)}, conf)
	conf.attach(s)
	return playClient(t, ours, theirs, s, conf, l)
}

// connectTo plays a client to s.
func connectTo(t testing.TB, o wstest.PipeOptions, s *server, conf *Server, l *logBuffer) *peer {
	ours, theirs := wstest.Pipe(o)
	return playClient(t, ours.NetConn(), theirs.NetConn(), s, conf, l)
}

// playClient plays the client at theirs to s at ours.
func playClient(t testing.TB, ours, theirs net.Conn, s *server, conf *Server, l *logBuffer) *peer {
	p := newPeer(t, theirs)
	p.srv, p.conf, p.log = s, conf, l
	sc := newServerConn(s, ours, s.srv.Handler)
	require.True(t, s.add(sc))
	p.ours = sc.c
	go func() {
		defer close(p.done)
		defer s.remove(sc)
		sc.serve(false)
	}()
	t.Cleanup(p.hangUp)
	return p
}

// tcpPair returns the two ends of a connection of TCP, the accepted one first.
func tcpPair(t testing.TB) (accepted, dialed net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	dialed, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { dialed.Close() })
	accepted, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return accepted, dialed
}

// neighbour plays another client of the same server: an honest one, greeted.
func (p *peer) neighbour() *peer {
	p.t.Helper()
	n := connectTo(p.t, wstest.PipeOptions{}, p.srv, p.conf, p.log)
	n.greet()
	return n
}

// hits returns how often the server has met a limit.
func (p *peer) hits(name string) int64 { return p.conf.Stats().LimitHits[name] }

// serverOf plays a server to a client of ours over memory.
func serverOf(t testing.TB, limits Limits) (*peer, *ClientConn) {
	ours, theirs := wstest.Pipe(wstest.PipeOptions{})
	return serverTo(t, theirs, newClientConn(ours.NetConn(), limits.withDefaults(), nil))
}

// serverOfTransport plays a server to a connection of tr's.
func serverOfTransport(t testing.TB, tr *Transport) *peer {
	ours, theirs := wstest.Pipe(wstest.PipeOptions{})
	cc, err := tr.NewClientConn(ours.NetConn())
	require.NoError(t, err)
	p, _ := serverTo(t, theirs, cc)
	return p
}

func serverTo(t testing.TB, theirs *wstest.PipeStream, cc *ClientConn) (*peer, *ClientConn) {
	p := newPeer(t, theirs.NetConn())
	p.ours, p.client = cc.c, cc
	go func() {
		defer close(p.done)
		<-cc.Done()
	}()
	t.Cleanup(p.hangUp)
	preface := make([]byte, len(http2.ClientPreface))
	_, err := io.ReadFull(p.nc, preface)
	require.NoError(t, err)
	require.Equal(t, http2.ClientPreface, string(preface))
	return p, cc
}

// hangUp closes the peer's end and waits for ours.
func (p *peer) hangUp() {
	p.nc.Close()
	<-p.done
}

// greet performs a client's part of the handshake and sees to the server's.
func (p *peer) greet(settings ...http2.Setting) map[http2.SettingID]uint32 {
	p.t.Helper()
	io.WriteString(p.nc, http2.ClientPreface)
	require.NoError(p.t, p.fr.WriteSettings(settings...))
	return p.settle()
}

// settle reads the engine's SETTINGS, acknowledges them, and reads the
// acknowledgement of the peer's own.
func (p *peer) settle() map[http2.SettingID]uint32 {
	p.t.Helper()
	got := make(map[http2.SettingID]uint32)
	f, ok := p.next("SETTINGS come first").(*http2.SettingsFrame)
	require.True(p.t, ok, "the first frame is SETTINGS")
	f.ForeachSetting(func(s http2.Setting) error {
		got[s.ID] = s.Val
		return nil
	})
	require.NoError(p.t, p.fr.WriteSettingsAck())
	f, ok = p.next("our SETTINGS are acknowledged").(*http2.SettingsFrame)
	require.True(p.t, ok && f.IsAck(), "our SETTINGS are acknowledged")
	return got
}

// next reads a frame, window updates left out.
func (p *peer) next(why string) http2.Frame {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		f, err := p.fr.ReadFrame()
		require.NoError(p.t, err, why)
		if s, ok := f.(*http2.SettingsFrame); ok && s.IsAck() && p.noAcks {
			continue
		}
		if _, ok := f.(*http2.WindowUpdateFrame); !ok {
			return f
		}
	}
}

// block encodes fields, given as name, value, name, value.
func (p *peer) block(fields ...string) []byte {
	p.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.buf.Bytes())
}

// headers sends a header block in one frame.
func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.t.Helper()
	require.NoError(p.t, p.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end,
	}))
}

// get returns the fields of an ordinary request.
func get(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "localhost", ":path", path}, more...)
}

// connect returns the fields of a socket's request.
func connect(more ...string) []string {
	return append([]string{
		":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "localhost", ":path", "/ws",
		"sec-websocket-version", "13",
	}, more...)
}

func (p *peer) wantReset(id uint32, code http2.ErrCode, why string) {
	p.t.Helper()
	f := p.next(why)
	rst, ok := f.(*http2.RSTStreamFrame)
	require.True(p.t, ok, "%s: got %v", why, f)
	assert.Equal(p.t, id, rst.StreamID, why)
	assert.Equal(p.t, code, rst.ErrCode, why)
}

// wantGoAway reads up to a GOAWAY and returns its debug data.
func (p *peer) wantGoAway(code http2.ErrCode, why string) string {
	p.t.Helper()
	for {
		if f, ok := p.next(why).(*http2.GoAwayFrame); ok {
			assert.Equal(p.t, code, f.ErrCode, why)
			return string(f.DebugData())
		}
	}
}

func (p *peer) wantHeaders(id uint32, end bool, why string) map[string]string {
	p.t.Helper()
	f := p.next(why)
	h, ok := f.(*http2.HeadersFrame)
	require.True(p.t, ok, "%s: got %v", why, f)
	assert.Equal(p.t, id, h.StreamID, why)
	assert.Equal(p.t, end, h.StreamEnded(), why)
	fields, err := p.dec.DecodeFull(h.HeaderBlockFragment())
	require.NoError(p.t, err)
	got := make(map[string]string)
	for _, f := range fields {
		got[f.Name] = f.Value
	}
	return got
}

func (p *peer) wantStatus(id uint32, status string, end bool, why string) map[string]string {
	p.t.Helper()
	h := p.wantHeaders(id, end, why)
	assert.Equal(p.t, status, h[":status"], why)
	return h
}

func (p *peer) wantData(id uint32, data string, end bool, why string) {
	p.t.Helper()
	f := p.next(why)
	d, ok := f.(*http2.DataFrame)
	require.True(p.t, ok, "%s: got %v", why, f)
	assert.Equal(p.t, id, d.StreamID, why)
	assert.Equal(p.t, data, string(d.Data()), why)
	assert.Equal(p.t, end, d.StreamEnded(), why)
}

// wantContent takes the DATA frames of a stream up to its end, however many the
// sender has made of the content.
func (p *peer) wantContent(id uint32, content, why string) {
	p.t.Helper()
	var got []byte
	for {
		f := p.next(why)
		d, ok := f.(*http2.DataFrame)
		require.True(p.t, ok, "%s: got %v", why, f)
		require.Equal(p.t, id, d.StreamID, why)
		if got = append(got, d.Data()...); d.StreamEnded() {
			assert.Equal(p.t, content, string(got), why)
			return
		}
	}
}

// wantAlive proves that the connection works: everything before has been dealt
// with when the answer is here, and nothing else has been said.
func (p *peer) wantAlive(why string) {
	p.t.Helper()
	require.NoError(p.t, p.fr.WritePing(false, [8]byte{'a', 'l', 'i', 'v', 'e'}))
	f := p.next(why)
	ping, ok := f.(*http2.PingFrame)
	require.True(p.t, ok && ping.IsAck(), "%s: got %v", why, f)
}

// wantEOF reads until the connection is closed.
func (p *peer) wantEOF(why string) {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := io.Copy(io.Discard, p.nc)
	if err != nil {
		assert.NotContains(p.t, err.Error(), "timeout", why)
	}
}

// attack sends what frame returns, n times or until the connection fails, from a
// goroutine of its own; the test reads meanwhile.
func (p *peer) attack(n int, frame func(p *peer, i int) []byte) {
	go func() {
		var batch []byte
		for i := range n {
			batch = append(batch, frame(p, i)...)
			if len(batch) < 4<<10 && i < n-1 {
				continue
			}
			if _, err := p.nc.Write(batch); err != nil {
				return
			}
			batch = batch[:0]
		}
	}()
}

func TestPeerGreets(t *testing.T) {
	p := clientOf(t, nil, ordinary())
	settings := p.greet()
	assert.EqualValues(t, 1, settings[http2.SettingEnableConnectProtocol], "P1, P2: extended CONNECT is advertised")
	assert.EqualValues(t, 16384, settings[http2.SettingMaxFrameSize])
	assert.EqualValues(t, 250, settings[http2.SettingMaxConcurrentStreams])
	assert.EqualValues(t, 64<<10, settings[http2.SettingInitialWindowSize])
	assert.EqualValues(t, 1, settings[http2.SettingNoRFC7540Priorities], "RFC 9218 §2.1: PRIORITY says nothing to us")
	p.headers(1, true, get("/hello")...)
	p.wantStatus(1, "200", false, "the request is served")
	p.wantData(1, "<p>hello", true, "END_STREAM is on the last DATA frame")
	p.wantAlive("the connection goes on")
}

// served proves that a request is still served on the connection.
func (p *peer) served(id uint32) {
	p.t.Helper()
	p.headers(id, true, get("/hello")...)
	p.wantStatus(id, "200", false, "the connection serves on")
	p.wantData(id, "<p>hello", true, "the connection serves on")
}

// raw appends a frame with any header at all.
func raw(typ http2.FrameType, flags http2.Flags, id uint32, payload []byte) []byte {
	p := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), byte(typ), byte(flags)}
	return append(binary.BigEndian.AppendUint32(p, id), payload...)
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func setting(id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(id)), value)
}
