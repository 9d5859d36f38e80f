package websocket

import (
	"sync/atomic"
	"time"
)

// settings are what a Conn is made with and does not change, with the defaults
// filled in. Conns that are made alike share them.
type settings struct {
	client      bool
	subprotocol string
	deflate     *DeflateParams
	compression Compression
	limits      Limits

	// As they were in Params.
	givenDeflate     *DeflateParams
	givenCompression *Compression
	givenLimits      Limits
}

// lastSettings are those of the last Conns made, by whether they were clients: most
// programs make all of theirs alike.
var lastSettings [2]atomic.Pointer[settings]

func settingsOf(p *Params) *settings {
	last := &lastSettings[0]
	if p.Client {
		last = &lastSettings[1]
	}
	if s := last.Load(); s != nil && s.fit(p) {
		return s
	}
	s := &settings{
		client:      p.Client,
		subprotocol: p.Subprotocol,
		deflate:     p.Deflate.resolve(),
		compression: p.Compression.resolve(),
		limits:      p.Limits.resolve(),

		givenDeflate:     copyOf(p.Deflate),
		givenCompression: copyOf(p.Compression),
		givenLimits:      p.Limits,
	}
	last.Store(s)
	return s
}

// fit reports whether p asks for s.
func (s *settings) fit(p *Params) bool {
	return s.subprotocol == p.Subprotocol && s.givenLimits == p.Limits &&
		equal(s.givenDeflate, p.Deflate) && equal(s.givenCompression, p.Compression)
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// The defaults of Limits.
const (
	defaultMessageLimit   = 1 << 20
	defaultFragments      = 16384
	defaultEmptyFragments = 100
	defaultControlBurst   = 1000
	defaultControlRate    = 33
	defaultCloseTimeout   = 5 * time.Second
	defaultWriteStall     = 30 * time.Second
	defaultPingInterval   = 30 * time.Second
	defaultPingTimeout    = 15 * time.Second
	defaultThreshold      = 512
	defaultLevel          = 1
	defaultWindowBits     = 15
)

// resolve returns l with the defaults in place of zeros.
func (l Limits) resolve() Limits {
	l.Message = orDefault(l.Message, defaultMessageLimit)
	if l.CompressedMessage == 0 && l.Message > 0 {
		l.CompressedMessage = l.Message + l.Message/16 + 1024
	}
	l.Fragments = orDefault(l.Fragments, defaultFragments)
	l.EmptyFragments = orDefault(l.EmptyFragments, defaultEmptyFragments)
	l.ControlBurst = orDefault(l.ControlBurst, defaultControlBurst)
	l.ControlRate = orDefault(l.ControlRate, defaultControlRate)
	l.CloseTimeout = orDefault(max(l.CloseTimeout, 0), defaultCloseTimeout)
	l.WriteStall = orDefault(l.WriteStall, defaultWriteStall)
	l.PingInterval = orDefault(l.PingInterval, defaultPingInterval)
	l.PingTimeout = orDefault(max(l.PingTimeout, 0), defaultPingTimeout)
	return l
}

// resolve returns *o, or the zero value for nil, with the defaults in place of
// zeros.
func (o *Compression) resolve() Compression {
	var r Compression
	if o != nil {
		r = *o
	}
	r.Threshold = max(orDefault(r.Threshold, defaultThreshold), 0)
	r.Level = orDefault(r.Level, defaultLevel)
	return r
}

// resolve returns a copy of p with the defaults in place of zeros, nil for nil.
func (p *DeflateParams) resolve() *DeflateParams {
	if p == nil {
		return nil
	}
	r := *p
	r.ServerMaxWindowBits = orDefault(r.ServerMaxWindowBits, defaultWindowBits)
	r.ClientMaxWindowBits = orDefault(r.ClientMaxWindowBits, defaultWindowBits)
	return &r
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
