package h2connect

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"golang.org/x/net/http2"
)

func TestRequireHTTP1ResetsTheStream(t *testing.T) {
	results := make(chan error, 4)
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", "is not sent")
		results <- RequireHTTP1(struct{ unwrapper }{unwrapper{w}})
		_, err := io.WriteString(w, "too late")
		results <- err
		results <- RequireHTTP1(w)
	})
	mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		results <- RequireHTTP1(w)
	})
	mux.Handle("/hello", ordinary())
	p := clientOf(t, nil, mux)
	p.greet()
	p.headers(1, false, connect()...)
	p.wantReset(1, http2.ErrCodeHTTP11Required, "the handler's word")
	require.NoError(t, <-results)
	require.Error(t, <-results, "nothing can be written")
	require.Error(t, <-results, "once is enough")
	p.headers(3, true, get("/late")...)
	require.Error(t, <-results, "the response has begun")
	p.wantStatus(3, "200", false, "the response stays as it was")
	p.wantData(3, "", true, "its end")
	p.served(5)
}

// An unwrapper is middleware's writer.
type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestRequireHTTP1UnderAnotherServer(t *testing.T) {
	w := httptest.NewRecorder()
	require.ErrorIs(t, RequireHTTP1(w), websocket.ErrNotSupported)
	w.WriteHeader(404)
	assert.Equal(t, 404, w.Code, "nothing has been done")
}

func TestDialLearnsThatHTTP1IsRequired(t *testing.T) {
	s := startTLS(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { RequireHTTP1(w) }))
	_, _, err := testTransport(t).Dial(testContext(t), s.url("/ws"), nil)
	require.ErrorIs(t, err, websocket.ErrNotSupported)
	var reset *StreamError
	require.True(t, errors.As(err, &reset))
	assert.True(t, reset.Remote)
	assert.Equal(t, http2.ErrCodeHTTP11Required, reset.Code)
}
