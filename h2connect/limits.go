package h2connect

import (
	"time"
)

// Limits bounds what a peer can make a connection hold, do or wait for. In every
// field zero means the default given with it; where a negative value is
// mentioned it switches the limit off, and elsewhere it means the default too. One
// struct serves both roles.
type Limits struct {
	// ConcurrentStreams is how many streams a client may have open at once, a
	// stream counting until its handler has returned (RFC 9113 §5.1.2), and how
	// many responses that have ended may wait to be sent. Beyond it: RST_STREAM
	// REFUSED_STREAM. Default 250.
	ConcurrentStreams int

	// HeaderBytes bounds a decoded header block, each field counting 32 bytes
	// more than its name and value (RFC 9113 §6.5.2). Beyond it a request gets
	// 431 and a response fails; beyond four times as much the connection ends
	// with ENHANCE_YOUR_CALM. Default 16 KiB. A smaller
	// http.Server.MaxHeaderBytes is honoured.
	HeaderBytes int

	// HeaderFields bounds the number of fields in a header block, cookie
	// crumbs included. Beyond it: as HeaderBytes. Default 256.
	HeaderFields int

	// HeaderTable is how many bytes each of the two HPACK dynamic tables may
	// have (RFC 7541 §4.1): the one that the peer fills with what it sends, and
	// the one that we fill, of which a peer may want less. Default 4,096.
	// Negative: none.
	HeaderTable int

	// FrameSize is the largest frame payload that is accepted (RFC 9113
	// §6.5.2). Beyond it the connection ends with FRAME_SIZE_ERROR. Default
	// 16,384, which is also the least; at most 2^24 − 1. What is sent is
	// never larger than 16,384.
	FrameSize int

	// Continuations is how many CONTINUATION frames a header block may have,
	// empty ones included. The connection ends with ENHANCE_YOUR_CALM at the
	// one that makes it this many plus one. Default 8.
	Continuations int

	// ControlFrames is how many frames that the peer's own frames made
	// necessary (acknowledgements, resets, window updates) may wait to be
	// sent. Beyond it the connection ends with ENHANCE_YOUR_CALM. Default
	// 1,000.
	ControlFrames int

	// ResetBurst and ResetRate bound stream resets, received and made
	// necessary by the peer alike: a bucket of ResetBurst that refills with
	// ResetRate per second. Beyond it the connection ends with
	// ENHANCE_YOUR_CALM. Defaults 1,000 and 33. Negative burst: none.
	ResetBurst int
	ResetRate  int

	// GlitchBurst and GlitchRate bound frames that are legal and achieve
	// nothing, as ResetBurst and ResetRate do: PRIORITY, unknown types,
	// repeated SETTINGS, frames for closed streams; also PINGs and
	// WINDOW_UPDATEs beyond those that the traffic explains. That is a PING
	// for every stream and every DATA frame in either direction, and four
	// WINDOW_UPDATEs for every stream, twenty for every DATA frame sent to
	// the peer and one for each 64 bytes in it. Defaults 10,000 and 330.
	// Negative burst: none.
	GlitchBurst int
	GlitchRate  int

	// EmptyData is how many empty DATA frames without END_STREAM may come in a
	// row, a non-empty one that is consumed paying for one empty one. Beyond
	// it the connection ends with ENHANCE_YOUR_CALM. Default 100. Negative:
	// none.
	EmptyData int

	// Settings is how many parameters one SETTINGS frame may have. Beyond it
	// the connection ends with ENHANCE_YOUR_CALM. Default 32. Negative: none.
	Settings int

	// StreamWindow is how many bytes of a stream may be received and not yet
	// consumed. No more than that comes in a round trip. Default 64 KiB, for a
	// client 1 MiB; at least 64 KiB − 1.
	StreamWindow int

	// MaxStreamWindow is how large StreamWindow becomes, by doubling, for a
	// stream whose bytes are consumed as they come: a window that is used up in
	// less than a round trip holds the peer up. That of one that nobody reads
	// stays as it is, and those of a connection together grow by no more than half
	// of ConnBuffer. Default 1 MiB where StreamWindow is not set, on a server; else
	// StreamWindow.
	MaxStreamWindow int

	// ConnWindow is how many bytes of all streams may be in flight. They
	// return to the peer on receipt, so that a stream that nobody reads does
	// not stall its neighbours. Default 1 MiB, for a client 4 MiB; at least
	// 64 KiB − 1.
	ConnWindow int

	// ConnBuffer is how many received bytes a server's connection may hold for
	// handlers that do not read. When they reach it, bytes return to the peer
	// only as they are consumed. Default 4 MiB, at least ConnWindow. A client
	// holds at most StreamWindow for every request that it has made.
	ConnBuffer int

	// ReadStall is how long streams that nobody reads may keep a server's
	// connection closed to the others by holding ConnBuffer. Beyond it those
	// of which nothing has been read in that time are reset with CANCEL, the
	// fullest first, until half of ConnBuffer is free. Default 30 s.
	// Negative: none.
	ReadStall time.Duration

	// WriteStall is how long the peer may accept no byte of what is being
	// written to the connection, which is then cut, and how long it may keep a
	// stream's window closed while data waits for it, which is then reset with
	// CANCEL. Default 30 s. Negative: none.
	WriteStall time.Duration

	// Preface is how long the peer may take for its part of the connection
	// preface, and for every header block that it begins; FirstSettings how
	// long its first SETTINGS frame may take after that; SettingsAck how long
	// it may take to acknowledge ours. Defaults 10 s, 2 s and 10 s.
	Preface       time.Duration
	FirstSettings time.Duration
	SettingsAck   time.Duration

	// Idle is how long a connection may have no streams before it is closed
	// with GOAWAY NO_ERROR. Default 3 min. Negative: none. A server honours
	// http.Server.IdleTimeout instead where that is set.
	Idle time.Duration

	// ReadIdle is how long a connection with open streams may receive nothing
	// before its peer is asked, by a PING frame (RFC 9113 §6.7), whether it
	// still lives; PingTimeout is how long it may then go on saying nothing
	// before the connection is cut. So a request on a connection that died
	// silently fails in a bounded time. A connection that has long been idle is
	// asked at once when a stream opens. Defaults: a client's 30 s, a server
	// does not ask; 15 s. Negative ReadIdle: none.
	ReadIdle    time.Duration
	PingTimeout time.Duration

	// DrainPing is how long a server that shuts down waits for a round trip,
	// so that no request that is on its way gets lost, between its two GOAWAY
	// frames (RFC 9113 §6.8). Linger is how long a connection stays open after
	// its last frame, so that the frame is not lost; a server does not wait for a
	// client that has sent GOAWAY as well. Defaults 5 s and 1 s.
	DrainPing time.Duration
	Linger    time.Duration
}

func (l Limits) withDefaults() Limits {
	def := func(p *int, n int) { // where negative means no limit
		if *p == 0 {
			*p = n
		}
	}
	defPositive := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	defTime := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	defTimePositive := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	defPositive(&l.ConcurrentStreams, 250)
	defPositive(&l.HeaderBytes, 16<<10)
	defPositive(&l.HeaderFields, 256)
	def(&l.HeaderTable, protocolTable)
	l.HeaderTable = max(l.HeaderTable, 0)
	defPositive(&l.FrameSize, maxFrame)
	l.FrameSize = min(max(l.FrameSize, maxFrame), 1<<24-1)
	defPositive(&l.Continuations, 8)
	defPositive(&l.ControlFrames, 1000)
	def(&l.ResetBurst, 1000)
	def(&l.ResetRate, 33)
	def(&l.GlitchBurst, 10000)
	def(&l.GlitchRate, 330)
	def(&l.EmptyData, 100)
	def(&l.Settings, 32)
	if l.StreamWindow <= 0 {
		defPositive(&l.MaxStreamWindow, 1<<20)
	}
	defPositive(&l.StreamWindow, 64<<10)
	defPositive(&l.ConnWindow, 1<<20)
	defPositive(&l.ConnBuffer, 4<<20)
	l.StreamWindow = min(max(l.StreamWindow, protocolWindow), maxWindow)
	l.MaxStreamWindow = min(max(l.MaxStreamWindow, l.StreamWindow), maxWindow)
	l.ConnWindow = min(max(l.ConnWindow, protocolWindow), maxWindow)
	l.ConnBuffer = max(l.ConnBuffer, l.ConnWindow)
	defTime(&l.ReadStall, 30*time.Second)
	defTime(&l.WriteStall, 30*time.Second)
	defTime(&l.Idle, 3*time.Minute)
	defTimePositive(&l.Preface, 10*time.Second)
	defTimePositive(&l.FirstSettings, 2*time.Second)
	defTimePositive(&l.SettingsAck, 10*time.Second)
	defTimePositive(&l.PingTimeout, 15*time.Second)
	defTimePositive(&l.DrainPing, 5*time.Second)
	defTimePositive(&l.Linger, time.Second)
	return l
}

// A bucket bounds events to a burst that refills at a steady rate.
type bucket struct {
	burst, rate int
	level       float64 // events there is room for
	at          time.Time
}

func newBucket(burst, rate int) bucket {
	return bucket{burst: burst, rate: max(rate, 0), level: float64(burst), at: time.Now()}
}

// take records one event and reports whether there was room for it.
func (b *bucket) take() bool {
	if b.burst < 0 {
		return true
	}
	now := time.Now()
	b.level = min(b.level+now.Sub(b.at).Seconds()*float64(b.rate), float64(b.burst))
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
