package result

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a made-up report with every kind of thing in it, for those who render
// reports.
func sample(t *testing.T) (r Report, text []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/sample.json")
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&r))
	return r, text
}

func TestJSONKeepsEverything(t *testing.T) {
	r, text := sample(t)
	again, err := json.Marshal(r)
	require.NoError(t, err)
	assert.JSONEq(t, string(text), string(again))
}

func TestSampleIsAReport(t *testing.T) {
	r, _ := sample(t)
	var names []string
	for _, tr := range r.Transports {
		names = append(names, tr.ID)
	}
	assert.Equal(t, []string{WebSocketH1, WebSocketH2, WebSocketH3, EventsH1, EventsH2, PollingH1, PollingH2}, names)
	for i, s := range r.Scenarios {
		assert.Equal(t, i+1, s.Number)
		for _, run := range s.Runs {
			assert.Contains(t, names, run.Transport)
			for _, d := range []Direction{run.Bytes.Up, run.Bytes.Down} {
				assert.Equal(t, d.Total, d.Payload+d.Framing+d.HTTP+d.Security+d.Network)
			}
			for _, d := range run.Distributions {
				assert.Equal(t, 1.0, d.Points[len(d.Points)-1].Fraction)
				assert.LessOrEqual(t, d.P50, d.P99)
			}
		}
	}
	assert.Len(t, r.Scenarios, 7)
}
