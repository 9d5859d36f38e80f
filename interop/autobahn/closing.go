package autobahn

import (
	"fmt"
	"strings"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// closingCases are 7.*: how a socket ends that the fuzzer closes.
func closingCases() []*Case {
	cases := basicClosingCases()
	cases = append(cases, closePayloadCases()...)
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		c := closes(id(7, 7, i+1), fmt.Sprintf("Close with the status code %d.", code), closeFrame(code, ""))
		c.end.codes = []int{1000, code}
		c.Expectation = "Clean close with that code, or with 1000."
		cases = append(cases, c)
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, refusesClose(id(7, 9, i+1), fmt.Sprintf("Close with the status code %d, which must not be sent.", code),
			closeFrame(code, "")))
	}
	for i, code := range []int{5000, 65535} {
		c := closes(id(7, 13, i+1), fmt.Sprintf("Close with the status code %d.", code), closeFrame(code, ""))
		c.end = ending{byFuzzer: true, codes: []int{1000, code, 1002}}
		c.Expectation = "RFC 6455 does not say."
		c.informational = true
		cases = append(cases, c)
	}
	return cases
}

// closeFrame returns a Close frame with any code, 0 included.
func closeFrame(code int, reason string) wstest.Frame {
	return wstest.Frame{Opcode: frame.Close, Payload: append([]byte{byte(code >> 8), byte(code)}, reason...)}
}

// closes returns a case in which the fuzzer sends a legal Close frame, the last
// or not the last of frames.
func closes(id, title string, frames ...wstest.Frame) *Case {
	return &Case{
		ID: id, Title: title, Expectation: "Clean close with status 1000 or none.",
		steps: []step{{send: frames, closes: true}},
		end:   closedByFuzzer(), limit: soon,
		passive: true, wrongCodeFails: true,
	}
}

// refusesClose returns a case in which the fuzzer's Close frame is illegal.
func refusesClose(id, title string, f wstest.Frame) *Case {
	c := closes(id, title, f)
	c.end = ending{byFuzzer: true, codes: []int{1002}}
	c.Expectation = "Clean close with status 1002, or the stream is dropped."
	return c
}

func basicClosingCases() []*Case {
	const greeting = "Hello World!"
	large := strings.Repeat("BAsd7&jh23", 1<<18/10+1)[:1<<18]
	normal := wstest.Close(1000, "")
	echo := echoes("7.1.1", "A text message; the fuzzer closes after the echo.", together, textMessage(greeting), wstest.Text(greeting))
	echo.patient, echo.wrongCodeFails = false, true

	race := closes("7.1.6", "Text messages of 256k and of 12 octets, Close and a Ping.",
		wstest.Text(large), wstest.Text(greeting), normal, wstest.Ping(""))
	race.Expectation = "Both messages are echoed before the Close frame (OK) or not (NON-STRICT), as the endpoint's design has it."
	race.want = []Event{textMessage(large), textMessage(greeting)}
	race.lenient, race.informational = true, true

	silent := func(n int, title string, frames ...wstest.Frame) *Case {
		c := closes(id(7, 1, n), title, frames...)
		c.Expectation = "Clean close; what follows the Close frame is ignored."
		return c
	}
	return []*Case{
		echo,
		silent(2, "Two Close frames.", normal, wstest.Close(0, "")),
		silent(3, "Close, then a Ping.", normal, wstest.Ping("")),
		silent(4, "Close, then a text message.", normal, wstest.Text(greeting)),
		silent(5, "The first fragment of a text message, Close, the second fragment.",
			wstest.Text("fragment1").Fragment(), normal, wstest.Continuation("fragment2")),
		race,
	}
}

func closePayloadCases() []*Case {
	invalid := refusesClose("7.5.1", "Close with a reason that is no UTF-8.", closeFrame(1000, kosme+surrogate+"edited"))
	invalid.end.codes = []int{1002, 1007}
	invalid.Expectation = "Clean close with status 1002 or 1007, or the stream is dropped."
	return []*Case{
		closes("7.3.1", "Close without payload.", wstest.Close(0, "")),
		refusesClose("7.3.2", "Close with a payload of one octet.", wstest.Frame{Opcode: frame.Close, Payload: []byte("a")}),
		closes("7.3.3", "Close with a status code.", closeFrame(1000, "")),
		closes("7.3.4", "Close with a status code and a reason.", closeFrame(1000, "Hello World!")),
		closes("7.3.5", "Close with a reason of 123 octets, the most there may be.", closeFrame(1000, strings.Repeat("*", 123))),
		refusesClose("7.3.6", "Close with a reason of 124 octets.", closeFrame(1000, strings.Repeat("*", 124))),
		invalid,
	}
}
