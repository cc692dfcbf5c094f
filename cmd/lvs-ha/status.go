package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"lvs-ha/internal/control"
)

// statusOptions are the flags of "lvs-ha status".
type statusOptions struct {
	socket   string
	output   string
	exitCode bool
	all      bool
	noColour bool
	watch    watchFlag
}

// watchFlag is "--watch" or "--watch=2s"; 0 is off.
type watchFlag time.Duration

func (w *watchFlag) IsBoolFlag() bool { return true }
func (w *watchFlag) String() string   { return time.Duration(*w).String() }

func (w *watchFlag) Set(s string) error {
	switch s {
	case "true":
		*w = watchFlag(time.Second)
		return nil
	case "false":
		*w = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("a time like 1s is wanted")
	}
	if d < 100*time.Millisecond {
		return fmt.Errorf("at least 100ms")
	}
	*w = watchFlag(d)
	return nil
}

const statusHelp = `lvs-ha status [--runtime-dir DIR | --socket PATH] [-o text|json] [--exit-code] [--watch[=1s]]

Shows roles, addresses, services and servers of the agent that runs here.

  lvs-ha status
  lvs-ha status --watch
  lvs-ha status -o json | jq .vrrp

Exit status: 0 shown; 1 with --exit-code when something is not well; 2 wrong
usage; 3 no agent; 4 not permitted; 6 no answer in time.

`

// statusCommand shows what the running agent knows.
func statusCommand(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("status", flag.ContinueOnError)
	f.SetOutput(stderr)
	var o statusOptions
	dir := f.String("runtime-dir", defaultRuntimeDir, "`directory` of the control socket")
	f.StringVar(&o.socket, "socket", "", "`path` of the control socket (default agent.sock in the runtime directory)")
	f.StringVar(&o.output, "o", "text", "`form` of the output: text or json")
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 1 when something is not well")
	f.BoolVar(&o.all, "all", false, "show all servers, however many")
	f.BoolVar(&o.noColour, "no-color", false, "no colours (as NO_COLOR in the environment)")
	f.Var(&o.watch, "watch", "show again each second, or as often as `--watch=2s` says")
	f.Usage = func() {
		fmt.Fprint(stderr, statusHelp)
		printFlags(f)
	}
	if err := parseFlags(f, args); err != nil {
		return usageCode(err)
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "lvs-ha: status takes no argument %q\n", f.Arg(0))
		return exitUsage
	}
	if o.output != "text" && o.output != "json" {
		fmt.Fprintf(stderr, "lvs-ha: -o %s: text or json is wanted\n", o.output)
		return exitUsage
	}
	if o.socket == "" {
		o.socket = filepath.Join(*dir, socketName)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if o.watch > 0 {
		return watchStatus(ctx, o, stdout, stderr)
	}
	return showStatus(ctx, o, stdout, stderr)
}

// showStatus asks once and prints.
func showStatus(ctx context.Context, o statusOptions, stdout, stderr io.Writer) int {
	d, raw, err := control.NewClient(o.socket).Status(ctx)
	if err != nil {
		return statusFailed(o, err, stdout, stderr)
	}
	if o.output == "json" {
		// What the agent sent, in lines: keys that this command does not know stay.
		var b bytes.Buffer
		if json.Indent(&b, raw, "", "  ") != nil {
			b.Reset()
			b.Write(raw)
		}
		b.WriteByte('\n')
		raw = b.Bytes()
	} else {
		term := terminalOf(stdout, o.noColour)
		term.Width = 0 // long lines may wrap: the reasons stand at their ends
		raw = []byte(statusScreen(d, term, screenOptions{all: o.all, local: time.Local}))
	}
	if _, err := stdout.Write(raw); err != nil {
		fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
		return exitNo
	}
	if o.exitCode && d.State != control.StateOK {
		return exitNo
	}
	return exitOK
}

// statusFailed tells of an error where the caller reads, and gives its code.
func statusFailed(o statusOptions, err error, stdout, stderr io.Writer) int {
	if o.output == "json" {
		stdout.Write(control.ErrorDocument(err))
	}
	fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
	return control.ExitCode(err)
}
