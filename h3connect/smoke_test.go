package h3connect

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

func TestEcho(t *testing.T) {
	wstest.NoLeaks(t)
	tr := newTransport(t)
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	c := dial(t, tr, addr, nil)
	require.Equal(t, websocket.HTTP3, c.Bootstrap())
	wantEcho(t, c, "hello")
	require.NoError(t, c.Close(soon(t), 1000, "bye"))
}

func TestEchoPlain(t *testing.T) {
	_, client := wstest.Certificates()
	addr := serve(t, new(Server), http.HandlerFunc(echo))
	c, _, err := Dial(soon(t), "wss://"+addr+"/", withTLS(client))
	require.NoError(t, err)
	wantEcho(t, c, "hello")
	require.NoError(t, c.Close(soon(t), 1000, "bye"))
}
