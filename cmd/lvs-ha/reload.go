package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"lvs-ha/internal/control"
)

func reloadCommand(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("reload", flag.ContinueOnError)
	f.SetOutput(stderr)
	dir := f.String("runtime-dir", defaultRuntimeDir, "`directory` of the control socket")
	f.Bool("wait", true, "wait for the result (always)")
	timeout := f.Duration("timeout", 30*time.Second, "how long to wait")
	f.Usage = func() {
		fmt.Fprint(stderr, `lvs-ha reload [--runtime-dir DIR] [--timeout D]

Makes the running agent read its configuration again. Refused: exit status 1,
each error with its line, and nothing has changed.

  lvs-ha reload
  lvs-ha validate && lvs-ha reload

Exit status: 0 reloaded; 1 refused; 2 wrong usage; 3 no agent; 4 not permitted;
6 no answer in time.

`)
		printFlags(f)
	}
	if err := parseFlags(f, args); err != nil {
		return usageCode(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := control.NewClient(filepath.Join(*dir, socketName)).Reload(ctx); err != nil {
		fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
		return control.ExitCode(err)
	}
	fmt.Fprintln(stdout, "reloaded")
	return exitOK
}
