// Render writes a kept comparison again, without measuring:
//
//	go -C interop run ./compare/render -json report.json -html report.html
//
// With -docs it brings a page of the documentation up to date: what stands
// between the page's two markers is replaced by the comparison as Markdown, and
// the plots are written beside the page, into a folder of its name.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/wsmux/websocket/interop/compare/report"
	"github.com/wsmux/websocket/interop/compare/result"
	"github.com/wsmux/websocket/interop/internal/markers"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("render", flag.ContinueOnError)
	from := flags.String("json", "", "the comparison, as compare -json wrote it")
	html := flags.String("html", "", "write one HTML page to this file")
	docs := flags.String("docs", "", "bring this Markdown page up to date")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := read(*from)
	if err != nil {
		return err
	}
	switch {
	case *html == "" && *docs == "":
		return report.WriteText(stdout, r)
	case *html != "":
		var page bytes.Buffer
		if err := report.WriteHTML(&page, r); err != nil {
			return err
		}
		if err := os.WriteFile(*html, page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if *docs != "" {
		return document(*docs, r)
	}
	return nil
}

func read(file string) (*result.Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(result.Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(r.Scenarios) == 0 {
		return nil, fmt.Errorf("%s is not what compare -json wrote: it has no scenarios", file)
	}
	return r, nil
}

// document replaces the generated part of a page, and its plots.
func document(page string, r *result.Report) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	folder := strings.TrimSuffix(page, filepath.Ext(page))
	markdown, plots, err := report.Page(r, filepath.Base(folder))
	if err != nil {
		return err
	}
	updated, err := markers.Replace(string(old), "comparison", string(markdown))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	stale, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range stale {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for name, svg := range plots {
		if err := os.WriteFile(filepath.Join(folder, name), svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(page, []byte(updated), 0o644)
}
