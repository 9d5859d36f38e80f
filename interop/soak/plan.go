package soak

import (
	"math/rand/v2"
	"time"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// An episode is the story of one client: its network, its sockets and its
// ordinary requests. All of it is drawn from the seed before it begins.
type episode struct {
	number    int
	bootstrap websocket.Bootstrap
	secure    bool // TLS; always on HTTP/3
	weather   weather
	up, down  wstest.Faults // what happens to what the client (the server) writes on TCP
	trouble   time.Duration // when HTTP/3's network makes trouble
	sockets   []socketPlan
	requests  []requestPlan
}

// A weather is what the network does during an episode.
type weather int

const (
	calm    weather = iota // nothing; on HTTP/3, where the server's socket always loses some packets, no more
	sliced                 // reads and writes are cut to pieces
	slow                   // and delayed; on HTTP/3 nothing arrives for a while
	stalled                // at some point nothing arrives any more, and nothing says so
	cut                    // at some point the connection is closed
	reset                  // or reset
	weathers
)

func (w weather) String() string {
	return [...]string{"calm", "sliced", "slow", "stalled", "cut", "reset"}[w]
}

// harsh reports whether sockets and requests may fail.
func (w weather) harsh() bool { return w >= stalled }

// A socketPlan says what the two ends of a socket do.
type socketPlan struct {
	compression    *websocket.Compression // both ends'; nil for none
	start          time.Duration          // when it is dialled
	client, server endPlan
}

// An endPlan says what one end does.
type endPlan struct {
	lanes  [][]op // run at once; each lane's messages stay in order
	reader uint64 // seeds the reader's habits
	ending ending
	code   websocket.StatusCode // of Close; no two ends of a socket use the same
	reason string
}

// An ending is what an end does when its lanes are done.
type ending int

const (
	waits   ending = iota // for the other end to end the socket
	closes                // Close
	aborts                // CloseNow
	tooBig                // sends a message larger than the other end takes
	returns               // the handler returns
	panics                // or panics
	endings
)

// An op is one operation of a lane.
type op struct {
	kind    opKind
	message messagePlan
	seed    uint64        // for sizes of fragments
	wait    time.Duration // a pause, or the time a hurried write has
}

type opKind int

const (
	write    opKind = iota // Write
	stream                 // Writer
	prepared               // WritePrepared
	hurry                  // Write with a context that ends soon
	ping                   // Ping
	pause
	opKinds
)

// A scope is what may be drawn.
type scope struct {
	bootstraps []websocket.Bootstrap
	secure     bool // TLS is possible
}

// draw draws an episode.
func draw(seed uint64, number int, sc scope) *episode {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	ep := &episode{number: number, bootstrap: pick(r, sc.bootstraps...), weather: weather(r.IntN(int(weathers)))}
	ep.secure = ep.bootstrap == websocket.HTTP3 || sc.secure && r.IntN(2) == 0
	ep.drawFaults(r)
	largest := ep.largest()
	ep.sockets = make([]socketPlan, 1+r.IntN(6))
	for i := range ep.sockets {
		ep.sockets[i] = drawSocket(r, largest)
	}
	if ep.bootstrap != websocket.HTTP1 {
		ep.requests = make([]requestPlan, r.IntN(4))
		for i := range ep.requests {
			ep.requests[i] = requestPlan{
				mirror: r.IntN(2) == 0, size: size(r, largest), seed: r.Uint64(), start: upTo(r, 10*time.Millisecond),
			}
		}
	}
	return ep
}

func (ep *episode) drawFaults(r *rand.Rand) {
	ep.trouble = time.Millisecond + upTo(r, 50*time.Millisecond)
	ep.up.Seed, ep.down.Seed = r.Uint64(), r.Uint64()
	up, down := r.IntN(4) > 0, r.IntN(4) > 0
	if !up && !down {
		up = true
	}
	for _, f := range []struct {
		on bool
		*wstest.Faults
	}{{up, &ep.up}, {down, &ep.down}} {
		slice, after := 1<<r.IntN(13), int64(200)<<r.IntN(11)+r.Int64N(500)
		if !f.on {
			continue
		}
		switch ep.weather {
		case sliced:
			f.Slice = slice
		case slow:
			f.Slice, f.Delay = 2048+slice, time.Millisecond
		case stalled:
			f.StallAfter = after
		case cut:
			f.CutAfter = after
		case reset:
			f.ResetAfter = after
		}
	}
}

// largest returns the size of the largest messages that the weather allows in
// reasonable time.
func (ep *episode) largest() int {
	if ep.weather == slow {
		return 8 << 10
	}
	if s := max(ep.up.Slice, ep.down.Slice); s > 0 {
		return min(256*s, 64<<10)
	}
	return 256 << 10
}

func drawSocket(r *rand.Rand, largest int) socketPlan {
	p := socketPlan{start: upTo(r, 5*time.Millisecond)}
	if r.IntN(2) == 0 {
		p.compression = &websocket.Compression{
			ServerContextTakeover: r.IntN(2) == 0,
			ClientContextTakeover: r.IntN(2) == 0,
			ServerMaxWindowBits:   pick(r, 0, 0, 9, 12),
			ClientMaxWindowBits:   pick(r, 0, 0, 9, 12),
			Threshold:             pick(r, 0, -1, 64),
			Level:                 pick(r, 0, 1, 6),
		}
	}
	p.client, p.server = drawEnd(r, largest), drawEnd(r, largest)
	p.client.ending = ending(r.IntN(int(returns)))
	p.server.ending = ending(r.IntN(int(endings)))
	if p.client.ending == waits && p.server.ending == waits {
		p.client.ending = closes
	}
	p.client.code, p.server.code = websocket.StatusCode(3000+r.IntN(1000)), websocket.StatusCode(4000+r.IntN(1000))
	return p
}

func drawEnd(r *rand.Rand, largest int) endPlan {
	e := endPlan{reader: r.Uint64(), lanes: make([][]op, 1+r.IntN(3))}
	e.reason = string(messagePlan{typ: websocket.MessageText, size: r.IntN(124), seed: r.Uint64()}.bytes())
	for i := range e.lanes {
		e.lanes[i] = make([]op, r.IntN(10))
		for j := range e.lanes[i] {
			e.lanes[i][j] = drawOp(r, i, len(e.lanes), largest)
		}
	}
	return e
}

func drawOp(r *rand.Rand, lane, lanes, largest int) op {
	o := op{kind: opKind(r.IntN(int(opKinds))), seed: r.Uint64(), wait: upTo(r, 2*time.Millisecond)}
	o.message = messagePlan{
		typ: pick(r, websocket.MessageText, websocket.MessageBinary), secret: r.IntN(8) == 0,
		size: size(r, largest), style: style(r.IntN(int(styles))), seed: r.Uint64(),
	}
	if lanes > 1 {
		o.message.lane = byte('1' + lane)
		o.message.size = max(1, o.message.size)
	}
	if o.kind == hurry && r.IntN(4) > 0 { // they may end the socket: not too many
		o.kind = write
	}
	return o
}

// size draws a message's size: often small, often at a border of the frame
// header's length forms or of a buffer, sometimes large.
func size(r *rand.Rand, largest int) int {
	n := 0
	switch r.IntN(6) {
	case 0, 1:
		n = r.IntN(200)
	case 2:
		n = pick(r, 0, 1, 125, 126, 127, 511, 512, 1024, 4096, 16383, 16384, 16385, 65535, 65536) + r.IntN(2)
	case 3, 4:
		n = r.IntN(8 << 10)
	case 5:
		n = r.IntN(largest)
	}
	return min(n, largest)
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }
