package autobahn

import (
	"fmt"
	"time"

	"github.com/wsmux/websocket/internal/wstest"
)

// A Line is an entry of the wire log.
type Line struct {
	At   time.Duration `json:"at"`  // since the case began
	Dir  string        `json:"dir"` // "→" sent by the fuzzer, "←" by the endpoint, "·" a note
	Text string        `json:"text"`
}

// A wireLog keeps the first lines and the last ones.
type wireLog struct {
	start   time.Time
	quiet   bool // frames are not written down
	first   []Line
	last    []Line
	skipped int
}

const (
	keepFirst = 60
	keepLast  = 20
)

func (l *wireLog) add(dir, text string) {
	line := Line{time.Since(l.start), dir, text}
	if len(l.first) < keepFirst {
		l.first = append(l.first, line)
		return
	}
	if len(l.last) == keepLast {
		l.last = append(l.last[:0], l.last[1:]...)
		l.skipped++
	}
	l.last = append(l.last, line)
}

func (l *wireLog) sent(f wstest.Frame) {
	if !l.quiet {
		l.add("→", f.String())
	}
}

func (l *wireLog) received(f received) {
	if !l.quiet || f.Opcode >= 8 {
		l.add("←", f.String())
	}
}

func (l *wireLog) note(format string, args ...any) { l.add("·", fmt.Sprintf(format, args...)) }

// lines returns the log, with a note where lines are missing.
func (l *wireLog) lines() []Line {
	all := l.first
	if l.skipped > 0 {
		all = append(all, Line{l.last[0].At, "·", fmt.Sprintf("%d lines left out", l.skipped)})
	}
	return append(all, l.last...)
}
