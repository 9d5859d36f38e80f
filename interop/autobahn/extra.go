package autobahn

import (
	"fmt"
	"strings"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

// extraCases are 20.*, which the suite does not have.
func extraCases() []*Case {
	cases := maskingCases()
	cases = append(cases, lengthCases()...)
	for i, code := range []int{1012, 1013, 1014} {
		c := closes(id(20, 3, i+1), fmt.Sprintf("Close with the status code %d, registered after RFC 6455.", code), closeFrame(code, ""))
		c.end.codes = []int{1000, code}
		c.Expectation = "Clean close with that code, or with 1000."
		cases = append(cases, c)
	}
	cases = append(cases, refusesClose("20.3.4", "Close with the status code 1015, which must not be sent.", closeFrame(1015, "")))
	return append(cases, deflateCases()...)
}

func maskingCases() []*Case {
	wrong := func(f wstest.Frame) wstest.Frame {
		f.WrongMask = true
		return f
	}
	zero := echoes("20.1.5", "A text message masked with the key 0, where there is a mask.", together, textMessage(hello))
	zero.steps[0].raw = func(masked bool) []byte { return wstest.Text(hello).Append(nil, masked, 0) }
	return []*Case{
		breaks("20.1.1", "A text message, by a client unmasked or by a server masked.", together, nil, wrong(wstest.Text(hello))),
		breaks("20.1.2", "A Ping likewise.", together, nil, wrong(wstest.Ping(hello))),
		refusesClose("20.1.3", "A Close frame likewise.", wrong(wstest.Close(1000, ""))),
		breaks("20.1.4", "The second fragment of a text message likewise.", together, nil,
			wstest.Text(hello).Fragment(), wrong(wstest.Continuation(hello))),
		zero,
	}
}

func lengthCases() []*Case {
	form := func(f wstest.Frame, bits int) wstest.Frame {
		f.LengthBits = bits
		return f
	}
	huge := wstest.Text(hello)
	huge.Length = 1<<63 | uint64(len(hello))
	return []*Case{
		breaks("20.2.1", "A text message of 125 octets, the length in 16 bits.", together, nil, form(wstest.Text(strings.Repeat("*", 125)), 16)),
		breaks("20.2.2", "A text message of 13 octets, the length in 64 bits.", together, nil, form(wstest.Text(hello), 64)),
		breaks("20.2.3", "A text message of 65535 octets, the length in 64 bits.", together, nil, form(wstest.Text(strings.Repeat("*", 65535)), 64)),
		breaks("20.2.4", "A Ping of 13 octets, the length in 16 bits.", together, nil, form(wstest.Ping(hello), 16)),
		breaks("20.2.5", "A length whose first bit is 1.", together, nil, huge),
	}
}

// deflateCases are 20.4.*: permessage-deflate by hand. The vectors are those of
// RFC 7692 §7.2.3.
func deflateCases() []*Case {
	var cases []*Case
	add := func(c *Case) {
		c.ID = id(20, 4, len(cases)+1)
		c.terms = []terms{{}}
		cases = append(cases, c)
	}
	packed := func(payload string) wstest.Frame { return wstest.Text(payload).Compressed() }
	for _, v := range []struct{ title, payload, text string }{
		{"a block that ends the deflate stream", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
		{"two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
		{"a stored block", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"},
		{"nothing in it", "\x00", ""},
	} {
		add(echoes("", "A compressed text message with "+v.title+".", together, textMessage(v.text), packed(v.payload)))
	}
	add(echoes("", "A text message that is not compressed, where it could be.", together, textMessage(hello), wstest.Text(hello)))

	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	split := echoes("", "A compressed text message in two fragments with a Ping between them.", together, textMessage("Hello"),
		packed(hello[:3]).Fragment(), wstest.Ping("between"), wstest.Continuation(hello[3:]))
	split.want = []Event{pong("between"), textMessage("Hello")}
	add(split)

	add(breaks("", "A Ping with RSV1.", together, nil, wstest.Ping("").Compressed()))
	add(breaks("", "A compressed message whose second fragment has RSV1 too.", together, nil,
		packed(hello[:3]).Fragment(), wstest.Frame{Opcode: frame.Continuation, Payload: []byte(hello[3:])}.Compressed()))
	for _, v := range []struct{ title, payload string }{
		{"a compressed message with a block of the reserved type", "\x06\x00"},
		{"a compressed message that ends within a block", hello[:3]},
		{"a compressed message that refers to what was never sent", "\x02\x02\x00\x00"},
		{"compressed text that is no UTF-8", stored("\xff")},
		{"compressed text that ends within a character", stored("\xe2\x82")},
	} {
		c := notUTF8("", strings.ToUpper(v.title[:1])+v.title[1:]+".", packed(v.payload))
		if strings.Contains(v.title, "message") { // no RFC names a code
			c.end.codes = append(c.end.codes, 1002)
			c.Expectation = "The connection is failed at once with status 1007 or 1002."
		}
		add(c)
	}
	return cases
}

// stored returns a compressed message of one stored block.
func stored(s string) string {
	n := byte(len(s))
	return "\x00" + string([]byte{n, 0, ^n, 0xff}) + s + "\x00"
}
