package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 3, "how often everything is measured")
	each := flag.Duration("time", 2*time.Second, "how long one measurement takes")
	only := flag.String("case", "", "measure only the cases whose name contains one of these words, separated by |")
	who := flag.String("contender", "", "measure only these contenders, separated by commas")
	list := flag.Bool("list", false, "list the cases and the contenders")
	jsonFile := flag.String("json", "", "write all raw results to this file")
	mdFile := flag.String("md", "", "write a Markdown page to this file")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *each <= 0 {
		flag.Usage()
		return fmt.Errorf("arguments that make no sense")
	}
	cases := slices.DeleteFunc(benchmarks(*each), func(b benchmark) bool {
		return *only != "" && !slices.ContainsFunc(strings.Split(*only, "|"), func(w string) bool { return strings.Contains(b.name, w) })
	})
	if *who != "" {
		names := strings.Split(*who, ",")
		for _, n := range names {
			if contenders[n] == nil {
				return fmt.Errorf("no contender is called %q; they are %s", n, strings.Join(order, ", "))
			}
		}
		for i := range cases {
			cases[i].contenders = slices.DeleteFunc(slices.Clone(cases[i].contenders), func(n string) bool { return !slices.Contains(names, n) })
		}
	}
	cases = slices.DeleteFunc(cases, func(b benchmark) bool { return len(b.contenders) == 0 })
	if *list {
		printList(os.Stdout, cases)
		return nil
	}
	if len(cases) == 0 {
		return fmt.Errorf("no case is left")
	}
	r := newReport(cases, *rounds, *each)
	err := r.measure(ctx)
	r.print(os.Stdout)
	for _, out := range []struct {
		file  string
		write func() ([]byte, error)
	}{
		{*jsonFile, func() ([]byte, error) { return json.MarshalIndent(r, "", "\t") }},
		{*mdFile, r.markdown},
	} {
		if out.file == "" {
			continue
		}
		b, e := out.write()
		if e == nil {
			e = os.WriteFile(out.file, append(b, '\n'), 0o644)
		}
		if err == nil {
			err = e
		}
	}
	return err
}
