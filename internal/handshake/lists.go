package handshake

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// isToken says whether s is a token (RFC 9110 §5.6.2), and not empty.
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// trimOWS removes optional whitespace (RFC 9110 §5.6.3) from both ends.
func trimOWS(s string) string { return strings.Trim(s, " \t") }

// parseSubprotocols returns the elements of a request's Sec-WebSocket-Protocol
// fields, in order. Every element is a token and none is empty: RFC 6455 §4.1,
// item 10, gives the client no other choice, and whoever puts anything else
// there is up to something.
func parseSubprotocols(values []string) ([]string, error) {
	var list []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			e = trimOWS(e)
			if !isToken(e) {
				return nil, fmt.Errorf("subprotocol %q is not a token", e)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// An extension is an element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []param
}

// A param is a parameter of an extension. Its value is a token, of which the
// quotes have been taken off if it had any.
type param struct {
	name     string
	value    string
	hasValue bool
}

var errExtensionSyntax = errors.New("not a list of extensions")

// parseExtensions returns the extensions of repeated Sec-WebSocket-Extensions
// fields, in order:
//
//	Sec-WebSocket-Extensions = extension-list
//	extension-list           = 1#extension
//	extension                = extension-token *( ";" extension-param )
//	extension-param          = token [ "=" (token | quoted-string) ]
//
//	"When using the quoted-string syntax variant, the value after
//	quoted-string unescaping MUST conform to the 'token' ABNF."
//
// https://www.rfc-editor.org/rfc/rfc6455#section-9.1
//
// As in every list of HTTP, empty elements are passed over.
func parseExtensions(values []string) ([]extension, error) {
	var list []extension
	for _, v := range values {
		s := scanner{rest: v}
		for {
			s.skipSpace()
			if s.take(',') {
				continue
			}
			if s.rest == "" {
				break
			}
			e, ok := s.extension()
			if !ok {
				return nil, errExtensionSyntax
			}
			list = append(list, e)
			if s.rest != "" && !s.take(',') {
				return nil, errExtensionSyntax
			}
		}
	}
	return list, nil
}

// A scanner takes the elements of a field value off its front.
type scanner struct{ rest string }

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// extension takes one extension and the whitespace behind it.
func (s *scanner) extension() (e extension, ok bool) {
	e.name = s.token()
	if e.name == "" {
		return e, false
	}
	s.skipSpace()
	for s.take(';') {
		p, ok := s.param()
		if !ok {
			return e, false
		}
		e.params = append(e.params, p)
	}
	return e, true
}

// param takes one parameter and the whitespace on both sides of it.
func (s *scanner) param() (p param, ok bool) {
	s.skipSpace()
	p.name = s.token()
	if p.name == "" {
		return p, false
	}
	s.skipSpace()
	if !s.take('=') {
		return p, true
	}
	s.skipSpace()
	p.hasValue = true
	if s.take('"') {
		p.value, ok = s.quoted()
	} else {
		p.value = s.token()
		ok = p.value != ""
	}
	s.skipSpace()
	return p, ok
}

// token takes the longest token there is, which may be empty.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && httpguts.IsTokenRune(rune(s.rest[n])) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// quoted takes a quoted string up to and with its closing quote, and undoes the
// escapes. What remains has to be a token.
func (s *scanner) quoted() (value string, ok bool) {
	var b strings.Builder
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == '"':
			return b.String(), isToken(b.String())
		case c == '\\' && s.rest != "":
			c = s.rest[0]
			s.rest = s.rest[1:]
		}
		b.WriteByte(c)
	}
	return "", false
}
