package h2connect

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// A path is a network between a sender and a program that reads, and what queues
// up on it. Its time goes in steps.
type path struct {
	rate int64         // of the network, bytes per second
	rtt  time.Duration // of the network
	read int64         // of the program, bytes per second
	back time.Duration // what else delays its answers

	sent, wired, got int64 // positions: handed to the kernel, on the wire, read
	arrivals         []arrival
	answers          []answer
	probes           []answer // not yet read by the program
}

type arrival struct {
	pos int64
	at  time.Duration
}

type answer struct {
	number uint32
	pos    int64
	at     time.Duration
}

const pathStep = 50 * time.Microsecond

// run sends bulk for a while, bounded by f, and returns what the program has read
// in the second half, and the longest queue in front of it.
func (p *path) run(f *flight, d time.Duration) (read, queue int64) {
	base := time.Unix(0, 0)
	f.begin(0, 0, base)
	held, half := time.Duration(-1), int64(0)
	for now := time.Duration(0); now < d; now += pathStep {
		for len(p.answers) > 0 && p.answers[0].at <= now {
			f.answered(p.answers[0].number, base.Add(now))
			p.answers = p.answers[1:]
		}
		if held >= 0 && now-held >= f.patience() {
			f.abandon(p.sent)
		}
		for held = max(held, -1); p.sent-p.wired < notSentLowat+batchBytes && !f.full(p.sent); held = -1 {
			p.sent += maxData
			if f.due(p.sent) {
				p.probes = append(p.probes, answer{f.probe(p.sent, p.rtt), p.sent, 0})
			}
		}
		if f.full(p.sent) && held < 0 {
			held = now
		}
		step := func(rate int64) int64 { return int64(float64(rate) * pathStep.Seconds()) }
		p.wired = min(p.sent, p.wired+step(p.rate))
		p.arrivals = append(p.arrivals, arrival{p.wired, now + p.rtt/2})
		there := p.got
		for len(p.arrivals) > 0 && p.arrivals[0].at <= now {
			there = p.arrivals[0].pos
			if there <= p.got+step(p.read) {
				p.arrivals = p.arrivals[1:]
				continue
			}
			break
		}
		p.got = min(there, p.got+step(p.read))
		for len(p.probes) > 0 && p.probes[0].pos <= p.got {
			a := p.probes[0]
			a.at = now + p.rtt/2 + p.back
			p.answers, p.probes = append(p.answers, a), p.probes[1:]
		}
		if now < d/2 {
			half = p.got
			continue
		}
		queue = max(queue, p.sent-p.got)
	}
	return p.got - half, queue
}

// Whatever the network is like, bulk fills it; where the program is what is slow,
// no more is on its way than the network and flightBase explain.
func TestFlightFillsTheNetworkAndNothingElse(t *testing.T) {
	const slow, fast = 1 << 20, 1 << 30
	for _, rtt := range []time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond} {
		for _, rate := range []int64{slow, 20 << 20, 200 << 20} {
			t.Run(fmt.Sprint(rtt, " ", rate>>20, " MiB/s"), func(t *testing.T) {
				d := 2*time.Second + 80*rtt
				network := path{rate: rate, rtt: rtt, read: fast}
				read, _ := network.run(new(flight), d)
				assert.Greater(t, float64(read), 0.95*float64(rate)*(d/2).Seconds(), "the network is slow")

				program := path{rate: fast, rtt: rtt, read: rate}
				read, queue := program.run(new(flight), d)
				assert.Greater(t, float64(read), 0.95*float64(rate)*(d/2).Seconds(), "the program is slow")
				if rate == slow {
					return // the patience is shorter than this
				}
				assert.LessOrEqual(t, float64(queue), flightBase+3*float64(rate)*rtt.Seconds()+maxData)
			})
		}
	}
}

// A client whose answers come a second late keeps much of its network's speed.
func TestFlightOfAClientThatAnswersLate(t *testing.T) {
	p := path{rate: 20 << 20, rtt: 50 * time.Millisecond, read: 1 << 30, back: time.Second}
	read, _ := p.run(new(flight), 8*time.Second)
	assert.Greater(t, float64(read), 0.4*float64(p.rate)*4)
}

func TestFlightTakesAnswersOnceAndInOrder(t *testing.T) {
	var f flight
	now := time.Unix(0, 0)
	assert.False(t, f.full(1<<40), "nothing is bounded before it begins")
	f.begin(1000, 0, now)
	require.True(t, f.due(1000), "at once")
	f.last = 1000
	assert.False(t, f.full(1000+flightBase-1))
	assert.True(t, f.full(1000+flightBase))
	assert.False(t, f.due(1000+flightBase/2-1))
	for i := range uint32(flightProbes) {
		pos := 1000 + int64(i+1)*flightBase/2
		require.True(t, f.due(pos))
		require.Equal(t, i, f.probe(pos, 0))
	}
	assert.False(t, f.due(1<<40), "more are not on their way at once")
	assert.False(t, f.answered(flightProbes, now), "never sent")
	assert.True(t, f.answered(3, now), "with those before it")
	assert.EqualValues(t, 1000+4*flightBase/2, f.arrived)
	assert.False(t, f.answered(3, now), "twice")
	assert.False(t, f.answered(0, now), "it has been")
	f.begin(5000, 0, now)
	assert.False(t, f.answered(5, now), "of an earlier time")
	assert.EqualValues(t, 5000, f.arrived)
}

// bounded opens a socket beside downloads on a connection whose network has a
// round trip of 10 ms, as far as the server can tell.
func bounded(t *testing.T, play func(p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOver(t, wstest.PipeOptions{Buffer: 16 << 20}, nil, http.HandlerFunc(endlessAndEcho))
		p.ours.network = func() (network, bool) { return network{10 * time.Millisecond, 0}, true }
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.fr.WriteWindowUpdate(0, 1<<30)
		play(p)
		p.hangUp()
	})
}

// drink reads until nothing comes any more without time passing, and returns how
// much content came and the PINGs among it.
func (p *peer) drink() (content int, probes [][8]byte) {
	p.t.Helper()
	synctest.Wait()
	for p.nc.(interface{ Readable() int }).Readable() > 0 {
		switch f := p.next("bulk").(type) {
		case *http2.DataFrame:
			content += len(f.Data())
		case *http2.PingFrame:
			probes = append(probes, f.Data)
		}
		synctest.Wait()
	}
	return content, probes
}

func TestBulkBesideASocketIsBoundedByAnswers(t *testing.T) {
	bounded(t, func(p *peer) {
		p.headers(1, false, connect()...)
		p.wantStatus(1, "200", false, "a socket")
		p.headers(3, true, get("/")...)
		p.wantStatus(3, "200", false, "bulk")
		content, probes := p.drink()
		assert.GreaterOrEqual(t, content, flightBase)
		assert.Less(t, content, flightBase+maxFrame)
		require.Len(t, probes, 3, "behind the first frame, and every half")

		p.fr.WriteData(1, false, []byte("quick"))
		p.wantData(1, "quick", false, "the socket is not held")

		p.fr.WritePing(true, probes[1])
		begin := time.Now()
		content, more := p.drink()
		assert.InDelta(t, flightBase/2, content, 2*maxFrame, "half has been read, half may follow")
		assert.Len(t, more, 1)
		assert.Zero(t, time.Since(begin))

		time.Sleep(35*time.Millisecond - 1)
		content, _ = p.drink()
		assert.Zero(t, content)
		time.Sleep(time.Nanosecond)
		content, _ = p.drink()
		assert.InDelta(t, flightBase, content, 2*maxFrame, "it is not waited for longer than this")

		p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		synctest.Wait()
		content, probes = 0, nil
		for range 100 {
			content += len(p.next("bulk goes on freely").(*http2.DataFrame).Data())
		}
		assert.Greater(t, content, 2*flightBase)
		assert.Empty(t, p.conf.Stats().LimitHits)
	})
}

func TestBulkWithoutSocketsIsNotBounded(t *testing.T) {
	bounded(t, func(p *peer) {
		p.headers(3, true, get("/")...)
		p.wantStatus(3, "200", false, "bulk")
		for range 200 {
			_, ok := p.next("content, and no PING").(*http2.DataFrame)
			require.True(t, ok)
		}
	})
}

func TestMadeUpAnswersAreGlitches(t *testing.T) {
	p := clientOf(t, &Server{Limits: Limits{GlitchBurst: 10, GlitchRate: 1}}, ordinary())
	p.greet()
	for i := range uint32(20) {
		p.fr.WritePing(true, probeContent(i))
	}
	assert.Contains(t, p.wantGoAway(http2.ErrCodeEnhanceYourCalm, ""), "GlitchBurst")
}
