package negotiate

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// This file reads the field by which a server says that it is to be had over
// HTTP/3 too (RFC 7838).

// An alternative is where an origin is to be had over HTTP/3.
type alternative struct {
	addr    string // host:port; "" for none
	until   time.Time
	persist bool // across changes of the network
}

// maxAltSvc bounds the field's size and age what one may say of its lifetime.
const (
	maxAltSvc = 8 << 10
	maxAge    = 30 * 24 * time.Hour
)

// defaultAge is "24 hours": the lifetime of an alternative without "ma"
// (https://www.rfc-editor.org/rfc/rfc7838#section-3.1).
const defaultAge = 24 * time.Hour

// parseAltSvc reads the Alt-Svc field of a response of the origin at addr. It
// returns false if the field is not there or cannot be understood: nothing is
// known then that was not known before. Otherwise the alternative is the first
// for HTTP/3, or none if the server clears or names only others:
//
//	"When an Alt-Svc response header field is received from an origin, its
//	value invalidates and replaces all cached alternative services for that
//	origin."
//
// https://www.rfc-editor.org/rfc/rfc7838#section-3.1
func parseAltSvc(h http.Header, addr string, now time.Time) (alternative, bool) {
	value := strings.TrimSpace(strings.Join(h["Alt-Svc"], ","))
	if value == "" || len(value) > maxAltSvc {
		return alternative{}, false
	}
	if value == "clear" { // case-sensitive
		return alternative{}, true
	}
	var found alternative
	s := altScanner{rest: value}
	s.empties()
	for {
		alt, protocol, ok := s.service()
		if !ok {
			return alternative{}, false
		}
		if protocol == "h3" && found.addr == "" {
			found = alt.at(addr, h.Get("Age"), now)
		}
		if next := s.delimiter(); next != ',' && next != 0 {
			return alternative{}, false
		}
		if s.empties(); s.rest == "" {
			return found, true
		}
	}
}

// A service is one alternative as it is written.
type service struct {
	authority string
	age       time.Duration
	persist   bool
}

// at returns the alternative that an origin at addr has announced, in a response
// that is so many seconds old: "ma" counts from when the response was generated
// (RFC 7838 §3.1), which for one out of a cache was earlier.
func (s service) at(addr, age string, now time.Time) alternative {
	host, port, err := net.SplitHostPort(s.authority)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 {
		return alternative{}
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(addr)
	}
	left := s.age
	if seconds, err := strconv.ParseUint(age, 10, 31); err == nil {
		left -= time.Duration(seconds) * time.Second
	}
	if left <= 0 {
		return alternative{}
	}
	return alternative{addr: net.JoinHostPort(strings.ToLower(host), port), until: now.Add(left), persist: s.persist}
}

// An altScanner reads the grammar of RFC 7838 §3.
type altScanner struct{ rest string }

// service reads
//
//	alt-value     = alternative *( OWS ";" OWS parameter )
//	alternative   = protocol-id "=" alt-authority
//	parameter     = token "=" ( token / quoted-string )
func (s *altScanner) service() (alt service, protocol string, ok bool) {
	s.space()
	id := s.token()
	protocol, err := url.PathUnescape(id) // "%" and octets that no token has are escaped
	if id == "" || err != nil || !s.take('=') {
		return service{}, "", false
	}
	if alt.authority, ok = s.quoted(); !ok {
		return service{}, "", false
	}
	alt.age = defaultAge
	for s.delimiter() == ';' {
		s.take(';')
		s.space()
		name := s.token()
		if name == "" || !s.take('=') {
			return service{}, "", false
		}
		value, ok := s.quoted()
		if !ok {
			if value = s.token(); value == "" {
				return service{}, "", false
			}
		}
		switch strings.ToLower(name) {
		case "ma":
			seconds, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return service{}, "", false
			}
			alt.age = min(time.Duration(seconds)*time.Second, maxAge)
		case "persist":
			alt.persist = value == "1" // other values are ignored (§3.1)
		}
	}
	return alt, protocol, true
}

// empties skips commas, those of empty elements included (RFC 9110 §5.6.1.2).
func (s *altScanner) empties() {
	for s.delimiter() == ',' {
		s.take(',')
	}
}

// delimiter skips spaces and returns what stands behind them, 0 at the end.
func (s *altScanner) delimiter() byte {
	s.space()
	if s.rest == "" {
		return 0
	}
	return s.rest[0]
}

func (s *altScanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *altScanner) take(b byte) bool {
	if s.rest == "" || s.rest[0] != b {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *altScanner) token() string {
	n := strings.IndexFunc(s.rest, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if n < 0 {
		n = len(s.rest)
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// quoted reads a quoted-string (RFC 9110 §5.6.4); if there is none it takes
// nothing.
func (s *altScanner) quoted() (string, bool) {
	if s.rest == "" || s.rest[0] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i == len(s.rest) {
				return "", false
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
