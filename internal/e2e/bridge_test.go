package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/internal/handshake"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// bridged returns the transport with handlers that know HTTP/1.1 only, behind a
// Bridge.
func (tr transport) bridged() transport {
	listen := tr.listen
	tr.accept = h1upgrade.Accept
	tr.listen = func(t testing.TB, h http.Handler) string {
		mux := http.NewServeMux()
		mux.Handle("GET /", h)
		return listen(t, negotiate.Bridge(mux))
	}
	return tr
}

// onBridges runs a test on every transport that has something to bridge.
func onBridges(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Helper()
	on(t, bridged(), test)
}

// onBridgedServers runs a test on every transport that has something to bridge,
// which the test's own handlers do.
func onBridgedServers(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Helper()
	for _, tr := range transports {
		if tr.bootstrap != websocket.HTTP1 {
			t.Run(tr.name, func(t *testing.T) { test(t, tr) })
		}
	}
}

// hijack is what a library of the old school does: it takes the connection.
func hijack(t testing.TB, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	t.Helper()
	conn, rw, err := w.(http.Hijacker).Hijack()
	require.NoError(t, err)
	return conn, rw
}

// switching is a 101 that accepts r.
func switching(r *http.Request, more ...string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		handshake.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n" + strings.Join(append(more, ""), "\r\n") + "\r\n"
}

// What a handler sees of an extended CONNECT is an upgrade.
func TestBridgeShowsAnUpgrade(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		seen := make(chan *http.Request, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r
			conn, rw := hijack(t, w)
			assert.Zero(t, rw.Reader.Buffered())
			assert.Equal(t, r.RemoteAddr, conn.RemoteAddr().String())
			assert.NotEmpty(t, conn.LocalAddr().String())
			fmt.Fprint(rw, switching(r, "Sec-WebSocket-Protocol: two", "Set-Cookie: a=b", "Set-Cookie: c=d", "X-Accel: yes"))
			assert.NoError(t, rw.Flush())
			_, err := rw.ReadByte() // on h3 an end at once comes with the 200, which then accepts nothing
			assert.NoError(t, err)
			assert.NoError(t, conn.Close())
			assert.ErrorIs(t, conn.Close(), net.ErrClosed)
			_, err = conn.Write([]byte("late"))
			assert.ErrorIs(t, err, net.ErrClosed)
			_, err = conn.Read(make([]byte, 1))
			assert.ErrorIs(t, err, net.ErrClosed)
		}))
		c, resp, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{
			Subprotocols: []string{"one", "two"}, Header: http.Header{"Cookie": {"x=1; y=2"}}, Limits: quick,
		})
		require.NoError(t, err)
		assert.Equal(t, "two", c.Subprotocol())
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, []string{"a=b", "c=d"}, resp.Header["Set-Cookie"])
		assert.Equal(t, "yes", resp.Header.Get("X-Accel"))
		assert.Empty(t, resp.Header["Upgrade"])
		assert.Empty(t, resp.Header["Sec-Websocket-Accept"])
		require.NoError(t, c.Write(soon(t), websocket.MessageText, nil))
		_, _, err = c.Read(soon(t))
		wantEnd(t, err, websocket.StatusAbnormalClosure, true)

		r := <-seen
		assert.Equal(t, "GET", r.Method)
		assert.Equal(t, "HTTP/1.1", r.Proto)
		assert.True(t, r.ProtoAtLeast(1, 1))
		assert.Equal(t, "/socket?a=b", r.RequestURI)
		assert.Equal(t, "/socket", r.URL.Path)
		assert.Empty(t, r.URL.Host)
		assert.Equal(t, authority, r.Host)
		assert.Equal(t, "websocket", r.Header.Get("Upgrade"))
		assert.Equal(t, "Upgrade", r.Header.Get("Connection"))
		assert.Equal(t, "13", r.Header.Get("Sec-WebSocket-Version"))
		assert.Len(t, r.Header.Get("Sec-WebSocket-Key"), 24)
		assert.Equal(t, []string{"x=1; y=2"}, r.Header["Cookie"])
		assert.NotContains(t, r.Header, ":protocol")
		assert.Equal(t, tr.tls, r.TLS != nil)
		assert.Equal(t, http.NoBody, r.Body)
	})
}

// The hijacked connection is the stream, byte for byte, after a 101 in any form.
func TestBridgeHandsOverTheStream(t *testing.T) {
	ways := map[string]func(t testing.TB, w http.ResponseWriter, r *http.Request) net.Conn{
		"written by and by": func(t testing.TB, w http.ResponseWriter, r *http.Request) net.Conn {
			conn, _ := hijack(t, w)
			for _, b := range []byte(switching(r)) {
				_, err := conn.Write([]byte{b})
				assert.NoError(t, err)
			}
			return conn
		},
		"with the first bytes behind it": func(t testing.TB, w http.ResponseWriter, r *http.Request) net.Conn {
			conn, _ := hijack(t, w)
			answer := switching(r) + "early"
			n, err := io.WriteString(conn, answer)
			assert.NoError(t, err)
			assert.Equal(t, len(answer), n)
			return conn
		},
		"by WriteHeader": func(t testing.TB, w http.ResponseWriter, r *http.Request) net.Conn {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", handshake.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			assert.NoError(t, err)
			_, _, err = http.NewResponseController(w).Hijack()
			assert.ErrorIs(t, err, http.ErrHijacked)
			_, err = w.Write([]byte("no"))
			assert.ErrorIs(t, err, http.ErrHijacked)
			return conn
		},
	}
	for name, answer := range ways {
		t.Run(name, func(t *testing.T) {
			onBridges(t, func(t *testing.T, tr transport) {
				outlived := make(chan struct{})
				raw := tr.rawDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn := answer(t, w, r)
					go func() { // the connection outlives the handler
						defer close(outlived)
						defer conn.Close()
						_, err := io.Copy(conn, conn)
						assert.NoError(t, err)
						assert.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
					}()
				})))
				if name == "with the first bytes behind it" {
					p := make([]byte, 5)
					_, err := io.ReadFull(raw, p)
					require.NoError(t, err)
					assert.Equal(t, "early", string(p))
				}
				want := random(1, 300_000)
				sent := begin(func() error {
					_, err := raw.Write(want)
					return errors.Join(err, raw.CloseWrite())
				})
				got, err := io.ReadAll(raw)
				require.NoError(t, err)
				require.NoError(t, <-sent)
				assert.True(t, string(want) == string(got))
				<-outlived
			})
		})
	}
}

// What stands behind a 101 in one piece with it is the stream's, however much it is
// and however the 101's lines end.
func TestBridgeKeepsWhatIsBehindTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		lines  *strings.Replacer
		behind string
	}{
		"much":            {strings.NewReplacer(), string(random(1, 300_000))},
		"line feeds":      {strings.NewReplacer("\r\n", "\n"), "early\r\n\r\nmore"},
		"the last of two": {strings.NewReplacer("\r\n\r\n", "\r\n\n"), "early\r\n\r\nmore"},
	} {
		t.Run(name, func(t *testing.T) {
			onBridges(t, func(t *testing.T, tr transport) {
				raw := tr.rawDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _ := hijack(t, w)
					defer conn.Close()
					_, err := io.WriteString(conn, c.lines.Replace(switching(r))+c.behind)
					assert.NoError(t, err)
				})))
				got, err := io.ReadAll(raw)
				require.NoError(t, err)
				assert.True(t, c.behind == string(got), "%d bytes", len(got))
			})
		})
	}
}

// Hijack ends the deadlines that were set for the response, as net/http's does.
func TestBridgeHijackEndsDeadlines(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		raw := tr.rawDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			assert.NoError(t, rc.EnableFullDuplex())
			assert.NoError(t, rc.SetReadDeadline(time.Now().Add(time.Millisecond)))
			assert.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Millisecond)))
			conn, _ := hijack(t, w)
			defer conn.Close()
			assert.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
			_, err := conn.Read(make([]byte, 1))
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.NoError(t, conn.SetReadDeadline(time.Time{}))
			_, err = io.WriteString(conn, switching(r))
			assert.NoError(t, err)
			_, err = io.ReadFull(conn, make([]byte, 1))
			assert.NoError(t, err)
		})))
		_, err := raw.Write([]byte{1})
		require.NoError(t, err)
		_, err = io.ReadAll(raw)
		require.NoError(t, err)
	})
}

// A Read before the 101 ends when the client has gone.
func TestBridgeConnReadEndsWithTheClient(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		ctx, cancel := context.WithCancel(soon(t))
		ended := make(chan error, 1)
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _ := hijack(t, w)
			defer conn.Close()
			cancel()
			assert.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}))
		_, _, err := tr.tryDial(ctx, authority, nil)
		require.ErrorIs(t, err, context.Canceled)
		err = <-ended
		require.Error(t, err)
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// Close ends a Write that the client blocks, and the client's stream.
func TestBridgeConnCloseEndsABlockedWrite(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		const size = 50 << 20
		begun, closed := make(chan struct{}), make(chan struct{})
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _ := hijack(t, w)
			io.WriteString(conn, switching(r))
			conn.Write(binary.BigEndian.AppendUint64([]byte{0x82, 127}, size)) // of a frame
			blocked := begin(func() error { _, err := conn.Write(make([]byte, size)); return err })
			<-begun
			assert.NoError(t, conn.Close())
			assert.ErrorIs(t, <-blocked, net.ErrClosed)
			close(closed)
		}))
		c, _, err := tr.tryDial(soon(t), authority, &websocket.DialOptions{Limits: websocket.Limits{Message: size}})
		require.NoError(t, err)
		_, message, err := c.Reader(soon(t))
		require.NoError(t, err)
		_, err = io.ReadFull(message, make([]byte, 1))
		require.NoError(t, err)
		close(begun)
		<-closed
		_, err = io.Copy(io.Discard, message)
		wantEnd(t, err, websocket.StatusAbnormalClosure, true)
	})
}

// Deadlines of the hijacked connection may pass and be moved, before the 101 and
// after it.
func TestBridgeConnDeadlines(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		checked := make(chan struct{})
		raw := tr.rawDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(checked)
			conn, _ := hijack(t, w)
			defer conn.Close()
			past := time.Unix(1, 0)
			p := make([]byte, 10)
			late := func(when string) {
				_, err := conn.Read(p)
				var ne net.Error
				if assert.ErrorAs(t, err, &ne, when) {
					assert.True(t, ne.Timeout(), when)
				}
			}
			assert.NoError(t, conn.SetReadDeadline(past))
			late("before the 101")
			blocked := begin(func() error { _, err := conn.Read(make([]byte, 1)); return err })
			assert.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Millisecond)))
			assert.Error(t, <-blocked, "by a deadline that is moved while it waits")
			assert.NoError(t, conn.SetDeadline(time.Time{}))
			_, err := io.WriteString(conn, switching(r))
			assert.NoError(t, err)
			assert.NoError(t, conn.SetReadDeadline(past))
			late("behind the 101")
			assert.NoError(t, conn.SetReadDeadline(time.Time{}))
			n, err := io.ReadFull(conn, p[:5])
			assert.NoError(t, err)
			assert.Equal(t, "hello", string(p[:n]))
			blocked = begin(func() error { _, err := conn.Read(make([]byte, 1)); return err })
			assert.NoError(t, conn.Close())
			assert.Error(t, <-blocked, "Close ends a Read")
		})))
		_, err := io.WriteString(raw, "hello")
		require.NoError(t, err)
		<-checked
	})
}

// Every refusal arrives with its status, however it is written; what would be
// taken for an acceptance does not.
func TestBridgePassesRefusals(t *testing.T) {
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			rw.WriteString(text)
			rw.Flush()
			conn.Close()
		}
	}
	halfClosed := func(w http.ResponseWriter, r *http.Request) {
		conn, _ := hijack(t, w)
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\ntry later")
		assert.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
		io.Copy(io.Discard, conn) // until the client has read it
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
		body    string
	}{
		"http.Error":         {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no entry", http.StatusForbidden) }, http.StatusForbidden, "no entry\n"},
		"no such route":      {http.NotFound, 404, "404 page not found\n"},
		"redirect":           {http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, http.StatusTemporaryRedirect, ""},
		"426":                {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(426) }, 400, ""},
		"a page":             {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, 501, ""},
		"nothing":            {func(w http.ResponseWriter, r *http.Request) {}, 501, ""},
		"101 and no more":    {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(101) }, 500, ""},
		"raw with length":    {raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nWWW-Authenticate: Basic\r\n\r\nwho"), 401, "who"},
		"raw to the end":     {raw("HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\ntry later"), 503, "try later"},
		"raw, half closed":   {halfClosed, 503, "try later"},
		"raw, line feeds":    {raw("HTTP/1.1 401 Unauthorized\nContent-Length: 3\nWWW-Authenticate: Basic\n\nwho"), 401, "who"},
		"raw in chunks":      {raw("HTTP/1.1 418 Tea\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntea\r\n0\r\n\r\n"), 418, "tea"},
		"raw 200":            {raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 501, ""},
		"raw and cut":        {raw("HTTP/1.1 403 Forb"), 500, ""},
		"raw and cut body":   {raw("HTTP/1.1 403 No\r\nContent-Length: 30\r\n\r\nshort"), 500, ""},
		"no HTTP":            {raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), 500, ""},
		"wrong accept":       {raw("HTTP/1.1 101 Sw\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"), 500, ""},
		"header without end": {raw("HTTP/1.1 403 No\r\nX: " + strings.Repeat("x", 20_000)), 500, ""},
		"a choice of its own": {func(w http.ResponseWriter, r *http.Request) {
			raw(switching(r, "Sec-WebSocket-Protocol: mine"))(w, r)
		}, 500, ""},
		"an extension of its own": {func(w http.ResponseWriter, r *http.Request) {
			raw(switching(r, "Sec-WebSocket-Extensions: permessage-deflate"))(w, r)
		}, 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onBridges(t, func(t *testing.T, tr transport) {
				_, _, err := tr.tryDial(soon(t), tr.listen(t, c.handler), nil)
				var he *websocket.HandshakeError
				require.ErrorAs(t, err, &he)
				assert.Equal(t, c.status, he.Status)
				assert.True(t, he.Remote)
				assert.Contains(t, string(he.Body), c.body)
				if c.status == 401 {
					assert.Equal(t, "Basic", he.Header.Get("WWW-Authenticate"))
				}
			})
		})
	}
}

// A hijacked connection that is closed without an answer, and a handler that
// panics, are a reset: the stream does not hang, and its neighbours live.
func TestBridgeFailsClosed(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"closed":  func(w http.ResponseWriter, r *http.Request) { c, _, _ := w.(http.Hijacker).Hijack(); c.Close() },
		"panic":   func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"panic 2": func(w http.ResponseWriter, r *http.Request) { w.(http.Hijacker).Hijack(); panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			onBridges(t, func(t *testing.T, tr transport) {
				_, _, err := tr.tryDial(soon(t), tr.listen(t, h), nil)
				require.Error(t, err)
			})
		})
	}
	t.Run("panic behind the 101", func(t *testing.T) {
		onBridges(t, func(t *testing.T, tr transport) {
			raw := tr.rawDial(t, tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _ := hijack(t, w)
				io.WriteString(conn, switching(r))
				_, err := io.ReadFull(conn, make([]byte, 1))
				assert.NoError(t, err)
				panic(http.ErrAbortHandler)
			})))
			_, err := raw.Write([]byte{1})
			require.NoError(t, err)
			_, err = io.ReadAll(raw)
			require.Error(t, err)
		})
	})
}

// What a handler that panics has left to another goroutine is over when the client's
// ResponseWriter is.
func TestBridgePanicWaitsForTheAnswer(t *testing.T) {
	onBridgedServers(t, func(t *testing.T, tr transport) {
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			slow := &slowHeader{ResponseWriter: w, called: make(chan bool, 1), over: make(chan bool)}
			defer func() {
				assert.False(t, slow.busy.Load(), "the ResponseWriter is in use")
				close(slow.over)
			}()
			negotiate.Bridge(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _ := hijack(t, w)
				answer := switching(r)
				slow.armed.Store(true)
				go func() { // ends with the answer
					io.WriteString(conn, answer)
					conn.Close()
				}()
				<-slow.called
				panic(http.ErrAbortHandler)
			})).ServeHTTP(slow, r)
		}))
		c, _, err := tr.tryDial(soon(t), authority, nil)
		if err == nil {
			_, _, err = c.Read(soon(t))
		}
		require.Error(t, err)
	})
}

// A slowHeader is a ResponseWriter whose Header takes its time once, when armed.
type slowHeader struct {
	http.ResponseWriter
	armed, busy atomic.Bool
	called      chan bool
	over        chan bool // closed when nobody may use it any more
}

func (s *slowHeader) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *slowHeader) Header() http.Header {
	if s.armed.Swap(false) {
		s.busy.Store(true)
		s.called <- true
		select {
		case <-s.over:
		case <-time.After(20 * time.Millisecond):
		}
		s.busy.Store(false)
	}
	return s.ResponseWriter.Header()
}

// Fields that were set in front of the Bridge are in the handler's hands, as over
// HTTP/1.1.
func TestBridgeKeepsFieldsThatWereSetBefore(t *testing.T) {
	type answer = func(t *testing.T, w http.ResponseWriter, r *http.Request)
	for name, end := range map[string]answer{
		"refused": func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"by WriteHeader": func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", handshake.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _ := hijack(t, w)
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		},
		"native": func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			c, err := negotiate.Accept(w, r, nil)
			if assert.NoError(t, err) {
				echo(c)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tr := range transports {
				t.Run(tr.name, func(t *testing.T) {
					h := negotiate.Bridge(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Add("Set-Cookie", "inner=2")
						w.Header().Set("X-Changed", "inner")
						w.Header().Del("X-Removed")
						end(t, w, r)
					}))
					authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Add("Set-Cookie", "outer=1")
						w.Header().Set("X-Changed", "outer")
						w.Header().Set("X-Removed", "outer")
						h.ServeHTTP(w, r)
					}))
					c, resp, err := tr.tryDial(soon(t), authority, nil)
					var he *websocket.HandshakeError
					var got http.Header
					if errors.As(err, &he) {
						got = he.Header
					} else {
						require.NoError(t, err)
						got = resp.Header
						require.NoError(t, c.CloseNow())
					}
					assert.Equal(t, []string{"outer=1", "inner=2"}, got["Set-Cookie"])
					assert.Equal(t, []string{"inner"}, got["X-Changed"])
					assert.Empty(t, got["X-Removed"])
				})
			}
		})
	}
}

// A handshake that the handler accepts with a library of its own is no refusal.
func TestBridgeIsNotObserved(t *testing.T) {
	onBridgedServers(t, func(t *testing.T, tr transport) {
		rep := newReporter()
		raw := tr.rawDial(t, tr.listen(t, negotiate.Observe(negotiate.Bridge(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _ := hijack(t, w)
			io.WriteString(conn, switching(r))
			assert.NoError(t, conn.Close())
		})), rep.observer())))
		_, err := io.ReadAll(raw)
		require.NoError(t, err)
		assert.Empty(t, rep.events)
	})
}

// Requests that are no handshake, and handshakes that break a rule, do not become
// upgrades.
func TestBridgeLeavesOtherRequestsAlone(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			authority := tr.listen(t, negotiate.Bridge(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.EqualValues(t, tr.bootstrap, r.ProtoMajor)
				assert.Empty(t, r.Header["Upgrade"])
				w.WriteHeader(http.StatusTeapot)
			})))
			assert.Equal(t, http.StatusTeapot, ordinaryRequest(t, tr, authority))
		})
	}
}

// A handler that calls negotiate.Accept inside a Bridge gets the client's own
// bootstrap, with the fields that it has set.
func TestAcceptInsideABridgeIsNative(t *testing.T) {
	onBridges(t, func(t *testing.T, tr transport) {
		tr.accept = negotiate.Accept
		authority := tr.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Set", "before")
			c, err := tr.accept(w, r, nil)
			if !assert.NoError(t, err) {
				return
			}
			assert.Equal(t, tr.bootstrap, c.Bootstrap())
			echo(c)
		}))
		c, resp, err := tr.tryDial(soon(t), authority, nil)
		require.NoError(t, err)
		assert.Equal(t, "before", resp.Header.Get("X-Set"))
		require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("native")))
		wantMessage(t, c, websocket.MessageText, []byte("native"))
		require.NoError(t, c.Close(soon(t), 1000, ""))
	})
}

// What middleware inside a Bridge has made of the request is what a handler of this
// module sees, as over HTTP/1.1.
func TestNativeInsideABridgeIsTheRewrittenRequest(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			seen := make(chan *http.Request, 1)
			backend := transportNamed("h1").listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r
				w.WriteHeader(http.StatusForbidden)
			}))
			p := &negotiate.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
				pr.SetURL(&url.URL{Scheme: "http", Host: backend})
			}}
			authority := tr.listen(t, negotiate.Bridge(http.StripPrefix("/socket", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("X-Removed")
				r.Header.Set("X-Set", "by middleware")
				r.Host = "public.example"
				if r.Header["X-Proxy"] != nil {
					p.ServeHTTP(w, r)
					return
				}
				c, err := negotiate.Accept(w, r, nil)
				if assert.NoError(t, err, "the origin is that of r.Host") {
					assert.NoError(t, c.CloseNow())
				}
			}))))
			o := &websocket.DialOptions{Header: http.Header{
				"X-Removed": {"by the client"}, "Origin": {strings.Replace(tr.origin(authority), authority, "public.example", 1)},
			}}

			c, _, err := tr.tryDial(soon(t), authority, o)
			require.NoError(t, err)
			require.NoError(t, c.CloseNow())

			o.Header["X-Proxy"] = []string{"please"}
			_, _, err = tr.tryDial(soon(t), authority, o)
			var he *websocket.HandshakeError
			require.ErrorAs(t, err, &he)
			require.Equal(t, http.StatusForbidden, he.Status)
			r := <-seen
			assert.Equal(t, "/?a=b", r.RequestURI)
			assert.Empty(t, r.Header["X-Removed"])
			assert.Equal(t, "by middleware", r.Header.Get("X-Set"))
		})
	}
}
