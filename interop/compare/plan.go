package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
)

// A plan is one run.
type plan struct {
	Scenario  int
	Transport string

	Sockets  int
	Senders  int
	Requests int
	Rate     float64 // messages per second and sender
	Size     int     // bytes of a message
	Time     time.Duration
	Link     link // zero: loopback
}

// A link is what lies between client and server.
type link struct {
	RTT  time.Duration
	Loss float64 // of packets, each way: 0.01 is 1 %
	Rate int64   // bit/s each way, 0: no limit
}

func (l link) shaped() bool { return l != link{} }

// parameters are the plan's as the report has them.
func (p plan) parameters() []result.Parameter {
	list := []result.Parameter{{Key: result.Sockets, Value: float64(p.Sockets)}}
	add := func(key, unit string, v float64) {
		list = append(list, result.Parameter{Key: key, Unit: unit, Value: v})
	}
	if p.Senders > 0 {
		add(result.Senders, "", float64(p.Senders))
	}
	if p.Requests > 0 {
		add(result.Requests, "", float64(p.Requests))
	}
	if p.Rate > 0 {
		add(result.Rate, "/s", p.Rate)
	}
	if p.Size > 0 {
		add(result.Size, "B", float64(p.Size))
	}
	if p.Link.shaped() {
		add(result.Loss, "%", p.Link.Loss*100)
		add(result.RTT, "ms", milliseconds(p.Link.RTT))
		if p.Link.Rate > 0 {
			add(result.Bandwidth, "Mbit/s", float64(p.Link.Rate)/1e6)
		}
	}
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A scenario is a question and the plans that answer it.
type scenario struct {
	number          int
	name, asks, how string
	rounds          int // how often each plan is done
	plans           []plan
}

// The transports in the order of reports.
var transports = []result.Transport{
	{ID: result.WebSocketH1, Name: "WebSocket over HTTP/1.1", About: "RFC 6455 over TLS: each socket has a TCP connection of its own; requests have others."},
	{ID: result.WebSocketH2, Name: "WebSocket over HTTP/2", About: "RFC 8441: sockets and requests are streams of one TCP connection."},
	{ID: result.WebSocketH3, Name: "WebSocket over HTTP/3", About: "RFC 9220: sockets and requests are streams of a QUIC connection; a further one is opened beyond 80 sockets."},
	{ID: result.EventsH1, Name: "Event stream and POST over HTTP/1.1", About: "Server-Sent Events down, on a TCP connection for each stream, and POST requests up, one at a time for each stream; messages that come meanwhile share the next. Browsers would allow six connections."},
	{ID: result.EventsH2, Name: "Event stream and POST over HTTP/2", About: "The same as streams of one TCP connection."},
	{ID: result.PollingH1, Name: "Long polling over HTTP/1.1", About: "A request that the server answers when it has messages, repeated, and POST requests up as with event streams; on as many TCP connections as that takes. Browsers would allow six."},
	{ID: result.PollingH2, Name: "Long polling over HTTP/2", About: "The same as streams of one TCP connection."},
}

// questions are the scenarios without their plans.
var questions = []scenario{
	{
		number: 1, name: "a page with sockets and requests",
		asks: "What does a page open that has N sockets and makes some requests, and what does that cost?",
		how:  "All sockets and requests begin at the same moment, on no connection. Each socket sends one message, which comes back. Then everything is closed.",
	},
	{
		number: 2, name: "chat: many receivers, few senders",
		asks: "What does a message cost that goes to many receivers?",
		how:  "The senders, which are receivers too, send at a fixed rate by a schedule; each message goes to every receiver.",
	},
	{
		number: 3, name: "game: small messages both ways, 60 times a second",
		asks: "What does steady traffic of small messages cost, and how late are they?",
		how:  "Each socket sends 60 messages a second by a schedule, spread evenly over the sockets; each comes back at once.",
	},
	{
		number: 4, name: "sockets that are idle",
		asks: "What does a socket cost that has nothing to say?",
		how:  "The server's memory is looked at, garbage collected, before there are sockets and when all have been opened and are quiet. Then there are heartbeats: a Ping of the client's and its Pong for WebSocket, a comment of the server's in an event stream, the empty answer to a poll and the next poll.",
	},
	{
		number: 5, name: "a download beside a socket",
		asks: "What does a large download do to the messages of a socket beside it?",
		how:  "One socket sends messages by a schedule, which come back: first alone, then while a download runs that fills the link.",
	},
	{
		number: 6, name: "everybody comes back after a restart",
		asks: "How long is everybody without a connection after the server's restart, and what does the return cost?",
		how:  "The server shuts down in an orderly way, for which it has 250 ms, and another one is started on the same port. Who has lost a socket tries again at once, and every 10 ms until it succeeds; a first message shows that it works. The time without a connection includes what is left of the shutdown, and the start of the new server; the time to recover does not.",
	},
	{
		number: 7, name: "a slow network that loses packets",
		asks: "What does a network with a round trip of 50 ms do to messages when it loses packets?",
		how:  "A socket is opened on no connection, alone, for the round trips that takes. Then all sockets send messages by a schedule, which come back.",
	},
}

// An extent is how much is measured.
type extent struct {
	rounds, memoryRounds   int // of scenarios 1, 2, 3 and 6, and of 4
	pages                  []int
	receivers, idle, storm int           // sockets
	loss, bulkLoss         []float64     // of packets
	time, idleTime         time.Duration // of scenarios 2 and 3, and of 4
	bulkTime, lossTime     time.Duration // of scenarios 5 and 7
}

var (
	normal = extent{
		rounds: 3, memoryRounds: 2, pages: []int{1, 6, 30, 100}, receivers: 100, idle: 500, storm: 100,
		loss: []float64{0, 0.01, 0.03}, bulkLoss: []float64{0, 0.02},
		time: 2 * time.Second, idleTime: 1500 * time.Millisecond, bulkTime: 3 * time.Second, lossTime: 3 * time.Second,
	}
	quickly = extent{
		rounds: 1, memoryRounds: 1, pages: []int{1, 30}, receivers: 50, idle: 200, storm: 50,
		loss: []float64{0, 0.03}, bulkLoss: []float64{0.02},
		time: 800 * time.Millisecond, idleTime: 800 * time.Millisecond, bulkTime: 1200 * time.Millisecond, lossTime: time.Second,
	}
)

// scenarios returns what is measured.
func scenarios(quick bool) []scenario {
	e := normal
	if quick {
		e = quickly
	}
	list := slices.Clone(questions)
	for i := range list {
		s := &list[i]
		switch s.number {
		case 1, 2, 3, 6:
			s.rounds = e.rounds
		case 4:
			s.rounds = e.memoryRounds
		default:
			s.rounds = 1
		}
		for _, t := range transports {
			for _, p := range e.plans(s.number) {
				p.Scenario, p.Transport = s.number, t.ID
				s.plans = append(s.plans, p)
			}
		}
	}
	return list
}

// plans returns a scenario's plans for each transport.
func (e *extent) plans(scenario int) (list []plan) {
	switch scenario {
	case 1:
		for _, n := range e.pages {
			list = append(list, plan{Sockets: n, Requests: 20, Size: 512})
		}
	case 2:
		list = []plan{{Sockets: e.receivers, Senders: 4, Rate: 5, Size: 200, Time: e.time}}
	case 3:
		list = []plan{{Sockets: 10, Rate: 60, Size: 64, Time: e.time}}
	case 4:
		list = []plan{{Sockets: e.idle, Time: e.idleTime}}
	case 5:
		for _, loss := range e.bulkLoss {
			list = append(list, plan{
				Sockets: 1, Rate: 50, Size: 64, Time: e.bulkTime,
				Link: link{RTT: 40 * time.Millisecond, Loss: loss, Rate: 20e6},
			})
		}
	case 6:
		list = []plan{{Sockets: e.storm, Size: 64}}
	case 7:
		for _, loss := range e.loss {
			list = append(list, plan{
				Sockets: 20, Rate: 20, Size: 200, Time: e.lossTime,
				Link: link{RTT: 50 * time.Millisecond, Loss: loss, Rate: 20e6},
			})
		}
	}
	return list
}

// String names the plan where something is said about it.
func (p plan) String() string {
	s := p.Transport + " in scenario " + strconv.Itoa(p.Scenario)
	if p.Scenario == 1 {
		s += " with " + strconv.Itoa(p.Sockets) + " sockets"
	}
	if p.Link.shaped() {
		s += " at " + strconv.FormatFloat(p.Link.Loss*100, 'g', 3, 64) + " % loss"
	}
	return s
}
