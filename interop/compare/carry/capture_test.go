package carry

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A way is what a capture saw going one way.
type way struct{ bytes, packets int64 }

// A capture is tcpdump, looking at one port of the loopback device. It counts what
// the meter counts: IP packets with their headers.
type capture struct {
	cmd      *exec.Cmd
	out      *bufio.Reader
	said     *bufio.Reader
	port     uint16
	sentinel *net.UDPConn

	up, down way
	syns     int
	hellos   int
	quic     map[string]struct{} // connection IDs that clients chose
	next     map[uint16]uint32   // the sequence number behind what the server has sent, by the client's port
	again    int64               // bytes that the server's TCP has sent again
}

// required makes a test that cannot do its work fail where INTEROP_REQUIRE is set,
// and be skipped otherwise.
func required(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRE") != "" {
		require.FailNow(t, reason)
	}
	t.Skip(reason)
}

// startCapture returns when the capture sees packets.
func startCapture(t *testing.T, port uint16) *capture {
	t.Helper()
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		required(t, "tcpdump is not there: apt-get install tcpdump")
	}
	if os.Geteuid() != 0 {
		required(t, "capturing needs root")
	}
	c := &capture{port: port, quic: make(map[string]struct{}), next: make(map[uint16]uint32)}
	c.cmd = exec.Command(path, "-i", "lo", "-n", "-U", "--immediate-mode", "-B", "65536", "-s", "256", "-w", "-", "port", strconv.Itoa(int(port)))
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	said, err := c.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it has ended if all went well
		_ = c.cmd.Wait()
	})
	c.out, c.said = bufio.NewReader(out), bufio.NewReader(said)
	for {
		line, err := c.said.ReadString('\n')
		require.NoError(t, err, "tcpdump ends: %s", line)
		if strings.Contains(line, "listening on") {
			break
		}
	}
	c.sentinel, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	require.NoError(t, err)
	t.Cleanup(func() { c.sentinel.Close() })
	return c
}

// pcapHeader is the length of a capture file's header, and pcapPacket that of each
// packet's.
const (
	pcapHeader = 24
	pcapPacket = 16
	ethernet   = 14
)

// count reads the capture up to a packet of the sentinel's, which is sent now: so
// everything before has been seen.
func (c *capture) count(t *testing.T) {
	t.Helper()
	_, err := c.sentinel.Write([]byte("that is all"))
	require.NoError(t, err)
	last := uint16(c.sentinel.LocalAddr().(*net.UDPAddr).Port)
	head := make([]byte, pcapHeader)
	_, err = io.ReadFull(c.out, head)
	require.NoError(t, err)
	require.Equal(t, uint32(0xa1b2c3d4), binary.LittleEndian.Uint32(head), "pcap, microseconds, little endian")
	require.Equal(t, uint32(1), binary.LittleEndian.Uint32(head[20:]), "link type Ethernet")
	for {
		h := make([]byte, pcapPacket)
		_, err := io.ReadFull(c.out, h)
		require.NoError(t, err)
		data := make([]byte, binary.LittleEndian.Uint32(h[8:]))
		_, err = io.ReadFull(c.out, data)
		require.NoError(t, err)
		if c.packet(t, data[ethernet:], last) {
			break
		}
	}
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGINT))
	said, err := io.ReadAll(c.said)
	require.NoError(t, err)
	require.Contains(t, string(said), "\n0 packets dropped by kernel", "the capture is complete")
}

// packet counts an IPv4 packet, and reports whether it is the sentinel's.
func (c *capture) packet(t *testing.T, ip []byte, last uint16) bool {
	require.Equal(t, byte(4), ip[0]>>4, "IPv4")
	total := int64(binary.BigEndian.Uint16(ip[2:]))
	above := ip[int(ip[0]&15)*4:]
	from, to := binary.BigEndian.Uint16(above), binary.BigEndian.Uint16(above[2:])
	if from == last || to == last {
		return from == last
	}
	w := &c.down
	if to == c.port {
		w = &c.up
	}
	w.bytes += total
	w.packets++
	const tcp, udp = 6, 17
	if to != c.port {
		if ip[9] == tcp {
			c.sentAgain(to, binary.BigEndian.Uint32(above[4:]), total-int64(ip[0]&15)*4-int64(above[12]>>4)*4)
		}
		return false
	}
	switch ip[9] {
	case tcp:
		const syn = 2
		if above[13]&syn != 0 {
			c.syns++
		}
		// A TLS record of type handshake that begins with a ClientHello.
		content := above[int(above[12]>>4)*4:]
		if len(content) > 5 && content[0] == 22 && content[5] == 1 {
			c.hellos++
		}
	case udp:
		// An Initial packet (RFC 9000 §17.2.2): flags, version, then the connection
		// IDs, each behind its length.
		content := above[8:]
		if content[0]&0xf0 == 0xc0 {
			n := int(content[5])
			source := content[6+n:]
			c.quic[string(source[1:1+int(source[0])])] = struct{}{}
		}
	}
	return false
}

// sentAgain looks whether n bytes of the server's to a port of a client's have been
// sent before: then only the headers count, as the client cannot know more.
func (c *capture) sentAgain(to uint16, seq uint32, n int64) {
	end := seq + uint32(n)
	if before, ok := c.next[to]; ok && n > 0 && int32(end-before) <= 0 {
		c.again += n
		c.down.bytes -= n
		return
	}
	c.next[to] = end
}

// within1Percent compares.
func within1Percent(t *testing.T, captured, counted int64, what string) {
	t.Helper()
	off := math.Abs(float64(counted-captured)) / float64(captured)
	assert.LessOrEqual(t, off, 0.01, "%s: %d captured, %d counted", what, captured, counted)
	t.Logf("%s: %d captured, %d counted, %.3f %% off", what, captured, counted, off*100)
}

// Bytes on the wire agree with a packet capture within 1 %; connections and
// handshakes exactly.
func TestMeterAgreesWithCapture(t *testing.T) {
	// What quic-go leaves to the kernel to split into datagrams, loopback does not
	// split, and a capture shows as one, which no other network would carry.
	t.Setenv("QUIC_GO_DISABLE_GSO", "true")
	for _, name := range transports {
		t.Run(name, func(t *testing.T) {
			base, roots := serve(t)
			seen := startCapture(t, port(t, base))
			c, err := NewClient(name, base, roots)
			require.NoError(t, err)
			const channels, each = 5, 100
			var wg sync.WaitGroup
			for i := range channels {
				more := make(chan struct{}, each)
				ch, err := c.Open(t.Context(), Options{
					Name: fmt.Sprint(name, i), Received: func([]byte) { more <- struct{}{} },
					Ended: func(err error) { t.Errorf("ended: %v", err) },
				})
				require.NoError(t, err)
				wg.Go(func() {
					for range each {
						if !assert.NoError(t, ch.Send(t.Context(), bytes.Repeat([]byte("m"), 64))) {
							return
						}
						<-more
					}
					assert.NoError(t, ch.Close(t.Context()))
				})
			}
			wg.Go(func() {
				for range 5 {
					assert.NoError(t, c.Get(t.Context(), 20_000))
				}
			})
			wg.Wait()
			c.Close()
			seen.count(t)

			total := c.Meter().Now()
			within1Percent(t, seen.up.bytes, total.Up.Wire(), "bytes up")
			within1Percent(t, seen.down.bytes, total.Down.Wire(), "bytes down")
			t.Logf("sent again by the server's TCP, of which the client knows the packets only: %d bytes", seen.again)
			t.Logf("packets: %d up and %d down captured, %d and %d counted", seen.up.packets, seen.down.packets, total.Up.Packets, total.Down.Packets)
			if strings.HasSuffix(name, "h3") {
				assert.Equal(t, len(seen.quic), total.Connections, "QUIC connections")
				assert.Equal(t, len(seen.quic), total.Handshakes, "handshakes: one for each QUIC connection")
				return
			}
			assert.Equal(t, seen.syns, total.Connections, "connections")
			assert.Equal(t, seen.hellos, total.Handshakes, "TLS handshakes")
		})
	}
}

func port(t *testing.T, u *url.URL) uint16 {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	require.NoError(t, err)
	return uint16(n)
}
