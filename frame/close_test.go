package frame

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func closePayload(code StatusCode, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// closePayloads are payloads of Close frames as they may arrive.
var closePayloads = []struct {
	name    string
	payload string
	code    StatusCode
	reason  string
	broken  StatusCode // the code of the error, 0 for none
}{
	{"empty", "", StatusNoStatusReceived, "", 0},
	{"code alone", closePayload(1000, ""), 1000, "", 0},
	{"code and reason", closePayload(1001, "going"), 1001, "going", 0},
	{"reason in UTF-8", closePayload(4000, "κόσμε"), 4000, "κόσμε", 0},
	{"reason of 123 bytes", closePayload(3000, strings.Repeat("x", 123)), 3000, strings.Repeat("x", 123), 0},
	{"one byte", "\x03", 0, "", StatusProtocolError},
	{"code 0", closePayload(0, ""), 0, "", StatusProtocolError},
	{"code 1005", closePayload(1005, "x"), 0, "", StatusProtocolError},
	{"code 65535", closePayload(65535, ""), 0, "", StatusProtocolError},
	{"reason not UTF-8", closePayload(1000, "\xFF"), 0, "", StatusInvalidPayload},
	{"reason cut off", closePayload(1000, "abc\xE2\x82"), 0, "", StatusInvalidPayload},
	{"reason with a surrogate", closePayload(1000, "\xED\xA0\x80"), 0, "", StatusInvalidPayload},
	{"illegal code before a bad reason", closePayload(1006, "\xFF"), 0, "", StatusProtocolError},
}

func TestParseClose(t *testing.T) {
	for _, tc := range closePayloads {
		t.Run(tc.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(tc.payload))
			assert.Equal(t, tc.code, code)
			assert.Equal(t, tc.reason, reason)
			if tc.broken != 0 {
				requireCode(t, tc.broken, err)
				return
			}
			require.NoError(t, err)
			p, err := AppendClose([]byte("before"), code, reason)
			require.NoError(t, err)
			assert.Equal(t, "before"+tc.payload, string(p))
		})
	}
}

// legal is WS-14's list of codes.
func legal(code int) bool {
	switch {
	case 1000 <= code && code <= 1003, 1007 <= code && code <= 1011, 1012 <= code && code <= 1014:
		return true
	}
	return 3000 <= code && code <= 4999
}

func TestWS14EveryStatusCode(t *testing.T) {
	for n := range 1 << 16 {
		code := StatusCode(n)
		got, _, err := ParseClose([]byte(closePayload(code, "")))
		p, appendErr := AppendClose([]byte{1}, code, "")
		switch {
		case legal(n):
			require.NoError(t, err, code)
			require.Equal(t, code, got)
			require.NoError(t, appendErr, code)
			require.Equal(t, "\x01"+closePayload(code, ""), string(p))
		case code == StatusNoStatusReceived:
			requireCode(t, StatusProtocolError, err)
			require.NoError(t, appendErr, "stands for an empty payload")
			require.Equal(t, []byte{1}, p)
		default:
			requireCode(t, StatusProtocolError, err)
			require.Error(t, appendErr, code)
			require.Equal(t, []byte{1}, p)
		}
	}
}

func TestWS15LocalReasonIsChecked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		code   StatusCode
		reason string
	}{
		{"124 bytes", StatusNormalClosure, strings.Repeat("x", 124)},
		{"62 characters of two bytes", StatusNormalClosure, strings.Repeat("κ", 62)},
		{"not UTF-8", StatusNormalClosure, "\xFF"},
		{"reason without a code", StatusNoStatusReceived, "x"},
		{"code that only reports", StatusAbnormalClosure, ""},
		{"code that only reports", StatusTLSHandshake, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := AppendClose([]byte("before"), tc.code, tc.reason)
			require.Error(t, err)
			require.Zero(t, codeOf(err), "a local mistake looks like the peer's")
			require.Equal(t, "before", string(p))
		})
	}
}
