// Package result is what a comparison of transports found: plain data, which the
// tool that measures fills in, and the report is made of. Its JSON is the tool's
// output for machines.
//
// Times are in milliseconds and sizes in bytes unless a Unit says otherwise.
// Nothing here is rounded or judged.
package result

import "time"

// A Report is a whole comparison.
type Report struct {
	// Tool is the module and command that measured, and Version what is known of
	// its build.
	Tool    string `json:"tool"`
	Version string `json:"version"`

	Begun   time.Time `json:"begun"`
	Seconds float64   `json:"seconds"` // how long it took

	// Mode is "default" or "quick", which measures less of everything.
	Mode string `json:"mode"`

	// Complete is false for a comparison that was interrupted or in which a run
	// failed: Problems says how.
	Complete bool     `json:"complete"`
	Problems []string `json:"problems,omitempty"`

	Machine Machine `json:"machine"`

	// Target is the server that was compared against, nil for the tool's own.
	Target *Target `json:"target,omitempty"`

	// Transports are those that runs name, in the order in which to show them.
	Transports []Transport `json:"transports"`

	// Methods says what the figures mean that scenarios have in common.
	Methods []Method `json:"methods"`

	Scenarios []Scenario `json:"scenarios"`
}

// Machine is what the comparison ran on.
type Machine struct {
	CPU       string    `json:"cpu"`
	CPUs      int       `json:"cpus"`
	MemoryMiB int       `json:"memoryMiB,omitempty"`
	OS        string    `json:"os"` // GOOS/GOARCH
	Kernel    string    `json:"kernel"`
	Go        string    `json:"go"`
	Libraries []Library `json:"libraries"`
}

// A Library is a module whose code was measured.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// Target is a foreign server, and what it was found to support.
type Target struct {
	URL      string    `json:"url"`
	Supports []Support `json:"supports"`
}

// Support says whether the target has a transport.
type Support struct {
	Transport string `json:"transport"` // Transport.ID
	Supported bool   `json:"supported"`
	Detail    string `json:"detail"` // what was seen, or why not
}

// A Transport is a way to carry messages between a client and a server.
type Transport struct {
	ID    string `json:"id"`   // "ws-h2", see the constants
	Name  string `json:"name"` // "WebSocket over HTTP/2"
	About string `json:"about"`
}

// The transports' IDs.
const (
	WebSocketH1 = "ws-h1"
	WebSocketH2 = "ws-h2"
	WebSocketH3 = "ws-h3"
	EventsH1    = "sse-h1"
	EventsH2    = "sse-h2"
	PollingH1   = "poll-h1"
	PollingH2   = "poll-h2"
)

// A Method explains a term or a way to measure.
type Method struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A Scenario is one question, asked of all transports.
type Scenario struct {
	Number int    `json:"number"` // 1 to 7, as users name it
	Name   string `json:"name"`
	Asks   string `json:"asks"` // the question, a sentence
	How    string `json:"how"`  // what was done, sentences

	Network Network `json:"network"`
	Runs    []Run   `json:"runs"`
	Skipped []Skip  `json:"skipped,omitempty"`
}

// Network is what lay between client and server.
type Network struct {
	Kind   NetworkKind `json:"kind"`
	Detail string      `json:"detail"`
}

// A NetworkKind is how a network came about.
type NetworkKind string

// The kinds of network.
const (
	Loopback   NetworkKind = "loopback"   // the kernel's, as fast as it is
	Namespaces NetworkKind = "namespaces" // two network namespaces, the tool's cable in between
	Shaped     NetworkKind = "shaped"     // proxies in a process that delay and drop: an imitation
	Foreign    NetworkKind = "foreign"    // whatever leads to the target
)

// A Skip is what was not measured.
type Skip struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// A Run is one transport measured once with one set of parameters.
type Run struct {
	Transport  string      `json:"transport"` // Transport.ID
	Parameters []Parameter `json:"parameters"`

	// Problem says why the run's figures do not count: messages missing, counts
	// that disagree. Empty if all is well.
	Problem string `json:"problem,omitempty"`

	Messages    Messages `json:"messages"`
	SocketsLost int      `json:"socketsLost"`

	// Connections are TCP and QUIC connections, Handshakes those of TLS, on TCP
	// or within QUIC.
	Connections Count `json:"connections"`
	Handshakes  Count `json:"handshakes"`

	// Bytes is nil where they were not measured.
	Bytes *Bytes `json:"bytes,omitempty"`

	Figures       []Figure       `json:"figures"`
	Distributions []Distribution `json:"distributions"`
}

// A Parameter is a number that tells runs of a scenario apart.
type Parameter struct {
	Key   string  `json:"key"` // see the constants
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// The parameters' keys.
const (
	Sockets   = "sockets"   // unit ""; event streams and polls count as sockets
	Senders   = "senders"   // unit "", of the sockets
	Requests  = "requests"  // unit "", ordinary requests beside the sockets
	Rate      = "rate"      // unit "/s", messages per second and sender
	Size      = "size"      // unit "B", of a message
	Loss      = "loss"      // unit "%", of packets, each way
	RTT       = "rtt"       // unit "ms"
	Bandwidth = "bandwidth" // unit "Mbit/s", each way; absent for unlimited
	BulkSize  = "bulkSize"  // unit "B", of the download beside the socket
)

// Messages counts the application's messages, whose sending and receiving must
// agree unless Lost says otherwise. A message that goes to many receivers counts
// once as sent for each of them.
type Messages struct {
	Sent       int `json:"sent"`
	Received   int `json:"received"`
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
}

// A Count is a number as both ends saw it; they must agree. Server is -1 where
// the server does not tell.
type Count struct {
	Client int `json:"client"`
	Server int `json:"server"`
}

// Bytes are those on the wire during a run, from the first connection's opening
// to the last one's end unless the scenario says otherwise.
type Bytes struct {
	Up   Direction `json:"up"`   // client to server
	Down Direction `json:"down"` // server to client
	How  string    `json:"how"`
}

// A Direction is what went one way. Total is the sum of the parts: the bytes of
// the IP packets, their headers included.
type Direction struct {
	// Payload is the application's: messages and the content of ordinary
	// requests.
	Payload int64 `json:"payload"`

	// Framing is what marks messages: WebSocket's frame headers, masks and
	// control frames; the fields and blank lines of an event stream.
	Framing int64 `json:"framing"`

	// HTTP is header sections, chunk sizes, and frames and streams of HTTP/2 and
	// HTTP/3.
	HTTP int64 `json:"http"`

	// Security is TLS's handshakes and records, or QUIC's handshakes, packets,
	// frames and what it sent again.
	Security int64 `json:"security"`

	// Network is IP, TCP and UDP headers, and what TCP sent again.
	Network int64 `json:"network"`

	Total   int64 `json:"total"`
	Packets int64 `json:"packets"`
}

// A Figure is one number.
type Figure struct {
	Key   string  `json:"key"` // see the constants
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	How   string  `json:"how"` // how it was obtained

	// Each has the values of repetitions, of which Value is the median. Their
	// spread is the noise. Empty for a figure that is a count or was obtained
	// once.
	Each []float64 `json:"each,omitempty"`
}

// The figures' keys.
const (
	FirstRoundTrips   = "firstRoundTrips"   // unit "RTT": from nothing to the first message's answer
	OpenRoundTrips    = "openRoundTrips"    // unit "RTT": from nothing to an open socket
	CPUPerMessage     = "cpuPerMessage"     // unit "µs", the server's
	CPUPerSocket      = "cpuPerSocket"      // unit "µs", the server's, to open one and end it
	RSSPerSocket      = "rssPerSocket"      // unit "B", the server's, idle
	HeapPerSocket     = "heapPerSocket"     // unit "B", the server's, idle
	GoroutinesPer     = "goroutinesPer"     // unit "", the server's, per idle socket
	BytesPerMessage   = "bytesPerMessage"   // unit "B", on the wire, both ways, per message received
	PacketsPerMessage = "packetsPerMessage" // unit "", both ways, per message received
	BytesPerHeartbeat = "bytesPerHeartbeat" // unit "B", on the wire, both ways, per socket and heartbeat
	MessageRate       = "messageRate"       // unit "/s", received in all
	BulkRate          = "bulkRate"          // unit "MB/s", of the download beside the socket
	TimeToRecover     = "timeToRecover"     // unit "ms", from the restart until every socket has its first message
	TimeToComplete    = "timeToComplete"    // unit "ms", a page with all its sockets and requests
)

// A Distribution is how often which values were seen.
type Distribution struct {
	Key   string  `json:"key"` // see the constants
	Name  string  `json:"name"`
	Unit  string  `json:"unit"` // "ms"
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	How   string  `json:"how"`

	// Points is the distribution function, at most 200 points, both coordinates
	// ascending, the last one at fraction 1.
	Points []Point `json:"points"`
}

// A Point says that Fraction of the values are at most Value.
type Point struct {
	Value    float64 `json:"value"`
	Fraction float64 `json:"fraction"`
}

// The distributions' keys.
const (
	TimeToOpen     = "timeToOpen"     // from wanting a socket until it is open
	TimeToFirst    = "timeToFirst"    // from wanting a socket until its first message was answered
	MessageLatency = "messageLatency" // from when a message was to be sent until it was received
	RequestTime    = "requestTime"    // an ordinary request
	OutageTime     = "outageTime"     // from losing a socket until its successor's first message
	BaselineDelay  = "baselineDelay"  // MessageLatency before the download beside the socket began
)
