package h3connect

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"
)

type recordedControl struct {
	settings []serverSettings
	goAways  []quic.StreamID
}

func (r *recordedControl) gotSettings(s serverSettings) { r.settings = append(r.settings, s) }
func (r *recordedControl) gotGoAway(id quic.StreamID)   { r.goAways = append(r.goAways, id) }
func (r *recordedControl) read(b []byte, end error) error {
	return readControl(&rawReader{&endless{b, end}}, r)
}

// endless returns its bytes and then an error.
type endless struct {
	b   []byte
	end error
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.b) == 0 {
		return 0, e.end
	}
	n := copy(p, e.b)
	e.b = e.b[n:]
	return n, nil
}

// A rawReader reads varints.
type rawReader struct{ io.Reader }

func (r *rawReader) varint() (uint64, error) { return quicvarint.Read(quicvarint.NewReader(r.Reader)) }

var errLost = errors.New("connection lost")

func TestControlStream(t *testing.T) {
	on, off := socketSettings(), settingsFrame(settingEnableConnectProtocol, 0)
	for _, c := range []struct {
		name     string
		in       []byte
		end      error
		extended bool
		goAways  []quic.StreamID
		code     http3.ErrCode // 0: errLost
	}{
		{"P31 on", on, errLost, true, nil, 0},
		{"H3-06 off", off, errLost, false, nil, 0},
		{"H3-06 not there", settingsFrame(settingMaxFieldSectionSize, 100), errLost, false, nil, 0},
		{"GREASE setting", settingsFrame(0x21, 5, settingEnableConnectProtocol, 1), errLost, true, nil, 0},
		{"GREASE frame after it", frames(on, greaseFrame("abc")), errLost, true, nil, 0},
		{"P43 GOAWAY", frames(on, goAwayFrame(8), goAwayFrame(8), goAwayFrame(0)), errLost, true, []quic.StreamID{8, 8, 0}, 0},
		{"H3-06 P36 value 2", settingsFrame(settingEnableConnectProtocol, 2), errLost, false, nil, http3.ErrCodeSettingsError},
		{"P36 twice", settingsFrame(0x21, 1, 0x21, 1), errLost, false, nil, http3.ErrCodeSettingsError},
		{"a setting of HTTP/2", settingsFrame(0x04, 1), errLost, false, nil, http3.ErrCodeSettingsError},
		{"H3_DATAGRAM 2", settingsFrame(settingH3Datagram, 2), errLost, false, nil, http3.ErrCodeSettingsError},
		{"SETTINGS cut within", rawFrame(frameSettings, []byte{8}), errLost, false, nil, http3.ErrCodeFrameError},
		{"SETTINGS too long", []byte{frameSettings, 0x80, 0x01, 0, 0}, errLost, false, nil, http3.ErrCodeExcessiveLoad},
		{"H3-08 no SETTINGS", goAwayFrame(0), errLost, false, nil, http3.ErrCodeMissingSettings},
		{"H3-08 GREASE before SETTINGS", frames(greaseFrame(""), on), errLost, false, nil, http3.ErrCodeMissingSettings},
		{"second SETTINGS", frames(on, on), errLost, true, nil, http3.ErrCodeFrameUnexpected},
		{"DATA", frames(on, dataFrame("x")), errLost, true, nil, http3.ErrCodeFrameUnexpected},
		{"HEADERS", frames(on, headersFrame("a: b")), errLost, true, nil, http3.ErrCodeFrameUnexpected},
		{"MAX_PUSH_ID", frames(on, rawFrame(frameMaxPushID, []byte{1})), errLost, true, nil, http3.ErrCodeFrameUnexpected},
		{"HTTP/2 PING", frames(on, rawFrame(0x06, nil)), errLost, true, nil, http3.ErrCodeFrameUnexpected},
		{"CANCEL_PUSH", frames(on, rawFrame(frameCancelPush, []byte{1})), errLost, true, nil, http3.ErrCodeIDError},
		{"GOAWAY grows", frames(on, goAwayFrame(4), goAwayFrame(8)), errLost, true, []quic.StreamID{4}, http3.ErrCodeIDError},
		{"GOAWAY with a stream of the server's", frames(on, goAwayFrame(1)), errLost, true, nil, http3.ErrCodeIDError},
		{"GOAWAY empty", frames(on, rawFrame(frameGoAway, nil)), errLost, true, nil, http3.ErrCodeFrameError},
		{"GOAWAY with more", frames(on, rawFrame(frameGoAway, []byte{0, 0})), errLost, true, nil, http3.ErrCodeFrameError},
		{"P44 H3-08 closed at once", nil, io.EOF, false, nil, http3.ErrCodeClosedCriticalStream},
		{"P44 H3-08 closed later", on, io.EOF, true, nil, http3.ErrCodeClosedCriticalStream},
		{"P44 H3-08 closed within a frame", frames(on, greaseFrame("abc")[:3]), io.EOF, true, nil, http3.ErrCodeClosedCriticalStream},
		{"P44 H3-08 reset", on, &quic.StreamError{Remote: true}, true, nil, http3.ErrCodeClosedCriticalStream},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got recordedControl
			err := got.read(c.in, c.end)
			if c.code == 0 {
				require.Equal(t, errLost, err)
			} else {
				fe, ok := err.(*frameError)
				require.True(t, ok, "%v", err)
				require.Equal(t, c.code, fe.code, fe.text)
				require.True(t, fe.conn)
			}
			extended := len(got.settings) == 1 && got.settings[0].extendedConnect
			require.Equal(t, c.extended, extended)
			require.Equal(t, c.goAways, got.goAways)
		})
	}
}

// FuzzControlStream: it ends with an error that has a code, or with that of the
// stream; SETTINGS come once and first; GOAWAY never grows.
func FuzzControlStream(f *testing.F) {
	f.Add(frames(socketSettings(), goAwayFrame(8), greaseFrame("x"), goAwayFrame(4)))
	f.Add(settingsFrame(settingEnableConnectProtocol, 2))
	f.Add([]byte{frameSettings, 0x80, 0x01, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		var got recordedControl
		err := got.read(bytes.Clone(in), errLost)
		if fe, ok := err.(*frameError); ok {
			require.NotZero(t, fe.code)
			require.True(t, fe.conn)
		} else {
			require.Equal(t, errLost, err)
		}
		require.LessOrEqual(t, len(got.settings), 1)
		last := quic.StreamID(quicvarint.Max)
		for _, id := range got.goAways {
			require.Len(t, got.settings, 1)
			require.Zero(t, id%4)
			require.LessOrEqual(t, id, last)
			last = id
		}
	})
}
