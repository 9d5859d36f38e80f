package main

import (
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

// scenarios returns what is measured.
func scenarios(quick bool) []scenario {
	pick := func(normal, quickly int) int {
		if quick {
			return quickly
		}
		return normal
	}
	seconds := func(normal, quickly float64) time.Duration {
		if quick {
			normal = quickly
		}
		return time.Duration(normal * float64(time.Second))
	}
	pages, bulkLoss, losses := []int{1, 6, 30, 100}, []float64{0, 0.02}, []float64{0, 0.01, 0.03}
	if quick {
		pages, bulkLoss, losses = []int{1, 30}, []float64{0.02}, []float64{0, 0.03}
	}
	list := []scenario{
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
	for i := range list {
		s := &list[i]
		s.rounds = 1
		switch s.number {
		case 1, 2, 3, 6:
			s.rounds = pick(3, 1)
		case 4:
			s.rounds = pick(2, 1)
		}
		for _, t := range transports {
			p := plan{Scenario: s.number, Transport: t.ID}
			with := func(change func(p *plan)) {
				q := p
				change(&q)
				s.plans = append(s.plans, q)
			}
			switch s.number {
			case 1:
				for _, n := range pages {
					with(func(p *plan) { p.Sockets, p.Requests, p.Size = n, 20, 512 })
				}
			case 2:
				with(func(p *plan) {
					p.Sockets, p.Senders, p.Rate, p.Size, p.Time = pick(100, 50), 4, 5, 200, seconds(2, 0.8)
				})
			case 3:
				with(func(p *plan) { p.Sockets, p.Rate, p.Size, p.Time = 10, 60, 64, seconds(2, 0.8) })
			case 4:
				with(func(p *plan) { p.Sockets, p.Time = pick(500, 200), seconds(1.5, 0.8) })
			case 5:
				for _, loss := range bulkLoss {
					with(func(p *plan) {
						p.Sockets, p.Rate, p.Size, p.Time = 1, 50, 64, seconds(3, 1.2)
						p.Link = link{RTT: 40 * time.Millisecond, Loss: loss, Rate: 20e6}
					})
				}
			case 6:
				with(func(p *plan) { p.Sockets, p.Size = pick(100, 50), 64 })
			case 7:
				for _, loss := range losses {
					with(func(p *plan) {
						p.Sockets, p.Rate, p.Size, p.Time = 20, 20, 200, seconds(3, 1)
						p.Link = link{RTT: 50 * time.Millisecond, Loss: loss, Rate: 20e6}
					})
				}
			}
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
