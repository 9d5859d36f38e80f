package h2connect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// rawEcho answers an extended CONNECT and echoes its bytes: the engine without
// WebSocket framing.
func rawEcho(w http.ResponseWriter, r *http.Request) {
	st, err := responseWriterOf(w).accept()
	if err != nil {
		return
	}
	buf := make([]byte, 4096)
	for {
		n, err := st.Read(buf)
		if err != nil {
			return
		}
		if _, err := st.Write(buf[:n]); err != nil {
			return
		}
	}
}

// rawStream opens a stream of an extended CONNECT on cc.
func rawStream(t testing.TB, cc *ClientConn, url string) *stream {
	t.Helper()
	ctx := context.Background()
	supported, err := cc.WaitForSettings(ctx)
	require.NoError(t, err)
	require.True(t, supported)
	require.NoError(t, cc.reserve(ctx))
	req, err := http.NewRequestWithContext(ctx, "CONNECT", url, nil)
	require.NoError(t, err)
	st, err := cc.open(req, "websocket")
	require.NoError(t, err)
	resp, err := st.exchange.wait(st, ctx)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	cc.c.mu.Lock()
	st.becomeSocket()
	cc.c.mu.Unlock()
	return st
}

func BenchmarkStreamEcho(b *testing.B) {
	for _, streams := range []int{1, 100} {
		for _, size := range []int{32, 1024} {
			b.Run(fmt.Sprintf("streams=%d/bytes=%d", streams, size), func(b *testing.B) {
				s := startTLS(b, nil, http.HandlerFunc(rawEcho))
				t := testTransport(b)
				cc, err := t.get(context.Background(), mustURL(s.url("/")), nil)
				require.NoError(b, err)
				cc.release(false)
				all := make([]*stream, streams)
				for i := range all {
					all[i] = rawStream(b, cc, s.url("/"))
				}
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, st := range all {
					n := b.N / streams
					if i < b.N%streams {
						n++
					}
					wg.Go(func() {
						out, in := make([]byte, size), make([]byte, size)
						for range n {
							if _, err := st.Write(out); err != nil {
								b.Error(err)
								return
							}
							if _, err := io.ReadFull(st, in); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				for _, st := range all {
					st.Abort()
				}
			})
		}
	}
}

func BenchmarkStreamOpen(b *testing.B) {
	s := startTLS(b, nil, http.HandlerFunc(rawEcho))
	t := testTransport(b)
	cc, err := t.get(context.Background(), mustURL(s.url("/")), nil)
	require.NoError(b, err)
	cc.release(false)
	b.ReportAllocs()
	for b.Loop() {
		st := rawStream(b, cc, s.url("/"))
		st.CloseWrite()
		if _, err := io.Copy(io.Discard, st); err != nil {
			b.Fatal(err)
		}
	}
}
