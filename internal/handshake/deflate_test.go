package handshake

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
)

func TestH1_14DeflateOffers(t *testing.T) {
	takeover := &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true}
	def := &websocket.Compression{}
	const answered = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, tc := range []struct {
		name  string
		c     *websocket.Compression
		offer string
		want  string
	}{
		{"off", nil, "permessage-deflate", ""},
		{"not offered", def, "", ""},
		{"unknown is ignored", def, "x-webkit-deflate-frame, foo; bar=1", ""},
		{"unknown before", def, "foo; bar=1, permessage-deflate", answered},
		{"another case is another name", def, "Permessage-Deflate", ""},
		{"Firefox", def, "permessage-deflate", answered},
		{"Chromium", def, "permessage-deflate; client_max_window_bits", answered},
		{"takeover on both sides", takeover, "permessage-deflate; client_max_window_bits", "permessage-deflate"},
		{"the client refuses the server's takeover", takeover, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"},
		{"the client does not use its own", takeover, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"},
		{"window demanded of the server", takeover, "permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"},
		{"PMD-09 the smallest window", takeover, "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"},
		{"the largest is echoed too", takeover, "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"},
		{"quoted", takeover, `permessage-deflate; server_max_window_bits="10"`, "permessage-deflate; server_max_window_bits=10"},
		{"client's window hinted", takeover, "permessage-deflate; client_max_window_bits=11", "permessage-deflate; client_max_window_bits=11"},
		{
			"ours are smaller",
			&websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 9},
			"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
			"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
		},
		{
			"ours are larger",
			&websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 14, ClientMaxWindowBits: 14},
			"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
			"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
		},
		{
			"server bounds itself unasked",
			&websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 9},
			"permessage-deflate", "permessage-deflate; server_max_window_bits=9",
		},
		{"client's window cannot be bounded", &websocket.Compression{ClientMaxWindowBits: 9}, "permessage-deflate", ""},
		{
			"client's window can be bounded",
			&websocket.Compression{ClientMaxWindowBits: 9}, "permessage-deflate, permessage-deflate; client_max_window_bits",
			answered + "; client_max_window_bits=9",
		},
		{"declined: duplicate", def, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"declined: duplicate with other value", def, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=10", ""},
		{"declined: unknown parameter", def, "permessage-deflate; foo", ""},
		{"declined: 7", def, "permessage-deflate; server_max_window_bits=7", ""},
		{"declined: 16", def, "permessage-deflate; server_max_window_bits=16", ""},
		{"declined: 08", def, "permessage-deflate; server_max_window_bits=08", ""},
		{"declined: x", def, "permessage-deflate; server_max_window_bits=x", ""},
		{"declined: no value", def, "permessage-deflate; server_max_window_bits", ""},
		{"declined: client's 7", def, "permessage-deflate; client_max_window_bits=7", ""},
		{"declined: client's 010", def, "permessage-deflate; client_max_window_bits=010", ""},
		{"declined: value where none is", def, "permessage-deflate; server_no_context_takeover=1", ""},
		{"declined: value where none is, client", def, "permessage-deflate; client_no_context_takeover=true", ""},
		{"the next is tried", takeover, "permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=15, permessage-deflate", "permessage-deflate; server_max_window_bits=15"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, e := negotiate(t, websocket.AcceptOptions{Compression: tc.c}, "Sec-WebSocket-Extensions: "+tc.offer)
			require.Nil(t, e)
			assert.Equal(t, tc.want, a.Extensions)
			assert.Equal(t, tc.want != "", a.Deflate != nil)
		})
	}
	t.Run("what is no list of extensions is no handshake", func(t *testing.T) {
		_, e := negotiate(t, websocket.AcceptOptions{}, "Sec-WebSocket-Extensions: permessage-deflate;")
		require.NotNil(t, e)
		assert.Equal(t, 400, e.Status)
	})
}

func TestDeflateAgreementOfTheServer(t *testing.T) {
	a, e := negotiate(t, websocket.AcceptOptions{Compression: &websocket.Compression{ClientContextTakeover: true}},
		"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9; client_max_window_bits=12")
	require.Nil(t, e)
	assert.Equal(t, &websocket.DeflateParams{
		ServerNoContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 12,
	}, a.Deflate)
}

func TestDeflateOffersOfTheClient(t *testing.T) {
	for want, c := range map[string]websocket.Compression{
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits":                              {},
		"permessage-deflate; client_max_window_bits":                                                                                      {ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15},
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10": {ServerMaxWindowBits: 9, ClientMaxWindowBits: 10},
	} {
		r, err := Request(t.Context(), "ws://a", websocket.HTTP1, &websocket.DialOptions{Compression: &c})
		require.NoError(t, err)
		assert.Equal(t, want, r.Header.Get("Sec-WebSocket-Extensions"))
	}
}

// TestP65DeflateAnswers: the client checks what the server answers.
func TestP65DeflateAnswers(t *testing.T) {
	takeover := websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true}
	small := takeover
	small.ServerMaxWindowBits, small.ClientMaxWindowBits = 10, 10
	for _, tc := range []struct {
		name   string
		c      websocket.Compression
		answer string
		want   *websocket.DeflateParams // nil: refused
	}{
		{"plain", takeover, "permessage-deflate", &websocket.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}},
		{"all", takeover, `permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits="8"`, &websocket.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 8}},
		{"a hint of ours holds without echo", websocket.Compression{ServerContextTakeover: true}, "permessage-deflate", &websocket.DeflateParams{ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}},
		{"a window of ours holds without echo", small, "permessage-deflate; server_max_window_bits=10", &websocket.DeflateParams{ServerMaxWindowBits: 10, ClientMaxWindowBits: 10}},
		{"smaller than asked", small, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9", &websocket.DeflateParams{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9}},
		{"no takeover not confirmed", websocket.Compression{}, "permessage-deflate", nil},
		{"window not confirmed", small, "permessage-deflate", nil},
		{"window larger than asked", small, "permessage-deflate; server_max_window_bits=11", nil},
		{"client's window larger than offered", small, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11", nil},
		{"client's window without value", takeover, "permessage-deflate; client_max_window_bits", nil},
		{"7", takeover, "permessage-deflate; server_max_window_bits=7", nil},
		{"09", takeover, "permessage-deflate; client_max_window_bits=09", nil},
		{"unknown parameter", takeover, "permessage-deflate; foo", nil},
		{"duplicate parameter", takeover, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", nil},
		{"value where none is", takeover, "permessage-deflate; server_no_context_takeover=1", nil},
		{"twice", takeover, "permessage-deflate, permessage-deflate", nil},
		{"another beside it", takeover, "permessage-deflate, foo", nil},
		{"another", takeover, "foo", nil},
		{"no list", takeover, "permessage-deflate;", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := checkExtensions([]string{tc.answer}, &tc.c)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.want == nil, err != nil)
		})
	}
	_, err := checkExtensions([]string{"permessage-deflate"}, nil)
	assert.Error(t, err, "not offered")
}

// TestDeflateOfTwoOfUs: for every pair of configurations, client and server
// agree on the same terms or on none, and the terms respect both.
func TestDeflateOfTwoOfUs(t *testing.T) {
	var all []websocket.Compression
	for _, bits := range [][2]int{{0, 0}, {8, 15}, {15, 8}, {9, 12}, {12, 9}, {0, 10}, {10, 0}} {
		for i := range 4 {
			all = append(all, websocket.Compression{
				ServerContextTakeover: i&1 != 0, ClientContextTakeover: i&2 != 0,
				ServerMaxWindowBits: bits[0], ClientMaxWindowBits: bits[1],
			})
		}
	}
	for _, client := range all {
		for _, server := range all {
			offers, err := parseExtensions([]string{offerDeflate(&client).String()})
			require.NoError(t, err)
			there, answer := acceptDeflate(offers, &server)
			require.NotNil(t, there, "%+v %+v", client, server)
			here, err := checkExtensions([]string{answer}, &client)
			require.NoError(t, err, "%+v %+v: %s", client, server, answer)
			require.Equal(t, there, here, "%+v %+v: %s", client, server, answer)
			for _, c := range []websocket.Compression{client, server} {
				require.False(t, !c.ServerContextTakeover && !here.ServerNoContextTakeover)
				require.False(t, !c.ClientContextTakeover && !here.ClientNoContextTakeover)
				require.LessOrEqual(t, here.ServerMaxWindowBits, bitsOr15(c.ServerMaxWindowBits))
				require.LessOrEqual(t, here.ClientMaxWindowBits, bitsOr15(c.ClientMaxWindowBits))
			}
		}
	}
}
