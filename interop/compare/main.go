package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wsmux/websocket/interop/compare/report"
	"github.com/wsmux/websocket/interop/compare/result"
)

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
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

// run is the command.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "measure less of everything, in less than a minute")
	var files [3]string
	for i, f := range formats {
		flags.StringVar(&files[i], f.name, "", "write the report as "+f.what+" to this file")
	}
	only := flags.String("scenario", "", "measure only the scenarios of these numbers, separated by commas")
	who := flags.String("transport", "", "measure only these transports, separated by commas")
	target := flags.String("url", "", "compare against the server at this wss URL: what it supports, and, if it echoes messages, what that costs")
	imitate := flags.Bool("imitate", false, "imitate slow networks by a proxy, also where network namespaces can be had")
	list := flags.Bool("list", false, "list the scenarios and transports")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q means nothing here", flags.Arg(0))
	}
	chosen, err := choose(scenarios(*quick), *only, *who)
	if err != nil {
		return err
	}
	if *list {
		for _, s := range chosen {
			fmt.Printf("%d  %s\n", s.number, s.name)
		}
		for _, t := range transports {
			fmt.Printf("%-8s %s\n", t.ID, t.Name)
		}
		return nil
	}
	r := newReport(*quick)
	begin := time.Now()
	if *target != "" {
		at, err := targetURL(*target)
		if err != nil {
			return err
		}
		if *only == "" {
			chosen = slices.DeleteFunc(chosen, func(s scenario) bool { return !s.atURL() })
		}
		for _, s := range chosen {
			if !s.atURL() {
				return fmt.Errorf("scenario %d is not one for a URL; 1 and 3 are", s.number)
			}
		}
		foreign(ctx, at, chosen, *quick, r)
	} else {
		c, err := newCoordinator(progress)
		if err != nil {
			return err
		}
		if *imitate {
			c.imitate = "as -imitate asks"
		}
		c.compare(ctx, chosen, r)
	}
	r.Seconds = time.Since(begin).Seconds()
	progress("")
	// What cannot be written keeps nothing else from it: it is not measured again.
	errs := []error{report.WriteText(os.Stdout, r)}
	for i, f := range formats {
		errs = append(errs, writeFile(files[i], r, f.write))
	}
	if !r.Complete {
		errs = append(errs, fmt.Errorf("the report is incomplete: %s", strings.Join(r.Problems, "; ")))
	}
	return errors.Join(errs...)
}

// targetURL returns the URL of a foreign server, as https.
func targetURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "wss" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a wss URL", s)
	}
	u.Scheme = "https"
	return u, nil
}

// formats are the ways to write a report to a file.
var formats = [3]struct {
	name, what string
	write      func(io.Writer, *result.Report) error
}{
	{"html", "one HTML page, which needs nothing else,", report.WriteHTML},
	{"md", "Markdown", report.WriteMarkdown},
	{"json", "JSON", report.WriteJSON},
}

// writeFile writes the report to a file, if there is a name for one.
func writeFile(name string, r *result.Report, write func(io.Writer, *result.Report) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f, r), f.Close())
}

// choose returns the scenarios and, in them, the plans that are wanted.
func choose(all []scenario, numbers, names string) ([]scenario, error) {
	if numbers != "" {
		var chosen []scenario
		for n := range strings.SplitSeq(numbers, ",") {
			i, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil || i < 1 || i > len(all) {
				return nil, fmt.Errorf("no scenario has the number %q; there are 1 to %d", n, len(all))
			}
			chosen = append(chosen, all[i-1])
		}
		all = chosen
	}
	if names != "" {
		wanted := strings.Split(names, ",")
		for _, w := range wanted {
			if !slices.ContainsFunc(transports, func(t result.Transport) bool { return t.ID == w }) {
				return nil, fmt.Errorf("no transport is called %q; -list names them", w)
			}
		}
		for i := range all {
			all[i].plans = slices.DeleteFunc(all[i].plans, func(p plan) bool { return !slices.Contains(wanted, p.Transport) })
		}
	}
	return all, nil
}

// progress says on standard error what is being done: on a terminal in one line
// that changes.
func progress(format string, args ...any) {
	info, err := os.Stderr.Stat()
	switch terminal := err == nil && info.Mode()&os.ModeCharDevice != 0; {
	case terminal:
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	case format != "":
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}
