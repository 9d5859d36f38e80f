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
	tcp  time.Duration // what TCP takes that to be
	read int64         // of the program, bytes per second

	guess int64         // what TCP takes rate to be
	back  time.Duration // what else delays its answers

	change func(now time.Duration) // of the above, in the course of time; nil: none

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
	f.begin(0, p.guess)
	held, half := time.Duration(-1), int64(0)
	for now := time.Duration(0); now < d; now += pathStep {
		if p.change != nil {
			p.change(now)
		}
		for len(p.answers) > 0 && p.answers[0].at <= now {
			f.answered(p.answers[0].number, base.Add(now))
			p.answers = p.answers[1:]
			if f.dueNow(p.sent) {
				p.probes = append(p.probes, answer{f.probe(p.sent, p.tcp, base.Add(now)), p.sent, now + p.rtt/2})
			}
		}
		if !f.full(p.sent) {
			held = -1
		} else if held >= 0 && now-held >= f.patience(p.sent) {
			f.abandon(p.sent, base.Add(now))
		}
		for ; p.sent-p.wired < notSentLowat+batchBytes && !f.full(p.sent); held = -1 {
			p.sent += maxData
			if f.due(p.sent) {
				p.probes = append(p.probes, answer{f.probe(p.sent, p.tcp, base.Add(now)), p.sent, now + p.rtt/2})
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
		for len(p.probes) > 0 && p.probes[0].pos <= p.got && p.probes[0].at <= now {
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

// Whatever the way to the client is like, bulk fills it, and the queue in front of it
// is no more than a quarter of what is on the way, and a few milliseconds or three
// frames. It is more where TCP ends before the client: a first answer that took
// longer than bulk waited for it says how long the way is, with a queue in it, until
// that is found out again.
func TestFlightFillsTheNetworkAndNothingElse(t *testing.T) {
	const fast = 1 << 30
	for _, rtt := range []time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond} {
		for _, rate := range []int64{1 << 20, 5 << 19, 20 << 20, 200 << 20} {
			for _, direct := range []bool{true, false} {
				t.Run(fmt.Sprint(rtt, " ", rate>>10, " KiB/s direct ", direct), func(t *testing.T) {
					d := 2*time.Second + 80*rtt
					tcp, most, least := rtt, 1.25, 0.97
					if !direct {
						tcp, most, least = 50*time.Microsecond, 3, 0.85 // pauses to find that out are in it
					}
					onItsWay := most*float64(rate)*rtt.Seconds() + max(0.002*float64(rate), 3*maxData) + maxData

					network := path{rate: rate, rtt: rtt, tcp: tcp, read: fast}
					read, _ := network.run(new(flight), d)
					assert.Greater(t, float64(read), least*float64(rate)*(d/2).Seconds(), "the network is slow")

					program := path{rate: fast, rtt: rtt, tcp: tcp, read: rate}
					read, queue := program.run(new(flight), d)
					assert.Greater(t, float64(read), least*float64(rate)*(d/2).Seconds(), "the program is slow")
					assert.LessOrEqual(t, float64(queue), onItsWay)
				})
			}
		}
	}
}

// A queue that stands before a fast client is short, and so it stays when the server
// does not run for a moment, in which the client reads all that there is.
func TestFlightOfAFastClientThatIsSlowerThanTheServer(t *testing.T) {
	p := path{rtt: 100 * time.Microsecond, tcp: 100 * time.Microsecond, read: 1 << 30, guess: 1 << 30}
	p.change = func(now time.Duration) {
		p.rate = 4 << 30
		if now%(20*time.Millisecond) < 2*time.Millisecond {
			p.rate = 0
		}
	}
	_, queue := p.run(new(flight), 2*time.Second)
	onItsWay := 1.25 * p.rtt.Seconds() * float64(p.read)
	assert.LessOrEqual(t, float64(queue), onItsWay+1.3*flightShort.Seconds()*float64(p.read))
}

// One that is faster loses nothing by not running for a moment.
func TestFlightOfAFastClientThatPauses(t *testing.T) {
	p := path{rate: 1 << 30, rtt: 100 * time.Microsecond, tcp: 100 * time.Microsecond, guess: 1 << 30}
	p.change = func(now time.Duration) {
		p.read = 2 << 30
		if now%(20*time.Millisecond) < 3*time.Millisecond/2 {
			p.read = 0
		}
	}
	read, _ := p.run(new(flight), 2*time.Second)
	assert.Greater(t, float64(read), 0.97*float64(p.rate))
}

// A client whose answers come a second late keeps much of its network's speed.
func TestFlightOfAClientThatAnswersLate(t *testing.T) {
	p := path{rate: 20 << 20, rtt: 50 * time.Millisecond, tcp: 50 * time.Millisecond, guess: 20 << 20, read: 1 << 30, back: time.Second}
	read, _ := p.run(new(flight), 20*time.Second)
	assert.Greater(t, float64(read), 0.4*float64(p.rate)*10)
}

// A client that begins to answer late, where TCP knows nothing of it, keeps its
// network's speed: late answers alone, by which the rate is measured while bulk waits
// for them, would make it slower and slower.
func TestFlightOfAClientThatBeginsToAnswerLate(t *testing.T) {
	for _, back := range []time.Duration{300 * time.Millisecond, time.Second} {
		t.Run(back.String(), func(t *testing.T) {
			p := path{rate: 20 << 20, rtt: 50 * time.Millisecond, tcp: 50 * time.Millisecond, guess: 20 << 20, read: 1 << 30}
			p.change = func(now time.Duration) {
				if now == 10*time.Second {
					p.back = back
				}
			}
			read, _ := p.run(new(flight), 40*time.Second)
			assert.Greater(t, float64(read), 0.8*float64(p.rate)*20)
		})
	}
}

// One that answers late now and then gets a larger bound behind that.
func TestFlightOfAClientThatAnswersLateNowAndThen(t *testing.T) {
	for _, period := range []time.Duration{500 * time.Millisecond, 2 * time.Second} {
		t.Run(period.String(), func(t *testing.T) {
			p := path{rate: 20 << 20, rtt: 50 * time.Millisecond, tcp: 50 * time.Millisecond, guess: 20 << 20, read: 1 << 30}
			p.change = func(now time.Duration) {
				p.back = 0
				if now/period%2 == 1 {
					p.back = period / 2
				}
			}
			read, _ := p.run(new(flight), 40*time.Second)
			assert.Greater(t, float64(read), 0.65*float64(p.rate)*20)
		})
	}
}

// Where the way becomes longer TCP finds out, and bulk fills it: what answers took
// before says nothing any more.
func TestFlightOnAWayThatBecomesLonger(t *testing.T) {
	p := path{rate: 20 << 20, rtt: 10 * time.Millisecond, tcp: 10 * time.Millisecond, read: 1 << 30}
	p.change = func(now time.Duration) {
		if now == 10*time.Second {
			p.rtt, p.tcp = 200*time.Millisecond, 200*time.Millisecond
		}
	}
	read, _ := p.run(new(flight), 40*time.Second)
	assert.Greater(t, float64(read), 0.97*float64(p.rate)*20)
}

func TestFlightTakesAnswersOnceAndInOrder(t *testing.T) {
	var f flight
	now := time.Unix(0, 0)
	assert.False(t, f.full(1<<40), "nothing is bounded before it begins")
	f.begin(1000, 0)
	require.True(t, f.due(1000), "at once")
	require.EqualValues(t, 0, f.probe(1000, 0, now))
	assert.False(t, f.full(1000+flightLeast-1))
	assert.True(t, f.full(1000+flightLeast))
	assert.False(t, f.due(1000+100))
	for i := range uint32(flightProbes - 1) {
		pos := 1000 + int64(i+1)*maxData
		require.True(t, f.due(pos))
		require.Equal(t, i+1, f.probe(pos, 0, now))
	}
	assert.False(t, f.due(1<<40), "more are not on their way at once")
	assert.False(t, f.answered(flightProbes, now), "never sent")
	assert.True(t, f.answered(3, now), "with those before it")
	assert.EqualValues(t, 1000+3*maxData, f.arrived)
	assert.False(t, f.answered(3, now), "twice")
	assert.False(t, f.answered(0, now), "it has been")
	f.begin(5000, 0)
	assert.False(t, f.answered(5, now), "of an earlier time")
	assert.EqualValues(t, 5000, f.arrived)
}

// bounded opens a socket beside downloads on a connection whose network has a
// round trip of 10 ms and 64 KiB on its way, as far as the server can tell.
func bounded(t *testing.T, play func(p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := clientOver(t, wstest.PipeOptions{Buffer: 16 << 20}, nil, http.HandlerFunc(endlessAndEcho))
		p.ours.network = func() (network, bool) { return network{10 * time.Millisecond, 64 << 10}, true }
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
		assert.InDelta(t, 2*64<<10+flightLeast, content, 2*maxFrame, "what TCP has on its way may double, and a short queue")
		require.Len(t, probes, flightProbes)

		p.fr.WriteData(1, false, []byte("quick"))
		p.wantData(1, "quick", false, "the socket is not held")

		for _, data := range probes {
			p.fr.WritePing(true, data)
		}
		content, probes = p.drink()
		assert.LessOrEqual(t, content, maxFrame)
		require.Len(t, probes, 1, "bulk waits until nothing is on its way")
		for range flightTries - 1 {
			time.Sleep(30 * time.Millisecond)
			p.fr.WritePing(true, probes[0])
			content, probes = p.drink()
			assert.Zero(t, content, "for a PING that nothing goes before")
			require.Len(t, probes, 1)
		}
		time.Sleep(30 * time.Millisecond)
		p.fr.WritePing(true, probes[0])
		content, probes = p.drink()
		assert.Greater(t, content, 64<<10, "behind the last it goes on")
		time.Sleep(20 * time.Millisecond)
		p.fr.WritePing(true, probes[0])
		p.drink()
		p.ours.mu.Lock()
		assert.Equal(t, 20*time.Millisecond, p.ours.flight.trip, "the least of the times")
		p.ours.mu.Unlock()

		for _, data := range probes[1:] {
			p.fr.WritePing(true, data)
		}
		content, _ = p.drink()
		assert.Greater(t, content, 64<<10, "all has been read")
		time.Sleep(flightPatience + 20*time.Millisecond)
		content, _ = p.drink()
		assert.Zero(t, content)
		time.Sleep(mostPatience)
		content, _ = p.drink()
		assert.Greater(t, content, 64<<10, "an answer is not waited for for ever")

		p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		synctest.Wait()
		content = 0
		for range 100 {
			content += len(p.next("bulk goes on freely").(*http2.DataFrame).Data())
		}
		assert.Greater(t, content, 64*maxFrame)
		assert.Empty(t, p.conf.Stats().LimitHits)
	})
}

// Without a probe for it, what had been sent by a bound that was too large would
// be waited for until patience ends.
func TestBulkAsksForWhatItWaitsFor(t *testing.T) {
	f, now := new(flight), time.Unix(0, 0)
	f.begin(0, 1<<30)
	number := f.probe(0, time.Millisecond, now)
	assert.False(t, f.full(200<<10))
	assert.False(t, f.due(200<<10))
	f.renewed = now
	require.True(t, f.answered(number, now))
	f.rate, f.guessed = 1<<20, false
	f.fit()
	assert.True(t, f.full(200<<10))
	assert.True(t, f.dueNow(200<<10))
	number = f.probe(200<<10, time.Millisecond, now)
	assert.False(t, f.dueNow(200<<10), "once")
	require.True(t, f.answered(number, now))
	assert.False(t, f.full(200<<10))
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
