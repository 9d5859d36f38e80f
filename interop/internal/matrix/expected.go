package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A line is a row as it stands in a file.
type line struct {
	Row
	Cells map[Feature]Result `json:"cells"`
}

// MarshalJSON gives rows in order, each with its cells by name.
func (c Cells) MarshalJSON() ([]byte, error) {
	lines := make([]line, 0, len(c))
	for _, r := range c.rows() {
		lines = append(lines, line{r, c[r]})
	}
	return json.Marshal(lines)
}

// UnmarshalJSON is the opposite of MarshalJSON. A row that comes twice is an
// error.
func (c *Cells) UnmarshalJSON(p []byte) error {
	var lines []line
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(&lines); err != nil {
		return err
	}
	*c = make(Cells)
	for _, l := range lines {
		if _, ok := (*c)[l.Row]; ok {
			return fmt.Errorf("twice: %v", l.Row)
		}
		(*c)[l.Row] = l.Cells
	}
	return nil
}

// Load reads expected.json.
func Load(path string) (Cells, error) {
	p, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c Cells
	if err := json.Unmarshal(p, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Save writes expected.json.
func (c Cells) Save(path string) error {
	p, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(p, '\n'), 0o644)
}

// find returns the path of expected.json, which lies in the directory of the
// interop module, above that of the suite.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "expected.json")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no expected.json above the test's directory")
		}
		dir = filepath.Dir(dir)
	}
}

// Found is what one suite has found.
type Found struct {
	Suite   string
	Partial bool              // some of its tests were not asked for
	Missing map[string]string // peers that could not be had, and why
	Cells   Cells
}

// Compare returns the differences between what was found and what is expected
// of the same suite, a line each.
func (f *Found) Compare(expected Cells) []string {
	var diff []string
	say := func(r Row, feature Feature, format string, args ...any) {
		diff = append(diff, fmt.Sprintf("matrix: %v, %s: ", r, feature)+fmt.Sprintf(format, args...))
	}
	for _, r := range f.Cells.rows() {
		if expected[r] == nil {
			diff = append(diff, fmt.Sprintf("matrix: %v: found %d cells, but the row is not in expected.json", r, len(f.Cells[r])))
			continue
		}
		for _, feature := range slices.Sorted(maps.Keys(f.Cells[r])) {
			got := f.Cells[r][feature]
			want, ok := expected[r][feature]
			switch {
			case !ok:
				say(r, feature, "found %q, which is not in expected.json", got)
			case got != want:
				say(r, feature, "found %q, expected %q", got, want)
			}
		}
	}
	if f.Partial {
		return diff
	}
	for _, r := range expected.rows() {
		if _, missing := f.Missing[r.Peer]; r.Suite != f.Suite || missing {
			continue
		}
		if f.Cells[r] == nil {
			diff = append(diff, fmt.Sprintf("matrix: %v: found nothing, expected %d cells", r, len(expected[r])))
			continue
		}
		for _, feature := range slices.Sorted(maps.Keys(expected[r])) {
			if _, ok := f.Cells[r][feature]; !ok {
				say(r, feature, "found nothing, expected %q", expected[r][feature])
			}
		}
	}
	return diff
}

// Absent returns the suites that are expected and have left nothing.
func Absent(expected Cells, found []*Found) []string {
	suites := make(map[string]bool)
	for r := range expected {
		suites[r.Suite] = true
	}
	for _, f := range found {
		delete(suites, f.Suite)
	}
	return slices.Sorted(maps.Keys(suites))
}

// Update puts what was found into expected. Cells that were not found again go,
// unless not everything was looked for. A failed test's cell is an error, and
// nothing is changed.
func (f *Found) Update(expected Cells) error {
	for r, cells := range f.Cells {
		for feature, res := range cells {
			if res == Failed {
				return fmt.Errorf("%v, %s: a test has failed", r, feature)
			}
		}
	}
	for r := range expected {
		if _, missing := f.Missing[r.Peer]; r.Suite == f.Suite && !missing && !f.Partial {
			delete(expected, r)
		}
	}
	for r, cells := range f.Cells {
		for feature, res := range cells {
			expected.set(r, feature, res)
		}
	}
	return nil
}

// leave writes what was found into dir, if there is one, for LoadFound.
func (f *Found) leave(dir string) error {
	if dir == "" {
		return nil
	}
	p, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, f.Suite+".json"), append(p, '\n'), 0o644)
}

// LoadFound reads what suites have left in dir.
func LoadFound(dir string) ([]*Found, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no results in %s", dir)
	}
	var all []*Found
	for _, path := range paths {
		p, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := new(Found)
		if err := json.Unmarshal(p, f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, f)
	}
	return all, nil
}
