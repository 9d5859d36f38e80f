package autobahn

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTableHasTheSuitesCases(t *testing.T) {
	want := map[int]int{1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}
	got, seen, total := make(map[int]int), make(map[string]bool), 0
	for _, c := range Cases() {
		assert.False(t, seen[c.ID], "%s is there twice", c.ID)
		seen[c.ID] = true
		assert.NotEmpty(t, c.Title, c.ID)
		assert.NotEmpty(t, c.Expectation, c.ID)
		assert.NotEmpty(t, GroupName(c.ID), c.ID)
		if Category(c.ID) < 20 {
			got[Category(c.ID)]++
			total++
		}
	}
	assert.Equal(t, want, got)
	assert.Equal(t, 517, total)
}
