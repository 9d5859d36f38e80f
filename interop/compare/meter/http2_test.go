package meter

import (
	"bytes"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// A flow that is cut anywhere gives the same sum of DATA payloads, without padding.
func TestHTTP2FlowFindsData(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	require.NoError(t, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16}))
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("no header block"), EndHeaders: true}))
	require.NoError(t, f.WriteData(1, false, make([]byte, 1000)))
	require.NoError(t, f.WriteDataPadded(1, false, make([]byte, 200), make([]byte, 50)))
	require.NoError(t, f.WriteData(1, false, nil))
	require.NoError(t, f.WritePing(false, [8]byte{}))
	require.NoError(t, f.WriteDataPadded(1, false, make([]byte, 3), nil))
	require.NoError(t, f.WriteData(1, true, make([]byte, 30)))
	for _, size := range []int{1, 2, 7, 9, 10, 100, b.Len()} {
		var sum int64
		flow := &http2Flow{skip: prefaceLength, data: &sum}
		for rest := b.Bytes(); len(rest) > 0; {
			n := min(len(rest), 1+rand.Intn(size))
			flow.take(rest[:n])
			rest = rest[n:]
		}
		assert.Equal(t, int64(1000+200+3+30), sum, "pieces of up to %d", size)
	}
}

func TestFlowsAddUp(t *testing.T) {
	var m Meter
	s := fixed{Flow{Plain: 10, Data: 1, Sealed: 30, Again: 5, Headers: 52, Packets: 1}, Flow{Plain: 2, Sealed: 3, Headers: 60, Packets: 1}}
	m.opened(s)
	m.shaken(true)
	before := m.Now()
	assert.Equal(t, s.up, before.Up)
	assert.Equal(t, int64(30+5+52), before.Up.Wire())
	m.ended(s)
	m.ended(s)
	assert.Equal(t, before, m.Now(), "what has ended counts once")
	assert.Equal(t, Totals{HTTP2: true}, m.Now().Since(before))
	m.Wait()
}

type fixed struct{ up, down Flow }

func (f fixed) flows() (up, down Flow) { return f.up, f.down }
