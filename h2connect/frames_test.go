package h2connect

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// Frames that cost the connection, with the code that they cost.
func TestH2FatalFrames(t *testing.T) {
	big := make([]byte, 16385)
	cases := []struct {
		name  string
		code  http2.ErrCode
		bytes []byte
	}{
		{"H2-02 frame too large", http2.ErrCodeFrameSize, raw(http2.FrameData, 0, 1, big)},
		{"H2-02 unknown frame too large", http2.ErrCodeFrameSize, raw(0x77, 0, 1, big)},
		{"H2-04 another frame in a header block", http2.ErrCodeProtocol, append(raw(http2.FrameHeaders, 0, 1, nil), raw(http2.FramePing, 0, 0, make([]byte, 8))...)},
		{"H2-04 CONTINUATION of another stream", http2.ErrCodeProtocol, append(raw(http2.FrameHeaders, 0, 1, nil), raw(http2.FrameContinuation, 4, 3, nil)...)},
		{"H2-04 CONTINUATION alone", http2.ErrCodeProtocol, raw(http2.FrameContinuation, 4, 1, nil)},
		{"H2-07 index 0", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x80})},
		{"H2-07 index past the table", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0xff, 0x80, 0x01})},
		{"H2-07 table size too large", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x3f, 0xe2, 0x1f})},
		{"H2-07 integer overflow", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, bytes.Repeat([]byte{0xff}, 20))},
		{"H2-07 Huffman padding", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x00, 0x81, 0x18, 0x01, 'x'})},
		{"H2-07 truncated", http2.ErrCodeCompression, raw(http2.FrameHeaders, 5, 1, []byte{0x00, 0x05, 'a'})},
		{"H2-09 MAX_FRAME_SIZE 0", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 0))},
		{"H2-09 MAX_FRAME_SIZE 16383", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 16383))},
		{"H2-09 MAX_FRAME_SIZE 2^24", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 1<<24))},
		{"H2-09 INITIAL_WINDOW 2^31", http2.ErrCodeFlowControl, raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 1<<31))},
		{"H2-09 ENABLE_PUSH 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnablePush, 2))},
		{"H2-09, P1 ENABLE_CONNECT_PROTOCOL 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnableConnectProtocol, 2))},
		{"H2-09 length % 6", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 0, 0, make([]byte, 7))},
		{"H2-09 on a stream", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 1, nil)},
		{"H2-09 ACK with payload", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 1, 0, make([]byte, 6))},
		{"H2-09 33 settings", http2.ErrCodeEnhanceYourCalm, raw(http2.FrameSettings, 0, 0, bytes.Repeat(setting(0x99, 1), 33))},
		{"H2-11 ACK for nothing", http2.ErrCodeProtocol, raw(http2.FrameSettings, 1, 0, nil)},
		{"H2-12 PING of a wrong length", http2.ErrCodeFrameSize, raw(http2.FramePing, 0, 0, make([]byte, 7))},
		{"H2-12 PING on a stream", http2.ErrCodeProtocol, raw(http2.FramePing, 0, 1, make([]byte, 8))},
		{"H2-15 WINDOW_UPDATE 0 on the connection", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 0, word(0))},
		{"H2-15 connection window too large", http2.ErrCodeFlowControl, raw(http2.FrameWindowUpdate, 0, 0, word(1<<31-1))},
		{"HEADERS padding longer than the frame", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5|8, 1, []byte{5, 1})},
		{"H2-21 even stream", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5, 2, []byte{0x82})},
		{"H2-21 HEADERS on stream 0", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 5, 0, []byte{0x82})},
		{"H2-21 DATA on stream 0", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 0, []byte{1})},
		{"H2-21 DATA on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 1, []byte{1})},
		{"H2-21 RST_STREAM on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 1, word(8))},
		{"H2-21 RST_STREAM on stream 0", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 0, word(8))},
		{"H2-21 WINDOW_UPDATE on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 1, word(1))},
		{"H2-21 WINDOW_UPDATE 0 on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 1, word(0))},
		{"H2-22 PUSH_PROMISE", http2.ErrCodeProtocol, raw(http2.FramePushPromise, 4, 1, append(word(2), 0x82))},
		{"PRIORITY_UPDATE on a stream", http2.ErrCodeProtocol, raw(http2.FramePriorityUpdate, 0, 1, word(1))},
		{"PRIORITY_UPDATE for stream 0", http2.ErrCodeProtocol, raw(http2.FramePriorityUpdate, 0, 0, word(0))},
		{"PRIORITY_UPDATE for a push stream", http2.ErrCodeProtocol, raw(http2.FramePriorityUpdate, 0, 0, word(2))},
		{"PRIORITY_UPDATE for no stream", http2.ErrCodeFrameSize, raw(http2.FramePriorityUpdate, 0, 0, []byte{0, 0, 1})},
		{"NO_RFC7540_PRIORITIES 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingNoRFC7540Priorities, 2))},
		{"NO_RFC7540_PRIORITIES after the first SETTINGS", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, setting(http2.SettingNoRFC7540Priorities, 1))},
		{"PRIORITY on stream 0", http2.ErrCodeProtocol, raw(http2.FramePriority, 0, 0, make([]byte, 5))},
		{"GOAWAY on a stream", http2.ErrCodeProtocol, raw(http2.FrameGoAway, 0, 1, make([]byte, 8))},
	}
	for _, tt := range cases {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.nc.Write(tt.bytes)
		debug := p.wantGoAway(tt.code, tt.name)
		assert.NotEmpty(t, debug, tt.name)
		p.hangUp()
	}
}

// "If the length of the padding is the length of the frame payload or greater, the
// recipient MUST treat this as a connection error of type PROTOCOL_ERROR" (RFC 9113
// §6.1): also on a stream that is open, where nothing else is wrong with it.
func TestH2_17PaddingMustFitIntoTheFrame(t *testing.T) {
	for name, payload := range map[string][]byte{
		"longer than the frame": {6, 1, 2, 3, 4},
		"as long as the frame":  {5, 1, 2, 3, 4},
		"without a length":      nil,
	} {
		p := clientOf(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		p.greet()
		p.headers(1, false, with(get("/"), ":method", "POST")...)
		p.nc.Write(raw(http2.FrameData, 8, 1, []byte{4, 1, 2, 3, 4})) // nothing but padding
		p.wantAlive("one byte less is allowed")
		p.nc.Write(raw(http2.FrameData, 8, 1, payload))
		assert.Contains(t, p.wantGoAway(http2.ErrCodeProtocol, name), "padding", name)
		p.hangUp()
	}
}

func TestH2_21ConcurrentStreams(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	p := clientOf(t, &Server{Limits: Limits{ConcurrentStreams: 3}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	p.greet()
	for id := uint32(1); id <= 5; id += 2 {
		p.headers(id, true, get("/")...)
	}
	p.headers(7, true, get("/")...)
	p.wantReset(7, http2.ErrCodeRefusedStream, "P29: one too many")
	p.wantAlive("the others live")
	p.ours.mu.Lock()
	assert.Len(t, p.ours.streams, 3)
	p.ours.mu.Unlock()
}

func TestH2_21FramesOnClosedAndHalfClosedStreams(t *testing.T) {
	blocked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := clientOf(t, nil, blocked)
	p.greet()
	p.headers(1, true, get("/")...)
	p.fr.WriteData(1, false, []byte("x"))
	p.wantReset(1, http2.ErrCodeStreamClosed, "DATA after END_STREAM")
	p.headers(3, true, get("/")...)
	p.headers(3, true, "a", "b")
	p.wantReset(3, http2.ErrCodeStreamClosed, "HEADERS after END_STREAM")
	p.headers(5, true, get("/")...)
	p.fr.WriteRSTStream(5, http2.ErrCodeCancel)
	p.fr.WriteData(5, false, []byte("x"))
	p.wantReset(5, http2.ErrCodeStreamClosed, "DATA after RST_STREAM")
	p.headers(7, true, get("/")...)
	p.headers(7, true, get("/")...)
	p.wantReset(7, http2.ErrCodeStreamClosed, "the id is taken")
	p.headers(9, true, get("/")...)
	p.fr.WriteRSTStream(9, http2.ErrCodeCancel)
	p.headers(9, true, get("/")...)
	p.wantGoAway(http2.ErrCodeStreamClosed, "a closed stream cannot be opened again")
}

// Identifiers only go up: one that was passed over was never a stream that
// could be closed.
func TestH2_21StreamsThatWerePassedOverCannotBeOpened(t *testing.T) {
	for _, id := range []uint32{1, 5, 7} {
		p := clientOf(t, nil, ordinary())
		p.greet()
		p.served(3)
		p.served(9)
		p.served(11)
		p.headers(id, true, get("/hello")...)
		p.wantGoAway(http2.ErrCodeProtocol, fmt.Sprintf("stream %d comes after stream 11", id))
		p.hangUp()
	}
	p := clientOf(t, nil, ordinary())
	p.greet()
	for i := range uint32(1000) {
		p.served(3 + 4*i)
	}
	p.headers(3999-4, true, get("/hello")...)
	p.wantGoAway(http2.ErrCodeStreamClosed, "this one was a stream")
}

// Every type of frame in every shape: those that RFC 9113 does not define are
// ignored whatever they look like (§4.1), and the others, with RFC 9218's, are
// taken or answered with one GOAWAY.
func TestH2_20All256FrameTypes(t *testing.T) {
	shapes := func(typ http2.FrameType, do func(frame []byte)) {
		for _, flags := range []http2.Flags{0, 0x5, 0xff} {
			for _, id := range []uint32{0, 1, 2, 3, 1 << 31} {
				for _, n := range []int{0, 1, 4, 5, 6, 8, 9, 100} {
					do(raw(typ, flags, id, bytes.Repeat([]byte{1}, n)))
				}
			}
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	p := clientOf(t, &Server{Limits: Limits{GlitchBurst: -1}}, h)
	p.greet()
	for typ := range 256 {
		if typ > int(http2.FrameContinuation) && typ != int(http2.FramePriorityUpdate) {
			shapes(http2.FrameType(typ), func(frame []byte) { p.nc.Write(frame) })
			p.wantAlive("an unknown type is ignored")
		}
	}
	known := []http2.FrameType{http2.FramePriorityUpdate}
	for typ := http2.FrameData; typ <= http2.FrameContinuation; typ++ {
		known = append(known, typ)
	}
	for _, typ := range known {
		shapes(typ, func(frame []byte) {
			p := clientOf(t, &Server{Limits: Limits{Linger: time.Microsecond}}, h)
			p.greet()
			p.headers(1, false, with(get("/"), ":method", "POST")...)
			p.nc.Write(frame)
			p.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			p.nc.(interface{ CloseWrite() error }).CloseWrite()
			checkOutput(t, p.nc)
			p.hangUp()
		})
	}
}

func TestH2_02NothingIsAllocatedForALengthThatIsOnlyDeclared(t *testing.T) {
	p := clientOf(t, &Server{Limits: Limits{FrameSize: 1<<24 - 1}}, ordinary())
	p.greet()
	p.headers(1, false, with(get("/echo"), ":method", "POST")...)
	p.wantStatus(1, "200", false, "")
	before := heldMemory()
	p.nc.Write([]byte{0xff, 0xff, 0xff, 0xfa, 0, 0, 0, 0, 0}) // 16 MiB of an unknown type, to come
	p.nc.Write(make([]byte, 32<<10))
	assert.Less(t, heldMemory()-before, int64(1<<20))
}

func TestLargerFramesWhereTheyAreAllowed(t *testing.T) {
	p := clientOf(t, &Server{Limits: Limits{FrameSize: 40_000}}, ordinary())
	settings := p.greet()
	assert.EqualValues(t, 40_000, settings[http2.SettingMaxFrameSize])
	p.headers(1, false, with(get("/echo"), ":method", "POST")...)
	p.wantStatus(1, "200", false, "")
	p.fr.WriteData(1, false, make([]byte, 40_000))
	for got := 0; got < 40_000; {
		d, ok := p.next("echoed").(*http2.DataFrame)
		require.True(t, ok)
		assert.LessOrEqual(t, len(d.Data()), 16384, "what is sent stays small")
		got += len(d.Data())
	}
	p.nc.Write(raw(0x99, 0, 0, make([]byte, 40_001)))
	p.wantGoAway(http2.ErrCodeFrameSize, "a byte more")
}
