package autobahn

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A utf8Group is a group of 6.5 to 6.23: payloads after Markus Kuhn's stress
// test for UTF-8 decoders.
type utf8Group struct {
	name     string
	payloads []string
}

// valid says which payloads are to be echoed. Go's own decoder knows: it allows
// no surrogates, no overlong forms and nothing above U+10FFFF, as RFC 3629 asks.
func (g utf8Group) valid(i int) bool { return utf8.ValidString(g.payloads[i]) }

func utf8GroupName(key string) (string, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(key, "6."))
	table := utf8Table()
	if err != nil || n < 5 || n-5 >= len(table) {
		return "", false
	}
	return table[n-5].name, true
}

// utf8Table returns the groups 6.5, 6.6 and so on.
func utf8Table() []utf8Group {
	return []utf8Group{
		{"Some valid UTF-8 sequences", []string{
			"hello$world", "hello\u00A2world", "hello\u20ACworld", "hello\U00024B62world", kosme,
		}},
		{"All prefixes of a valid UTF-8 string that contains multi-byte code points", prefixes(kosme)},
		{"First possible sequence of a certain length", []string{"\x00", "\u0080", "\u0800", "\U00010000"}},
		{"First possible sequence length 5/6 (invalid codepoints)", []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
		{"Last possible sequence of a certain length", []string{"\x7f", "\u07ff", "\uffff", "\U0010ffff"}},
		{"Last possible sequence length 4/5/6 (invalid codepoints)", []string{
			"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf",
		}},
		{"Other boundary conditions", []string{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", tooLarge}},
		{"Unexpected continuation bytes", []string{
			"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf",
			octetRange(0x80, 0xbf, ""),
		}},
		{"Lonely start characters", []string{
			octetRange(0xc0, 0xdf, " "), octetRange(0xe0, 0xef, " "), octetRange(0xf0, 0xf7, " "),
			octetRange(0xf8, 0xfb, " "), octetRange(0xfc, 0xfd, " "),
		}},
		{"Sequences with last continuation byte missing", cutShort},
		{"Concatenation of incomplete sequences", []string{strings.Join(cutShort, "")}},
		{"Impossible bytes", []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
		{"Examples of an overlong ASCII character", []string{
			"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf",
		}},
		{"Maximum overlong sequences", []string{
			"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf",
		}},
		{"Overlong representation of the NUL character", []string{
			"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80",
		}},
		{"Single UTF-16 surrogates", []string{
			"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
		}},
		{"Paired UTF-16 surrogates", surrogatePairs()},
		{"Non-character code points (valid UTF-8)", nonCharacters()},
		{"Unicode specials (i.e. replacement char)", []string{
			"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff",
		}},
	}
}

// cutShort are sequences without their last octet, from the lowest and from the
// highest code point of each length.
var cutShort = []string{
	"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
	"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
}

func prefixes(s string) []string {
	var all []string
	for i := range len(s) {
		all = append(all, s[:i+1])
	}
	return all
}

// octetRange returns the octets from first to before end, each with sep behind.
func octetRange(first, end byte, sep string) string {
	var b strings.Builder
	for c := first; c < end; c++ {
		b.WriteByte(c)
		b.WriteString(sep)
	}
	return b.String()
}

// surrogatePairs returns pairs of the extreme high and low surrogates, each
// encoded as if it were a character.
func surrogatePairs() []string {
	var all []string
	for _, high := range []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf"} {
		for _, low := range []string{"\xed\xb0\x80", "\xed\xbf\xbf"} {
			all = append(all, high+low)
		}
	}
	return all
}

// nonCharacters returns the last two code points of every plane.
func nonCharacters() []string {
	all := []string{"\ufffe", "\uffff"}
	for plane := rune(1); plane <= 16; plane++ {
		all = append(all, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return all
}
