package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// agreements are the ways in which subscribers of one broadcast differ.
var agreements = []*websocket.Compression{
	nil,
	{},
	{ServerContextTakeover: true, ClientContextTakeover: true},
	{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9, Threshold: -1},
}

// One PreparedMessage goes to sockets of every transport and every agreement
// about deflate at the same time, between messages of their own, and comes back.
func TestPreparedMessagesAreBroadcastOverAllTransports(t *testing.T) {
	wstest.NoLeaks(t)
	const each, rounds = 3, 5
	var mu sync.Mutex
	var servers []*websocket.Conn
	s := serveNegotiated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := negotiate.Accept(w, r, &websocket.AcceptOptions{Limits: quick, Compression: &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true}})
		if !assert.NoError(t, err) {
			return
		}
		mu.Lock()
		servers = append(servers, c)
		mu.Unlock()
		echo(c)
	}), true)
	var clients []*websocket.Conn
	for _, b := range bootstraps(true) {
		d := newDialer(t, b)
		for _, agreed := range agreements {
			for range each {
				c, _, err := d.Dial(soon(t), s.url(b), &websocket.DialOptions{Limits: quick, Compression: agreed})
				require.NoError(t, err)
				defer c.CloseNow()
				clients = append(clients, c)
				require.NoError(t, c.Ping(soon(t))) // its handler runs
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, servers, len(clients))

	var sent []string
	var prepared []*websocket.PreparedMessage
	for i, n := range []int{0, 100, 2000, 70_000, 300_000} {
		p := strings.Repeat(fmt.Sprintf("message %d, ", i), n/11+1)[:n]
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(p))
		require.NoError(t, err)
		sent, prepared = append(sent, p), append(prepared, m)
	}
	var all sync.WaitGroup
	for _, c := range servers {
		all.Go(func() {
			for i := range rounds {
				assert.NoError(t, c.WritePrepared(soon(t), prepared[i]))
				assert.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("between "+sent[1])))
			}
		})
	}
	for _, c := range clients {
		all.Go(func() {
			for i := range rounds {
				for _, want := range []string{sent[i], "between " + sent[1]} {
					_, p, err := c.Read(soon(t))
					if !assert.NoError(t, err) || !assert.True(t, want == string(p)) {
						return
					}
				}
			}
			for i := range rounds { // and from the client, masked
				assert.NoError(t, c.WritePrepared(soon(t), prepared[i]))
				_, p, err := c.Read(soon(t))
				if !assert.NoError(t, err) || !assert.True(t, sent[i] == string(p)) {
					return
				}
			}
			assert.NoError(t, c.Close(soon(t), 1000, ""))
		})
	}
	all.Wait()
}

// numbered returns the messages of the broadcasts below.
func numbered(i int) []byte { return append(fmt.Appendf(nil, "%4d", i), make([]byte, 50_000)...) }

// An audience are sockets of one server, in Handler mode, and their clients.
type audience struct {
	servers, clients []*websocket.Conn
}

func (tr transport) audience(t *testing.T, n int) audience {
	tr = tr.negotiated(t) // sockets share connections
	accepted := make(chan *websocket.Conn, 1)
	authority := tr.listen(t, tr.handler(t, &websocket.AcceptOptions{Limits: websocket.Limits{CloseTimeout: patience}}, func(c *websocket.Conn) {
		if assert.NoError(t, c.Handle(&calls{})) {
			accepted <- c
		}
	}))
	var a audience
	for range n {
		c := tr.mustDial(t, authority, nil)
		t.Cleanup(func() { c.CloseNow() })
		a.servers, a.clients = append(a.servers, <-accepted), append(a.clients, c)
	}
	return a
}

// listen reads numbered messages until the socket ends, and returns how many.
func listen(c *websocket.Conn, heard chan<- struct{}) <-chan int {
	return begin(func() int {
		for i := 0; ; i++ {
			_, p, err := c.Read(context.Background())
			if err != nil || !bytes.Equal(p, numbered(i)) {
				return i
			}
			if heard != nil {
				heard <- struct{}{}
			}
		}
	})
}

// A socket whose peer does not read is dealt with as the policy says, and all
// others get every message, in order.
func TestBroadcastDoesNotWaitForSlowReceivers(t *testing.T) {
	const healthy, most = 3, 2000
	for name, slow := range map[string]websocket.SlowReceiver{"misses": websocket.SlowMisses, "ends": websocket.SlowEnds} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, tr transport) {
				a := tr.audience(t, 1+healthy) // the first does not read
				heard := make(chan struct{}, healthy)
				var counts []<-chan int
				for _, c := range a.clients[1:] {
					counts = append(counts, listen(c, heard))
				}
				rounds, written, missed := 0, 0, 0
				for after := 3; after > 0 && rounds < most; rounds++ {
					m, err := websocket.NewPreparedMessage(websocket.MessageBinary, numbered(rounds))
					require.NoError(t, err)
					w, n := websocket.Broadcast(context.Background(), m, slices.Values(a.servers), slow)
					if missed > 0 {
						after--
						assert.GreaterOrEqual(t, w, healthy)
					}
					written, missed = written+w, missed+n
					for range healthy {
						<-heard
					}
				}
				if slow == websocket.SlowEnds {
					assert.Equal(t, 1, missed, "it is passed over afterwards")
					ce := wantEnd(t, a.servers[0].Ping(soon(t)), 1006, false)
					assert.ErrorIs(t, ce, net.ErrClosed)
				} else {
					assert.Equal(t, rounds*(1+healthy), written+missed)
				}
				for i, c := range a.servers[1:] {
					require.NoError(t, c.Close(soon(t), 1000, ""))
					assert.Equal(t, rounds, <-counts[i])
				}
			})
		})
	}
}

// With SlowWaits nobody misses anything; a context ends the waiting.
func TestBroadcastWaitsForSlowReceivers(t *testing.T) {
	onEach(t, func(t *testing.T, tr transport) {
		const healthy = 2
		rounds := 60
		if tr.usesTCPAlone() {
			rounds = 200 // more than the kernel's buffers hold
		}
		a := tr.audience(t, 1+healthy)
		heard := make(chan struct{}, rounds*healthy)
		var counts []<-chan int
		for _, c := range a.clients[1:] {
			counts = append(counts, listen(c, heard))
		}
		all := begin(func() (missed int) {
			for i := range rounds {
				m, err := websocket.NewPreparedMessage(websocket.MessageBinary, numbered(i))
				if !assert.NoError(t, err) {
					return -1
				}
				_, n := websocket.Broadcast(context.Background(), m, slices.Values(a.servers), websocket.SlowWaits)
				missed += n
			}
			return missed
		})
		<-heard
		counts = append([]<-chan int{listen(a.clients[0], nil)}, counts...)
		assert.Zero(t, <-all)
		for i, c := range a.servers {
			require.NoError(t, c.Close(soon(t), 1000, ""))
			assert.Equal(t, rounds, <-counts[i])
		}
	})
}
