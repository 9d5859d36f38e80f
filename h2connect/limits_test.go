package h2connect

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What refills a bucket is hard to see from outside, exactly: 33 resets a second are
// not 34.
func TestBucketsRefillAsDocumented(t *testing.T) {
	l := Limits{}.withDefaults()
	assert.Equal(t, 1000, l.ResetBurst)
	assert.Equal(t, 33, l.ResetRate)
	assert.Equal(t, 10_000, l.GlitchBurst)
	assert.Equal(t, 330, l.GlitchRate)
}

// What cannot be switched off has its default where a field is negative: a time that
// has passed before it begins would end every connection.
func TestNegativeLimits(t *testing.T) {
	def := Limits{}.withDefaults()
	negative := Limits{
		ConcurrentStreams: -1, HeaderBytes: -1, HeaderFields: -1, FrameSize: -1, Continuations: -1, ControlFrames: -1,
		StreamWindow: -1, MaxStreamWindow: -1, ConnWindow: -1, ConnBuffer: -1,
		Preface: -1, FirstSettings: -1, SettingsAck: -1, PingTimeout: -1, DrainPing: -1, Linger: -1,
	}
	assert.Equal(t, def, negative.withDefaults())
	tr := &Transport{Limits: negative}
	assert.Equal(t, new(Transport).limits(), tr.limits(), "a client's defaults")

	off := Limits{
		HeaderTable: -1, ResetBurst: -1, GlitchBurst: -1, EmptyData: -1, Settings: -1,
		ReadStall: -1, WriteStall: -1, Idle: -1, ReadIdle: -1,
	}.withDefaults()
	assert.Zero(t, off.HeaderTable)
	for _, n := range []int{off.ResetBurst, off.GlitchBurst, off.EmptyData, off.Settings} {
		assert.Negative(t, n)
	}
	for _, d := range []time.Duration{off.ReadStall, off.WriteStall, off.Idle, off.ReadIdle} {
		assert.Negative(t, d)
	}
}

func TestTimesAreAsDocumented(t *testing.T) {
	l := Limits{}.withDefaults()
	assert.Equal(t, []time.Duration{30e9, 30e9, 10e9, 2e9, 10e9, 180e9, 0, 15e9, 5e9, 1e9}, []time.Duration{
		l.ReadStall, l.WriteStall, l.Preface, l.FirstSettings, l.SettingsAck, l.Idle, l.ReadIdle, l.PingTimeout, l.DrainPing, l.Linger,
	})
}
