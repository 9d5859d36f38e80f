package h2spec

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"
	"github.com/wsmux/websocket/h2connect"
	"golang.org/x/net/http2"
)

// clientSuiteSize is how many cases for clients version 2.2.1 has.
const clientSuiteSize = 57

// The suite's cases for clients: the suite is the server, and the engine sends a
// request that the case may answer, or not.
func TestH2_00ClientPassesH2spec(t *testing.T) {
	cases := clientCases(nil, client.Spec())
	require.Len(t, cases, clientSuiteSize)
	passed := rowOf(false).Count(t, "client", clientSuiteSize)
	for _, cc := range cases {
		t.Run(cc.id, func(t *testing.T) {
			t.Parallel()
			passed(t)
			cc.run(t, h2connect.Limits{})
		})
	}
}

// The same where a closed connection does not pass for an answer.
func TestH2_00ClientAnswersH2specWithTheRightFrames(t *testing.T) {
	const closing = "client/5.4.1/1"
	passed := rowOf(false).Count(t, "client, frames alone", clientSuiteSize-1)
	for _, cc := range clientCases(nil, client.Spec()) {
		if cc.id == closing {
			continue
		}
		t.Run(cc.id, func(t *testing.T) {
			t.Parallel()
			passed(t)
			cc.run(t, h2connect.Limits{Linger: time.Hour})
		})
	}
}

// A clientCase is a case for clients with the number that the suite gives it.
type clientCase struct {
	id string
	*spec.ClientTestCase
}

func clientCases(all []clientCase, g *spec.ClientTestGroup) []clientCase {
	for _, tc := range g.Tests {
		if id := fmt.Sprintf("%s/%d", g.ID(), tc.Seq); id == dataOnClosed {
			all = append(all, clientCase{id, dataOnClosedStream(tc)})
			continue
		}
		all = append(all, clientCase{fmt.Sprintf("%s/%d", g.ID(), tc.Seq), tc})
	}
	for _, sub := range g.Groups {
		all = clientCases(all, sub)
	}
	return all
}

// dataOnClosed is the one case that contradicts RFC 9113. It demands a connection
// error, as RFC 7540 §5.1 did; now a connection error is a choice (§5.1), and for
// DATA there is a rule: "If a DATA frame is received whose stream is not in the
// 'open' or 'half-closed (local)' state, the recipient MUST respond with a stream
// error […] of type STREAM_CLOSED" (§6.1).
const dataOnClosed = "client/5.1/8"

// dataOnClosedStream returns the case with what RFC 9113 demands.
func dataOnClosedStream(tc *spec.ClientTestCase) *spec.ClientTestCase {
	return &spec.ClientTestCase{
		Desc:        tc.Desc,
		Requirement: "The endpoint MUST treat this as a stream error of type STREAM_CLOSED (RFC 9113 §6.1).",
		Run: func(c *config.Config, conn *spec.Conn) error {
			if err := conn.Handshake(); err != nil {
				return err
			}
			r, err := conn.ReadRequest()
			if err != nil {
				return err
			}
			conn.WriteHeaders(http2.HeadersFrameParam{
				StreamID: r.StreamID, EndStream: true, EndHeaders: true,
				BlockFragment: conn.EncodeHeaders(spec.CommonRespHeaders(c)),
			})
			conn.WriteData(r.StreamID, true, []byte("too late"))
			return spec.VerifyStreamError(conn, http2.ErrCodeStreamClosed)
		},
	}
}

// run runs the case as the server of one connection, on which a client of ours
// asks for a page and reads what it gets.
func (cc clientCase) run(t *testing.T, limits h2connect.Limits) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c := &config.Config{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Path: "/", Timeout: patience, MaxHeaderLen: 4000, Strict: true}

	ours, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	theirs, err := ln.Accept()
	require.NoError(t, err)
	defer theirs.Close()

	tr := &h2connect.Transport{AllowHTTP: true, Limits: limits}
	conn, err := tr.NewClientConn(ours)
	require.NoError(t, err)
	asked := make(chan struct{})
	go func() { // ends with the connection at the latest
		defer close(asked)
		ask(t, conn, "http://"+c.Addr()+"/")
	}()

	suite, err := spec.Accept(c, theirs)
	require.NoError(t, err)
	judge(t, cc.Desc, cc.Requirement, cc.Run(c, suite))
	assert.NoError(t, conn.Close())
	<-asked
}

// ask sends a request and reads the response, if there is one. What comes of it
// is the case's to decide.
func ask(t *testing.T, conn *h2connect.ClientConn, url string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		panic(err) // the URL is ours
	}
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
