package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"lvs-ha/internal/control"
	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
)

// ipvsMachine is what "lvs-ha ipvs" touches of the machine.
type ipvsMachine struct {
	open        func() (ipvsctl.Kernel, error)
	conns       string // connection entries
	connsSync   string // the same with their origin
	totals      string
	unixSockets string // where the agent's name shows
	now         func() time.Time
	stdin       io.Reader
}

func thisMachine() ipvsMachine {
	return ipvsMachine{
		open:  func() (ipvsctl.Kernel, error) { return ipvsctl.Open() },
		conns: ipvsctl.ConnsPath, connsSync: ipvsctl.ConnsPath + "_sync", totals: ipvsctl.TotalsPath,
		unixSockets: "/proc/net/unix", now: time.Now, stdin: os.Stdin,
	}
}

// ipvsCall is one run of a subcommand.
type ipvsCall struct {
	ipvsMachine
	ctx            context.Context
	stdout, stderr io.Writer

	// Flags.
	runtimeDir, socket string
	output             string
	noColour           bool
	watch              watchFlag
	service, server    string
	client, state      string
	origin             bool
	dryRun             bool
	timeouts           [3]secondsFlag
}

const ipvsHelp = `lvs-ha ipvs SUBCOMMAND [options]

Shows the kernel's virtual server table and what belongs to it. Reads the
kernel, with or without an agent. There is no add, edit or delete: the table
follows the configuration file.

  lvs-ha ipvs list
  lvs-ha ipvs rates --watch
  lvs-ha ipvs conns --client 203.0.113.0/24 --state established

Subcommands ("lvs-ha ipvs SUBCOMMAND --help" tells more):
`

const ipvsExit = `
Exit status: 0 done; 1 not done; 2 wrong usage; 3 the agent does not answer;
4 not permitted; 5 refused for safety; 6 no answer in time.
`

// ipvsCommand shows the kernel's table and changes what no file says.
func ipvsCommand(args []string, stdout, stderr io.Writer) int {
	return thisMachine().command(args, stdout, stderr)
}

func (m ipvsMachine) command(args []string, stdout, stderr io.Writer) int {
	subs := ipvsSubs()
	if len(args) == 0 {
		ipvsUsage(stderr, subs)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		ipvsUsage(stdout, subs)
		return exitOK
	}
	sub, ok := subs[name]
	if !ok {
		fmt.Fprintf(stderr, "lvs-ha: there is no \"ipvs %s\"; \"lvs-ha ipvs help\" lists what there is\n", table.Clean(name, false))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &ipvsCall{ipvsMachine: m, ctx: ctx, stdout: stdout, stderr: stderr}
	f := c.flagSet(name, sub)
	words, err := interspersed(f, args[1:])
	if err != nil {
		return usageCode(err)
	}
	switch {
	case len(words) > sub.most:
		fmt.Fprintf(stderr, "lvs-ha: ipvs %s takes no argument %q\n", name, words[sub.most])
		return exitUsage
	case c.output != "text" && c.output != "json":
		fmt.Fprintf(stderr, "lvs-ha: -o %s: text or json is wanted\n", c.output)
		return exitUsage
	}
	if c.socket == "" {
		c.socket = filepath.Join(c.runtimeDir, socketName)
	}
	return c.ended(sub.run(c, words))
}

func ipvsUsage(w io.Writer, subs map[string]ipvsSub) {
	fmt.Fprint(w, ipvsHelp)
	names := make([]string, 0, len(subs))
	for n := range subs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(w, "  %-9s %s\n", n, subs[n].help)
	}
	fmt.Fprint(w, ipvsExit)
}

// frame writes what there is to see, once. It writes nothing before it knows
// that it can, as far as possible.
type frame func(w io.Writer, term table.Terminal) error

// show writes a frame, with --watch again and again.
func (c *ipvsCall) show(f frame) error {
	if c.watch > 0 {
		return c.showAgain(f)
	}
	w := bufio.NewWriter(c.stdout)
	term := terminalOf(c.stdout, c.noColour)
	term.Width = 0
	if err := f(w, term); err != nil {
		return err
	}
	return w.Flush()
}

// showAgain shows frames until the context ends, as watchStatus does. Trouble
// is shown and waited for.
func (c *ipvsCall) showAgain(f frame) error {
	_, screen := terminalSize(c.stdout)
	screen = screen && c.output == "text"
	if screen {
		fmt.Fprint(c.stdout, "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(c.stdout, "\x1b[?25h\x1b[?1049l")
	}
	tick := time.NewTicker(time.Duration(c.watch))
	defer tick.Stop()
	for {
		var b bytes.Buffer
		term := terminalOf(c.stdout, c.noColour)
		err := f(&b, term)
		if c.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			b.Reset()
			if err = ipvsError(err); c.output == "json" {
				b.Write(control.ErrorDocument(err))
			} else {
				b.WriteString(table.Line{{Text: err.Error(), Style: table.Bad}}.String(term))
			}
		}
		out := b.Bytes()
		if screen {
			out = repaint(out, c.stdout)
		} else if c.output == "text" {
			out = append(out, '\n')
		}
		if _, err := c.stdout.Write(out); err != nil {
			return err
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// document is the head of every JSON document.
type ipvsHead struct {
	Schema string    `json:"schema"`
	Node   string    `json:"node"`
	Time   time.Time `json:"time"`
}

func (c *ipvsCall) head() ipvsHead {
	return ipvsHead{control.Schema, defaultNode(), c.now().UTC()}
}

// json writes a document: in lines for people, in one line for --watch.
func (c *ipvsCall) json(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	if c.watch == 0 {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// withKernel opens the kernel for f.
func (m ipvsMachine) withKernel(f func(ipvsctl.Kernel) error) error {
	k, err := m.open()
	if err != nil {
		return err
	}
	defer k.Close()
	return f(k)
}

// ended tells of an error and gives the exit status.
func (c *ipvsCall) ended(err error) int {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return exitOK
	}
	err = ipvsError(err)
	if c.output == "json" && !errors.Is(err, errTold) {
		c.stdout.Write(control.ErrorDocument(err))
	}
	fmt.Fprintf(c.stderr, "lvs-ha: %v\n", err)
	return control.ExitCode(err)
}

// errTold ends a command whose document has told what went wrong.
var errTold = errors.New("not everything was done")

// ipvsError gives an error its code and, where the machine is at fault, one
// sentence that says what to do.
func ipvsError(err error) error {
	var known *control.Error
	switch {
	case errors.As(err, &known), errors.Is(err, errTold):
		return err
	case errors.Is(err, ipvsctl.ErrPermission):
		return &control.Error{Code: control.CodeForbidden, Message: ipvsctl.ErrPermission.Error()}
	case errors.Is(err, os.ErrPermission):
		return &control.Error{Code: control.CodeForbidden, Message: err.Error(), Hint: "run as root"}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &control.Error{Code: control.CodeTimeout, Message: err.Error()}
	}
	return &control.Error{Code: control.CodeInternal, Message: err.Error()}
}

func usageError(format string, args ...any) error {
	return &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf(format, args...)}
}
