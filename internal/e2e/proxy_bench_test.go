package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
)

// byteCopy copies bytes between each connection that l accepts and one to the
// authority: what a proxy that knows of no more than bytes does, by the kernel's splice
// where there is one, or through buffers of the program's. It returns l's authority.
func byteCopy(t testing.TB, l net.Listener, authority string, splice bool) string {
	var all sync.WaitGroup
	join := func(to, from net.Conn) {
		defer to.Close()
		if splice {
			_, _ = io.Copy(to, from)
			return
		}
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
	}
	all.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", authority)
			if err != nil {
				front.Close()
				continue
			}
			all.Go(func() { join(back, front) })
			all.Go(func() { join(front, back) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// A way is how messages of 64 KiB get from one end to the other.
type way struct {
	Front, Back string // transports
	Between     string // copySplice, copyBuffers, aProxy, or "" for nothing
}

// What stands between the two ends.
const (
	copySplice  = "copy by splice"
	copyBuffers = "copy by buffers"
	copyTLS     = "copy that ends TLS" // by buffers
	aProxy      = "proxy"
)

func (w way) String() string {
	switch w.Between {
	case aProxy, copyTLS:
		return w.Front + " to " + w.Back + " " + w.Between
	case "":
		return w.Front + " direct"
	}
	return w.Front + " " + w.Between
}

// proxyWays are ways through a ReverseProxy.
var proxyWays = []way{
	{"h1", "h1", aProxy},
	{"h1", "h2c", aProxy},
	{"h2c", "h1", aProxy},
	{"h2c", "h2c", aProxy},
	{"h1+TLS", "h1", aProxy},
	{"h2", "h1", aProxy},
	{"h2", "h2c", aProxy},
}

// withoutTLS are the transports that are others inside TLS.
var withoutTLS = map[string]string{"h1+TLS": "h1", "h2": "h2c"}

// beside returns the ways with which one through a ReverseProxy is compared: straight,
// and through a copy between two connections whose endpoints speak the same protocol
// straight through it. There is no copy where a ReverseProxy translates: it is compared
// with that of the dearer one of the two protocols. A copy of TCP's bytes does not see
// into TLS, which a ReverseProxy ends: where that is all that tells the two ends apart,
// there is a copy that ends it as well.
func (w way) beside() []way {
	protocols := []string{"h1", "h2c", "h1+TLS", "h2"}
	dearer := protocols[max(slices.Index(protocols, w.Front), slices.Index(protocols, w.Back))]
	ways := []way{{dearer, dearer, copySplice}, {dearer, dearer, copyBuffers}, {dearer, dearer, ""}}
	if withoutTLS[w.Front] == w.Back {
		ways = append(ways, way{w.Front, w.Back, copyTLS})
	}
	return ways
}

// courseLimits have nobody ping.
var courseLimits = websocket.Limits{PingInterval: -1}

const courseMessage = 64 << 10

// backend serves a way's far end, and returns its authority.
func (w way) backend(b *testing.B) string {
	tr := transportNamed(w.Back)
	return tr.listen(b, tr.handler(b, &websocket.AcceptOptions{Limits: courseLimits}, serveCourse))
}

// middle serves what is between, which goes on to this authority, and returns its own.
func (w way) middle(b *testing.B, authority string) string {
	switch w.Between {
	case "":
		return authority
	case aProxy:
		back := transportNamed(w.Back)
		dialer := newDialer(b, back.bootstrap)
		dialer.TLSClientConfig.InsecureSkipVerify = true // each process has certificates of its own
		return transportNamed(w.Front).listen(b, reverseProxy(dialer, back, authority))
	case copyTLS:
		config, _ := wstest.Certificates()
		config.NextProtos = map[string][]string{"h2": {"h2"}}[w.Front]
		return byteCopy(b, tls.NewListener(listener(b), config), authority, false)
	}
	return byteCopy(b, listener(b), authority, w.Between == copySplice)
}

// client opens a socket to this authority.
func (w way) client(b *testing.B, authority string, down bool) *course {
	tr := transportNamed(w.Front)
	_, config := wstest.Certificates()
	config.InsecureSkipVerify = true
	c, _, err := tr.dial(soon(b), tr.url(authority), &websocket.DialOptions{Limits: courseLimits, TLSClientConfig: config})
	require.NoError(b, err)
	return &course{client: c, down: down, message: random(1, courseMessage)}
}

// A course is the client's end of a way, with messages in one direction.
type course struct {
	client  *websocket.Conn
	down    bool // from server to client
	message []byte
}

// run sends n messages and waits until they have arrived.
func (c *course) run(b *testing.B, n int) {
	require.NoError(b, c.client.WriteJSON(context.Background(), task{n, c.down}))
	require.NoError(b, move(c.client, c.message, n, !c.down))
	_, _, err := c.client.Read(context.Background())
	require.NoError(b, err)
}

// A task is what a client asks of the server: to send so many messages, or to receive
// them, and to say then that it has.
type task struct {
	Messages int
	Down     bool
}

// serveCourse does tasks until the client has gone.
func serveCourse(c *websocket.Conn) {
	message := random(1, courseMessage)
	for {
		var t task
		if c.ReadJSON(context.Background(), &t) != nil ||
			move(c, message, t.Messages, t.Down) != nil ||
			c.Write(context.Background(), websocket.MessageText, []byte("done")) != nil {
			return
		}
	}
}

// move is one end's part of n messages.
func move(c *websocket.Conn, message []byte, n int, writes bool) (err error) {
	var p []byte
	for range n {
		if writes {
			err = c.Write(context.Background(), websocket.MessageBinary, message)
		} else {
			_, p, err = c.ReadInto(context.Background(), p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// directions are those of a course.
var directions = []struct {
	name string
	down bool
}{{"up", false}, {"down", true}}

// BenchmarkProxy is messages of 64 KiB from client to server, and the other way round,
// on each way alone, and all of it in one process.
func BenchmarkProxy(b *testing.B) {
	for _, d := range directions {
		var ways []way
		for _, w := range proxyWays {
			for _, w := range append(w.beside(), w) {
				if !slices.Contains(ways, w) {
					ways = append(ways, w)
				}
			}
		}
		for _, w := range ways {
			b.Run(d.name+"/"+w.String(), func(b *testing.B) {
				c := w.client(b, w.middle(b, w.backend(b)), d.down)
				b.SetBytes(courseMessage)
				b.ReportAllocs()
				b.ResetTimer()
				c.run(b, b.N)
				b.StopTimer()
				require.NoError(b, c.client.CloseNow())
			})
		}
	}
}

// BenchmarkProxyTurns compares a ReverseProxy with what is beside it: server, client and
// what is between them are processes of their own, and the ways take turns, so that a
// machine that is now quick and now slow is so to all of them. An operation is so many
// messages on each. It prints medians: of the time for a message, of the processor's
// time that what is between has used for it, and of the ReverseProxy's ratios to the
// copies.
func BenchmarkProxyTurns(b *testing.B) {
	if os.Getenv(isParty) != "" {
		beParty(b)
		return
	}
	for _, d := range directions {
		for _, w := range proxyWays {
			b.Run(d.name+"/"+w.String(), func(b *testing.B) { w.takeTurns(b, d.down) })
		}
	}
}

func (w way) takeTurns(b *testing.B, down bool) {
	const messages = 1024
	backend, middle := startParty(b), startParty(b)
	ways := append(w.beside(), w)
	courses := make([]*course, len(ways))
	for i, w := range ways {
		authority := backend.ask(b, order{Way: w})
		authority = middle.ask(b, order{Way: w, Backend: authority})
		courses[i] = w.client(b, authority, down)
		courses[i].run(b, messages)
	}
	processor := func() float64 {
		var nanoseconds float64
		_, err := fmt.Sscan(middle.ask(b, order{Processor: true}), &nanoseconds)
		require.NoError(b, err)
		return nanoseconds / 1000
	}
	took, used := make([][]float64, len(ways)), make([][]float64, len(ways))
	for b.Loop() {
		for i, c := range courses {
			before, begun := processor(), time.Now()
			c.run(b, messages)
			took[i] = append(took[i], float64(time.Since(begun).Microseconds())/messages)
			used[i] = append(used[i], (processor()-before)/messages)
		}
	}
	for i, w := range ways {
		require.NoError(b, courses[i].client.CloseNow())
		fmt.Printf("%-28s %6.1f µs, %5.1f µs of a processor between", w, median(took[i]), median(used[i]))
		for k := range ways {
			if w.Between != aProxy || ways[k].Between == "" || k == i {
				continue
			}
			ratios := make([]float64, len(took[i]))
			for n := range ratios {
				ratios[n] = took[i][n] / took[k][n]
			}
			fmt.Printf("  %.2f × %s", median(ratios), ways[k].Between)
		}
		fmt.Println()
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// isParty is the environment's variable that makes a process a party of
// BenchmarkProxyTurns.
const isParty = "E2E_PROXY_TURNS_PARTY"

// A process is another one of this test binary, which runs a benchmark that knows by the
// environment what it is there for: until its input ends.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
	lines *bufio.Scanner // of out
}

// startProcess starts one for the benchmark whose name matches a pattern, with this
// variable set.
func startProcess(b *testing.B, pattern, variable string) *process {
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench="+pattern, "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	return &process{cmd, in, out, bufio.NewScanner(out)}
}

// end lets it end and waits for that.
func (p *process) end(b *testing.B) {
	require.NoError(b, p.in.Close())
	_, _ = io.Copy(io.Discard, p.out)
	require.NoError(b, p.cmd.Wait())
}

// after returns what stands behind a word in the next line that has it.
func (p *process) after(b *testing.B, word string) string {
	var said []string
	for p.lines.Scan() {
		said = append(said, p.lines.Text())
		if _, rest, ok := strings.Cut(p.lines.Text(), word+" "); ok {
			return rest
		}
	}
	b.Fatalf("the other process did not say %q: %q", word, said)
	return ""
}

// A party is a process that does what it is ordered.
type party struct{ *process }

// An order is for a party: to serve the far end of a way, or what is between, or to say
// how much of the processor it has used, in nanoseconds.
type order struct {
	Way       way
	Backend   string // of what is between
	Processor bool
}

// answer comes before what a party answers.
const answer = "party:"

func startParty(b *testing.B) party {
	p := party{startProcess(b, "^BenchmarkProxyTurns$", isParty)}
	b.Cleanup(func() { p.end(b) })
	return p
}

func (p party) ask(b *testing.B, o order) string {
	require.NoError(b, json.NewEncoder(p.in).Encode(o))
	return p.after(b, answer)
}

func beParty(b *testing.B) {
	for orders := json.NewDecoder(os.Stdin); ; {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		w := o.Way
		switch {
		case o.Processor:
			fmt.Println(answer, processorTime())
		case o.Backend != "":
			fmt.Println(answer, w.middle(b, o.Backend))
		default:
			fmt.Println(answer, w.backend(b))
		}
	}
}
