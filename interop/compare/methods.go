package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/wsmux/websocket/interop/compare/result"
)

// newReport returns a report without results.
func newReport(quick bool) *result.Report {
	r := &result.Report{
		Tool:       "github.com/wsmux/websocket/interop/compare",
		Version:    version(),
		Begun:      time.Now().UTC().Truncate(time.Second),
		Mode:       "default",
		Machine:    machine(),
		Transports: transports,
		Methods:    methods,
	}
	if quick {
		r.Mode = "quick"
	}
	return r
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

func machine() result.Machine {
	m := result.Machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), MemoryMiB: memory(),
		OS: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel(), Go: runtime.Version(),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/wsmux/websocket", "github.com/quic-go/quic-go", "golang.org/x/net":
				v := d.Version
				if d.Replace != nil {
					v = "this tree"
				}
				m.Libraries = append(m.Libraries, result.Library{Path: d.Path, Version: v})
			}
		}
	}
	return m
}

// cpuModel, kernel and memory ask /proc; elsewhere they do not know.
func cpuModel() string { return procField("/proc/cpuinfo", "model name", "unknown processor") }

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func memory() int {
	kib, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal", "0 kB"), " ")
	n, _ := strconv.Atoi(kib)
	return n / 1024
}

func procField(file, name, otherwise string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, "\t :"))
		}
	}
	return otherwise
}

var methods = []result.Method{
	{Name: "processes", Text: "Server and client are processes of their own, started for each run and ended after it, on the same machine. Both are written with this module; event streams and polls are served over HTTP/1.1 by net/http and over HTTP/2 by this module's engine."},
	{Name: "the same meaning", Text: "All transports carry text messages in order and lose none, which is checked: every message has a number, and is to arrive once at each receiver. Event streams and polls send up by POST, one request at a time for each channel, because otherwise messages would overtake each other; messages that come meanwhile share the next request."},
	{Name: "bytes on the wire", Text: "Bytes of IP packets: headers of IP and of TCP or UDP, and what they carry; nothing of the link layer. They are counted at the client: the bytes of its TCP connections above and below TLS, and for QUIC every packet and frame as quic-go reports them. The kernel tells the number of TCP segments (TCP_INFO), to each of which headers of 20 (IPv4) and 20 bytes and 12 of timestamps are added, 8 more to a SYN; SACK options are not counted."},
	{Name: "parts", Text: "Payload is what the application sent: messages and the content of ordinary requests. Framing is what marks messages: frame headers, masks and control frames of WebSocket, fields and blank lines of event streams, numbers and newlines of polls. HTTP is the rest of what TLS or QUIC's streams carried. Security is the rest of what TCP or UDP carried: TLS's handshakes and records, or QUIC's handshakes, packets, acknowledgements and what it sent again. Network is headers of IP, TCP and UDP, and what the client's TCP sent again; what the server's TCP sent again the client cannot know in bytes, only its packets' headers are counted."},
	{Name: "connections and handshakes", Text: "Counted by both ends. A run in which they disagree has a problem, but for the restart: there the client may have begun what the server that went had no time to see."},
	{Name: "server CPU", Text: "User and system time of the server's process as the operating system counts it (getrusage)."},
	{Name: "repetitions", Text: "Where a scenario is done several times its rounds are interleaved: every run once before the next round. Figures are medians over them, with each value kept. Distributions, bytes and counts are those of the round whose first distribution, or figure, is in the middle."},
	{Name: "latency", Text: "From when a message was due by its sender's schedule until it was received, by one clock, that of the client's process. A message that could not be sent in time counts from when it was due. Every value is kept."},
}

// bytesHow says how the bytes of a transport were counted.
func bytesHow(transport string) string {
	if strings.HasSuffix(transport, "h3") {
		return "QUIC packets and stream frames as quic-go reports them at the client; 28 bytes of IPv4 and UDP headers for each datagram."
	}
	return "Counted at the client's connections above and below TLS; headers by the kernel's count of segments."
}
