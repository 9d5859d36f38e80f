package negotiate

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
