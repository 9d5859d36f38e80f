// Package matrix records what the interop suites found, cell by cell (peer ×
// role × transport × feature → result), and holds it against expected.json of
// the interop module: any difference fails.
//
// A suite is a package of tests. Its TestMain is
//
//	func TestMain(m *testing.M) {
//		os.Exit(matrix.Main("peers", m.Run))
//	}
//
// and its tests record cells:
//
//	row := matrix.Row{Peer: "HAProxy", Role: matrix.Proxy, Transport: matrix.Via("h2", "h1")}
//	row.Run(t, matrix.Echo, func(t *testing.T) { … }) // OK if the subtest passes
//	row.Record(t, matrix.Deflate, "declined")        // or what was seen, in a word
//
// A peer that is not installed is reported with [Missing].
//
// With INTEROP_RESULTS naming a directory, each suite leaves its cells there, and
//
//	go run ./matrix -results DIR
//
// prints the whole matrix and compares it; with -update it makes expected.json
// and the README's table of it, for a reader to look through the difference and
// commit it.
package matrix

import (
	"cmp"
	"slices"
)

// A Role is what the peer is to us.
type Role string

const (
	Client Role = "client" // it speaks to our server
	Server Role = "server" // our client speaks to it
	Proxy  Role = "proxy"  // it stands between our client and our server
	Suite  Role = "suite"  // it judges us, as a client and as a server
)

// A Feature is a column of the matrix. A suite may have features of its own
// beside those of [Short].
type Feature string

// The short matrix, which every peer with sockets goes through. What "client" and
// "server" mean here are the ends of the socket, whichever of them is ours.
const (
	// The socket is opened as the row's transport says: by Upgrade, or by
	// extended CONNECT on a stream. Our end, or a trace of the peer's, has to
	// have seen it; that the socket works is no proof.
	Bootstrap Feature = "bootstrap"

	Echo        Feature = "echo"            // text and binary messages of 0 B, 1 B, 125 B, 126 B, 65,535 B, 65,536 B and 1 MiB come back the same
	Fragments   Feature = "fragments"       // a message in many frames, one of them empty, with a ping in between, both ways
	Ping        Feature = "ping"            // pings, both ways where the peer can send them, are answered with their own bytes
	Deflate     Feature = "deflate"         // permessage-deflate is negotiated and compressed messages arrive, both ways
	CloseClient Feature = "close by client" // code 4000 and a reason of 123 bytes arrive, and the client gets the answer
	CloseServer Feature = "close by server" // likewise
	ResetClient Feature = "reset by client" // the client aborts; the server sees an end that is not a closing handshake
	ResetServer Feature = "reset by server" // likewise
	Twenty      Feature = "20 sockets"      // 20 sockets at once, each with its own echoes; over HTTP/2 and HTTP/3 on one connection
)

// Short returns the features of the short matrix, in order.
func Short() []Feature {
	return []Feature{Bootstrap, Echo, Fragments, Ping, Deflate, CloseClient, CloseServer, ResetClient, ResetServer, Twenty}
}

// A Result is what a cell holds: OK, or what was seen instead in a word or two.
// It has to be the same in every run: no durations, no versions.
type Result string

const (
	OK     Result = "ok"
	Failed Result = "failed" // the test failed; expected.json has no such cell
	None   Result = "–"      // the peer has no such thing
)

// A Row is a peer in a role on a transport: "h1", "h2", "h3", or, of a proxy,
// what [Via] returns.
type Row struct {
	Suite     string `json:"suite"` // set by [Main]
	Peer      string `json:"peer"`  // without a version
	Role      Role   `json:"role"`
	Transport string `json:"transport"`
}

// Via returns the transport of a proxy: what it accepts, and what it connects
// with.
func Via(front, back string) string { return front + " → " + back }

func (r Row) String() string {
	return r.Suite + ": " + r.Peer + " (" + string(r.Role) + ") " + r.Transport
}

// compare orders rows: suites, then peers, as they stand in the matrix.
func (r Row) compare(s Row) int {
	return cmp.Or(
		cmp.Compare(r.Suite, s.Suite), cmp.Compare(r.Peer, s.Peer),
		cmp.Compare(r.Role, s.Role), cmp.Compare(r.Transport, s.Transport),
	)
}

// Cells are results by row and feature.
type Cells map[Row]map[Feature]Result

// set sets one cell.
func (c Cells) set(r Row, f Feature, res Result) {
	if c[r] == nil {
		c[r] = make(map[Feature]Result)
	}
	c[r][f] = res
}

// rows returns the rows in order.
func (c Cells) rows() []Row {
	rows := make([]Row, 0, len(c))
	for r := range c {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, Row.compare)
	return rows
}
