package negotiate

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/wsmux/websocket"
)

func TestAltSvcIsReadAsRFC7838WritesIt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	none := alternative{}
	tests := []struct {
		value string
		age   string
		want  alternative
		ok    bool
	}{
		{value: ``, want: none},
		{value: `clear`, want: none, ok: true},
		{value: `Clear`, want: none}, // case-sensitive
		{value: `h3=":443"`, want: alternative{"example.com:443", in(24 * time.Hour), false}, ok: true},
		{value: `h3=":443"; ma=3600; persist=1`, want: alternative{"example.com:443", in(time.Hour), true}, ok: true},
		{value: `h3=":443"; MA="60" ; persist=0`, want: alternative{"example.com:443", in(time.Minute), false}, ok: true},
		{value: `h3=":443"; ma=60; persist=1`, age: "45", want: alternative{"example.com:443", in(15 * time.Second), true}, ok: true},
		{value: `h3=":443"; ma=60`, age: "60", want: none, ok: true},
		{value: `h3=":443"; ma=0`, want: none, ok: true},
		{value: `h3=":443"; ma=99999999999999999999`, want: none}, // no lifetime that we know
		{value: `h3=":443"; ma=2147483647`, want: alternative{"example.com:443", in(maxAge), false}, ok: true},
		{value: `h3="Alt.example.net:8443"; unknown=thing; other="q\"uoted, ;"`, want: alternative{"alt.example.net:8443", in(24 * time.Hour), false}, ok: true},
		{value: `h2="a.example:1", h3=":1"; ma=1, h3=":2"`, want: alternative{"example.com:1", in(time.Second), false}, ok: true},
		{value: ` h2=":1" ,, h3=":2",`, want: alternative{"example.com:2", in(24 * time.Hour), false}, ok: true},
		{value: `, ,h3=":2"`, want: alternative{"example.com:2", in(24 * time.Hour), false}, ok: true},
		{value: `,`},
		{value: `h3="[::1]:443"`, want: alternative{"[::1]:443", in(24 * time.Hour), false}, ok: true},
		{value: `h2=":443"`, want: none, ok: true}, // replaces what was known
		{value: `h3-29=":443"`, want: none, ok: true},
		{value: `%683=":443"`, want: alternative{"example.com:443", in(24 * time.Hour), false}, ok: true},
		{value: `h3=":0"`, want: none, ok: true},
		{value: `h3=":https"`, want: none, ok: true},
		{value: `h3=443`},
		{value: `h3=":443" ma=3`},
		{value: `h3=":443`},
		{value: `h3=":443\`},
		{value: `h3=":443"; ma`},
		{value: `h3=":443"; =1`},
		{value: `h3=":443"; ma=`},
		{value: `="x:1"`},
		{value: `%zz=":1"`},
		{value: `h3=":443", ` + strings.Repeat("x", maxAltSvc)},
	}
	for _, tt := range tests {
		h := http.Header{"Alt-Svc": {tt.value}, "Age": {tt.age}}
		got, ok := parseAltSvc(h, "example.com:8000", now)
		assert.Equal(t, tt.ok, ok, "%q", tt.value)
		assert.Equal(t, tt.want, got, "%q", tt.value)
	}
	_, ok := parseAltSvc(http.Header{}, "example.com:443", now)
	assert.False(t, ok)
	got, ok := parseAltSvc(http.Header{"Alt-Svc": {`h2=":1"`, `h3=":2"`}}, "example.com:443", now)
	assert.True(t, ok, "one list over two lines")
	assert.Equal(t, "example.com:2", got.addr)
}

// Whatever is in the field, reading it ends, and an alternative has a port and a
// lifetime that is not over and not longer than a month.
func FuzzAltSvc(f *testing.F) {
	for _, s := range []string{`clear`, `h3=":443"; ma=3600; persist=1, h2="x:1"`, `h3="\"`, `%68%33=":1"`, `h3=":1";;`, `,,,`, `h3="[::1]:1";ma="5"`} {
		f.Add(s, "")
	}
	f.Add(`h3=":443"`, "7")
	now := time.Unix(1e9, 0)
	f.Fuzz(func(t *testing.T, value, age string) {
		alt, ok := parseAltSvc(http.Header{"Alt-Svc": {value}, "Age": {age}}, "example.com:443", now)
		if !ok && alt != (alternative{}) {
			t.Fatalf("something of what was not understood: %+v", alt)
		}
		if alt.addr == "" {
			return
		}
		if !strings.Contains(alt.addr, ":") || !alt.until.After(now) || alt.until.After(now.Add(maxAge)) {
			t.Fatalf("%+v", alt)
		}
	})
}

func hear(o *origin, secure bool, value string) {
	t := target{secure: secure, addr: "example.com:443"}
	o.hear(t, &http.Response{Header: http.Header{"Alt-Svc": {value}}})
}

func TestOriginRemembersForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Dialer
		o := d.origin("https://example.com:443")
		assert.Same(t, o, d.origin("https://example.com:443"))
		hear(o, false, `h3=":1"`)
		assert.Empty(t, o.alternative(), "anybody could have written that")
		hear(o, true, `h3=":1"; ma=10`)
		assert.Equal(t, "example.com:1", o.alternative())
		o.remember(&o.noHTTP3, errSlower)
		hear(o, true, `h3=":1"; ma=20`)
		assert.ErrorIs(t, o.recall(&o.noHTTP3), errSlower, "it is the same service")
		hear(o, true, `nonsense`)
		time.Sleep(19 * time.Second)
		assert.Equal(t, "example.com:1", o.alternative())
		hear(o, true, `h3=":2"; ma=1`)
		assert.NoError(t, o.recall(&o.noHTTP3), "it is another one")
		time.Sleep(time.Second)
		assert.Empty(t, o.alternative())
		assert.True(t, o.empty())

		o.remember(&o.noSockets, errNoSockets)
		assert.ErrorIs(t, o.lacksSockets(), websocket.ErrNotSupported)
		time.Sleep(rememberFor)
		assert.NoError(t, o.lacksSockets())

		o.remember(&o.noHTTP2, errNoHTTP2)
		assert.ErrorIs(t, o.lacksSockets(), errNoHTTP2)
		hear(o, true, `h3=":1"; persist=1`)
		d.NetworkChanged()
		assert.NoError(t, o.lacksSockets())
		assert.NotEmpty(t, o.alternative(), "it persists")
		hear(o, true, `h3=":1"`)
		d.NetworkChanged()
		assert.Empty(t, o.alternative())
	})
}

func TestDialerForgetsOriginsBeforeTheyAreTooMany(t *testing.T) {
	var d Dialer
	kept := d.origin("kept")
	kept.remember(&kept.noHTTP2, errNoHTTP2)
	for i := range 3 * maxOrigins {
		d.origin(strings.Repeat("x", i))
	}
	assert.LessOrEqual(t, len(d.origins), maxOrigins)
	assert.Same(t, kept, d.origin("kept"), "what says nothing goes first")
	for i := range 3 * maxOrigins {
		o := d.origin(strings.Repeat("y", i))
		o.remember(&o.noHTTP2, errNoHTTP2)
	}
	assert.LessOrEqual(t, len(d.origins), maxOrigins)
}
