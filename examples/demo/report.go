package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A report is the outcome of the self-check.
type report struct {
	URL  string `json:"url"`
	OK   bool   `json:"ok"` // every row is
	Rows []row  `json:"rows"`
}

// A row is the outcome of the self-check for one bootstrap. Connections and
// handshakes are the server's count.
type row struct {
	Bootstrap string `json:"bootstrap"`
	OK        bool   `json:"ok"`                // everything was verified, and shared as it must be
	Problem   string `json:"problem,omitempty"` // what was wrong, if not

	Sockets     int `json:"sockets"`     // opened
	Connections int `json:"connections"` // TCP or QUIC, those of the requests included
	Handshakes  int `json:"handshakes"`  // TLS, by itself or in QUIC

	Requests       int `json:"requests"`        // ordinary ones, answered and verified
	SharedRequests int `json:"shared_requests"` // those of them that came by a connection of sockets

	Messages  int   `json:"messages"`      // echoed and verified
	Bytes     int64 `json:"bytes"`         // of their payloads, in one direction
	Deflated  int64 `json:"deflated_from"` // payload bytes that were sent compressed,
	OnTheWire int64 `json:"deflated_to"`   // and what they became on the wire

	OpenMedian      millis `json:"open_median_ms"`       // from Dial to its return
	RoundTripMedian millis `json:"round_trip_median_ms"` // of messages of up to 1 KiB
	RoundTripP99    millis `json:"round_trip_p99_ms"`
}

// millis is a duration that is written as a number of milliseconds.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(m).Seconds()*1000), nil
}

func (m *millis) UnmarshalJSON(p []byte) error {
	var ms float64
	if err := json.Unmarshal(p, &ms); err != nil {
		return err
	}
	*m = millis(ms * float64(time.Millisecond))
	return nil
}

// String returns the duration to three digits, "1.23 ms" for instance, or a dash
// for none.
func (m millis) String() string {
	ms := time.Duration(m).Seconds() * 1000
	switch {
	case m == 0:
		return "–"
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func (r *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// headings are the table's, two lines each.
var headings = [][2]string{
	{"", ""},
	{"", "sockets"},
	{"transport", "connections"},
	{"TLS or QUIC", "handshakes"},
	{"requests on", "the same one"},
	{"messages", "verified"},
	{"time to open", "median"},
	{"round trip", "median"},
	{"", "p99"},
	{"", ""},
}

func (r row) cells() []string {
	verdict := "ok"
	if !r.OK {
		verdict = "FAILED"
	}
	return []string{
		r.Bootstrap,
		fmt.Sprint(r.Sockets),
		fmt.Sprint(r.Connections),
		fmt.Sprint(r.Handshakes),
		fmt.Sprintf("%d of %d", r.SharedRequests, r.Requests),
		thousands(int64(r.Messages)),
		r.OpenMedian.String(),
		r.RoundTripMedian.String(),
		r.RoundTripP99.String(),
		verdict,
	}
}

// writeTable writes the rows in columns, the numbers flush right, and what they
// mean.
func (r *report) writeTable(w io.Writer) error {
	lines := make([][]string, 2, 2+len(r.Rows))
	for _, h := range headings {
		lines[0], lines[1] = append(lines[0], h[0]), append(lines[1], h[1])
	}
	for _, row := range r.Rows {
		lines = append(lines, row.cells())
	}
	var b strings.Builder
	b.WriteByte('\n')
	writeColumns(&b, lines)
	b.WriteByte('\n')
	for _, row := range r.Rows {
		if !row.OK {
			fmt.Fprintf(&b, "%s: %s\n", row.Bootstrap, row.Problem)
		}
	}
	for _, line := range r.meaning() {
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// meaning says in words what the table shows.
func (r *report) meaning() []string {
	var messages int
	var bytes, deflated, wire int64
	var lines, shared []string
	for _, row := range r.Rows {
		messages += row.Messages
		bytes += row.Bytes
		deflated += row.Deflated
		wire += row.OnTheWire
		if row.OK && row.Connections == 1 {
			shared = append(shared, row.Bootstrap)
		}
	}
	if r.Rows[0].OK {
		lines = append(lines, fmt.Sprintf("%s: each socket on a connection of its own, and %d more for the requests.",
			r.Rows[0].Bootstrap, r.Rows[0].Connections-r.Rows[0].Sockets))
	}
	if len(shared) > 0 {
		lines = append(lines, fmt.Sprintf("%s: all sockets and requests on one connection, by one handshake, as the server counted.",
			strings.Join(shared, " and ")))
	}
	if messages > 0 {
		lines = append(lines, fmt.Sprintf("%s messages, %s, came back as they were sent, every byte. Round trips are those of messages\n"+
			"of up to 1 KiB, with ones of up to 1 MiB and the requests under way beside them.", thousands(int64(messages)), size(bytes)))
	}
	if wire > 0 {
		lines = append(lines, fmt.Sprintf("Every second socket compressed: %s went as %s.", size(deflated), size(wire)))
	}
	return lines
}

// writeColumns writes lines of cells under each other: the first and the last
// column flush left, the others flush right.
func writeColumns(b *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				text.WriteString("  ")
			}
			if i == 0 || i == len(line)-1 {
				text.WriteString(cell + pad)
				continue
			}
			text.WriteString(pad + cell)
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// thousands returns n with a comma between groups of three digits.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size returns a number of bytes in words.
func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// quantile returns the q-th quantile, 0 ≤ q ≤ 1, of durations, by the nearest
// rank; 0 of none.
func quantile(d []time.Duration, q float64) millis {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return millis(sorted[max(rank, 1)-1])
}
