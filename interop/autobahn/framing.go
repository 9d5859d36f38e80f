package autobahn

import (
	"fmt"
	"strings"

	"github.com/wsmux/websocket/internal/wstest"
)

// hello is the suite's small message.
const hello = "Hello, world!"

// notText is the suite's small payload that is no UTF-8.
const notText = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"

// framingCases are 1.*: messages of one frame, their lengths around those where
// the form of the length changes.
func framingCases() []*Case {
	var cases []*Case
	sizes := []int{0, 125, 126, 127, 128, 65535, 65536, 65536}
	for group, kind := range []string{"text", "binary"} {
		for i, n := range sizes {
			f, e := wstest.Text(strings.Repeat("*", n)), textMessage(strings.Repeat("*", n))
			if group == 1 {
				e = binaryMessage(strings.Repeat("\xfe", n))
				f = wstest.Binary([]byte(e.Data))
			}
			title := fmt.Sprintf("A %s message of %d octets in one frame.", kind, n)
			chop := together
			if i == len(sizes)-1 {
				title += " Written 997 octets at a time."
				chop = 997
			}
			c := echoes(id(1, group+1, i+1), title, chop, e, f)
			c.patient = false
			if n > 128 {
				c.limit = long
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// reservedCases are 3.*: reserved bits without an extension.
func reservedCases() []*Case {
	rsv := func(bits int, f wstest.Frame) wstest.Frame {
		f.RSV1, f.RSV2, f.RSV3 = bits&4 != 0, bits&2 != 0, bits&1 != 0
		return f
	}
	greet, echo := wstest.Text(hello), []Event{textMessage(hello)}
	after := func(n, bits, chop int, how string) *Case {
		title := fmt.Sprintf("A text message, the same again with RSV = %d, and a Ping%s.", bits, how)
		return breaks(id(3, n), title, chop, echo, greet, rsv(bits, greet), wstest.Ping(""))
	}
	return []*Case{
		breaks("3.1", "A text message with RSV = 1.", together, nil, rsv(1, greet)),
		after(2, 2, together, ""),
		after(3, 3, framewise, ", one frame per write"),
		after(4, 4, 1, ", octet by octet"),
		breaks("3.5", "A binary message with RSV = 5.", together, nil, rsv(5, wstest.Binary([]byte(notText)))),
		// The suite speaks of a Ping here, and sends this.
		breaks("3.6", "A binary message with RSV = 6.", together, nil, rsv(6, wstest.Binary([]byte(hello)))),
		breaks("3.7", "A Close frame with RSV = 7.", together, nil, rsv(7, wstest.Close(0, ""))),
	}
}

// opcodeCases are 4.*: reserved opcodes.
func opcodeCases() []*Case {
	var cases []*Case
	for group, first := range []int{3, 11} {
		kind := []string{"data", "control"}[group]
		for i := range 5 {
			f := reservedOpcode(first+i, []string{"", "reserved opcode payload", "", hello, hello}[i])
			title := fmt.Sprintf("A frame with the reserved %s opcode %d", kind, first+i)
			if i < 2 {
				cases = append(cases, breaks(id(4, group+1, i+1), title+".", together, nil, f))
				continue
			}
			chop := together
			title = "A text message, then a" + title[1:] + ", then a Ping."
			if i == 4 {
				chop = 1
				title += " Octet by octet."
			}
			cases = append(cases, breaks(id(4, group+1, i+1), title, chop, []Event{textMessage(hello)},
				wstest.Text(hello), f, wstest.Ping("")))
		}
	}
	return cases
}
