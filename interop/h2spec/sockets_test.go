package h2spec

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/summerwind/h2spec/config"
	"github.com/wsmux/websocket"
)

// keepSocketsBusy opens n sockets on one connection, each of which sends numbers
// to the echo handler and wants them back, until stop is called. By then each
// has had an echo at least, all of them in order, and is closed in order.
func keepSocketsBusy(t *testing.T, c *config.Config, n int) (stop func()) {
	tr := transportFor(c)
	var stopping atomic.Bool
	ends := make(chan error, n)
	for range n {
		s, _, err := tr.Dial(t.Context(), c.Scheme()+"://"+c.Addr()+"/echo", nil)
		require.NoError(t, err)
		go func() { ends <- echoUntil(t, s, &stopping) }() // ends soon after stopping is set
	}
	return func() {
		stopping.Store(true)
		for range n {
			assert.NoError(t, <-ends, "a socket beside the cases")
		}
		tr.CloseIdleConnections()
	}
}

// echoUntil sends one number after the other and waits for each to come back.
func echoUntil(t *testing.T, s *websocket.Conn, stopping *atomic.Bool) error {
	defer s.CloseNow()
	for i := 0; ; i++ {
		want := strconv.Itoa(i)
		if err := s.Write(t.Context(), websocket.MessageText, []byte(want)); err != nil {
			return err
		}
		_, got, err := s.Read(t.Context())
		if err != nil {
			return err
		}
		if !assert.Equal(t, want, string(got), "echoes come in order") {
			return nil
		}
		if i > 0 && stopping.Load() {
			return s.Close(context.Background(), websocket.StatusNormalClosure, "")
		}
	}
}
