//go:build unix

package browser

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/interop/internal/program"
)

// devtools is the first tab of a Chromium that was started with
// --remote-debugging-port=0, by the Chrome DevTools Protocol: commands and their
// results are JSON in a WebSocket's messages.
type devtools struct {
	t    *testing.T
	conn *websocket.Conn
	id   int
}

var listening = regexp.MustCompile(`DevTools listening on ws://([^/\s]+)/`)

// debug connects with the tab.
func debug(t *testing.T, chromium *program.Program) *devtools {
	chromium.Await(t, "DevTools listening on ws://")
	match := listening.FindStringSubmatch(chromium.Output())
	require.NotNil(t, match, "%s", chromium.Tail())
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+match[1]+"/json/list", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var targets []struct {
		Type                 string
		WebSocketDebuggerURL string `json:"webSocketDebuggerUrl"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&targets))
	for _, target := range targets {
		if target.Type == "page" {
			conn, _, err := h1upgrade.Dial(t.Context(), target.WebSocketDebuggerURL, &websocket.DialOptions{Limits: websocket.Limits{Message: 64 << 20}})
			require.NoError(t, err)
			t.Cleanup(func() { conn.CloseNow() })
			return &devtools{t: t, conn: conn}
		}
	}
	require.FailNow(t, "Chromium has no page", "%v", targets)
	return nil
}

// call sends a command and decodes its result. Events are not looked at.
func (d *devtools) call(method string, params, result any) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	d.id++
	require.NoError(d.t, d.conn.WriteJSON(ctx, map[string]any{"id": d.id, "method": method, "params": params}))
	for {
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		require.NoError(d.t, d.conn.ReadJSON(ctx, &answer))
		if answer.ID != d.id {
			continue
		}
		require.Empty(d.t, string(answer.Error), method)
		require.NoError(d.t, json.Unmarshal(answer.Result, result))
		return
	}
}

// evaluate returns the value of an expression in the page.
func (d *devtools) evaluate(expression string, value any) {
	d.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	d.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	require.Empty(d.t, string(answer.ExceptionDetails), expression)
	require.NoError(d.t, json.Unmarshal(answer.Result.Value, value))
}

// screenshot saves what the tab shows, in a light or dark scheme.
func (d *devtools) screenshot(name, scheme string) {
	d.t.Helper()
	d.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, &struct{}{})
	var shot struct{ Data []byte }
	d.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	file := filepath.Join(screenshots(d.t), name+"-"+scheme+".png")
	require.NoError(d.t, os.WriteFile(file, shot.Data, 0o644))
	d.t.Log("screenshot: ", file)
}
