// Package report renders a comparison of transports: as aligned text for a
// terminal, as Markdown, as one HTML page that loads nothing, and as the JSON
// that it is made of.
//
// All but the JSON come from one document, which is built first: the same cells
// and sentences, whatever they are written as. What the document says beyond
// figures follows from them by rules that it states (see choose and judge):
// values that differ by less than the noise count as equal, and where figures are
// missing it says that nothing follows.
package report

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/wsmux/websocket/interop/compare/result"
)

// WriteText writes r for a terminal of 110 columns or more.
func WriteText(w io.Writer, r *result.Report) error {
	return writeText(w, build(r))
}

// WriteMarkdown writes r as Markdown, its headings at level 3 and below, so that
// it can stand in another page.
func WriteMarkdown(w io.Writer, r *result.Report) error {
	return writeMarkdown(w, build(r), "")
}

// Page returns r as Markdown with its plots, and these by their files' names:
// the Markdown refers to them in folder.
func Page(r *result.Report, folder string) (markdown []byte, plots map[string][]byte, err error) {
	d := build(r)
	plots = make(map[string][]byte)
	for _, s := range d.Sections {
		for _, p := range s.Plots {
			plots[p.ID+".svg"] = p.file(p.head(0, ""))
		}
	}
	var b bytes.Buffer
	err = writeMarkdown(&b, d, folder)
	return b.Bytes(), plots, err
}

// WriteHTML writes r as a page that needs no network and no script.
func WriteHTML(w io.Writer, r *result.Report) error {
	return writeHTML(w, build(r))
}

// WriteJSON writes r as it is.
func WriteJSON(w io.Writer, r *result.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(r)
}
