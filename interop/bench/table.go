package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes aligned tables.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s\nup to %d rounds of %v, medians\n", r.Machine, r.Versions, r.Rounds, r.Each)
	for i := range r.cases {
		b := &r.cases[i]
		fmt.Fprintf(w, "\n%s\n", b.name)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(t, "  \t")
		for _, m := range b.shows {
			fmt.Fprintf(t, "%s\t", m.name)
		}
		fmt.Fprintln(t)
		for _, res := range r.of(b) {
			fmt.Fprintf(t, "  %s\t", res.Contender)
			for _, cell := range res.cells(b) {
				fmt.Fprintf(t, "%s\t", cell)
			}
			fmt.Fprintln(t)
		}
		t.Flush()
		for _, res := range r.of(b) {
			for _, f := range res.Failures {
				fmt.Fprintf(w, "  FAILED %s: %s\n", res.Contender, f)
			}
		}
	}
	rows := r.rows()
	if len(rows) == 0 {
		return
	}
	fmt.Fprint(w, "\nto reach\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(t, "\n  %s: %d of %d\n", row.text, row.reached(), len(row.verdicts))
		for _, v := range row.verdicts {
			fmt.Fprintf(t, "    %s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.in, v.of, v.metric.name, v.value(), v.rounds(), v.limit(), v.state())
		}
	}
	t.Flush()
}

// rounds writes how single rounds differ.
func (v verdict) rounds() string { return v.number(v.low) + "–" + v.number(v.high) }

func (res *result) cells(b *benchmark) []string {
	var cells []string
	for _, m := range b.shows {
		switch v, ok := res.median(m); {
		case ok:
			cells = append(cells, m.format(v))
		case len(res.Failures) > 0:
			cells = append(cells, "failed")
		default:
			cells = append(cells, "–")
		}
	}
	return cells
}

func printList(w io.Writer, cases []benchmark) {
	fmt.Fprintln(w, "contenders:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range order {
		fmt.Fprintf(t, "  %s\t%s\n", name, contenders[name].about)
	}
	t.Flush()
	fmt.Fprintln(w, "cases:")
	for _, b := range cases {
		fmt.Fprintln(w, "  "+b.name)
	}
}
