// Program matrix prints the interop matrix: who was tested against the library,
// in which role, on which transport, and what came out.
//
//	go -C interop run ./matrix                          # what is expected, of expected.json
//	go -C interop run ./matrix -markdown                # the same as Markdown
//
//	export INTEROP_RESULTS=$(mktemp -d)
//	go -C interop test ./...
//	go -C interop run ./matrix -results "$INTEROP_RESULTS"          # what was found; differences fail
//	go -C interop run ./matrix -results "$INTEROP_RESULTS" -update  # … and becomes what is expected
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/wsmux/websocket/interop/internal/matrix"
)

func main() {
	results := flag.String("results", "", "directory that the suites have left their results in (INTEROP_RESULTS); empty: print what is expected")
	complete := flag.Bool("complete", false, "a suite that has left no results is a difference")
	update := flag.Bool("update", false, "write expected.json and the README's table")
	markdown := flag.Bool("markdown", false, "print Markdown too")
	expected := flag.String("expected", "expected.json", "path of the expected matrix")
	readme := flag.String("readme", "../README.md", "path of the file that holds the matrix in Markdown")
	flag.Parse()
	if err := run(*results, *expected, *readme, *complete, *update, *markdown); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(results, path, readme string, complete, update, markdown bool) error {
	expected, err := matrix.Load(path)
	if err != nil {
		return err
	}
	shown, differs := expected, false
	if results != "" {
		if shown, differs, err = compare(results, expected, complete, update); err != nil {
			return err
		}
	}
	fmt.Print(matrix.Table(shown))
	if markdown {
		fmt.Print(matrix.Markdown(shown))
	}
	if !update {
		if differs {
			return errors.New("the matrix differs from expected.json; interop/NOTES.md says how to change that")
		}
		return nil
	}
	file, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	text, err := matrix.Insert(string(file), expected)
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	if err := expected.Save(path); err != nil {
		return err
	}
	return os.WriteFile(readme, []byte(text), 0o644)
}

// compare prints where the results differ from what is expected, which it
// changes if update is set, and returns all that was found.
func compare(dir string, expected matrix.Cells, complete, update bool) (found matrix.Cells, differs bool, err error) {
	suites, err := matrix.LoadFound(dir)
	if err != nil {
		return nil, false, err
	}
	if complete {
		for _, suite := range matrix.Absent(expected, suites) {
			fmt.Printf("%s: no results\n", suite)
			differs = true
		}
	}
	found = make(matrix.Cells)
	for _, f := range suites {
		for r, cells := range f.Cells {
			found[r] = cells
		}
		for peer, why := range f.Missing {
			fmt.Printf("%s: %s was missing: %s\n", f.Suite, peer, why)
		}
		for _, line := range f.Compare(expected) {
			fmt.Println(line)
			differs = true
		}
		if update {
			if err := f.Update(expected); err != nil {
				return nil, false, err
			}
		}
	}
	return found, differs, nil
}
