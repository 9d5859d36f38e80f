package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// A comparison is what a page's "compare" tab does once over one way: it opens
// sockets and sends requests, marked with the comparison's number, and the
// server counts by which connections they come and how many bytes those carry
// meanwhile. Connections that were open before count from its beginning, others
// from theirs, with their handshakes.
type comparison struct {
	number int
	before map[*connection]traffic // of the connections open at its beginning
	used   map[*connection]*share
	result *verdict // nil until the page is done
}

// A share is what a connection carried of a comparison.
type share struct{ sockets, requests int }

// A traffic is a connection's bytes so far, without the headers of IP, TCP and
// UDP.
type traffic struct{ received, sent uint64 }

// What a client can make the ledger remember. A comparison beyond
// maxComparisons takes the place of the oldest.
const (
	maxComparisons = 64
	maxUsed        = 1024    // connections of one comparison
	maxVerdict     = 1 << 12 // bytes
)

// A ledger has the comparisons.
type ledger struct {
	census *census

	mu          sync.Mutex
	comparisons []*comparison // oldest first
	begun       int
}

// A measured is what the page says of its comparison. Times are in milliseconds.
type measured struct {
	Sockets  int     `json:"sockets"`  // opened and echoed, as they should
	Requests int     `json:"requests"` // answered
	Failed   int     `json:"failed"`   // of either
	First    float64 `json:"first"`    // until a socket's first message was there, the median
	Slowest  float64 `json:"slowest"`  // the longest
	All      float64 `json:"all"`      // until everything was done
}

// A verdict is the result of a comparison: by the page's count and by the
// server's.
type verdict struct {
	Number      int      `json:"number"`
	Protocol    string   `json:"protocol"`    // of the sockets, empty if there were several
	Sockets     int      `json:"sockets"`     // that the server accepted
	Requests    int      `json:"requests"`    // that it answered
	Connections int      `json:"connections"` // that these came by
	New         int      `json:"new"`         // those of them that were not open before
	Received    uint64   `json:"received"`    // bytes
	Sent        uint64   `json:"sent"`        // likewise
	Page        measured `json:"page"`
}

// begin starts a comparison and returns its number.
func (l *ledger) begin() int {
	before := l.census.traffic()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	l.comparisons = append(l.comparisons, &comparison{number: l.begun, before: before, used: make(map[*connection]*share)})
	if len(l.comparisons) > maxComparisons {
		l.comparisons = slices.Delete(l.comparisons, 0, 1)
	}
	return l.begun
}

// of returns a comparison by its number, nil if there is none. It is called with
// mu held.
func (l *ledger) of(number string) *comparison {
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	for _, c := range l.comparisons {
		if c.number == n {
			return c
		}
	}
	return nil
}

// enter notes what a request is that may belong to a comparison.
func (l *ledger) enter(r *http.Request, conn *connection, count func(*share)) {
	number := r.URL.Query().Get("comparison")
	if number == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of(number)
	if c == nil || c.result != nil {
		return
	}
	s := c.used[conn]
	if s == nil {
		if len(c.used) >= maxUsed {
			return
		}
		s = new(share)
		c.used[conn] = s
	}
	count(s)
}

// end takes what the page measured, and returns the verdict: false if the
// comparison is not known. A comparison ends once.
func (l *ledger) end(number string, page measured) (*verdict, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of(number)
	if c == nil {
		return nil, false
	}
	if c.result != nil {
		return c.result, true
	}
	v := &verdict{Number: c.number, Connections: len(c.used), Page: page}
	first := true
	for conn, s := range c.used {
		protocol, now := l.census.state(conn)
		before, open := c.before[conn]
		if !open {
			v.New++
		}
		if s.sockets > 0 {
			if first {
				v.Protocol, first = protocol, false
			} else if protocol != v.Protocol {
				v.Protocol = ""
			}
		}
		v.Sockets += s.sockets
		v.Requests += s.requests
		v.Received += now.received - before.received
		v.Sent += now.sent - before.sent
	}
	c.result, c.before, c.used = v, nil, nil
	return v, true
}

// all returns the comparisons that have ended, oldest first.
func (l *ledger) all() []*verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	verdicts := []*verdict{}
	for _, c := range l.comparisons {
		if c.result != nil {
			verdicts = append(verdicts, c.result)
		}
	}
	return verdicts
}

// handle registers the ledger's endpoints. They take requests of the server's own
// pages only: a POST with a JSON body needs a preflight elsewhere, which is not
// answered.
func (l *ledger) handle(mux *http.ServeMux) {
	mux.HandleFunc("POST /comparisons", func(w http.ResponseWriter, r *http.Request) {
		if !isJSON(w, r) {
			return
		}
		writeJSON(w, map[string]int{"number": l.begin()})
	})
	mux.HandleFunc("POST /comparisons/{number}", func(w http.ResponseWriter, r *http.Request) {
		if !isJSON(w, r) {
			return
		}
		var page measured
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxVerdict)).Decode(&page); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		v, known := l.end(r.PathValue("number"), page)
		if !known {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, v)
	})
	mux.HandleFunc("GET /comparisons", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, l.all()) })
}

// isJSON refuses a request that another site's page could have sent unasked.
func isJSON(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Content-Type") == "application/json" {
		return true
	}
	http.Error(w, "application/json is wanted", http.StatusUnsupportedMediaType)
	return false
}
