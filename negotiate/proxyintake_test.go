package negotiate

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/h1upgrade"
	"github.com/wsmux/websocket/internal/tunnel"
	"github.com/wsmux/websocket/internal/wstest"
)

// plenty fills every buffer.
type plenty struct{}

func (plenty) Read(p []byte) (int, error) { return len(p), nil }

// fill has in read until it borrows nothing larger.
func fill(t *testing.T, in *intake) {
	for {
		_, err := in.read(plenty{})
		require.NoError(t, err)
		if !in.fit() {
			return
		}
	}
}

func TestAnIntakeBorrowsAsItIsFilled(t *testing.T) {
	var in intake
	defer in.giveBack()
	for _, size := range []int{smallBuffer, middleBuffer, largeBuffer, largeBuffer} {
		assert.Equal(t, size > smallBuffer, in.borrowing.Load())
		p, err := in.read(plenty{})
		require.NoError(t, err)
		require.Len(t, p, size)
		assert.Equal(t, size < largeBuffer, in.fit())
	}
	in.giveBack()
	assert.False(t, in.borrowing.Load())
	assert.Zero(t, largeBorrowed.Load())
	p, err := in.read(bytes.NewReader(make([]byte, smallBuffer-1)))
	require.NoError(t, err)
	assert.Len(t, p, smallBuffer-1)
	assert.False(t, in.fit(), "there was room")
	_, err = in.read(bytes.NewReader(nil))
	assert.Equal(t, io.EOF, err)
}

// records yields records of these sizes one by one, of which so many have come.
type records struct {
	sizes []int
	come  int
	err   error // behind them
}

func (r *records) Read(p []byte) (int, error) {
	if len(r.sizes) == 0 {
		return 0, r.err
	}
	n := min(len(p), r.sizes[0])
	if r.sizes[0] -= n; r.sizes[0] == 0 {
		r.sizes, r.come = r.sizes[1:], r.come-1
	}
	return n, nil
}

// Records knows of no more than two at once.
func (r *records) Records() int { return min(r.come, 2) }

func TestAnIntakeReadsTheRecordsThatHaveCome(t *testing.T) {
	const whole = 16 << 10
	many := []int{whole, whole, whole, whole, whole, whole}
	for _, test := range []struct {
		name  string
		sizes []int
		come  int
		want  int
		err   error
	}{
		{"one", many, 1, whole, nil},
		{"three", many, 3, 3 * whole, nil},
		{"more than a message", many, 6, 4 * whole, nil},
		{"a short one first", []int{recordsLeast - 1, whole}, 2, recordsLeast - 1, nil},
		{"a short one last", []int{whole, 100}, 2, whole + 100, nil},
		{"the end behind it", []int{whole}, 2, whole, io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			var in intake
			defer in.giveBack()
			fill(t, &in)
			p, err := in.read(&records{sizes: slices.Clone(test.sizes), come: test.come, err: io.EOF})
			assert.Equal(t, test.err, err)
			assert.Equal(t, test.want, len(p))
			assert.False(t, in.fit())
		})
	}
	t.Run("more than there is room for", func(t *testing.T) {
		var in intake
		defer in.giveBack()
		all := &records{sizes: slices.Clone(many), come: len(many)}
		passed := 0
		for _, want := range []int{smallBuffer, middleBuffer, 5*whole - smallBuffer - middleBuffer, whole} {
			p, err := in.read(all)
			require.NoError(t, err)
			assert.Equal(t, want, len(p), "behind %d", passed)
			passed += len(p)
			in.fit()
		}
	})
}

func TestAStreamOverTLSIsARecordReader(t *testing.T) {
	streams := make(chan websocket.Stream, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepting := &tunnel.Accepting{
			Agree: func() (answer tunnel.Answer, refusal *websocket.HandshakeError) { return },
			Take: func(s websocket.Stream, _ []byte) tunnel.Socket {
				streams <- s
				return nil
			},
		}
		_, err := Accept(w, r.WithContext(tunnel.WithAccepting(r.Context(), accepting)), nil)
		assert.NoError(t, err)
	}))
	var config *tls.Config
	srv.TLS, config = wstest.Certificates()
	srv.StartTLS()
	defer srv.Close()
	c, _, err := h1upgrade.Dial(t.Context(), "wss://"+srv.Listener.Addr().String(), &websocket.DialOptions{TLSClientConfig: config})
	require.NoError(t, err)
	defer c.CloseNow()
	s := <-streams
	defer s.Abort()
	assert.Implements(t, (*recordReader)(nil), s)
}

// However many directions are held up with what was read for them, the large buffers
// among them are no more than largeMost, and the next one is there when one of those
// comes back.
func TestLargeBuffersAreBounded(t *testing.T) {
	intakes := make([]intake, largeMost+3)
	large := func() (n int) {
		for i := range intakes {
			if len(intakes[i].borrowed) == largeBuffer {
				n++
			}
		}
		return n
	}
	for i := range intakes {
		fill(t, &intakes[i])
	}
	assert.Equal(t, largeMost, large())
	assert.Len(t, intakes[largeMost].borrowed, middleBuffer)
	assert.EqualValues(t, largeMost, largeBorrowed.Load())
	intakes[0].giveBack()
	fill(t, &intakes[largeMost])
	assert.Len(t, intakes[largeMost].borrowed, largeBuffer)
	for i := range intakes {
		intakes[i].giveBack()
		intakes[i].giveBack() // a second time it has nothing
	}
	assert.Zero(t, large())
	assert.Zero(t, largeBorrowed.Load())
}
