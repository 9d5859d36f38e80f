package autobahn

import (
	"fmt"
	"strings"
	"time"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

func reservedOpcode(opcode int, payload string) wstest.Frame {
	return wstest.Frame{Opcode: frame.Opcode(opcode), Payload: []byte(payload)}
}

// controlCases are 2.*: Pings are answered, Pongs are not.
func controlCases() []*Case {
	const answered = "A Pong with the Ping's payload; clean close."
	full := strings.Repeat("\xfe", 125)
	ping := func(n int, title, payload string, chop int) *Case {
		return &Case{
			ID: id(2, n), Title: title, Expectation: answered,
			steps: []step{{send: []wstest.Frame{wstest.Ping(payload)}, chop: chop}},
			want:  []Event{pong(payload)},
			end:   closedByFuzzer(), limit: soon, patient: true,
		}
	}
	unasked := func(n int, title, payload string) *Case {
		return &Case{
			ID: id(2, n), Title: title, Expectation: "No answer to it; clean close.",
			steps: []step{{send: []wstest.Frame{wstest.Pong(payload), wstest.Close(1000, "")}, closes: true}},
			end:   closedByFuzzer(), limit: soon, patient: true,
		}
	}
	slow := ping(6, "A Ping of 125 octets, octet by octet.", full, 1)
	slow.limit = 2 * time.Second
	const unsolicited = "unsolicited pong payload"
	both := ping(9, "A Pong nobody asked for, then a Ping.", "ping payload", together)
	both.steps[0].send = []wstest.Frame{wstest.Pong(unsolicited), wstest.Ping("ping payload")}
	return []*Case{
		ping(1, "A Ping without payload.", "", together),
		ping(2, "A Ping with text.", hello, together),
		ping(3, "A Ping with octets that are no UTF-8.", notText, together),
		ping(4, "A Ping of 125 octets, the most there may be.", full, together),
		breaks("2.5", "A Ping of 126 octets.", together, nil, wstest.Ping(full+"\xfe")),
		slow,
		unasked(7, "A Pong nobody asked for, without payload, then Close.", ""),
		unasked(8, "A Pong nobody asked for, with payload, then Close.", unsolicited),
		both,
		tenPings(10, "Ten Pings in one write.", together),
		tenPings(11, "Ten Pings, octet by octet.", 1),
	}
}

// tenPings wants each Ping answered. RFC 6455 §5.5.3 would let an endpoint
// answer only the last; the suite does not.
func tenPings(n int, title string, chop int) *Case {
	c := &Case{
		ID: id(2, n), Title: title, Expectation: "Ten Pongs in the order of the Pings; clean close.",
		steps: []step{{chop: chop}},
		end:   closedByFuzzer(), limit: 3 * time.Second, patient: true,
	}
	for i := range 10 {
		payload := fmt.Sprint("payload-", i)
		c.steps[0].send = append(c.steps[0].send, wstest.Ping(payload))
		c.want = append(c.want, pong(payload))
	}
	return c
}
