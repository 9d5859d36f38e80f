package h2connect

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What the grammar of RFC 9651 §3 has for a Dictionary.
func TestDictionariesAreParsedToTheirEnd(t *testing.T) {
	for in, want := range map[string]map[string]bareItem{
		"":                         {},
		"  ":                       {},
		"u=5":                      {"u": {integerItem, 5}},
		" u=5, i ":                 {"u": {integerItem, 5}, "i": {booleanItem, 1}},
		"u=1,\t i=?0 \t,x":         {"u": {integerItem, 1}, "i": {booleanItem, 0}, "x": {booleanItem, 1}},
		"u=1, u=-2":                {"u": {integerItem, -2}},
		"u=1;a;b=2; c=\"d\", i;e":  {"u": {integerItem, 1}, "i": {booleanItem, 1}},
		"a=999999999999999":        {"a": {integerItem, 999999999999999}},
		"a=1.5, b=-999999999999.0": {"a": {}, "b": {}},
		`a="x\"y\\z, u=1"`:         {"a": {}},
		"a=tok/en:*, b=*x":         {"a": {}, "b": {}},
		"a=:aGVsbG8=:, b=::":       {"a": {}, "b": {}},
		"a=@-1659578233":           {"a": {}},
		`a=%"f%c3%bc%c3%bc"`:       {"a": {}},
		`a=(), b=(  1 2.0  "c" )`:  {"a": {}, "b": {}},
		"a=(b;x=1 c);y, *z.-_9=?1": {"a": {}, "*z.-_9": {booleanItem, 1}},
	} {
		got := make(map[string]bareItem)
		assert.True(t, parseDictionary(in, func(key string, v bareItem) { got[key] = v }), "%q", in)
		assert.Equal(t, want, got, "%q", in)
	}
	for _, in := range []string{
		",", "u=5,", "u=5, ", "u=", "U=5", "5", "=5", "u 5", "u=5 i", "u=5;", "u=5;=1", "u=5;A", "u=5;a=",
		"a=-", "a=1.", "a=.5", "a=1.2345", "a=1000000000000000", "a=1234567890123.0", "a=1.2.3",
		`a="`, `a="\x"`, `a="\`, "a=\"\x1f\"", "a=\"\x80\"", "a=:a", "a=:a b:", "a=?", "a=?2", "a=?true",
		"a=@", "a=@1.5", "a=%", `a=%"`, `a=%"%C3"`, `a=%"%c`, "a=%\"\x7f\"",
		"a=(", "a=(b", "a=(b,c)", "a=(b c", "a=(1\"c\")", "a=(b;)", "a=(\tb)", "a=((b))", "é=1", "a=é",
	} {
		assert.False(t, parseDictionary(in, func(string, bareItem) {}), "%q", in)
	}
}
