package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// taskFlag is the first argument of a process of a measurement.
const taskFlag = "-task"

func main() {
	if len(os.Args) == 3 && os.Args[1] == taskFlag {
		if err := runTask(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	rounds         int
	each, within   time.Duration
	only, who      string
	list, estimate bool
	from           string
	json, md, page string
	docs           string
	profiles       string
}

func parseOptions() (o options, err error) {
	flag.IntVar(&o.rounds, "rounds", 3, "how often everything is measured")
	flag.DurationVar(&o.each, "time", 2*time.Second, "how long one measurement takes")
	flag.DurationVar(&o.within, "within", 0, "begin no case after this time; 0: measure all rounds")
	flag.StringVar(&o.only, "case", "", "measure only the cases whose name contains one of these words, separated by |")
	flag.StringVar(&o.who, "contender", "", "measure only these contenders, separated by commas")
	flag.BoolVar(&o.list, "list", false, "list the cases and the contenders")
	flag.BoolVar(&o.estimate, "estimate", false, "say about how long it would take")
	flag.StringVar(&o.from, "from", "", "measure nothing: report what these files have, which -json wrote; separated by commas")
	flag.StringVar(&o.json, "json", "", "write all raw results to this file, after each round")
	flag.StringVar(&o.md, "md", "", "write the page as Markdown to this file, without plots")
	flag.StringVar(&o.page, "page", "", "write the page and its plots to this directory")
	flag.StringVar(&o.docs, "docs", "", "bring the table between the markers of this Markdown page up to date")
	flag.StringVar(&o.profiles, "profiles", "", "write a profile of each server to this directory, of its processor time or of its idle heap")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.each <= 0 {
		flag.Usage()
		return o, errors.New("arguments that make no sense")
	}
	return o, nil
}

func run(ctx context.Context) error {
	o, err := parseOptions()
	if err != nil {
		return err
	}
	if o.from != "" {
		r, err := readReports(o.from, benchmarks(o.each))
		if err != nil {
			return err
		}
		return r.write(o)
	}
	cases, err := o.cases()
	switch {
	case err != nil:
		return err
	case o.list:
		printList(os.Stdout, cases)
		return nil
	case o.estimate:
		fmt.Printf("about %v\n", estimate(cases, o.rounds))
		return nil
	}
	r := newReport(cases, o.rounds, o.each)
	r.profiles = o.profiles
	err = r.measure(ctx, o.within, func() error { return r.save(o.json) })
	return errors.Join(err, r.write(o))
}

// cases returns what is to be measured.
func (o options) cases() ([]benchmark, error) {
	cases := slices.DeleteFunc(benchmarks(o.each), func(b benchmark) bool {
		return o.only == "" && b.apart || o.only != "" && !slices.ContainsFunc(strings.Split(o.only, "|"), func(w string) bool { return strings.Contains(b.name, w) })
	})
	if o.who != "" {
		names := strings.Split(o.who, ",")
		for _, n := range names {
			if contenders[n] == nil {
				return nil, fmt.Errorf("no contender is called %q; they are %s", n, strings.Join(order, ", "))
			}
		}
		for i, b := range cases {
			cases[i].contenders = slices.DeleteFunc(slices.Clone(b.contenders), func(n string) bool { return !slices.Contains(names, b.entry(n).contender) })
		}
	}
	cases = slices.DeleteFunc(cases, func(b benchmark) bool { return len(b.contenders) == 0 })
	if len(cases) == 0 {
		return nil, errors.New("no case is left")
	}
	return cases, nil
}

// save writes the raw results.
func (r *report) save(file string) error {
	if file == "" {
		return nil
	}
	b, err := r.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// write writes whatever is wanted.
func (r *report) write(o options) error {
	r.print(os.Stdout)
	var errs []error
	if o.from == "" {
		errs = append(errs, r.save(o.json))
	}
	if o.md != "" {
		errs = append(errs, os.WriteFile(o.md, r.markdown(nil), 0o644))
	}
	if o.page != "" {
		errs = append(errs, r.writePage(o.page))
	}
	if o.docs != "" {
		errs = append(errs, r.writeDocs(o.docs))
	}
	return errors.Join(errs...)
}
