package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wsmux/websocket/interop/compare/result"
)

func TestCompareTellsDifferencesFromNoise(t *testing.T) {
	one := func(v float64) amount { return amount{value: v} }
	repeated := func(v float64, each ...float64) amount { return amount{value: v, each: each} }
	exact := func(v float64) amount { return amount{value: v, exact: true} }
	for _, c := range []struct {
		name string
		a, b amount
		want int
	}{
		{"equal", one(3), one(3), 0},
		{"a fifth more", one(10), one(12), 0},
		{"a quarter more", one(10), one(12.5), -1},
		{"a quarter less", one(12.5), one(10), 1},
		{"a tenth more, repetitions apart", repeated(10, 9, 10, 10.5), repeated(11, 10.6, 11, 12), -1},
		{"a tenth more, repetitions overlap", repeated(10, 9, 10, 10.7), repeated(11, 10.6, 11, 12), 0},
		{"twice as much, repetitions overlap", repeated(10, 8, 10, 25), repeated(20, 9, 20, 22), 0},
		{"less than a tenth more, repetitions apart", repeated(10, 9.9, 10), repeated(10.9, 10.8, 11), 0},
		{"a tenth more, one was not repeated", repeated(10, 9, 10), one(11), 0},
		{"counts", exact(100), exact(101), -1},
		{"equal counts", exact(1), exact(1), 0},
		{"nothing and something", one(0), one(.1), -1},
	} {
		assert.Equal(t, c.want, compare(c.a, c.b), c.name)
	}
}

// ofCPU is a report of scenario 2 with these CPU times for a message.
func ofCPU(values map[string]float64) *view {
	s := result.Scenario{Number: 2}
	for _, id := range []string{result.WebSocketH1, result.WebSocketH2, result.WebSocketH3} {
		if v, ok := values[id]; ok {
			s.Runs = append(s.Runs, result.Run{Transport: id, Figures: []result.Figure{{Key: result.CPUPerMessage, Name: "server CPU per message", Unit: "µs", Value: v}}})
		}
	}
	return newView(&result.Report{Scenarios: []result.Scenario{s}})
}

func answer(v *view) advice {
	return choose(v, v.scenario(2), question{"x", 2, anyCondition, nil, figureOf(result.CPUPerMessage), ""})
}

func TestChoiceOfTheLeast(t *testing.T) {
	a := answer(ofCPU(map[string]float64{result.WebSocketH1: 20, result.WebSocketH2: 5, result.WebSocketH3: 30}))
	assert.True(t, a.Follows)
	assert.Equal(t, "WebSocket h2", a.Use)
	assert.Equal(t, "server CPU per message: WebSocket h2 5 µs; against WebSocket h1 20 µs, WebSocket h3 30 µs", a.Because)
	assert.Equal(t, "least server CPU per message", a.Rule)

	a = answer(ofCPU(map[string]float64{result.WebSocketH1: 6, result.WebSocketH2: 5, result.WebSocketH3: 30}))
	assert.Equal(t, "WebSocket h2 or WebSocket h1", a.Use)
}

// The one in the middle differs from the least, and the greatest, whose repetitions go
// from less to more than any, does not.
func TestWhatCountsAsEqualToTheLeastIsChosenToo(t *testing.T) {
	v := ofCPU(map[string]float64{result.WebSocketH1: 10, result.WebSocketH2: 12, result.WebSocketH3: 13})
	for i, each := range [][]float64{{9.9, 10, 10.1}, {11.9, 12, 12.1}, {9, 13, 20}} {
		v.scenario(2).runs[i].Figures[0].Each = each
	}
	a := answer(v)
	assert.Equal(t, "WebSocket h1 or WebSocket h3", a.Use)
	assert.Equal(t, "server CPU per message: WebSocket h1 10 µs, WebSocket h3 13 µs; against WebSocket h2 12 µs", a.Because)
}

func TestNoChoiceFollows(t *testing.T) {
	for name, values := range map[string]map[string]float64{
		"within the noise": {result.WebSocketH1: 5.5, result.WebSocketH2: 5, result.WebSocketH3: 6},
		"fewer than two":   {result.WebSocketH1: 5},
		"fewer than two ":  {},
	} {
		a := answer(ofCPU(values))
		assert.False(t, a.Follows)
		assert.True(t, strings.HasPrefix(a.Use, "no choice follows: "), a.Use)
		assert.Contains(t, a.Use, strings.TrimSpace(name))
	}
}

func TestRunsWithProblemsDoNotCount(t *testing.T) {
	v := ofCPU(map[string]float64{result.WebSocketH1: 20, result.WebSocketH2: 5, result.WebSocketH3: 30})
	v.scenario(2).runs[1].Problem = "a message is missing"
	assert.Equal(t, "WebSocket h1", answer(v).Use)
}

func TestPercentileIsTheHighestThatAllSupport(t *testing.T) {
	for _, c := range []struct {
		a, b int
		want string
	}{{500, 10_000, "p99"}, {499, 10_000, "p90"}, {10_000, 50, "p90"}, {49, 10_000, "p50"}} {
		v := newView(&result.Report{Scenarios: []result.Scenario{{Runs: []result.Run{
			{Distributions: []result.Distribution{{Key: "x", Count: c.a}}},
			{Distributions: []result.Distribution{{Key: "x", Count: c.b}}},
		}}}})
		assert.Equal(t, c.want, supported("x", v.scenarios[0].runs)[0].name)
	}
}

// Every question of the summary is answered from the sample, by figures that are
// there.
func TestEveryQuestionIsAnswered(t *testing.T) {
	all := advise(newView(sample(t)))
	require.Len(t, all, len(questions))
	for _, a := range all {
		assert.NotContains(t, a.Use, "fewer than two", a.Have)
		assert.NotEmpty(t, a.Because, a.Have)
		assert.NotEmpty(t, a.Rule, a.Have)
	}
}

// ofLatency is a report of scenario 7 with these p99s of message latency at each
// loss, for WebSockets over HTTP/1.1, HTTP/2 and HTTP/3.
func ofLatency(number int, byLoss map[float64][3]float64) *view {
	s := result.Scenario{Number: number}
	for loss, values := range byLoss {
		for i, id := range sockets {
			if values[i] == 0 {
				continue
			}
			s.Runs = append(s.Runs, result.Run{Transport: id,
				Parameters:    []result.Parameter{{Key: result.Loss, Unit: "%", Value: loss}},
				Distributions: []result.Distribution{{Key: result.MessageLatency, Name: "message latency", Unit: "ms", Count: 1000, P99: values[i]}}})
		}
	}
	return newView(&result.Report{Scenarios: []result.Scenario{s}})
}

func text(v *view) string {
	return strings.Join(findings(v, v.scenarios[0]), "\n")
}

func TestFindingsSayWhenOneConnectionHurts(t *testing.T) {
	said := text(ofLatency(7, map[float64][3]float64{0: {50, 51, 52}, 3: {100, 300, 150}}))
	assert.Contains(t, said, "At 0 % loss the p99 of message latency was 51 ms over HTTP/2, 50 ms over HTTP/1.1 and 52 ms over HTTP/3. The one TCP connection did not hurt: between HTTP/2 and HTTP/1.1 the difference is within the noise. HTTP/3 made no difference")
	assert.Contains(t, said, "The one TCP connection hurt: HTTP/2 took 3 times as long as HTTP/1.1.")
	assert.Contains(t, said, "HTTP/3 helped: it took 0.5 times as long as HTTP/2.")
	assert.Contains(t, said, "hurt messages at 3 % loss, not at 0 % loss, and HTTP/3 was faster than HTTP/2 at 3 % loss, not at 0 % loss.")
}

// What shows in more of the messages, though not in the slowest, is found.
func TestFindingsLookAtLowerPercentiles(t *testing.T) {
	v := ofLatency(7, map[float64][3]float64{3: {170, 200, 110}})
	for i, p90 := range []float64{60, 130, 61} {
		v.scenarios[0].Runs[i].Distributions[0].P90 = p90
	}
	said := text(v)
	assert.Contains(t, said, "the p90 of message latency was 130 ms over HTTP/2, 60 ms over HTTP/1.1 and 61 ms over HTTP/3")
	assert.Contains(t, said, "The one TCP connection hurt: HTTP/2 took 2.2 times as long as HTTP/1.1.")
	assert.Contains(t, said, "At p99 it was not slower.")
}

func TestFindingsSayWhenItDoesNot(t *testing.T) {
	v := ofLatency(5, map[float64][3]float64{0: {200, 100, 300}})
	for i, rate := range []float64{2.4, 1.2, 2.5} {
		v.scenarios[0].Runs[i].Figures = []result.Figure{{Key: result.BulkRate, Name: "download", Unit: "MB/s", Value: rate}}
	}
	said := text(v)
	assert.Contains(t, said, "Meanwhile the download ran at 1.2 MB/s over HTTP/2, 2.4 MB/s over HTTP/1.1 and 2.5 MB/s over HTTP/3.")
	assert.Contains(t, said, "The one TCP connection did not hurt: HTTP/2 took 0.5 times as long as HTTP/1.1, which is less.")
	assert.Contains(t, said, "HTTP/3 did not help: it took 3 times as long as HTTP/2.")
	assert.Contains(t, said, "hurt messages at none of these conditions, and HTTP/3 was faster than HTTP/2 at none of these conditions.")
}

func TestFindingsSayThatNothingFollows(t *testing.T) {
	said := text(ofLatency(7, map[float64][3]float64{1: {200, 0, 300}}))
	assert.Contains(t, said, "nothing follows")
	assert.NotContains(t, said, "hurt:")
	assert.Empty(t, findings(newView(sample(t)), newView(sample(t)).scenario(1)))
}
