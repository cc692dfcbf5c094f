package main

import (
	"flag"
	"fmt"
	"io"

	"lvs-ha/conf"
)

func validateCommand(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("validate", flag.ContinueOnError)
	f.SetOutput(stderr)
	quiet := f.Bool("quiet", false, "print nothing when there is no error")
	strict := f.Bool("strict", false, "count warnings as errors")
	f.Usage = func() {
		fmt.Fprint(stderr, `lvs-ha validate [--quiet] [--strict] [FILE...]

Checks each file for every node in it, without touching the machine.

  lvs-ha validate
  lvs-ha validate --strict lvs-ha.toml
  lvs-ha validate --quiet lvs-ha.toml && lvs-ha reload

`)
		printFlags(f)
	}
	if err := parseFlags(f, args); err != nil {
		return usageCode(err)
	}
	files := f.Args()
	if len(files) == 0 {
		files = []string{defaultConfig}
	}
	code := exitOK
	for _, file := range files {
		p := conf.Validate(file)
		bad := len(p.Errors()) > 0 || *strict && len(p) > 0
		if bad || len(p) > 0 && !*quiet {
			fmt.Fprintln(stderr, p.Report())
		}
		switch {
		case bad:
			code = exitNo
		case !*quiet:
			fmt.Fprintf(stdout, "%s: valid\n", file)
		}
	}
	return code
}

// usageCode maps the flag package's error; it has printed what there is to say.
func usageCode(err error) int {
	if err == flag.ErrHelp {
		return exitOK
	}
	return exitUsage
}
