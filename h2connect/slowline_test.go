package h2connect

import (
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wsmux/websocket/internal/wstest"
	"golang.org/x/net/http2"
)

// A slowLine carries bytes one after the other at a rate, and each for a while. What
// it has no room for waits in the pipe that it reads from, as in a kernel.
type slowLine struct {
	rate  int64 // bytes per second; 0: any
	delay time.Duration
}

// linePacket is what a line carries at once.
const linePacket = 1500

// run carries what comes from one end to the other until one of them is closed. It
// starts a goroutine for the bytes on their way, which ends then too.
func (l slowLine) run(to, from net.Conn) {
	type packet struct {
		data []byte
		at   time.Time
	}
	onTheWay, arrived := make(chan packet, 1<<16), make(chan struct{})
	defer func() {
		close(onTheWay)
		<-arrived
	}()
	go func() {
		defer close(arrived)
		defer to.Close()
		for p := range onTheWay {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.data); err != nil {
				return
			}
		}
	}()
	for {
		data := make([]byte, linePacket)
		n, err := from.Read(data)
		if err != nil {
			return
		}
		if l.rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(l.rate))
		}
		onTheWay <- packet{data[:n], time.Now().Add(l.delay)}
	}
}

// clientBehind plays a client at the far end of a line to a server whose kernel
// holds no more than buffer for it.
func clientBehind(t *testing.T, l slowLine, buffer int, h http.Handler) *peer {
	ours, near := wstest.Pipe(wstest.PipeOptions{Buffer: buffer})
	far, theirs := wstest.Pipe(wstest.PipeOptions{})
	var lines sync.WaitGroup
	lines.Go(func() { l.run(far.NetConn(), near.NetConn()) })
	lines.Go(func() { slowLine{delay: l.delay}.run(near.NetConn(), far.NetConn()) })
	conf, text := &Server{}, &logBuffer{}
	s := newServer(&http.Server{Handler: h, ErrorLog: log.New(text, "", 0)}, conf)
	conf.attach(s)
	p := playClient(t, ours.NetConn(), theirs.NetConn(), s, conf, text)
	t.Cleanup(func() {
		p.hangUp()
		near.NetConn().Close()
		far.NetConn().Close()
		lines.Wait()
	})
	return p
}

// Beside a download that fills a line of 20 Mbit/s and 40 ms, a socket's message
// takes hardly longer than on the line alone, and the download has all of it: where
// TCP's round trip is the line's, and where there is a proxy before the line.
func TestSocketBesideADownloadOnASlowLine(t *testing.T) {
	const rtt, rate = 40 * time.Millisecond, 20e6 / 8
	for name, tcp := range map[string]network{
		"direct": {rtt: rtt, window: 1 << 17},
		"proxy":  {rtt: 100 * time.Microsecond, window: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := clientBehind(t, slowLine{rate, rtt / 2}, notSentLowat+batchBytes, http.HandlerFunc(endlessAndEcho))
				p.ours.network = func() (network, bool) { return tcp, true }
				p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				p.fr.WriteWindowUpdate(0, 1<<30)
				p.headers(1, false, connect()...)
				p.wantStatus(1, "200", false, "a socket")
				p.headers(3, true, get("/")...)

				const settles, lasts = 3 * time.Second, 10 * time.Second
				var came int
				var took []time.Duration
				begin, sent := time.Now(), time.Time{}
				for time.Since(begin) < settles+lasts {
					if sent.IsZero() {
						sent = time.Now()
						p.fr.WriteData(1, false, []byte("quick"))
					}
					f, err := p.fr.ReadFrame()
					require.NoError(t, err)
					measured := time.Since(begin) > settles
					switch f := f.(type) {
					case *http2.PingFrame:
						p.fr.WritePing(true, f.Data)
					case *http2.DataFrame:
						if measured {
							came += len(f.Data())
						}
						if f.StreamID != 1 {
							continue
						}
						if measured {
							took = append(took, time.Since(sent))
						}
						sent = time.Time{}
					}
				}
				assert.GreaterOrEqual(t, len(took), 100)
				slices.Sort(took)
				most, worst := took[len(took)*19/20]-rtt, took[len(took)-1]-rtt
				assert.Less(t, most, 30*time.Millisecond)
				assert.Less(t, worst, 100*time.Millisecond, "behind a pause everything is sent at once")
				share := float64(came) / rate / lasts.Seconds()
				assert.Greater(t, share, 0.95)
				t.Logf("%v beyond the round trip, %v at most, %.3f of the line", most, worst, share)
			})
		})
	}
}
