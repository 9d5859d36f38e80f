package h2connect

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestContentTypeOfTheHandlerStays(t *testing.T) {
	for _, of := range []string{"foo/bar", ""} {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{of}
			fmt.Fprint(w, "<html>hello")
		}))
		p.greet()
		p.headers(1, true, get("/")...)
		h := p.wantStatus(1, "200", false, "not sniffed")
		assert.Equal(t, of, h["content-type"])
	}
}

// A Write that has returned, with an error too, is through with its buffer: the
// handler may use it again. The race detector sees it if not.
func TestWritesDoNotKeepTheirBuffer(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"reset":           func(p *peer) { p.fr.WriteRSTStream(1, http2.ErrCodeCancel) },
		"connection lost": func(p *peer) { p.hangUp() },
	} {
		t.Run(name, func(t *testing.T) {
			blocked, result := make(chan struct{}), make(chan error, 1)
			p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := make([]byte, 100_000)
				w.WriteHeader(http.StatusOK)
				http.NewResponseController(w).Flush()
				close(blocked)
				_, err := w.Write(b)
				for i := range b {
					b[i] = 'x'
				}
				result <- err
			}))
			p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
			p.headers(1, true, get("/")...)
			p.wantStatus(1, "200", false, "before the content")
			<-blocked
			p.wantData(1, string(make([]byte, 10)), false, "all that the window allows")
			end(p)
			require.Error(t, <-result)
		})
	}
}

func TestWindowsReturnWhenContentIsClosed(t *testing.T) {
	const streams, piece, pieces = 5, 10_000, 6
	done := make(chan struct{})
	conf := &Server{Limits: Limits{ConnWindow: protocolWindow}}
	p := clientOf(t, conf, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1)) // some of it has arrived
		r.Body.Close()
		<-done
	}))
	defer close(done)
	p.greet()
	window := protocolWindow
	for id := uint32(1); id < 2*streams; id += 2 {
		p.headers(id, false, ":method", "POST", ":scheme", "http", ":authority", "localhost", ":path", "/")
		for range pieces {
			for window < piece {
				p.nc.SetReadDeadline(time.Now().Add(time.Minute))
				f, err := p.fr.ReadFrame()
				require.NoError(t, err, "the connection's window returns")
				if f, ok := f.(*http2.WindowUpdateFrame); ok && f.StreamID == 0 {
					window += int(f.Increment)
				}
			}
			require.NoError(t, p.fr.WriteData(id, false, make([]byte, piece)))
			window -= piece
		}
	}
	p.wantAlive("more than the window went through it")
}
