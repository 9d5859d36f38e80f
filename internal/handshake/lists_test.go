package handshake

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseExtensions(t *testing.T) {
	flag := func(name string) param { return param{name: name} }
	value := func(name, v string) param { return param{name: name, value: v, hasValue: true} }
	for _, tc := range []struct {
		name   string
		values []string
		want   []extension
	}{
		{name: "no field"},
		{name: "empty field", values: []string{""}},
		{name: "one", values: []string{"foo"}, want: []extension{{name: "foo"}}},
		{name: "two", values: []string{"foo, bar"}, want: []extension{{name: "foo"}, {name: "bar"}}},
		{name: "repeated fields", values: []string{"foo", "bar"}, want: []extension{{name: "foo"}, {name: "bar"}}},
		{name: "empty elements", values: []string{", foo ,, \t,bar,"}, want: []extension{{name: "foo"}, {name: "bar"}}},
		{name: "parameters", values: []string{"foo; a; b=2"}, want: []extension{{name: "foo", params: []param{flag("a"), value("b", "2")}}}},
		{name: "spaces", values: []string{"\tfoo ;a ; b\t= 2 , bar"}, want: []extension{{name: "foo", params: []param{flag("a"), value("b", "2")}}, {name: "bar"}}},
		{name: "quoted", values: []string{`foo; a="12"; b=3`}, want: []extension{{name: "foo", params: []param{value("a", "12"), value("b", "3")}}}},
		{name: "quoted with escape", values: []string{`foo; a="1\2"`}, want: []extension{{name: "foo", params: []param{value("a", "12")}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseExtensions(tc.values)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
	for _, bad := range []string{
		"foo bar", "foo;", "foo;;a", "foo; =1", "foo; a=", "foo; a=b c", `foo; a="b`, `foo; a=""`, `foo; a="b c"`,
		`foo; a="b,c"`, `foo; a="b\`, `foo; a="b"c`, "=", ";a", "foo/bar", "foo; a=b=c", "f\x00o", "fóo", `"foo"`,
	} {
		_, err := parseExtensions([]string{"good", bad})
		assert.ErrorIs(t, err, errExtensionSyntax, "%q", bad)
	}
}

// format writes extensions in their shortest form.
func format(list []extension) string {
	var elements []string
	for _, e := range list {
		var s strings.Builder
		s.WriteString(e.name)
		for _, p := range e.params {
			s.WriteString(";" + p.name)
			if p.hasValue {
				s.WriteString("=" + p.value)
			}
		}
		elements = append(elements, s.String())
	}
	return strings.Join(elements, ",")
}

// FuzzExtensions: what was parsed consists of tokens, and written out again it
// parses to the same; whitespace around separators and the split into fields
// change nothing.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"", "permessage-deflate; client_max_window_bits", `a; b="c\d"; e, f`, `a;b="`, ",,a,", "a; b=\"\\", "a=b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseExtensions([]string{s})
		if err != nil {
			require.Nil(t, list)
			return
		}
		for _, e := range list {
			require.True(t, isToken(e.name))
			for _, p := range e.params {
				require.True(t, isToken(p.name))
				require.Equal(t, p.hasValue, isToken(p.value))
			}
		}
		short := format(list)
		spaced := strings.NewReplacer(",", "\t, ", ";", " ; ", "=", " = ").Replace(short)
		for _, values := range [][]string{{short}, {spaced}, strings.Split(short, ",")} {
			again, err := parseExtensions(values)
			require.NoError(t, err)
			require.Equal(t, list, again)
		}
	})
}

// FuzzSubprotocols: a list is good if and only if each of its elements is a
// token, and what is chosen stands in both lists.
func FuzzSubprotocols(f *testing.F) {
	f.Add("chat, superchat", "superchat")
	f.Add("", "a")
	f.Add("a,,b", "b")
	f.Add("a\r\nb", "a")
	f.Fuzz(func(t *testing.T, field, ours string) {
		list, err := parseSubprotocols([]string{field})
		elements := strings.Split(field, ",")
		good := true
		for i := range elements {
			elements[i] = strings.Trim(elements[i], " \t")
			good = good && isToken(elements[i])
		}
		require.Equal(t, good, err == nil)
		if err != nil {
			return
		}
		require.Equal(t, elements, list)
		again, err := parseSubprotocols(list)
		require.NoError(t, err)
		require.Equal(t, list, again)
		if got := choose([]string{"never offered, I hope", ours}, list); got != "" {
			require.Equal(t, ours, got)
			require.Contains(t, list, got)
		}
	})
}
