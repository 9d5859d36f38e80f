package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/compare/result"
)

func TestLedgerAccountsForEveryMessage(t *testing.T) {
	l := newLedger(20, 2)
	first, second := l.message(time.Now()), l.message(time.Now())
	assert.Len(t, first, 20)
	assert.NotEqual(t, first, second)
	l.enter(first, 0)
	l.enter(first, 1)
	l.enter(second, 0)
	assert.Equal(t, "1 of 4 messages did not arrive", l.problem())
	assert.Equal(t, result.Messages{Sent: 4, Received: 3, Lost: 1}, l.messages())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, l.settle(over))

	settled := make(chan error)
	go func() { settled <- l.settle(t.Context()) }() // ends when the last message has come
	l.enter(second, 1)
	require.NoError(t, <-settled)
	assert.Empty(t, l.problem())

	l.enter(second, 1)
	assert.Equal(t, "1 messages arrived twice", l.problem())
	m := newLedger(20, 1)
	m.enter([]byte("00000000000000ff...."), 0)
	m.enter([]byte("not a number........"), 0)
	m.enter([]byte("short"), 0)
	assert.Equal(t, "3 messages arrived that nobody had sent", m.problem())
}

func TestLatencyCountsFromWhenAMessageWasDue(t *testing.T) {
	l := newLedger(16, 1)
	l.enter(l.message(time.Now().Add(-3*time.Second)), 0)
	assert.GreaterOrEqual(t, l.latencies[0], 3000.0)
}

func TestDistributionIsOfValuesThatOccurred(t *testing.T) {
	var v []float64
	for i := 1000; i > 0; i-- {
		v = append(v, float64(i))
	}
	d := distribution("k", "n", "how.", v)[0]
	assert.Equal(t, []float64{500, 900, 990, 1000}, []float64{d.P50, d.P90, d.P99, d.Max})
	assert.Equal(t, result.Point{Value: 1000, Fraction: 1}, d.Points[len(d.Points)-1])
	for i := 1; i < len(d.Points); i++ {
		assert.Greater(t, d.Points[i].Value, d.Points[i-1].Value)
		assert.Equal(t, d.Points[i].Value/1000, d.Points[i].Fraction)
	}
	assert.Nil(t, distribution("k", "n", "how.", nil))
	one := distribution("k", "n", "how.", []float64{7})[0]
	assert.Equal(t, []result.Point{{Value: 7, Fraction: 1}}, one.Points)
}

func TestMiddleOfRoundsHasMediansAndEveryProblem(t *testing.T) {
	run := func(v, p50 float64, problem string) *result.Run {
		return &result.Run{
			Problem: problem, Figures: []result.Figure{{Key: "f", Value: v}},
			Distributions: []result.Distribution{{P50: p50}},
		}
	}
	m := middle([]*result.Run{run(1, 30, ""), run(5, 10, "lost"), run(3, 20, "")})
	assert.Equal(t, "lost", m.Problem)
	assert.Equal(t, 3.0, m.Figures[0].Value)
	assert.ElementsMatch(t, []float64{1, 3, 5}, m.Figures[0].Each)
	assert.Equal(t, 20.0, m.Distributions[0].P50)
	alone := middle([]*result.Run{run(1, 30, "")})
	assert.Empty(t, alone.Figures[0].Each)
}

func TestChoiceOfScenariosAndTransports(t *testing.T) {
	all, err := choose(scenarios(false), "", "")
	require.NoError(t, err)
	assert.Len(t, all, 7)
	some, err := choose(scenarios(true), "7, 1", "ws-h3,sse-h2")
	require.NoError(t, err)
	require.Len(t, some, 2)
	assert.Equal(t, 7, some[0].number)
	assert.Len(t, some[1].plans, 4)
	for _, wrong := range [][2]string{{"8", ""}, {"x", ""}, {"", "carrier-pigeon"}} {
		_, err := choose(scenarios(true), wrong[0], wrong[1])
		assert.Error(t, err)
	}
}

// Nor does a message take 0 µs where it does not say how much time has been used.
func TestTimeIsWhatTheSystemTells(t *testing.T) {
	s := new(session)
	s.cpu("k", "n", usage{}, usage{}, 2, "how.")
	assert.Empty(t, s.run.Figures)
	s.cpu("k", "n", usage{CPU: time.Millisecond}, usage{CPU: 2 * time.Millisecond}, 2, "how.")
	require.Len(t, s.run.Figures, 1)
	assert.Equal(t, 500.0, s.run.Figures[0].Value)
}

// Where the system does not say how much memory is resident no socket takes 0 bytes.
func TestMemoryIsWhatTheSystemTells(t *testing.T) {
	keys := func(before, after usage) (list []string) {
		s := &session{plan: plan{Sockets: 2}}
		s.memory(before, after)
		for _, f := range s.run.Figures {
			list = append(list, f.Key)
		}
		return list
	}
	assert.Equal(t, []string{result.HeapPerSocket, result.GoroutinesPer}, keys(usage{Heap: 1}, usage{Heap: 2}))
	assert.Equal(t, []string{result.RSSPerSocket, result.HeapPerSocket, result.GoroutinesPer}, keys(usage{RSS: 1}, usage{RSS: 2}))
}
