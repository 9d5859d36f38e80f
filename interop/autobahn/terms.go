package autobahn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// terms are what the fuzzer asks of the endpoint's compressor. The zero value
// asks for nothing.
type terms struct {
	noTakeover bool // not to refer to earlier messages
	bits       int  // not to refer back by more than 2^bits octets; 0: 15
}

func (t terms) String() string { return fmt.Sprintf("(%t, %d)", t.noTakeover, t.bits) }

// Agreed is permessage-deflate as both sides have agreed on it (RFC 7692 §7.1).
type Agreed struct {
	ServerNoTakeover, ClientNoTakeover bool
	ServerBits, ClientBits             int // 8 to 15
}

// extension is an element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params map[string]string // "" for a parameter without value
}

const deflateName = "permessage-deflate"

// parseExtensions reads Sec-WebSocket-Extensions as far as permessage-deflate
// needs it: no parameter of it has a value with a comma or a semicolon.
func parseExtensions(field string) ([]extension, error) {
	var all []extension
	for element := range strings.SplitSeq(field, ",") {
		if strings.TrimSpace(element) == "" {
			continue
		}
		name, rest, _ := strings.Cut(element, ";")
		e := extension{name: strings.TrimSpace(name), params: make(map[string]string)}
		for param := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(param, "=")
			key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
			if key == "" {
				continue
			}
			if _, twice := e.params[key]; twice {
				return nil, fmt.Errorf("%s has %s twice", e.name, key)
			}
			e.params[key] = value
		}
		all = append(all, e)
	}
	return all, nil
}

func (e extension) has(param string) bool {
	_, ok := e.params[param]
	return ok
}

// bits returns the value of a window parameter, 15 if it is absent.
func (e extension) bits(param string) (int, error) {
	value, ok := e.params[param]
	if !ok {
		return 15, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 8 || n > 15 || strconv.Itoa(n) != value {
		return 0, fmt.Errorf("%s=%q", param, value)
	}
	return n, nil
}

func (e extension) agreed() (*Agreed, error) {
	server, err := e.bits("server_max_window_bits")
	if err != nil {
		return nil, err
	}
	client, err := e.bits("client_max_window_bits")
	if err != nil {
		return nil, err
	}
	return &Agreed{
		ServerNoTakeover: e.has("server_no_context_takeover"), ServerBits: server,
		ClientNoTakeover: e.has("client_no_context_takeover"), ClientBits: client,
	}, nil
}

// offer returns what the fuzzer, as a client, puts into Sec-WebSocket-Extensions.
// It always says that its own side can be restricted.
func offer(all []terms) string {
	var elements []string
	for _, t := range all {
		e := deflateName + "; client_no_context_takeover; client_max_window_bits"
		if t.noTakeover {
			e += "; server_no_context_takeover"
		}
		if t.bits != 0 {
			e += "; server_max_window_bits=" + strconv.Itoa(t.bits)
		}
		elements = append(elements, e)
	}
	return strings.Join(elements, ", ")
}

// checkAnswer reads a server's answer to offer(all): nil if it declined. The
// answer must keep what one of the offers asked for (RFC 7692 §7.1).
func checkAnswer(answer string, all []terms) (*Agreed, error) {
	elements, err := parseExtensions(answer)
	if err != nil || len(elements) == 0 {
		return nil, err
	}
	e := elements[0]
	if len(elements) > 1 || e.name != deflateName || len(all) == 0 {
		return nil, fmt.Errorf("the answer %q was not asked for", answer)
	}
	for param := range e.params {
		switch param {
		case "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits":
		default:
			return nil, fmt.Errorf("unknown parameter %q in the answer", param)
		}
	}
	a, err := e.agreed()
	if err != nil {
		return nil, err
	}
	keeps := func(t terms) bool {
		return (!t.noTakeover || a.ServerNoTakeover) &&
			(t.bits == 0 || e.has("server_max_window_bits") && a.ServerBits <= t.bits)
	}
	if !slices.ContainsFunc(all, keeps) {
		return nil, fmt.Errorf("the answer %q keeps none of the offers", answer)
	}
	return a, nil
}

// answerTo returns the fuzzer's answer, as a server, to a client's offers: the
// first of the terms that an offer allows. It is empty, and Agreed nil, if there
// is none.
func answerTo(offers string, all []terms) (string, *Agreed, error) {
	elements, err := parseExtensions(offers)
	if err != nil {
		return "", nil, err
	}
	for _, t := range all {
		for _, e := range elements {
			if e.name != deflateName || t.bits != 0 && !e.has("client_max_window_bits") {
				continue
			}
			return t.answer(e)
		}
	}
	return "", nil, nil
}

// answer grants the offer e and asks for t in return.
func (t terms) answer(e extension) (string, *Agreed, error) {
	answer := extension{name: deflateName, params: make(map[string]string)}
	text := deflateName
	set := func(param, value string) {
		answer.params[param] = value
		text += "; " + param
		if value != "" {
			text += "=" + value
		}
	}
	if e.has("server_no_context_takeover") {
		set("server_no_context_takeover", "")
	}
	if bits, ok := e.params["server_max_window_bits"]; ok {
		set("server_max_window_bits", bits)
	}
	if t.noTakeover {
		set("client_no_context_takeover", "")
	}
	bits := t.bits
	if allowed := e.params["client_max_window_bits"]; allowed != "" {
		n, err := e.bits("client_max_window_bits")
		if err != nil {
			return "", nil, err
		}
		if bits != 0 {
			bits = min(bits, n)
		}
	}
	if bits != 0 {
		set("client_max_window_bits", strconv.Itoa(bits))
	}
	a, err := answer.agreed()
	if err != nil {
		return "", nil, errors.Join(errors.New("an offer that is none"), err)
	}
	return text, a, nil
}
