package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The processes of a measurement are this test's program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == taskFlag {
		if err := runTask(os.Args[2]); err != nil {
			io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func init() {
	add("liar", &contender{
		about: "answers with another byte now and then", transport: "raw",
		serve: func(load) (ready, error) {
			return serveRaw(func(c io.ReadWriter) {
				r := rawReader{in: c}
				for n := 0; ; n++ {
					m, err := r.next()
					if err != nil {
						return
					}
					if n%10 == 9 {
						m[len(m)-1]++
					}
					c.Write(m)
				}
			})
		},
		client: contenders["raw TLS"].client,
	})
}

func TestEveryContenderCarriesEveryLoad(t *testing.T) {
	const d = 500 * time.Millisecond
	loads := map[string]load{
		"echo":  {Kind: echoing, Size: 1 << 10, Sockets: 3, Time: d},
		"large": {Kind: echoing, Size: 1 << 20, Sockets: 1, Time: d},
		"paced": {Kind: echoing, Size: 32, Sockets: 10, Idle: 5, Rate: 2000, Time: d},
		"open":  {Kind: opening, Sockets: 5},
		"idle":  {Kind: idling, Sockets: 20, Conns: 2},
	}
	for _, name := range order {
		t.Run(name, func(t *testing.T) {
			for kind, l := range loads {
				f, err := measure(t.Context(), name, l)
				require.NoError(t, err, kind)
				assert.Positive(t, f.Count, kind)
				if l.Kind != idling {
					assert.Positive(t, f.Messages, kind)
					assert.Positive(t, f.ServerCPU, kind)
				}
				if l.Kind == echoing {
					assert.Positive(t, f.P50, kind)
					assert.GreaterOrEqual(t, f.P99, f.P50, kind)
				}
			}
		})
	}
}

func TestBroadcastAndCompression(t *testing.T) {
	const d = 500 * time.Millisecond
	for _, l := range []load{
		{Kind: broadcasting, Size: 1 << 10, Sockets: 10, Time: d},
		{Kind: echoing, Size: 1 << 10, Sockets: 3, Deflate: true, Time: d},
		{Kind: echoing, Size: 64, Sockets: 1, Bulk: 2, Time: 2 * d},
	} {
		for _, b := range benchmarks(d) {
			if b.load.Kind != l.Kind || b.load.Deflate != l.Deflate || b.load.Bulk != l.Bulk && b.load.Bulk != 8 {
				continue
			}
			if b.load.Kind == echoing && b.load.Bulk == 0 && !l.Deflate {
				continue
			}
			for _, name := range b.contenders {
				f, err := measure(t.Context(), name, l)
				require.NoError(t, err, "%s: %s", b.name, name)
				assert.Positive(t, f.Messages, "%s: %s", b.name, name)
				assert.Equal(t, l.Bulk > 0, f.Bulk > 0, "%s: %s", b.name, name)
			}
		}
	}
}

func TestWrongByteEndsTheMeasurement(t *testing.T) {
	_, err := measure(t.Context(), "liar", load{Kind: echoing, Size: 32, Sockets: 1, Time: time.Second})
	require.ErrorContains(t, err, "not what was sent")
}

func TestInterruptedMeasurementLeavesNoProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(200*time.Millisecond, cancel).Stop()
	_, err := measure(ctx, "raw TLS", load{Kind: echoing, Size: 32, Sockets: 1, Time: time.Minute})
	require.Error(t, err)
	require.ErrorIs(t, ctx.Err(), context.Canceled, "not for another reason")
}

func TestVerdictComparesWithTheBest(t *testing.T) {
	b := benchmark{name: "case", contenders: []string{"h1 loop", "gorilla", "gws"}}
	r := newReport([]benchmark{b}, 3, time.Second)
	for i, cpu := range [][]time.Duration{{9, 3, 2}, {5, 4, 5}, {8, 4, 4}} {
		for _, d := range cpu {
			r.Results[i].Rounds = append(r.Results[i].Rounds, figures{ServerCPU: d * 1000, Messages: float64(d)})
		}
	}
	lower := r.verdict(b, goal{"h1 loop", serverCPU, []string{"gorilla", "gws"}, 0.75})
	assert.Equal(t, "h1 loop, server CPU µs: 0.75 × gws's (to reach: at most 0.75) reached", lower)
	higher := r.verdict(b, goal{"h1 loop", perSecond, []string{"gorilla", "gws"}, 1})
	assert.Equal(t, "h1 loop, messages/s: 0.60 × gorilla's (to reach: at least 1) NOT REACHED", higher)
	assert.Empty(t, r.verdict(b, goal{"h2 loop", perSecond, []string{"gws"}, 1}), "not measured")
}

func TestReportShowsFailures(t *testing.T) {
	b := benchmark{name: "case", contenders: []string{"gws"}, shows: []metric{perSecond}}
	r := newReport([]benchmark{b}, 1, time.Second)
	r.Results[0].Failures = []string{"it broke"}
	var out strings.Builder
	r.print(&out)
	assert.Contains(t, out.String(), "FAILED gws: it broke")
	assert.Contains(t, out.String(), "failed")
}

func TestOrderNamesAllContenders(t *testing.T) {
	for name := range contenders {
		assert.True(t, name == "liar" || slices.Contains(order, name), name)
	}
	assert.Len(t, order, len(contenders)-1)
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		assert.Equal(t, want, grouped(n))
	}
}
