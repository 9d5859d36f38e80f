package h2connect

import (
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// A block is a header block as it is received: assembled from HEADERS and
// CONTINUATION frames, decoded, counted, and checked as far as the rules are
// the same for requests, responses and trailers (RFC 9113 §8.2, §8.3). One
// block serves all of a connection's messages, one after the other.
type block struct {
	stream    uint32
	endStream bool

	fields []hpack.HeaderField // as received, pseudo-header fields first
	pseudo int                 // how many of fields are pseudo-header fields

	count         int    // fields seen, kept or not
	size          uint64 // bytes seen as SETTINGS_MAX_HEADER_LIST_SIZE counts them
	maxCount      int
	maxSize       uint64
	continuations int

	tooLarge  bool   // a limit was passed: fields is not complete
	limit     limit  // which it was first
	malformed string // the first rule that was broken; "" if none
}

func (b *block) reset(stream uint32, endStream bool) {
	clear(b.fields) // drop the strings
	*b = block{
		stream: stream, endStream: endStream,
		fields: b.fields[:0], maxCount: b.maxCount, maxSize: b.maxSize,
	}
}

// add takes one decoded field: hpack calls it. Fields beyond the limits are
// counted and dropped, so that the decoder's table stays in step.
func (b *block) add(f hpack.HeaderField) {
	b.count++
	b.size += uint64(f.Size())
	if l := b.past(1); l != noLimit {
		if !b.tooLarge {
			b.tooLarge, b.limit = true, l
		}
		return
	}
	b.check(f)
	b.fields = append(b.fields, f)
}

// past returns which limit the block has passed times-fold.
func (b *block) past(times int) limit {
	switch {
	case b.size > uint64(times)*b.maxSize:
		return limitHeaderBytes
	case b.count > times*b.maxCount:
		return limitHeaderFields
	}
	return noLimit
}

// wayPast returns the limit that the block has passed four times: then it is not
// worth a polite answer.
func (b *block) wayPast() limit { return b.past(4) }

// check applies the rules for a single field in its place.
func (b *block) check(f hpack.HeaderField) {
	if b.malformed != "" {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		b.checkPseudo(f)
		return
	}
	switch {
	case !validFieldName(f.Name):
		b.malformed = "invalid field name"
	case !validFieldValue(f.Value):
		b.malformed = "invalid field value"
	case connectionSpecific(f.Name):
		b.malformed = "connection-specific field"
	case f.Name == "te" && f.Value != "trailers":
		b.malformed = "te other than trailers"
	}
}

// checkPseudo applies RFC 9113 §8.3: known ones only, once each, before all
// regular fields.
func (b *block) checkPseudo(f hpack.HeaderField) {
	switch f.Name {
	case ":method", ":scheme", ":authority", ":path", ":protocol", ":status":
	default:
		b.malformed = "unknown pseudo-header field"
		return
	}
	if b.pseudo < len(b.fields) {
		b.malformed = "pseudo-header field after regular ones"
		return
	}
	for _, g := range b.fields {
		if g.Name == f.Name {
			b.malformed = "duplicate pseudo-header field"
			return
		}
	}
	if !validFieldValue(f.Value) {
		b.malformed = "invalid pseudo-header field value"
		return
	}
	b.pseudo++
}

// regular returns the fields that are not pseudo-header fields.
func (b *block) regular() []hpack.HeaderField { return b.fields[b.pseudo:] }

// get returns the value of a pseudo-header field and whether it is there.
func (b *block) get(name string) (string, bool) {
	for _, f := range b.fields[:b.pseudo] {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// validFieldName reports whether name is a token without upper-case letters
// (RFC 9113 §8.2.1).
func validFieldName(name string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !httpguts.IsTokenRune(rune(c)) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// validFieldValue reports whether value has none of NUL, CR and LF and neither
// starts nor ends with a space or tab (RFC 9113 §8.2.1), nor has any other
// control character (RFC 9110 §5.5).
func validFieldValue(value string) bool {
	if value == "" {
		return true
	}
	first, last := value[0], value[len(value)-1]
	if first == ' ' || first == '\t' || last == ' ' || last == '\t' {
		return false
	}
	return httpguts.ValidHeaderFieldValue(value)
}

// connectionSpecific reports whether a field is one that HTTP/2 forbids
// (RFC 9113 §8.2.2).
func connectionSpecific(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}
