package autobahn

import (
	"fmt"
	"time"

	"github.com/wsmux/websocket/frame"
	"github.com/wsmux/websocket/internal/wstest"
)

const (
	// umlauts has characters of one and of two octets; it is cut behind the
	// tenth.
	umlauts    = umlautsOne + umlautsTwo
	umlautsOne = "Hello-µ@ßöä"
	umlautsTwo = "üàá-UTF-8!!"

	// kosme has characters of two octets and one of three: ό as U+1F79.
	kosme = "κ\u1f79σμε"

	// surrogate goes wrong at its second octet, the thirteenth with kosme
	// before it; so does tooLarge, U+110000.
	surrogate = "\xed\xa0\x80"
	tooLarge  = "\xf4\x90\x80\x80"
)

// textCases are 6.*: text is UTF-8, in whatever pieces it comes.
func textCases() []*Case {
	cases := []*Case{
		echoes("6.1.1", "An empty text message.", together, textMessage(""), wstest.Text("")),
		echoes("6.1.2", "A text message of three empty fragments.", together, textMessage(""), fragments("", "", "")...),
		echoes("6.1.3", "A text message of three fragments, of which the first and the last are empty.", together,
			textMessage("middle frame payload"), fragments("", "middle frame payload", "")...),
		echoes("6.2.1", "Text with characters of one and two octets: "+umlauts, together, textMessage(umlauts), wstest.Text(umlauts)),
		echoes("6.2.2", "The same in two fragments, cut between characters.", together, textMessage(umlauts), fragments(umlautsOne, umlautsTwo)...),
		echoes("6.2.3", "The same in fragments of one octet.", together, textMessage(umlauts), octets(umlauts)...),
		echoes("6.2.4", "Text with characters of two and three octets in fragments of one octet: "+kosme, together, textMessage(kosme), octets(kosme)...),
		notUTF8("6.3.1", "Text with a surrogate in it, in one frame.", wstest.Text(kosme+surrogate+"edited")),
		notUTF8("6.3.2", "The same in fragments of one octet.", octets(kosme+surrogate+"edited")...),
	}
	cases = append(cases, failFastCases()...)
	for i, g := range utf8Table() {
		for j, p := range g.payloads {
			title := fmt.Sprintf("Text in one frame: %x", p)
			c := notUTF8("", title, wstest.Text(p))
			if g.valid(j) {
				c = echoes("", title, together, textMessage(p), wstest.Text(p))
				c.patient = false
			}
			c.ID = id(6, 5+i, j+1)
			c.limit = soon / 2
			cases = append(cases, c)
		}
	}
	return cases
}

// notUTF8 returns a case in which the frames' text is invalid.
func notUTF8(id, title string, frames ...wstest.Frame) *Case {
	c := breaks(id, title, together, nil, frames...)
	c.Expectation = "The connection is failed at once with status 1007."
	c.end = ending{codes: []int{1007}, fatal: true}
	return c
}

// fragments returns a text message cut into these fragments.
func fragments(parts ...string) []wstest.Frame {
	frames := make([]wstest.Frame, len(parts))
	for i, p := range parts {
		frames[i] = wstest.Continuation(p).Fragment()
	}
	frames[0].Opcode = frame.Text
	frames[len(parts)-1].More = false
	return frames
}

// octets returns a text message in fragments of one octet. The last fragment is
// an empty one.
func octets(s string) []wstest.Frame {
	var parts []string
	for i := range len(s) {
		parts = append(parts, s[i:i+1])
	}
	return fragments(append(parts, "")...)
}

// failFastCases are 6.4.*: text that turns invalid in its second part is
// rejected before the third is there.
func failFastCases() []*Case {
	whole := kosme + tooLarge + "edited"
	var cases []*Case
	for i, cuts := range [][2]int{{11, 15}, {12, 13}, {11, 15}, {12, 13}} {
		parts := []string{whole[:cuts[0]], whole[cuts[0]:cuts[1]], whole[cuts[1]:]}
		unit, steps := "fragments", pausedFrames(parts)
		if i >= 2 {
			unit, steps = "pieces of one frame", pausedPieces(whole, cuts)
		}
		c := notUTF8(id(6, 4, i+1), fmt.Sprintf("Invalid text in three %s, with a pause of 1 s after each: %x, %x, %x.",
			unit, parts[0], parts[1], parts[2]))
		c.Expectation = "The first part is accepted, and the second rejected at once with status 1007. To reject the third is NON-STRICT."
		c.steps = steps
		c.want = []Event{{Kind: Pause, Data: "A"}}
		c.lenient, c.nonStrict = true, []Event{{Kind: Pause, Data: "A"}, {Kind: Pause, Data: "B"}}
		cases = append(cases, c)
	}
	return cases
}

func pausedFrames(parts []string) []step {
	frames := fragments(parts...)
	return []step{
		{send: frames[:1]},
		{pause: time.Second, mark: "A", send: frames[1:2]},
		{pause: time.Second, mark: "B", send: frames[2:]},
	}
}

// pausedPieces sends one frame with pauses at two places in its payload.
func pausedPieces(whole string, cuts [2]int) []step {
	piece := func(from, to int) func(bool) []byte {
		return func(masked bool) []byte {
			b := wstest.Text(whole).Append(nil, masked, 0x1A2B3C4D)
			header := len(b) - len(whole)
			if from == 0 {
				return b[:header+to]
			}
			return b[header+from : header+to]
		}
	}
	return []step{
		{raw: piece(0, cuts[0])},
		{pause: time.Second, mark: "A", raw: piece(cuts[0], cuts[1])},
		{pause: time.Second, mark: "B", raw: piece(cuts[1], len(whole))},
	}
}
