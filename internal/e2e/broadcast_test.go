package e2e

import (
	"fmt"
	"net/http"
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
