package handshake

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wsmux/websocket"
)

// deflateName is the registered name of RFC 7692's extension.
const deflateName = "permessage-deflate"

// The parameters of permessage-deflate (RFC 7692 §7.1).
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverWindowBits = "server_max_window_bits"
	clientWindowBits = "client_max_window_bits"
)

// maxWindowBits is the window without a parameter that bounds it: 32 KiB.
const maxWindowBits = 15

// deflateTerms are the parameters of one offer, or of the answer to it.
type deflateTerms struct {
	serverNoTakeover bool
	clientNoTakeover bool
	serverBits       int  // 0: not given
	clientBits       int  // 0: not given, or given without a value
	clientBitsGiven  bool // client_max_window_bits was there, with or without a value
}

var (
	errParamDuplicate = errors.New("parameter given twice")
	errParamValue     = errors.New("invalid value")
	errParamUnknown   = errors.New("unknown parameter")
)

// parseDeflate reads the parameters of permessage-deflate, of an offer or (with
// answer) of a response, where client_max_window_bits must have a value.
//
//	"A server MUST decline an extension negotiation offer for this
//	extension if any of the following conditions are met:
//	o  The negotiation offer contains an extension parameter not defined
//	   for use in an offer.
//	o  The negotiation offer contains an extension parameter with an
//	   invalid value.
//	o  The negotiation offer contains multiple extension parameters with
//	   the same name."
//
// https://www.rfc-editor.org/rfc/rfc7692#section-7 demands the same of clients
// and responses, where the connection fails.
func parseDeflate(params []param, answer bool) (deflateTerms, error) {
	var t deflateTerms
	for i, p := range params {
		for _, earlier := range params[:i] {
			if earlier.name == p.name {
				return t, paramError(p, errParamDuplicate)
			}
		}
		ok := true
		switch p.name {
		case serverNoTakeover:
			t.serverNoTakeover, ok = true, !p.hasValue
		case clientNoTakeover:
			t.clientNoTakeover, ok = true, !p.hasValue
		case serverWindowBits:
			t.serverBits, ok = windowBits(p.value)
		case clientWindowBits:
			t.clientBitsGiven = true
			if p.hasValue || answer {
				t.clientBits, ok = windowBits(p.value)
			}
		default:
			return t, paramError(p, errParamUnknown)
		}
		if !ok {
			return t, paramError(p, errParamValue)
		}
	}
	return t, nil
}

func paramError(p param, err error) error {
	return fmt.Errorf("%s: %q: %w", deflateName, p.name, err)
}

// windowBits reads the value of a window parameter:
//
//	"a decimal integer value without leading zeroes between 8 to 15,
//	inclusive"
//
// https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
func windowBits(s string) (bits int, ok bool) {
	switch s {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		bits, _ = strconv.Atoi(s)
		return bits, true
	}
	return 0, false
}

// bitsOr15 is what a window parameter that may be absent comes to.
func bitsOr15(bits int) int {
	if bits == 0 {
		return maxWindowBits
	}
	return bits
}

// checkCompression says whether c's fields are in range. Nil is fine.
func checkCompression(c *websocket.Compression) error {
	if c == nil {
		return nil
	}
	for _, bits := range []int{c.ServerMaxWindowBits, c.ClientMaxWindowBits} {
		if bits != 0 && (bits < 8 || bits > maxWindowBits) {
			return fmt.Errorf("compression: a window of %d bits is not between 8 and 15", bits)
		}
	}
	if c.Level < 0 || c.Level > 9 {
		return fmt.Errorf("compression: level %d is not between 1 and 9", c.Level)
	}
	return nil
}

// acceptDeflate returns what the server agrees to, and the words that say so,
// for the first offer of permessage-deflate that it can keep. Without one, or
// with c nil, it returns nil and "": the socket is then not compressed, which is
// not an error.
func acceptDeflate(offers []extension, c *websocket.Compression) (*websocket.DeflateParams, string) {
	if c == nil {
		return nil, ""
	}
	for _, e := range offers {
		if e.name != deflateName {
			continue
		}
		offer, err := parseDeflate(e.params, false)
		if err != nil {
			continue // declined; the client may have a simpler offer behind it
		}
		answer, ok := answerDeflate(offer, c)
		if !ok {
			continue
		}
		return &websocket.DeflateParams{
			ServerNoContextTakeover: answer.serverNoTakeover,
			ClientNoContextTakeover: answer.clientNoTakeover,
			ServerMaxWindowBits:     bitsOr15(answer.serverBits),
			ClientMaxWindowBits:     bitsOr15(answer.clientBits),
		}, answer.String()
	}
	return nil, ""
}

// answerDeflate returns the server's answer to an offer, false to decline it.
//
// The server's own side can always be restricted, whether the client asks for
// it or not (RFC 7692 §7.1.1.1, §7.1.2.1). So can the client's context takeover
// (§7.1.1.2). The client's window can be bounded only if the client offered that
// (§7.1.2.2): an offer without client_max_window_bits is declined by a server
// that insists on a smaller window.
func answerDeflate(offer deflateTerms, c *websocket.Compression) (answer deflateTerms, ok bool) {
	answer.serverNoTakeover = offer.serverNoTakeover || !c.ServerContextTakeover
	answer.clientNoTakeover = offer.clientNoTakeover || !c.ClientContextTakeover

	// "A server accepts an extension negotiation offer with this parameter
	// by including the 'server_max_window_bits' extension parameter in the
	// […] response to send back to the client with the same or smaller
	// value as the offer."
	// https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
	answer.serverBits = min(bitsOr15(offer.serverBits), bitsOr15(c.ServerMaxWindowBits))
	if offer.serverBits == 0 && answer.serverBits == maxWindowBits {
		answer.serverBits = 0
	}

	// "If a received extension negotiation offer doesn't have the
	// 'client_max_window_bits' extension parameter, the corresponding
	// extension negotiation response […] MUST NOT include the
	// 'client_max_window_bits' extension parameter."
	// https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.2
	answer.clientBits = min(bitsOr15(offer.clientBits), bitsOr15(c.ClientMaxWindowBits))
	if answer.clientBits == maxWindowBits {
		answer.clientBits = 0
	}
	if answer.clientBits != 0 && !offer.clientBitsGiven {
		return deflateTerms{}, false
	}
	answer.clientBitsGiven = answer.clientBits != 0
	return answer, true
}

// offerDeflate returns a client's offer: what c allows and no more. It always
// has client_max_window_bits, with which the server may bound our window.
func offerDeflate(c *websocket.Compression) deflateTerms {
	offer := deflateTerms{
		serverNoTakeover: !c.ServerContextTakeover,
		clientNoTakeover: !c.ClientContextTakeover,
		serverBits:       c.ServerMaxWindowBits,
		clientBits:       c.ClientMaxWindowBits,
		clientBitsGiven:  true,
	}
	if offer.serverBits == maxWindowBits {
		offer.serverBits = 0
	}
	if offer.clientBits == maxWindowBits {
		offer.clientBits = 0
	}
	return offer
}

// checkDeflate checks the server's answer to our offer and returns what was
// agreed. Any violation is an error:
//
//	"A client MUST _Fail the WebSocket Connection_ if the peer server
//	accepted an extension negotiation offer for this extension with an
//	extension negotiation response meeting any of the following
//	conditions"
//
// https://www.rfc-editor.org/rfc/rfc7692#section-7
func checkDeflate(params []param, c *websocket.Compression) (*websocket.DeflateParams, error) {
	offer := offerDeflate(c)
	answer, err := parseDeflate(params, true)
	if err != nil {
		return nil, err
	}
	switch {
	case offer.serverNoTakeover && !answer.serverNoTakeover:
		return nil, fmt.Errorf("%s: %s was asked for and is not in the answer", deflateName, serverNoTakeover)
	case offer.serverBits != 0 && (answer.serverBits == 0 || answer.serverBits > offer.serverBits):
		return nil, fmt.Errorf("%s: %s=%d was asked for and is not in the answer", deflateName, serverWindowBits, offer.serverBits)
	case offer.clientBits != 0 && answer.clientBits > offer.clientBits:
		return nil, fmt.Errorf("%s: %s is larger than the %d offered", deflateName, clientWindowBits, offer.clientBits)
	}
	agreed := &websocket.DeflateParams{
		ServerNoContextTakeover: answer.serverNoTakeover,
		// What was offered for our own side holds whatever the answer says
		// (RFC 7692 §7.1.1.2, §7.1.2.2: it is a hint to the server).
		ClientNoContextTakeover: offer.clientNoTakeover || answer.clientNoTakeover,
		ServerMaxWindowBits:     bitsOr15(answer.serverBits),
		ClientMaxWindowBits:     min(bitsOr15(answer.clientBits), bitsOr15(offer.clientBits)),
	}
	return agreed, nil
}

// String returns the terms as an element of Sec-WebSocket-Extensions.
func (t deflateTerms) String() string {
	var b strings.Builder
	b.WriteString(deflateName)
	flag := func(set bool, name string) {
		if set {
			b.WriteString("; " + name)
		}
	}
	flag(t.serverNoTakeover, serverNoTakeover)
	flag(t.clientNoTakeover, clientNoTakeover)
	if t.serverBits != 0 {
		b.WriteString("; " + serverWindowBits + "=" + strconv.Itoa(t.serverBits))
	}
	flag(t.clientBitsGiven, clientWindowBits)
	if t.clientBits != 0 {
		b.WriteString("=" + strconv.Itoa(t.clientBits))
	}
	return b.String()
}
