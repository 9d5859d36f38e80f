package negotiate

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A doneContext has ended. Done is called when that is looked for.
type doneContext struct {
	context.Context
	looked func()
}

func (c doneContext) Done() <-chan struct{} {
	c.looked()
	return c.Context.Done()
}

// A Read that waits for the socket gets what came with it, though the request's end may
// be seen at the same moment.
func TestBridgedReadBesideTheRequestsEnd(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		var c *bridgeConn
		ctx := doneContext{over, func() { c.decide(nil, nil) }}
		c = newBridgeConn(&bridge{r: new(http.Request).WithContext(ctx)})
		c.early = []byte("early")
		got := make([]byte, 10)
		n, err := c.Read(got)
		require.NoError(t, err)
		require.Equal(t, "early", string(got[:n]))
	}
}
