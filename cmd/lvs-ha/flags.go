package main

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lvs-ha/conf"
)

// parseFlags is f.Parse, with trouble told in one line instead of the whole
// help, in which nobody finds it. --help goes to stdout, for a pager.
func parseFlags(f *flag.FlagSet, args []string) error {
	stderr, usage := f.Output(), f.Usage
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	err := f.Parse(args)
	f.SetOutput(stderr)
	f.Usage = usage
	switch {
	case err == flag.ErrHelp:
		usage()
	case err != nil:
		fmt.Fprintf(stderr, "lvs-ha %s: %s\n", f.Name(), flagTrouble(f, err.Error()))
	}
	return err
}

var (
	undefinedFlag = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	invalidFlag   = regexp.MustCompile(`^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-([^:]*): (.*)$`)
	missingFlag   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
)

// flagTrouble says in our words what the flag package says.
func flagTrouble(f *flag.FlagSet, trouble string) string {
	lists := fmt.Sprintf("%q lists them", "lvs-ha "+f.Name()+" --help")
	if m := undefinedFlag.FindStringSubmatch(trouble); m != nil {
		if _, err := strconv.Atoi(m[1]); err == nil && f.Name() == "weight" {
			return fmt.Sprintf(`"-%s" is no weight: 0 to 65535, or auto`, m[1])
		}
		text := fmt.Sprintf("there is no option %s", dashed(m[1]))
		if m[1] == "json" && f.Lookup("o") != nil {
			return text + "; write -o json"
		}
		var names []string
		f.VisitAll(func(x *flag.Flag) { names = append(names, x.Name) })
		if near := conf.Nearest(m[1], names); near != "" {
			return text + "; did you mean " + dashed(near) + "?"
		}
		return text + "; " + lists
	}
	if m := invalidFlag.FindStringSubmatch(trouble); m != nil {
		value, err := strconv.Unquote(m[1])
		if err != nil {
			value = m[1]
		}
		why := m[3]
		if x := f.Lookup(m[2]); x != nil && why == "parse error" {
			if g, ok := x.Value.(flag.Getter); ok {
				if _, ok := g.Get().(time.Duration); ok {
					why = "write a time with its unit, as 90s, 30m or 2h"
				}
			}
		}
		return fmt.Sprintf("%s %q: %s", dashed(m[2]), value, why)
	}
	if m := missingFlag.FindStringSubmatch(trouble); m != nil {
		return dashed(m[1]) + " needs a value behind it"
	}
	return trouble
}

// dashed is an option as our documents write it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

var (
	longOption  = regexp.MustCompile(`(?m)^  -(\w[\w-]+)`)
	valueOption = regexp.MustCompile(`(?m)^  --([\w-]+) --[\w-]+(=\S+)$`) // --watch --watch=2s
)

// printFlags writes the options and what they mean, as the flag package does,
// but with two dashes.
func printFlags(f *flag.FlagSet) {
	out := f.Output()
	var b strings.Builder
	f.SetOutput(&b)
	f.PrintDefaults()
	f.SetOutput(out)
	text := longOption.ReplaceAllString(b.String(), "  --$1")
	io.WriteString(out, valueOption.ReplaceAllString(text, "  --$1[$2]"))
}
