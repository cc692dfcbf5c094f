package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A figure is one measured quantity of one agent: the median of its runs.
type figure struct {
	experiment string
	name       string // what was measured, under which settings
	agent      string
	unit       string
	runs       []float64 // sorted
}

// quantile of an already sorted slice.
func quantile(v []time.Duration, q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// median of an already sorted slice that is not empty.
func median(v []float64) float64 {
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return m
}

func (f figure) String() string {
	words := make([]string, len(f.runs))
	for i, v := range f.runs {
		words[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join([]string{"figure", f.experiment, f.name, f.agent, f.unit, strings.Join(words, " ")}, "\t")
}

// parseFigure reads what String wrote; ok is false for any other line.
func parseFigure(line string) (f figure, ok bool) {
	w := strings.Split(line, "\t")
	if len(w) != 6 || w[0] != "figure" {
		return figure{}, false
	}
	f = figure{experiment: w[1], name: w[2], agent: w[3], unit: w[4], runs: numbers(w[5])}
	return f, true
}

// numbers are the words of s that are numbers, sorted.
func numbers(s string) []float64 {
	var v []float64
	for _, word := range strings.Fields(s) {
		if n, err := strconv.ParseFloat(word, 64); err == nil {
			v = append(v, n)
		}
	}
	slices.Sort(v)
	return v
}

// cmdFigure turns the numbers on stdin into a figure.  Words that are no
// numbers ("-", a run without a result) are not counted.
func cmdFigure(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("wanted: EXPERIMENT NAME AGENT UNIT, got %q", args)
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	fmt.Println(figure{args[0], args[1], args[2], args[3], numbers(string(in))})
	return nil
}

// cmdTable prints all figures on stdin as one table for each experiment, the
// agents beside each other, with the ratio of the last to the first. An
// experiment with a rival that is not among the agents has that one beside the last.
func cmdTable(args []string) error {
	f := flag.NewFlagSet("table", flag.ExitOnError)
	agents := f.String("agents", "keepalived,lvs-ha", "columns, comma separated")
	f.Parse(args)
	var all []figure
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if fig, ok := parseFigure(in.Text()); ok {
			all = append(all, fig)
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return writeTables(os.Stdout, all, strings.Split(*agents, ","))
}

func writeTables(w io.Writer, all []figure, agents []string) error {
	type row struct{ experiment, name, unit string }
	var rows []row
	cells := map[row]map[string][]float64{}
	for _, f := range all {
		r := row{f.experiment, f.name, f.unit}
		if cells[r] == nil {
			cells[r] = map[string][]float64{}
			rows = append(rows, r)
		}
		cells[r][f.agent] = append(cells[r][f.agent], f.runs...)
	}
	if len(rows) == 0 {
		return fmt.Errorf("no figure was measured")
	}
	columns := func(experiment string) []string {
		for _, r := range rows {
			for name := range cells[r] {
				if r.experiment == experiment && !slices.Contains(agents, name) {
					return []string{name, agents[len(agents)-1]}
				}
			}
		}
		return agents
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	experiment := ""
	listed := agents
	for _, r := range rows {
		if r.experiment != experiment {
			experiment = r.experiment
			agents := columns(experiment)
			listed = agents
			fmt.Fprintf(tw, "\n%s\tunit\t%s", experiment, strings.Join(agents, "\t"))
			if len(agents) > 1 {
				fmt.Fprintf(tw, "\t%s/%s", agents[len(agents)-1], agents[0])
			}
			fmt.Fprintln(tw)
		}
		fmt.Fprintf(tw, "%s\t%s", r.name, r.unit)
		for _, a := range listed {
			fmt.Fprintf(tw, "\t%s", cell(cells[r][a]))
		}
		if len(listed) > 1 {
			fmt.Fprintf(tw, "\t%s", ratio(cells[r][listed[len(listed)-1]], cells[r][listed[0]]))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// cell shows "median [min-max] (runs)", shortened for a single run.
func cell(runs []float64) string {
	if len(runs) == 0 {
		return "-"
	}
	slices.Sort(runs)
	if len(runs) == 1 {
		return short(runs[0])
	}
	return fmt.Sprintf("%s [%s-%s] (%d)", short(median(runs)), short(runs[0]), short(runs[len(runs)-1]), len(runs))
}

// short is v with four digits, without an exponent for large numbers.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%.4g", v)
}

// ratio of two medians; none where one is missing or the divisor is zero.
func ratio(a, b []float64) string {
	if len(a) == 0 || len(b) == 0 {
		return "-"
	}
	slices.Sort(a)
	slices.Sort(b)
	if median(b) == 0 {
		if median(a) == 0 {
			return "equal"
		}
		return "-"
	}
	return fmt.Sprintf("%.2f", median(a)/median(b))
}
