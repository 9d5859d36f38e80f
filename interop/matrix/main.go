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
	"io"
	"os"

	"github.com/wsmux/websocket/interop/internal/matrix"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("matrix", flag.ContinueOnError)
	results := flags.String("results", "", "directory that the suites have left their results in (INTEROP_RESULTS); without it what is expected is printed")
	complete := flags.Bool("complete", false, "a suite that has left no results is a difference")
	update := flags.Bool("update", false, "write expected.json and the README's table")
	markdown := flags.Bool("markdown", false, "print Markdown too")
	path := flags.String("expected", "expected.json", "path of the expected matrix")
	readme := flags.String("readme", "../README.md", "path of the file that holds the matrix in Markdown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// What is expected does not differ from itself: it is no answer to who wants
	// results looked at.
	asked := *complete
	flags.Visit(func(f *flag.Flag) { asked = asked || f.Name == "results" })
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q means nothing here", flags.Arg(0))
	case asked && *results == "":
		return errors.New("-results names no directory; is INTEROP_RESULTS set?")
	}
	expected, err := matrix.Load(*path)
	if err != nil {
		return err
	}
	shown, differs := expected, false
	if *results != "" {
		if shown, differs, err = compare(out, *results, expected, *complete, *update); err != nil {
			return err
		}
	}
	fmt.Fprint(out, matrix.Table(shown))
	if *markdown {
		fmt.Fprint(out, matrix.Markdown(shown))
	}
	if !*update {
		if differs {
			return errors.New("the matrix differs from expected.json; interop/NOTES.md says how to change that")
		}
		return nil
	}
	file, err := os.ReadFile(*readme)
	if err != nil {
		return err
	}
	text, err := matrix.Insert(string(file), expected)
	if err != nil {
		return fmt.Errorf("%s: %w", *readme, err)
	}
	if err := expected.Save(*path); err != nil {
		return err
	}
	return os.WriteFile(*readme, []byte(text), 0o644)
}

// compare prints where the results differ from what is expected, which it
// changes if update is set, and returns all that was found.
func compare(out io.Writer, dir string, expected matrix.Cells, complete, update bool) (found matrix.Cells, differs bool, err error) {
	suites, err := matrix.LoadFound(dir)
	if err != nil {
		return nil, false, err
	}
	if complete {
		for _, suite := range matrix.Absent(expected, suites) {
			fmt.Fprintf(out, "%s: no results\n", suite)
			differs = true
		}
	}
	found = make(matrix.Cells)
	for _, f := range suites {
		for r, cells := range f.Cells {
			found[r] = cells
		}
		for peer, why := range f.Missing {
			fmt.Fprintf(out, "%s: %s was missing: %s\n", f.Suite, peer, why)
		}
		for _, line := range f.Compare(expected) {
			fmt.Fprintln(out, line)
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
