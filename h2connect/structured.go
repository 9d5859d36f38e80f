package h2connect

import (
	"strconv"
	"strings"
)

// This file reads a Dictionary of Structured Field Values (RFC 9651 §4.2.2), as
// far as the Priority field needs it: every member is checked, and of the values
// those of the types Integer and Boolean are told. A value of another type, or
// one with parameters, is passed over as RFC 9218 §4 demands, not refused.

// A bareItem is a member's value.
type bareItem struct {
	kind  itemKind
	value int64 // of an Integer; 0 or 1 of a Boolean
}

type itemKind uint8

const (
	otherItem itemKind = iota
	integerItem
	booleanItem
)

// parseDictionary calls member for every member of the dictionary in s, in
// order; of members with the same key the last counts. It reports whether s is
// a dictionary: "When parsing [fails], the entire field value MUST be ignored".
func parseDictionary(s string, member func(key string, value bareItem)) bool {
	p := fieldParser{strings.Trim(s, " ")}
	if p.rest == "" {
		return true
	}
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		value := bareItem{booleanItem, 1}
		if p.take('=') {
			if value, ok = p.itemOrList(); !ok {
				return false
			}
		}
		if !p.parameters() {
			return false
		}
		member(key, value)
		p.skip(" \t")
		if p.rest == "" {
			return true
		}
		if !p.take(',') {
			return false
		}
		p.skip(" \t")
		if p.rest == "" {
			return false // a comma at the end
		}
	}
}

// A fieldParser holds what is left of a field value. Its methods take something
// from the front, and report whether it was there.
type fieldParser struct{ rest string }

func (p *fieldParser) skip(cutset string) { p.rest = strings.TrimLeft(p.rest, cutset) }

func (p *fieldParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// span takes the longest prefix of bytes for which in reports true.
func (p *fieldParser) span(in func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && in(p.rest[n]) {
		n++
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func lowerAlpha(c byte) bool { return 'a' <= c && c <= 'z' }
func alpha(c byte) bool      { return lowerAlpha(c | 0x20) }
func digit(c byte) bool      { return '0' <= c && c <= '9' }

// key takes a key (RFC 9651 §4.2.3.3).
func (p *fieldParser) key() (string, bool) {
	if p.rest == "" || !lowerAlpha(p.rest[0]) && p.rest[0] != '*' {
		return "", false
	}
	return p.span(func(c byte) bool { return lowerAlpha(c) || digit(c) || strings.IndexByte("_-.*", c) >= 0 }), true
}

// parameters takes what may follow a value (RFC 9651 §4.2.3.2).
func (p *fieldParser) parameters() bool {
	for p.take(';') {
		p.skip(" ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.take('=') {
			if _, ok := p.item(); !ok {
				return false
			}
		}
	}
	return true
}

// itemOrList takes a member's value (RFC 9651 §4.2.1.1).
func (p *fieldParser) itemOrList() (bareItem, bool) {
	if !p.take('(') {
		return p.item()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return bareItem{}, true
		}
		if _, ok := p.item(); !ok || !p.parameters() {
			return bareItem{}, false
		}
		if p.rest == "" || p.rest[0] != ' ' && p.rest[0] != ')' {
			return bareItem{}, false
		}
	}
}

// item takes a bare item (RFC 9651 §4.2.3.1).
func (p *fieldParser) item() (bareItem, bool) {
	if p.rest == "" {
		return bareItem{}, false
	}
	switch c := p.rest[0]; {
	case c == '-' || digit(c):
		return p.number()
	case c == '"':
		p.rest = p.rest[1:]
		return bareItem{}, p.quoted()
	case c == ':':
		p.rest = p.rest[1:]
		p.span(func(c byte) bool { return alpha(c) || digit(c) || strings.IndexByte("+/=", c) >= 0 })
		return bareItem{}, p.take(':')
	case c == '?':
		return p.boolean()
	case c == '@':
		p.rest = p.rest[1:]
		date, ok := p.number()
		return bareItem{}, ok && date.kind == integerItem
	case c == '%':
		p.rest = p.rest[1:]
		return bareItem{}, p.take('"') && p.display()
	case c == '*' || alpha(c):
		p.span(func(c byte) bool { return alpha(c) || digit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0 })
		return bareItem{}, true
	}
	return bareItem{}, false
}

// number takes an Integer of at most 15 digits or a Decimal of at most 12 and 3
// (RFC 9651 §4.2.4).
func (p *fieldParser) number() (bareItem, bool) {
	minus := p.take('-')
	whole := p.span(digit)
	if whole == "" || len(whole) > 15 {
		return bareItem{}, false
	}
	if p.take('.') {
		fraction := p.span(digit)
		return bareItem{}, len(whole) <= 12 && 1 <= len(fraction) && len(fraction) <= 3
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if minus {
		n = -n
	}
	return bareItem{integerItem, n}, err == nil
}

// quoted takes a String behind its first quotation mark (RFC 9651 §4.2.5).
func (p *fieldParser) quoted() bool {
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return true
		case c == '\\':
			i++
			if i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return false
			}
		case c < 0x20 || c > 0x7e:
			return false
		}
	}
	return false
}

// display takes a Display String behind its first quotation mark (RFC 9651
// §4.2.10). Whether what it encodes is UTF-8 is not looked at.
func (p *fieldParser) display() bool {
	hex := func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' }
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return true
		case c == '%':
			if i+2 >= len(p.rest) || !hex(p.rest[i+1]) || !hex(p.rest[i+2]) {
				return false
			}
			i += 2
		case c < 0x20 || c > 0x7e:
			return false
		}
	}
	return false
}

// boolean takes a Boolean (RFC 9651 §4.2.8).
func (p *fieldParser) boolean() (bareItem, bool) {
	if len(p.rest) < 2 || p.rest[1] != '0' && p.rest[1] != '1' {
		return bareItem{}, false
	}
	v := int64(p.rest[1] - '0')
	p.rest = p.rest[2:]
	return bareItem{booleanItem, v}, true
}
