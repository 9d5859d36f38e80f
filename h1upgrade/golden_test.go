package h1upgrade

import (
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

var date = regexp.MustCompile(`(?m)^Date: .*\n`)

// TestH1_01To14Golden sends the request of each file in testdata/accept and
// compares the whole answer with the one below the line "---". Files have line
// feeds where the wire has CRLF, and no Date.
//
// Behind each request that is refused another one is pipelined: it must never be
// answered, nor reach a handler, and the connection ends. (The version case of
// H1-05 is a known way to smuggle.)
func TestH1_01To14Golden(t *testing.T) {
	files, err := filepath.Glob("testdata/accept/*.http")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	o := &websocket.AcceptOptions{
		Subprotocols: []string{"superchat", "chat"},
		Compression:  &websocket.Compression{},
		Header:       http.Header{"Set-Cookie": {"a=b"}},
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			request, want, ok := strings.Cut(string(text), "---\n")
			require.True(t, ok)

			h, results := acceptor(o)
			mux := http.NewServeMux()
			mux.Handle("/", h)
			mux.HandleFunc("/smuggled", func(http.ResponseWriter, *http.Request) { t.Error("a pipelined request was served") })
			c := dialTCP(t, serve(t, mux))
			opens := strings.HasPrefix(want, "HTTP/1.1 101")
			raw := crlf(request)
			if !opens {
				raw += "GET /smuggled HTTP/1.1\r\nHost: server.example.com\r\n\r\n"
			}
			_, err = io.WriteString(c, raw)
			require.NoError(t, err)
			require.NoError(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			require.NoError(t, err)

			header, content, _ := strings.Cut(string(got), "\r\n\r\n")
			assert.Equal(t, strings.Count(header, "\n"), strings.Count(header, "\r\n"), "lines end with CRLF")
			if opens {
				content = "" // the server's END, because we have sent ours
			}
			answer := date.ReplaceAllString(strings.ReplaceAll(header, "\r\n", "\n")+"\n\n", "") + content
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(request+"---\n"+answer), 0o644))
				return
			}
			assert.Equal(t, want, answer)
			assert.Equal(t, opens, (<-results).err == nil)
		})
	}
}
