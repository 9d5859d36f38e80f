package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/h2connect"
	"github.com/wsmux/websocket/h3connect"
	"github.com/wsmux/websocket/internal/wstest"
)

// A client is an episode's way to the server.
type client struct {
	base   string // of URLs
	dial   func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error)
	rt     http.RoundTripper // nil: no ordinary requests
	opened func(c *websocket.Conn)
	close  func()
}

// run plays an episode and returns what was wrong with it, the first few
// findings. It ends with ctx at the latest, which is wrong too.
func (w *world) run(ctx context.Context, ep *episode) []string {
	c := w.client(ep)
	var mu sync.Mutex
	var wrong []string
	report := func(findings ...string) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, findings...)
	}
	var all sync.WaitGroup
	for i := range ep.sockets {
		all.Go(func() {
			for _, p := range w.playSocket(ctx, ep, c, &ep.sockets[i]) {
				report(fmt.Sprintf("socket %d: %s", i, p))
			}
		})
	}
	for i, p := range ep.requests {
		all.Go(func() {
			ctx := ctx
			if ep.weather.harsh() {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, harshTime)
				defer cancel()
			}
			err := p.do(ctx, c.rt, c.base)
			var m mismatch
			if err != nil && (!ep.weather.harsh() && !w.leaving.Load() || errors.As(err, &m)) {
				report(fmt.Sprintf("request %d: %v", i, err))
			}
		})
	}
	all.Wait()
	c.close()
	if ctx.Err() != nil {
		report("it did not end in time")
	}
	if len(wrong) > 5 {
		wrong = append(wrong[:5], fmt.Sprintf("and %d more", len(wrong)-5))
	}
	return wrong
}

// playSocket plays both ends of one socket and judges them.
func (w *world) playSocket(ctx context.Context, ep *episode, c *client, p *socketPlan) []string {
	limits := w.calm
	if ep.weather.harsh() {
		limits = w.harsh
	}
	limits.Message = maxMessage
	ours, theirs := newEnd(&p.client), newEnd(&p.server)
	theirs.leaving = &w.leaving
	m := &meeting{
		server: theirs, ctx: ctx, left: make(chan struct{}),
		options: &websocket.AcceptOptions{Compression: p.compression, Limits: limits},
	}
	id := w.meet(m)
	defer w.forget(id)

	wait(ctx, p.start)
	conn, _, err := c.dial(ctx, fmt.Sprintf("%s/socket?meeting=%d", c.base, id),
		&websocket.DialOptions{Compression: p.compression, Limits: limits})
	if err != nil {
		if m.miss() {
			<-m.left // the handler ends with ctx at the latest
			theirs.await(ctx)
		}
		if ep.weather.harsh() || w.leaving.Load() {
			return theirs.problems
		}
		return []string{fmt.Sprintf("dial: %v", err)}
	}
	if c.opened != nil {
		c.opened(conn)
	}
	ours.run(ctx, conn)
	ours.await(ctx)
	conn.CloseNow()
	<-m.left
	theirs.await(ctx)
	wrong := judge(ours, theirs, ep.weather.harsh())
	return append(wrong, count(ctx, ours, theirs)...)
}

// await waits until the end has read to the end.
func (e *end) await(ctx context.Context) {
	if e.conn == nil {
		return
	}
	select {
	case <-e.read:
	case <-ctx.Done():
		e.conn.CloseNow()
		<-e.read
	}
}

// count checks the statistics of both ends. They may lag behind for as long as a
// goroutine of the socket's makes use of its input.
func count(ctx context.Context, client, server *end) []string {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	for {
		var wrong []string
		for name, e := range map[string][2]*end{"client": {client, server}, "server": {server, client}} {
			if err := counted(e[0], e[1]); err != nil {
				wrong = append(wrong, fmt.Sprintf("what the %s counted: %v", name, err))
			}
		}
		if wrong == nil || ctx.Err() != nil {
			return wrong
		}
		wait(ctx, time.Millisecond)
	}
}

// client makes an episode's client.
func (w *world) client(ep *episode) *client {
	switch ep.bootstrap {
	case websocket.HTTP1:
		return w.client1(ep)
	case websocket.HTTP2:
		return w.client2(ep)
	}
	return w.client3(ep)
}

// onNetwork returns the network and the scheme's suffix for an episode on TCP.
func (w *world) onNetwork(ep *episode) (*network, string) {
	if ep.secure {
		return w.secure, "s"
	}
	return w.plain, ""
}

func trust() *tls.Config {
	_, c := wstest.Certificates()
	return c
}

// client1 opens a connection for each socket.
func (w *world) client1(ep *episode) *client {
	n, s := w.onNetwork(ep)
	return &client{
		base: "http" + s + "://localhost",
		dial: func(ctx context.Context, url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			o.TLSClientConfig = trust()
			o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx, ep.up, ep.down) }
			return h1upgrade.Dial(ctx, url, o)
		},
		close: func() {},
	}
}

// harshTime is what a client grants a network that may never answer.
const harshTime = 2 * time.Second

// client2 has one connection for everything, as long as that holds.
func (w *world) client2(ep *episode) *client {
	n, s := w.onNetwork(ep)
	limits := w.h2
	if ep.weather.harsh() {
		limits = h2connect.Limits{WriteStall: harshTime, Preface: harshTime, SettingsAck: harshTime}
	}
	tr := &h2connect.Transport{
		TLSClientConfig: trust(), AllowHTTP: true, Limits: limits,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx, ep.up, ep.down) },
	}
	return &client{base: "http" + s + "://localhost", dial: tr.Dial, rt: tr, close: tr.CloseIdleConnections}
}

// client3 has one connection as well. Its bad weather comes when the first socket
// is open, because only then its port is known.
func (w *world) client3(ep *episode) *client {
	tr := &h3connect.Transport{
		TLSClientConfig: trust(),
		QUICConfig: &quic.Config{
			HandshakeIdleTimeout: w.calm.Handshake,
			// The server keeps a connection whose end it has not heard of for so
			// long: on a busy machine even loopback loses packets.
			MaxIdleTimeout: patience / 2,
			// So that CloseNow cannot overtake the response.
			EnableStreamResetPartialDelivery: true,
		},
	}
	if ep.weather.harsh() {
		tr.QUICConfig.HandshakeIdleTimeout, tr.QUICConfig.MaxIdleTimeout = harshTime, 2*harshTime
	}
	c := &client{base: "https://" + w.packets.LocalAddr().String(), dial: tr.Dial, rt: tr}
	var once sync.Once
	end := tr.Close
	c.opened = func(conn *websocket.Conn) {
		once.Do(func() {
			port := conn.NetConn(websocket.MessageBinary).LocalAddr().(*net.UDPAddr).Port
			w.packets.forget(port)
			trouble := time.AfterFunc(ep.trouble, func() { w.makeTrouble(ep, tr, port) })
			end = func() error {
				trouble.Stop()
				w.packets.spare(port)
				return tr.Close()
			}
		})
	}
	c.close = func() { end() }
	return c
}

func (w *world) makeTrouble(ep *episode, tr *h3connect.Transport, port int) {
	switch ep.weather {
	case slow:
		w.packets.blackout(port, 4*ep.trouble)
	case stalled:
		w.packets.blackout(port, time.Minute)
	case cut, reset:
		tr.Close()
	}
}
