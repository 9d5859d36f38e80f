package negotiate

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// A client that takes its bytes slowly takes some: it is not cut, and the socket is
// not idle, however long it takes for all that was read for it at once.
func TestAJointIsPatientWithSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, client := wstest.Pipe(wstest.PipeOptions{Buffer: 32 << 10}) // room for the smaller buffers
		back, server := wstest.Pipe(wstest.PipeOptions{Buffer: 4 << 20})
		j := newJoint(&ReverseProxy{IdleTimeout: 50 * time.Second}, front, back, nil, nil)
		message := wstest.NewServer(nil).Append(nil, wstest.Binary(make([]byte, 1<<20)))
		_, err := server.Write(message)
		require.NoError(t, err)
		ran := make(chan struct{})
		go func() { // ends with the two streams
			defer close(ran)
			j.run()
		}()
		p := make([]byte, 2<<10) // in a second
		for left := len(message); left > 0; {
			p := p[:min(left, len(p))]
			if _, err := io.ReadFull(client, p); !assert.NoError(t, err) {
				break
			}
			left -= len(p)
			time.Sleep(time.Second)
		}
		require.NoError(t, client.Abort())
		require.NoError(t, server.Abort())
		<-ran
	})
}

// Who comes too late for the end of a joint, its watch or a server that shuts down,
// leaves no timer behind and changes nothing.
func TestAJointThatIsOverStaysAsItIs(t *testing.T) {
	front, client := wstest.Pipe(wstest.PipeOptions{})
	back, server := wstest.Pipe(wstest.PipeOptions{})
	j := newJoint(&ReverseProxy{}, front, back, nil, nil)
	for _, p := range [2]*wstest.PipeStream{client, server} {
		_, err := p.Write([]byte{0x88, 0})
		require.NoError(t, err)
		require.NoError(t, p.CloseWrite())
	}
	j.run()
	assert.NoError(t, j.result())
	j.idleTimeout = time.Nanosecond
	j.rest()
	j.look()
	j.expire()
	assert.False(t, j.watch.Stop())
	assert.False(t, j.ending.Stop())
	assert.NoError(t, j.err)
	assert.Equal(t, [2]wstest.End{wstest.EndClose, wstest.EndClose}, [2]wstest.End{front.Ended(), back.Ended()})
}

// A backend that ends its direction and takes nothing is lost, also where a reset could
// look like that: the client is told while the write to it goes on.
func TestAJointTellsOfALostBackendThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, client := wstest.Pipe(wstest.PipeOptions{Bootstrap: websocket.HTTP1})
		back, server := wstest.Pipe(wstest.PipeOptions{Bootstrap: websocket.HTTP1, Buffer: 1 << 10})
		j := newJoint(new(ReverseProxy), front, back, nil, nil)
		ran := make(chan struct{})
		go func() { // ends with the two streams
			defer close(ran)
			j.run()
		}()
		_, err := client.Write(wstest.NewClient(nil).Append(nil, wstest.Binary(make([]byte, 10<<10))))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, server.CloseWrite())
		require.NoError(t, client.SetReadDeadline(time.Now().Add(defaultCloseTimeout/2)))
		f, err := wstest.NewClient(client).TryNext()
		require.NoError(t, err)
		assert.Equal(t, frame.Close, f.Opcode)
		assert.Equal(t, "\x03\xf4backend lost", string(f.Payload)) // 1012
		require.NoError(t, client.Abort())
		require.NoError(t, server.Abort())
		<-ran
	})
}

// A write that is over leaves no deadline behind that could fail what a stream writes
// by itself, as TLS does when it is asked for new keys: neither a short one nor one that
// took long.
func TestAJointLeavesNoDeadlineForWriting(t *testing.T) {
	for name, pause := range map[string]time.Duration{"short": 0, "long": defaultStall * 9 / 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				front, client := wstest.Pipe(wstest.PipeOptions{Buffer: 100})
				back, server := wstest.Pipe(wstest.PipeOptions{})
				j := newJoint(new(ReverseProxy), front, back, nil, nil)
				ran := make(chan struct{})
				go func() { // ends with the two streams
					defer close(ran)
					j.run()
				}()
				message := make([]byte, 200)
				for range 3 {
					_, err := server.Write(wstest.NewServer(nil).Append(nil, wstest.Binary(message)))
					require.NoError(t, err)
					synctest.Wait()
					time.Sleep(pause / 8)
					j.rest() // as other things do at any time
					time.Sleep(pause * 7 / 8)
					f, err := wstest.NewClient(client).TryNext()
					require.NoError(t, err)
					assert.Equal(t, message, f.Payload)
					for range 20 {
						synctest.Wait()
						_, err = front.Write([]byte("k"))
						require.NoError(t, err)
						_, err = client.Read(make([]byte, 1))
						require.NoError(t, err)
						time.Sleep(defaultStall / 10)
					}
				}
				require.NoError(t, client.Abort())
				require.NoError(t, server.Abort())
				<-ran
			})
		})
	}
}
