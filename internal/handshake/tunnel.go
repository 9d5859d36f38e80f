package handshake

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/tunnel"
)

// This file is for handshakes that are passed on between a client and a server
// that negotiate with each other: what the one says to the other is checked here
// for its form, and for whether it answers what was asked.

// CheckOffer checks the form of what a client offers.
func CheckOffer(h http.Header) *websocket.HandshakeError {
	if _, err := parseSubprotocols(h[fieldProtocol]); err != nil {
		return refusal(http.StatusBadRequest, "invalid Sec-WebSocket-Protocol", err)
	}
	if _, err := parseExtensions(h[fieldExtensions]); err != nil { // RFC 6455 §9.1
		return refusal(http.StatusBadRequest, "invalid Sec-WebSocket-Extensions", err)
	}
	return nil
}

// PassOn returns what the response header answer says to a client whose request
// had the header offer. It is an error if the answer says what a client would
// have to fail the connection for: a subprotocol or an extension that was not
// offered (RFC 6455 §4.1). An extension's parameters are between the two ends.
func PassOn(answer, offer http.Header) (a tunnel.Answer, err error) {
	offered, err := parseSubprotocols(offer[fieldProtocol])
	if err != nil {
		return a, err
	}
	if a.Subprotocol, err = checkSubprotocol(answer[fieldProtocol], offered); err != nil {
		return a, fmt.Errorf("invalid Sec-WebSocket-Protocol in the answer: %w", err)
	}
	if err := checkPassed(answer[fieldExtensions], offer[fieldExtensions]); err != nil {
		return a, fmt.Errorf("invalid Sec-WebSocket-Extensions in the answer: %w", err)
	}
	a.Extensions = strings.Join(answer[fieldExtensions], ", ")
	a.Header = Inherit(answer)
	for _, name := range ConnectionOptions(answer) {
		delete(a.Header, name)
	}
	return a, nil
}

func checkPassed(answer, offer []string) error {
	chosen, err := parseExtensions(answer)
	if err != nil {
		return err
	}
	offered, err := parseExtensions(offer)
	if err != nil {
		return err
	}
	for i, c := range chosen {
		named := func(e extension) bool { return e.name == c.name }
		if !slices.ContainsFunc(offered, named) {
			return fmt.Errorf("%q was not offered", c.name)
		}
		if slices.ContainsFunc(chosen[:i], named) {
			return fmt.Errorf("%q twice", c.name)
		}
	}
	return nil
}

// FreshKey returns a Sec-WebSocket-Key that nobody has used before.
func FreshKey() string { return newKey() }

// agreePassed is what [Negotiate] does where somebody else decides.
func agreePassed(t *tunnel.Accepting, r *http.Request) (Agreement, *websocket.HandshakeError) {
	if e := CheckOffer(r.Header); e != nil {
		return Agreement{}, e
	}
	answer, e := t.Agree()
	return Agreement{Subprotocol: answer.Subprotocol, Extensions: answer.Extensions, fields: answer.Header}, e
}

// offerPassed is what [Request] does where somebody else offers.
func offerPassed(h http.Header, d *tunnel.Dialing) {
	if len(d.Subprotocols) > 0 {
		h[fieldProtocol] = []string{strings.Join(d.Subprotocols, ", ")}
	}
	if len(d.Extensions) > 0 {
		h[fieldExtensions] = []string{strings.Join(d.Extensions, ", ")}
	}
}

// checkPassedAnswer is what [CheckResponse] does with an acceptance where
// somebody else has offered.
func checkPassedAnswer(resp *http.Response, req *http.Request, d *tunnel.Dialing) (a Agreement, err error) {
	d.Answer, err = PassOn(resp.Header, req.Header)
	if err != nil {
		return a, &websocket.HandshakeError{Reason: "the answer is not to what was asked", Header: resp.Header, Err: err}
	}
	return Agreement{Subprotocol: d.Answer.Subprotocol, Extensions: d.Answer.Extensions}, nil
}

// refusedPassed reads a refusal for somebody who passes it on.
func refusedPassed(resp *http.Response, d *tunnel.Dialing) *websocket.HandshakeError {
	e := &websocket.HandshakeError{Status: resp.StatusCode, Remote: true, Header: resp.Header}
	d.Cut = false
	if resp.Body == nil {
		return e
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, d.RefusalLimit+1))
	d.Cut = err != nil || int64(len(body)) > d.RefusalLimit
	e.Body = body[:min(int64(len(body)), d.RefusalLimit)]
	return e
}

// CheckSwitch checks that a 101 with the header answer accepts a socket to a
// client that sent key.
func CheckSwitch(answer http.Header, key string) error {
	if reason := checkSwitch(answer, http.Header{fieldKey: {key}}); reason != "" {
		return errors.New(reason)
	}
	return nil
}

// SameOrigin says whether an Origin field's value is the origin that authority,
// a Host or :authority, has by http, or by https if secure is true.
func SameOrigin(value string, secure bool, authority string) bool {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	own, err := originOf(scheme, authority)
	if err != nil {
		return false
	}
	o, err := parseOrigin(value)
	return err == nil && o == own
}
