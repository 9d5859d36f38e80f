package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

// A caller sends requests to the demo as its page does.
type caller struct {
	*checker
	t      *testing.T
	client *http.Client
}

func (c *caller) do(method, url, body string, header http.Header) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	require.NoError(c.t, err)
	if header != nil {
		req.Header = header
	}
	resp, err := c.client.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp, string(p)
}

// post posts JSON and decodes the answer.
func (c *caller) post(path string, body, into any) {
	c.t.Helper()
	p, err := json.Marshal(body)
	require.NoError(c.t, err)
	resp, answer := c.do("POST", "https://"+c.server.host()+path, string(p), http.Header{"Content-Type": {"application/json"}})
	require.Equal(c.t, 200, resp.StatusCode, answer)
	require.NoError(c.t, json.Unmarshal([]byte(answer), into))
}

func TestComparisonCountsWhatBelongsToIt(t *testing.T) {
	const sockets, requests = 5, 7
	c := start(t, routes)
	for i, b := range bootstraps {
		t.Run(b.String(), func(t *testing.T) {
			tr := newTrial(c, b)
			defer tr.release()
			page := &caller{c, t, &http.Client{Transport: tr.dialer}}
			var begun struct{ Number int }
			page.post("/comparisons", struct{}{}, &begun)
			require.Equal(t, i+1, begun.Number)

			for n := range sockets {
				url := fmt.Sprintf("wss://%s/echo?comparison=%d", c.server.host(), begun.Number)
				conn, _, err := tr.dialer.Dial(t.Context(), url, nil)
				require.NoError(t, err)
				defer conn.CloseNow()
				_, _, err = conn.Read(t.Context())
				require.NoError(t, err)
				require.NoError(t, conn.Write(t.Context(), websocket.MessageText, fmt.Append(nil, "socket ", n)))
				_, p, err := conn.Read(t.Context())
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint("socket ", n), string(p))
			}
			for range requests {
				page.do("GET", fmt.Sprintf("https://%s/whoami?comparison=%d", c.server.host(), begun.Number), "", nil)
			}
			// These do not belong to it.
			page.do("GET", "https://"+c.server.host()+"/whoami", "", nil)
			page.do("GET", fmt.Sprintf("https://%s/whoami?comparison=%d", c.server.host(), 1000), "", nil)
			page.do("GET", "https://"+c.server.host()+"/whoami?comparison=x", "", nil)

			var got verdict
			said := measured{Sockets: sockets, Requests: requests, First: 1.5, Slowest: 2, All: 3}
			page.post(fmt.Sprint("/comparisons/", begun.Number), said, &got)
			assert.Equal(t, said, got.Page)
			assert.Equal(t, sockets, got.Sockets)
			assert.Equal(t, requests, got.Requests)
			assert.Equal(t, b.String(), got.Protocol)
			// The requests had a connection before; sockets share it if they can.
			want, opened := 1, 0
			if b == websocket.HTTP1 {
				want, opened = 1+sockets, sockets
			}
			assert.Equal(t, want, got.Connections)
			assert.Equal(t, opened, got.New)
			least := uint64(sockets*len("socket 1") + requests*20)
			if b == websocket.HTTP1 {
				least += sockets * 1000 // handshakes with a certificate
			}
			assert.Greater(t, got.Sent, least)
			assert.Greater(t, got.Received, uint64(sockets*len("socket 1")))
			assert.Less(t, got.Sent+got.Received, uint64(100_000))

			// It has ended: nothing adds to it, and it stays as it is.
			page.do("GET", fmt.Sprintf("https://%s/whoami?comparison=%d", c.server.host(), begun.Number), "", nil)
			var again verdict
			page.post(fmt.Sprint("/comparisons/", begun.Number), measured{}, &again)
			assert.Equal(t, got, again)

			var all []verdict
			_, body := page.do("GET", "https://"+c.server.host()+"/comparisons", "", nil)
			require.NoError(t, json.Unmarshal([]byte(body), &all))
			require.Len(t, all, i+1)
			assert.Equal(t, got, all[i])
		})
	}
}

func TestComparisonsAreNotForOtherSites(t *testing.T) {
	c := start(t, routes)
	tr := newTrial(c, websocket.HTTP2)
	defer tr.release()
	page := &caller{c, t, &http.Client{Transport: tr.dialer}}
	url := "https://" + c.server.host() + "/comparisons"
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		resp, _ := page.do("POST", url, "{}", http.Header{"Content-Type": {kind}})
		assert.Equal(t, http.StatusUnsupportedMediaType, resp.StatusCode, "%q: another site could send it", kind)
	}
	resp, _ := page.do("OPTIONS", url, "", http.Header{"Origin": {"https://other.example"}, "Access-Control-Request-Method": {"POST"}})
	assert.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))

	isJSON := http.Header{"Content-Type": {"application/json"}}
	resp, _ = page.do("POST", url+"/7", "{}", isJSON)
	assert.Equal(t, 404, resp.StatusCode)
	resp, _ = page.do("POST", url+"/1", "{", isJSON)
	assert.Equal(t, 400, resp.StatusCode)
	resp, _ = page.do("POST", url+"/1", `{"x":"`+strings.Repeat("x", maxVerdict)+`"}`, isJSON)
	assert.Equal(t, 400, resp.StatusCode)
}

func TestLedgerRemembersNoMoreThanItsLimits(t *testing.T) {
	l := &ledger{census: newCensus()}
	for range 2 * maxComparisons {
		l.begin()
	}
	assert.Len(t, l.comparisons, maxComparisons)
	_, known := l.end("1", measured{})
	assert.False(t, known, "the oldest has gone")

	r, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("/whoami?comparison=%d", l.begun), nil)
	require.NoError(t, err)
	for range 2 * maxUsed {
		l.enter(r, &connection{traffic: func() traffic { return traffic{} }}, func(s *share) { s.requests++ })
	}
	v, known := l.end(fmt.Sprint(l.begun), measured{})
	require.True(t, known)
	assert.Equal(t, maxUsed, v.Connections)
}

// The second origin has the same routes by HTTP/1.1 alone, for the page's origin
// and no other.
func TestHTTP1Origin(t *testing.T) {
	c := start(t, routes)
	port := c.server.http1.port
	address := fmt.Sprintf("127.0.0.1:%d", port)
	config := &tls.Config{RootCAs: c.cert.roots, NextProtos: []string{"h2", "http/1.1"}}
	nc, err := tls.Dial("tcp", address, config)
	require.NoError(t, err)
	assert.Equal(t, "http/1.1", nc.ConnectionState().NegotiatedProtocol)
	nc.Close()

	tr := newTrial(c, websocket.HTTP1)
	defer tr.release()
	client := &caller{c, t, &http.Client{Transport: tr.dialer}}
	ours, other := "https://"+c.server.host(), "https://other.example"

	resp, body := client.do("GET", "https://"+address+"/whoami", "", http.Header{"Origin": {ours}})
	assert.Equal(t, 1, resp.ProtoMajor)
	assert.Contains(t, body, "HTTP/1.1")
	assert.Equal(t, ours, resp.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, connectionHeader, resp.Header.Get("Access-Control-Expose-Headers"))
	assert.Empty(t, resp.Header.Get("Alt-Svc"))
	resp, _ = client.do("GET", "https://"+address+"/whoami", "", http.Header{"Origin": {other}})
	assert.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))

	dial := func(origin string) error {
		conn, _, err := tr.dialer.Dial(t.Context(), "wss://"+address+"/echo", &websocket.DialOptions{Header: http.Header{"Origin": {origin}}})
		if err == nil {
			conn.CloseNow()
		}
		return err
	}
	assert.NoError(t, dial(ours))
	assert.NoError(t, dial("https://"+address))
	var refused *websocket.HandshakeError
	require.ErrorAs(t, dial(other), &refused)
	assert.Equal(t, 403, refused.Status)

	// The page says where it is.
	_, body = client.do("GET", ours+"/", "", nil)
	assert.Contains(t, body, fmt.Sprintf(`data-http1="https://%s"`, address))
}

func TestOriginIsOnTheHostOfTheRequest(t *testing.T) {
	for host, want := range map[string]string{
		"localhost:8443":   "https://localhost:9",
		"localhost":        "https://localhost:9",
		"127.0.0.1:8443":   "https://127.0.0.1:9",
		"[::1]:8443":       "https://[::1]:9",
		"[::1]":            "https://[::1]:9",
		"demo.example:443": "https://demo.example:9",
	} {
		assert.Equal(t, want, origin(&http.Request{Host: host}, 9), host)
	}
}

// Sockets of both origins hear of the server's end.
func TestShutdownClosesTheSocketsOfBothOrigins(t *testing.T) {
	c := start(t, routes)
	tr := newTrial(c, websocket.HTTP1)
	defer tr.release()
	var conns []*websocket.Conn
	for _, host := range []string{c.server.host(), fmt.Sprintf("127.0.0.1:%d", c.server.http1.port)} {
		conn, _, err := tr.dialer.Dial(t.Context(), "wss://"+host+"/echo", nil)
		require.NoError(t, err)
		_, _, err = conn.Read(t.Context())
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.server.shutdown(t.Context()) }()
	for _, conn := range conns {
		_, _, err := conn.Read(t.Context())
		var closed *websocket.CloseError
		require.ErrorAs(t, err, &closed)
		assert.Equal(t, websocket.StatusGoingAway, closed.Code)
	}
	select {
	case err := <-ended:
		assert.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("shutdown does not end")
	}
}

// The script and the page agree on the elements' ids.
func TestCompareScriptFindsItsElements(t *testing.T) {
	script, err := page.ReadFile("page/compare.js")
	require.NoError(t, err)
	html, err := page.ReadFile("page/index.html")
	require.NoError(t, err)
	for _, part := range bytes.Split(script, []byte(`$("`))[1:] {
		id, _, _ := bytes.Cut(part, []byte(`"`))
		assert.Contains(t, string(html), fmt.Sprintf(`id=%q`, id))
	}
}
