package autobahn

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
	"github.com/wsmux/websocket/negotiate"
)

// A bound on what a case of 12 or 13 sends, unless everything is asked for.
const volume = 8 << 20

// slack keeps a busy machine from failing cases; an endpoint that leaves
// something to its own timers, 5 s, still does.
const slack = 4

// limits let category 9 through: 16 MiB, and 65,537 fragments.
func limits() websocket.Limits {
	return websocket.Limits{Message: 32 << 20, Fragments: -1}
}

// compression is what both of our ends are ready for: everything, for messages
// of every size.
func compression() *websocket.Compression {
	return &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, Threshold: -1}
}

// echo returns each message, until the socket ends.
func echo(c *websocket.Conn) {
	defer c.CloseNow()
	ctx := context.Background()
	var buf []byte
	for {
		mt, p, err := c.ReadInto(ctx, buf)
		if err != nil {
			return
		}
		if c.Write(ctx, mt, p) != nil {
			return
		}
		buf = p
	}
}

// A transport says how to open sockets to our server, and how to wait for our
// client, by one bootstrap.
type transport struct {
	name   string
	title  string
	row    string // in the matrix
	server func(t *testing.T) Opener
	client func(t *testing.T, l *Lobby) Opener
	quick  bool // the bootstrap's other form: without categories 9, 12 and 13
}

func transports() []transport {
	return []transport{
		{name: "h1", row: "h1c", title: "HTTP/1.1", server: serverHTTP1(false), client: clientHTTP1(false)},
		{name: "h2", row: "h2", title: "HTTP/2 over TLS", server: serverHTTP2(true), client: clientHTTP2(true)},
		{name: "h3", row: "h3", title: "HTTP/3", server: serverHTTP3, client: clientHTTP3},
		{name: "h1-tls", row: "h1", title: "HTTP/1.1 over TLS", server: serverHTTP1(true), client: clientHTTP1(true), quick: true},
		{name: "h2-clear", row: "h2c", title: "HTTP/2 without TLS", server: serverHTTP2(false), client: clientHTTP2(false), quick: true},
	}
}

func TestServerOverEveryTransport(t *testing.T) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			conforms(t, Server, tr, tr.server(t))
		})
	}
}

func TestClientOverEveryTransport(t *testing.T) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			var lobby Lobby
			conforms(t, Client, tr, tr.client(t, &lobby))
			lobby.Wait()
		})
	}
}

// conforms plays all cases, writes the reports, and wants every case to pass.
func conforms(t *testing.T, testee Role, tr transport, open Opener) {
	o := Options{
		Testee: testee, Transport: tr.title, Agent: "github.com/wsmux/websocket",
		Slack: slack, Volume: volume, Progress: progress(t),
	}
	switch {
	case tr.quick || testing.Short():
		o.Cases = Select(Cases(), quick...)
	case *full:
		o.Volume = 0
	}
	rep := Run(t.Context(), o, open)
	t.Log(rep)
	if tr.quick || !testing.Short() {
		row := matrix.Row{Peer: "Autobahn", Role: matrix.Suite, Transport: tr.row}
		row.Record(t, matrix.Feature(testee), matrix.Result(rep.Tally()))
	}
	for _, r := range rep.Failures() {
		t.Errorf("%s %s: %s (%s); at the close: %s (%s)", r.ID, r.Title,
			r.Behavior, r.Explanation, r.BehaviorClose, r.ExplanationClose)
	}
	for _, r := range rep.Results {
		if r.Behavior == Informational && !Matches(r.ID, "7.1.6", "7.13.*") {
			t.Errorf("%s is informational here and not in the suite", r.ID)
		}
		// The suite does not mind a reset. We never need one.
		if r.Ended != "in order" {
			t.Errorf("%s: the stream ended %s", r.ID, r.Ended)
		}
	}
	dir := *reports
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("", "autobahn-") // unlike t.TempDir, it may stay
		require.NoError(t, err)
		t.Cleanup(func() {
			if !t.Failed() {
				assert.NoError(t, os.RemoveAll(dir))
			}
		})
	}
	path, err := rep.Write(dir, tr.name+"-"+string(testee))
	require.NoError(t, err)
	t.Log("report:", path)
}

// progress prints how far a run has come, now and then.
func progress(t *testing.T) func(int, int, *Result) {
	last := time.Now()
	return func(done, total int, r *Result) {
		if testing.Verbose() && (time.Since(last) > 5*time.Second || done == total) {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "    %s: %d of %d cases, just now %s\n", t.Name(), done, total, r.ID)
		}
	}
}

// serve runs an echo server of ours and returns its address and a TLS
// configuration for its clients, nil without TLS.
func serve(t *testing.T, secure bool, h3 negotiate.HTTP3Server) (addr string, client *tls.Config) {
	server, client := wstest.Certificates()
	if !secure {
		client = nil
	}
	srv := &negotiate.Server{TLSConfig: server, HTTP3: h3, UnencryptedHTTP2: true}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, &websocket.AcceptOptions{Compression: compression(), Limits: limits()})
		if err != nil {
			t.Error(err)
			return
		}
		echo(c)
	})
	ln := listen(t)
	done := make(chan error, 1)
	var pc net.PacketConn
	if h3 != nil {
		pc = listenUDP(t)
		addr = pc.LocalAddr().String()
	} else {
		addr = ln.Addr().String()
	}
	if secure {
		go func() { done <- srv.ServeTLS(ln, pc, "", "") }()
	} else {
		go func() { done <- srv.Serve(ln) }()
	}
	t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return addr, client
}

func listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return ln
}

func listenUDP(t *testing.T) net.PacketConn {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	return pc
}

func serverHTTP1(secure bool) func(*testing.T) Opener {
	return func(t *testing.T) Opener {
		addr, config := serve(t, secure, nil)
		return OpenHTTP1(addr, config)
	}
}

func serverHTTP2(secure bool) func(*testing.T) Opener {
	return func(t *testing.T) Opener {
		addr, config := serve(t, secure, nil)
		o := OpenHTTP2(addr, config)
		t.Cleanup(o.Close)
		return o.Open
	}
}

func serverHTTP3(t *testing.T) Opener {
	addr, config := serve(t, true, new(h3connect.Server))
	o := OpenHTTP3(addr, config)
	t.Cleanup(o.Close)
	return o.Open
}

// A dialFunc is Dial of a bootstrap or of a Transport.
type dialFunc func(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error)

// client returns our echo client.
func client(dial dialFunc, config *tls.Config) func(context.Context, string) error {
	return func(ctx context.Context, url string) error {
		c, _, err := dial(ctx, url, &websocket.DialOptions{
			Compression: compression(), Limits: limits(), TLSClientConfig: config,
		})
		if err == nil {
			echo(c)
		}
		return err
	}
}

// listenFor returns a listener, with TLS or without, and what a client needs to
// connect to it.
func listenFor(t *testing.T, secure bool, protocols ...string) (ln net.Listener, url string, config *tls.Config) {
	ln = listen(t)
	if !secure {
		return ln, "ws://" + ln.Addr().String(), nil
	}
	server, config := wstest.Certificates()
	server.NextProtos = protocols
	return tls.NewListener(ln, server), "wss://" + ln.Addr().String(), config
}

func clientHTTP1(secure bool) func(*testing.T, *Lobby) Opener {
	return func(t *testing.T, l *Lobby) Opener {
		ln, url, config := listenFor(t, secure)
		serveLobby(t, func() error { return l.ServeHTTP1(ln) }, ln.Close)
		return l.Opener(url, client(h1upgrade.Dial, config))
	}
}

func clientHTTP2(secure bool) func(*testing.T, *Lobby) Opener {
	return func(t *testing.T, l *Lobby) Opener {
		ln, url, config := listenFor(t, secure, "h2")
		serveLobby(t, func() error { return l.ServeHTTP2(ln) }, ln.Close)
		tr := &h2connect.Transport{TLSClientConfig: config, AllowHTTP: !secure}
		t.Cleanup(tr.CloseIdleConnections)
		return l.Opener(url, client(tr.Dial, nil))
	}
}

func clientHTTP3(t *testing.T, l *Lobby) Opener {
	server, config := wstest.Certificates()
	pc := listenUDP(t)
	srv := l.HTTP3()
	srv.TLSConfig = server
	serveLobby(t, func() error { return srv.Serve(pc) }, func() error { return srv.Close() })
	t.Cleanup(func() { assert.NoError(t, pc.Close()) })
	tr := &h3connect.Transport{TLSClientConfig: config}
	t.Cleanup(func() { assert.NoError(t, tr.Close()) })
	return l.Opener("https://"+pc.LocalAddr().String(), client(tr.Dial, nil))
}

// serveLobby runs a server of the fuzzer's until the test ends.
func serveLobby(t *testing.T, serve, stop func() error) {
	done := make(chan struct{})
	go func() { // ends when stop is called
		defer close(done)
		serve()
	}()
	t.Cleanup(func() {
		assert.NoError(t, stop())
		<-done
	})
}
