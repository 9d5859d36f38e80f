package h3connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(wstest.Main(m))
}

// patience bounds what must happen soon.
const patience = 15 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func listenUDP(t testing.TB) *net.UDPConn {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	return pc
}

// serve runs a Server with h on a loopback port and returns the authority.
func serve(t testing.TB, s *Server, h http.Handler) string {
	server, _ := wstest.Certificates()
	pc := listenUDP(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(pc, h, server) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return pc.LocalAddr().String()
}

// servePlain runs an http3.Server as it comes.
func servePlain(t testing.TB, s *http3.Server) string {
	server, _ := wstest.Certificates()
	s.TLSConfig = server
	pc := listenUDP(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(pc) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		<-done
		require.NoError(t, pc.Close())
	})
	return pc.LocalAddr().String()
}

func newTransport(t testing.TB) *Transport {
	_, client := wstest.Certificates()
	tr := &Transport{TLSClientConfig: client}
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

// echo accepts and returns what it reads, until the socket ends.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}

func wantEcho(t testing.TB, c *websocket.Conn, s string) {
	t.Helper()
	ctx := soon(t)
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(s)))
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, s, string(p))
}

// A rawPeer is one end of a QUIC connection that speaks HTTP/3 by hand.
type rawPeer struct {
	t       testing.TB
	qc      *quic.Conn
	control *quic.SendStream
}

// dialRaw connects to a server and says nothing but SETTINGS.
func dialRaw(t testing.TB, addr string) *rawPeer {
	_, client := wstest.Certificates()
	client.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(soon(t), addr, client, &quic.Config{KeepAlivePeriod: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = qc.CloseWithError(0x100, "") })
	p := &rawPeer{t: t, qc: qc}
	p.openControl(settingsFrame())
	return p
}

// openControl opens a control stream with frames on it.
func (p *rawPeer) openControl(frames ...[]byte) {
	str, err := p.qc.OpenUniStream()
	require.NoError(p.t, err)
	_, err = str.Write(append([]byte{streamControl}, bytes.Join(frames, nil)...))
	require.NoError(p.t, err)
	p.control = str
}

// closed waits for the connection to be closed by the other side and returns the
// code.
func (p *rawPeer) closed() http3.ErrCode {
	p.t.Helper()
	select {
	case <-p.qc.Context().Done():
	case <-time.After(patience):
		require.Fail(p.t, "the connection is still open")
	}
	e, ok := errors.AsType[*quic.ApplicationError](context.Cause(p.qc.Context()))
	require.True(p.t, ok, "closed by %v", context.Cause(p.qc.Context()))
	require.True(p.t, e.Remote, "closed by this side")
	return http3.ErrCode(e.ErrorCode)
}

// open opens a request stream and writes frames on it.
func (p *rawPeer) open(frames ...[]byte) *rawStream {
	p.t.Helper()
	str, err := p.qc.OpenStreamSync(soon(p.t))
	require.NoError(p.t, err)
	s := &rawStream{t: p.t, Stream: str}
	s.send(frames...)
	return s
}

// A rawStream is a request stream, either end, with frames made by hand. It is
// an io.ReadWriter of payload.
type rawStream struct {
	t testing.TB
	*quic.Stream
	left int // of the DATA frame being read
}

func (s *rawStream) send(frames ...[]byte) {
	s.t.Helper()
	if len(frames) > 0 {
		_, err := s.Stream.Write(bytes.Join(frames, nil))
		require.NoError(s.t, err)
	}
}

func (s *rawStream) header() (t, length uint64, err error) {
	r := quicvarint.NewReader(s.Stream)
	if t, err = quicvarint.Read(r); err == nil {
		length, err = quicvarint.Read(r)
	}
	return t, length, err
}

// response reads the HEADERS frame that comes next.
func (s *rawStream) response() (status string, fields http.Header) {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(patience)))
	typ, length, err := s.header()
	require.NoError(s.t, err)
	require.EqualValues(s.t, frameHeaders, typ)
	section := make([]byte, length)
	_, err = io.ReadFull(s.Stream, section)
	if err != io.EOF {
		require.NoError(s.t, err)
	}
	fields = make(http.Header)
	for next := qpack.NewDecoder().Decode(section); ; {
		f, err := next()
		if err == io.EOF {
			break
		}
		require.NoError(s.t, err)
		if f.Name == ":status" {
			status = f.Value
			continue
		}
		fields.Add(f.Name, f.Value)
	}
	return status, fields
}

func (s *rawStream) wantStatus(want string) http.Header {
	s.t.Helper()
	status, fields := s.response()
	require.Equal(s.t, want, status)
	return fields
}

// Read reads payload.
func (s *rawStream) Read(p []byte) (int, error) {
	for s.left == 0 {
		typ, length, err := s.header()
		if err != nil {
			return 0, err
		}
		require.EqualValues(s.t, frameData, typ)
		s.left = int(length)
	}
	n, err := s.Stream.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// Write writes p in one DATA frame.
func (s *rawStream) Write(p []byte) (int, error) {
	if _, err := s.Stream.Write(dataFrame(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// wantReset reads until the other side's RESET_STREAM.
func (s *rawStream) wantReset(code http3.ErrCode) {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, s.Stream)
	e, ok := errors.AsType[*quic.StreamError](err)
	require.True(s.t, ok, "no reset but %v", err)
	require.True(s.t, e.Remote)
	require.Equal(s.t, code, http3.ErrCode(e.ErrorCode))
}

// wantStop waits for the other side's STOP_SENDING.
func (s *rawStream) wantStop(code http3.ErrCode) {
	s.t.Helper()
	select {
	case <-s.Context().Done():
	case <-time.After(patience):
		require.Fail(s.t, "no STOP_SENDING")
	}
	e, ok := errors.AsType[*quic.StreamError](context.Cause(s.Context()))
	require.True(s.t, ok, "no STOP_SENDING but %v", context.Cause(s.Context()))
	require.True(s.t, e.Remote)
	require.Equal(s.t, code, http3.ErrCode(e.ErrorCode))
}

// wantEnd reads until FIN.
func (s *rawStream) wantEnd() {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, s.Stream)
	require.NoError(s.t, err)
}

func rawFrame(typ uint64, payload []byte) []byte {
	b := quicvarint.Append(nil, typ)
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...)
}

func dataFrame(payload string) []byte { return rawFrame(frameData, []byte(payload)) }

// greaseFrame is a frame of a reserved type (RFC 9114 §7.2.8).
func greaseFrame(payload string) []byte { return rawFrame(0x1f*7+0x21, []byte(payload)) }

// settingsFrame takes pairs of identifier and value.
func settingsFrame(pairs ...uint64) []byte {
	var b []byte
	for _, v := range pairs {
		b = quicvarint.Append(b, v)
	}
	return rawFrame(frameSettings, b)
}

func goAwayFrame(id uint64) []byte { return rawFrame(frameGoAway, quicvarint.Append(nil, id)) }

// headersFrame takes fields as "name: value".
func headersFrame(fields ...string) []byte {
	var b bytes.Buffer
	enc := qpack.NewEncoder(&b)
	for _, f := range fields {
		i := 1 + strings.IndexByte(f[1:], ':')
		_ = enc.WriteField(qpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	return rawFrame(frameHeaders, b.Bytes())
}

// connect returns the fields of a good extended CONNECT, changed: a field
// "name: value" takes the place of name's, or goes to the end; "-name" drops it.
func connect(changes ...string) []string {
	fields := []string{
		":method: CONNECT", ":protocol: websocket", ":scheme: https",
		":authority: localhost", ":path: /", "sec-websocket-version: 13",
	}
	for _, c := range changes {
		name, drop := strings.CutPrefix(c, "-")
		if !drop {
			name = c[:1+strings.IndexByte(c[1:], ':')]
		}
		kept := fields[:0:0]
		found := false
		for _, f := range fields {
			if !strings.HasPrefix(f, name+":") {
				kept = append(kept, f)
				continue
			}
			if !drop {
				kept = append(kept, c)
			}
			found = true
		}
		if !found && !drop {
			kept = append(kept, c)
		}
		fields = kept
	}
	return fields
}

// A rawServer is an HTTP/3 server made by hand.
type rawServer struct {
	t    testing.TB
	addr string
	ln   *quic.Listener
}

func listenRaw(t testing.TB, conf *quic.Config) *rawServer {
	server, _ := wstest.Certificates()
	server.NextProtos = []string{http3.NextProtoH3}
	ln, err := quic.ListenAddr("127.0.0.1:0", server, conf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ln.Close()) })
	return &rawServer{t: t, addr: ln.Addr().String(), ln: ln}
}

// accept accepts the next connection and sends frames on a control stream, if
// there are any.
func (s *rawServer) accept(frames ...[]byte) *rawPeer {
	s.t.Helper()
	qc, err := s.ln.Accept(soon(s.t))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = qc.CloseWithError(0x100, "") })
	p := &rawPeer{t: s.t, qc: qc}
	if len(frames) > 0 {
		p.openControl(frames...)
	}
	return p
}

// socketSettings is the SETTINGS frame of a server that takes extended CONNECT.
func socketSettings() []byte { return settingsFrame(settingEnableConnectProtocol, 1) }

// acceptStream accepts a request stream and reads the request's fields.
func (p *rawPeer) acceptStream() (*rawStream, []string) {
	p.t.Helper()
	str, err := p.qc.AcceptStream(soon(p.t))
	require.NoError(p.t, err)
	s := &rawStream{t: p.t, Stream: str}
	typ, length, err := s.header()
	require.NoError(p.t, err)
	require.EqualValues(p.t, frameHeaders, typ)
	section := make([]byte, length)
	_, err = io.ReadFull(str, section)
	require.NoError(p.t, err)
	var fields []string
	for next := qpack.NewDecoder().Decode(section); ; {
		f, err := next()
		if err == io.EOF {
			return s, fields
		}
		require.NoError(p.t, err)
		fields = append(fields, f.Name+": "+f.Value)
	}
}

// A dialResult is what Dial returned.
type dialResult struct {
	ws   *websocket.Conn
	resp *http.Response
	err  error
}

// goDial dials in the background.
func goDial(ctx context.Context, tr *Transport, addr string, o *websocket.DialOptions) <-chan dialResult {
	c := make(chan dialResult, 1)
	go func() {
		ws, resp, err := tr.Dial(ctx, (&url.URL{Scheme: "wss", Host: addr, Path: "/"}).String(), o)
		c <- dialResult{ws, resp, err}
	}()
	return c
}

func dial(t testing.TB, tr *Transport, addr string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	r := <-goDial(soon(t), tr, addr, o)
	require.NoError(t, r.err)
	t.Cleanup(func() { _ = r.ws.CloseNow() })
	return r.ws
}

func withTLS(c *tls.Config) *websocket.DialOptions {
	return &websocket.DialOptions{TLSClientConfig: c}
}
