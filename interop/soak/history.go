package soak

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wsmux/websocket"
)

// judge compares the records of a socket's two ends and returns what is wrong.
// On a harsh network any socket may have ended with status 1006.
func judge(client, server *end, harsh bool) []string {
	var wrong []string
	for _, e := range []struct {
		name     string
		from, to *end
	}{{"client", client, server}, {"server", server, client}} {
		for _, p := range e.from.problems {
			wrong = append(wrong, e.name+": "+p)
		}
		if err := delivered(e.from, e.to); err != nil {
			wrong = append(wrong, fmt.Sprintf("what the %s sent: %v", e.name, err))
		}
		if err := ended(e.from, e.to, harsh); err != nil {
			wrong = append(wrong, fmt.Sprintf("how the %s ended: %v", e.name, err))
		}
	}
	return wrong
}

// whole reports whether to must have received all that from's Write accepted: it
// has seen from's Close frame, which came behind all that.
func whole(from, to *end) bool {
	return to.final != nil && to.final.Remote && closedWith(from, to.final.Code)
}

// closedWith reports whether an end has closed its socket with code.
func closedWith(e *end, code websocket.StatusCode) bool {
	switch code {
	case e.plan.code:
		return e.acts.closed
	case websocket.StatusNormalClosure:
		return e.acts.returned
	case websocket.StatusInternalError:
		return e.acts.panicked
	case websocket.StatusGoingAway:
		return e.goesAway()
	}
	return false
}

// goesAway reports whether e is a server's that is being shut down.
func (e *end) goesAway() bool { return e.leaving != nil && e.leaving.Load() }

// delivered checks what was received against what was sent, lane by lane.
func delivered(from, to *end) error {
	lanes := make([][]message, len(from.sent))
	for _, m := range to.got {
		i := 0
		if len(lanes) > 1 {
			i = int(m.lane) - '1'
		}
		if i < 0 || i >= len(lanes) {
			return fmt.Errorf("a message of no lane was received: %+v", m)
		}
		lanes[i] = append(lanes[i], m)
	}
	for i, got := range lanes {
		if err := matches(from.sent[i], got, whole(from, to)); err != nil {
			return fmt.Errorf("lane %d: %w", i, err)
		}
	}
	return nil
}

// matches checks that got is what was accepted of sent, in order, or a beginning
// of it unless it has to be whole. A message whose writing failed may have
// arrived all the same, but only if nothing was accepted after it.
func matches(sent []sentMessage, got []message, whole bool) error {
	sent = slices.Clone(sent)
	for i, goesOn := len(sent)-1, false; i >= 0; i-- {
		if goesOn && sent[i].state == failed {
			sent[i].state = refused
		}
		goesOn = goesOn || sent[i].state == accepted
	}
	n := 0
	for i, s := range sent {
		switch {
		case n < len(got) && s.state != refused && got[n] == s.message:
			n++
		case s.state != accepted:
		case n < len(got):
			return fmt.Errorf("message %d of %d, %+v, came as %+v", i, len(sent), s.message, got[n])
		case whole:
			return fmt.Errorf("message %d of %d, %+v, was accepted and did not come", i, len(sent), s.message)
		default:
			return nil
		}
	}
	if n < len(got) {
		return fmt.Errorf("%d messages too many came, the first %+v", len(got)-n, got[n])
	}
	return nil
}

// ended checks that e ended as one of the two wanted, and that Close says so.
func ended(e, other *end, harsh bool) error {
	if e.final == nil {
		if harsh && e.conn == nil {
			return nil
		}
		return errors.New("it did not")
	}
	if e.acts.closed && e.closeErr == nil && other.acts == (acts{}) && !e.goesAway() && !other.goesAway() {
		// The other end has answered.
		if !other.final.Remote || other.final.Code != e.plan.code || other.final.Reason != e.plan.reason {
			return fmt.Errorf("closed with %d %q, but the other end saw: %v", e.plan.code, e.plan.reason, other.final)
		}
	}
	if harsh && e.final.Code == websocket.StatusAbnormalClosure && e.final.Err != nil {
		return nil // it says so, and why
	}
	if !explained(e, other) {
		return fmt.Errorf("nobody wanted that: %v; own acts %+v, the other's %+v", e.final, e.acts, other.acts)
	}
	disturbed := harsh || e.acts.cutShort || other.acts.cutShort || other.acts.aborted || other.acts.tooBig
	if e.closeErr != nil && !disturbed {
		return fmt.Errorf("close returned %w", e.closeErr)
	}
	return nil
}

// explained reports whether the end of e has a cause among the acts of the two.
func explained(e, other *end) bool {
	code := e.final.Code
	by, breaker := e, other
	if e.final.Remote {
		by, breaker = other, e
	}
	switch code {
	case websocket.StatusAbnormalClosure:
		return by.acts.aborted || by.acts.cutShort
	case websocket.StatusMessageTooBig:
		return breaker.acts.tooBig && (e.final.Remote || errors.Is(e.final, websocket.ErrMessageTooBig))
	}
	return closedWith(by, code) && (!e.final.Remote || code != by.plan.code || e.final.Reason == by.plan.reason)
}

// counted checks the statistics of e against the records, and against the other
// end's if that has read everything.
func counted(e, other *end) error {
	if e.conn == nil {
		return nil
	}
	s := e.conn.Stats()
	if s.MessagesWritten != e.written {
		return fmt.Errorf("%d messages written, %d by the statistics", e.written, s.MessagesWritten)
	}
	if s.MessagesRead < int64(len(e.got)) {
		return fmt.Errorf("%d messages read, %d by the statistics", len(e.got), s.MessagesRead)
	}
	if !whole(e, other) {
		return nil
	}
	r := other.conn.Stats()
	if s.BytesWritten != r.BytesRead || s.FramesWritten != r.FramesRead || s.MessagesWritten != r.MessagesRead {
		return fmt.Errorf("written %+v, read %+v", s, r)
	}
	return nil
}
