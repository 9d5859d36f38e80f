package h1upgrade

import (
	"maps"
	"net/http"
	"slices"

	"github.com/wsmux/websocket/internal/handshake"
)

// leading are the fields that go first, in the order of the examples in RFC 6455
// §1.3.
var leading = []string{
	"Host", "Upgrade", "Connection",
	"Sec-Websocket-Key", "Sec-Websocket-Accept",
	"Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
}

// appendFields appends h, whose names and values are valid, and the empty line
// behind a header.
func appendFields(b []byte, h http.Header) []byte {
	for _, name := range leading {
		b = appendField(b, name, h[name])
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !slices.Contains(leading, name) {
			b = appendField(b, name, h[name])
		}
	}
	return append(b, "\r\n"...)
}

// appendField appends one line for each value.
func appendField(b []byte, name string, values []string) []byte {
	for _, v := range values {
		b = append(b, handshake.Spelling(name)...)
		b = append(b, ": "...)
		b = append(b, v...)
		b = append(b, "\r\n"...)
	}
	return b
}
