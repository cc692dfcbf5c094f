package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lvs-ha/internal/control"
	"lvs-ha/internal/table"
)

// adminOptions are the flags of the commands that give orders.
type adminOptions struct {
	socket   string
	output   string
	noColour bool
	wait     waitFlag
	request  control.AdminRequest
}

// waitFlag is "--wait" (no limit) or "--wait=5m".
type waitFlag struct {
	on    bool
	limit time.Duration
}

func (w *waitFlag) IsBoolFlag() bool { return true }
func (w *waitFlag) String() string {
	if w.limit > 0 {
		return w.limit.String()
	}
	return strconv.FormatBool(w.on)
}

func (w *waitFlag) Set(s string) error {
	if b, err := strconv.ParseBool(s); err == nil {
		*w = waitFlag{on: b}
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("a time like 5m is wanted")
	}
	*w = waitFlag{true, d}
	return nil
}

// adminHelp of each command, before the flags.
var adminHelp = map[string]string{
	"drain": `lvs-ha drain [--for D] [--reason TEXT] [--wait[=D]] TARGET...

Gives servers no new connections; those that they have go on. --wait shows how
many are left and returns when there are none.

  lvs-ha drain web/web2
  lvs-ha drain web/web2 --for 2h --reason "kernel update" --wait
  lvs-ha drain '*/web2'
`,
	"maintenance": `lvs-ha maintenance [--for D] [--reason TEXT] [--wait[=D]] TARGET...

As drain, for a server that is going to be away: its failures are not
reported, min_healthy does not call it back, and where weight 0 does not keep
clients away (UDP, persistence) it leaves the table at once.

  lvs-ha maintenance web/web2
  lvs-ha maintenance '*/web2' --reason "new disk"
  lvs-ha maintenance web/web2 --for 30m
`,
	"ready": `lvs-ha ready TARGET...

Ends drain and maintenance: the checks decide again.

  lvs-ha ready web/web2
  lvs-ha ready '*/web2'
  lvs-ha ready web
`,
	"weight": `lvs-ha weight [--for D] [--reason TEXT] TARGET... N|auto

Gives servers another weight than the configured one, 0 to 65535; auto takes
it back.

  lvs-ha weight web/web2 5
  lvs-ha weight web/web2 100 --for 1h --reason "warm up"
  lvs-ha weight web/web2 auto
`,
	"pause": `lvs-ha pause [--for D] [--reason TEXT]

Freezes the kernel's table, sync daemon, settings and nftables tables, while
people repair something by hand. Checks and the election go on and are
reported; nothing they say reaches the kernel.

  lvs-ha pause --for 15m --reason "moving the table by hand"
  lvs-ha pause
  lvs-ha resume
`,
	"resume": `lvs-ha resume

Ends a pause: the kernel's table is compared and put right at once.

  lvs-ha resume
  lvs-ha resume --dry-run
  lvs-ha status
`,
}

const adminHelpTail = `
A TARGET is service or service/server; both may be globs, and addresses where
names may stand. An order holds on this director only, until it is taken back
or its time is over, also over restarts of the agent.

Exit status: 0 done; 2 wrong usage; 3 no agent; 4 not permitted; 5 refused,
because it would end a service or break min_healthy (--force does it all the
same); 6 no end in time.

`

// pauseHelpTail is that of pause and resume, which have no target.
const pauseHelpTail = `
A pause holds on this director only, until it is ended or its time is over,
also over restarts of the agent.

Exit status: 0 done; 2 wrong usage; 3 no agent; 4 not permitted; 6 no answer
in time.

`

// adminCommand makes the command with the given name.
func adminCommand(name string) func(args []string, stdout, stderr io.Writer) int {
	return func(args []string, stdout, stderr io.Writer) int {
		o, code := adminArgs(name, args, stderr)
		if o == nil {
			return code
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return giveOrder(ctx, o, stdout, stderr)
	}
}

// adminArgs reads the command line; nil with the exit status if there is
// nothing to do.
func adminArgs(name string, args []string, stderr io.Writer) (*adminOptions, int) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(stderr)
	o := &adminOptions{request: control.AdminRequest{Action: name, Owner: whoami()}}
	dir := f.String("runtime-dir", defaultRuntimeDir, "`directory` of the control socket")
	f.StringVar(&o.socket, "socket", "", "`path` of the control socket (default agent.sock in the runtime directory)")
	f.StringVar(&o.output, "o", "text", "`form` of the output: text or json")
	f.BoolVar(&o.noColour, "no-color", false, "no colours (as NO_COLOR in the environment)")
	f.BoolVar(&o.request.DryRun, "dry-run", false, "tell what would happen, and change nothing")
	var length time.Duration
	if name != "ready" && name != "resume" {
		f.DurationVar(&length, "for", 0, "how long this holds, as 30m or 2h; 0: until it is taken back")
		f.StringVar(&o.request.Reason, "reason", "", "a `text` for everybody who sees it")
	}
	if name != "pause" && name != "resume" {
		f.BoolVar(&o.request.Force, "force", false, "also what ends a service or breaks min_healthy")
	}
	if name == "drain" || name == "maintenance" {
		f.Var(&o.wait, "wait", "wait until no active connection is left, or as long as `--wait=5m` says")
	}
	f.Usage = func() {
		tail := adminHelpTail
		if name == "pause" || name == "resume" {
			tail = pauseHelpTail
		}
		fmt.Fprint(stderr, adminHelp[name]+tail)
		printFlags(f)
	}
	words, err := interspersed(f, args)
	if err != nil {
		return nil, usageCode(err)
	}
	usage := func(format string, a ...any) (*adminOptions, int) {
		fmt.Fprintf(stderr, "lvs-ha "+name+": "+format+"\n", a...)
		return nil, exitUsage
	}
	if o.output != "text" && o.output != "json" {
		return usage("-o %s: text or json is wanted", o.output)
	}
	if length < 0 {
		return usage("--for %s: a time from now on is wanted", length)
	}
	o.request.For = length.Seconds()
	if o.socket == "" {
		o.socket = filepath.Join(*dir, socketName)
	}
	switch name {
	case "pause", "resume":
		if len(words) > 0 {
			return usage("it is of the whole agent and takes no target %q", words[0])
		}
	case "weight":
		if len(words) < 2 {
			return usage("name a server and its weight, as: lvs-ha weight web/web2 5")
		}
		last := words[len(words)-1]
		words = words[:len(words)-1]
		if last != "auto" {
			n, err := strconv.ParseUint(last, 10, 16)
			if err != nil {
				return usage("%q is no weight: 0 to 65535, or auto", last)
			}
			o.request.Weight = new(uint32(n))
		} else if length > 0 {
			return usage("auto has no end: --for makes no sense with it")
		}
	default:
		if len(words) == 0 {
			return usage("name a server, as: lvs-ha %s web/web2 (\"lvs-ha status --all\" shows them)", name)
		}
	}
	o.request.Targets = words
	return o, exitOK
}

// interspersed parses flags that stand between other words too, as people
// write them. After "--" nothing is a flag.
func interspersed(f *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		before := len(args)
		if err := parseFlags(f, args); err != nil {
			return nil, err
		}
		rest := f.Args()
		if n := before - len(rest); n > 0 && args[n-1] == "--" {
			return append(words, rest...), nil
		}
		if len(rest) == 0 {
			return words, nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

// whoami is the person who gives the order, also behind sudo.
func whoami() string {
	if os.Getuid() == 0 {
		if s := os.Getenv("SUDO_USER"); s != "" {
			return s
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// giveOrder asks the agent, tells what came of it, and waits if that is wanted.
func giveOrder(ctx context.Context, o *adminOptions, stdout, stderr io.Writer) int {
	client := control.NewClient(o.socket)
	d, raw, err := client.Admin(ctx, o.request)
	if err != nil {
		return adminFailed(o, err, stdout, stderr)
	}
	if o.output == "json" {
		stdout.Write(raw)
	} else {
		io.WriteString(stdout, adminText(d, o))
	}
	if d.Unsaved != "" {
		fmt.Fprintf(stderr, "lvs-ha: this holds until the agent ends only, it cannot be saved: %s\n", d.Unsaved)
	}
	if !o.wait.on || !d.Done {
		return exitOK
	}
	return waitDrained(ctx, client, d, o, stdout, stderr)
}

func adminFailed(o *adminOptions, err error, stdout, stderr io.Writer) int {
	if o.output == "json" {
		stdout.Write(control.ErrorDocument(err))
	}
	fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
	return control.ExitCode(err)
}

// adminText says what was done, what it means for the services, and how to
// take it back. It is pure.
func adminText(d *control.AdminDocument, o *adminOptions) string {
	var b strings.Builder
	would := ""
	if !d.Done {
		would = "would be "
	}
	switch o.request.Action {
	case "pause":
		fmt.Fprintf(&b, "%spaused: nothing is changed in the kernel%s\nundo: lvs-ha resume\n", would, until(d.Paused))
		return b.String()
	case "resume":
		fmt.Fprintf(&b, "%sresumed: the kernel's table is put right\n", would)
		return b.String()
	}
	changed := 0
	for i := range d.Servers {
		s := &d.Servers[i]
		name := s.Service + "/" + s.Server
		if s.Changed {
			changed++
		}
		switch {
		case !s.Configured && s.Changed:
			fmt.Fprintf(&b, "%s: not in the configuration; its order is taken back\n", name)
		case !s.Configured:
		case s.WeightBefore == s.WeightAfter && s.StateBefore == s.StateAfter:
			fmt.Fprintf(&b, "%s: %s, weight %d, as before%s\n", name, s.StateAfter, s.WeightAfter, note(s.Why))
		case s.WeightBefore == s.WeightAfter:
			fmt.Fprintf(&b, "%s: %s%s, weight %d%s\n", name, would, s.StateAfter, s.WeightAfter, note(s.Why))
		default:
			fmt.Fprintf(&b, "%s: %s%s, weight %d -> %d%s\n", name, would, s.StateAfter, s.WeightBefore, s.WeightAfter, note(s.Why))
		}
	}
	for i := range d.Services {
		s := &d.Services[i]
		met := "met"
		switch {
		case s.SorryAfter:
			met = "NOT met, the sorry server stands in"
		case !s.UpAfter:
			met = "NOT met"
		case s.HealthyAfter < s.QuorumWeight:
			met = "still met by its hysteresis"
		}
		fmt.Fprintf(&b, "%s: %d of %d weight left, quorum %d %s\n", s.Service, s.HealthyAfter, s.ConfiguredWeight, s.QuorumWeight, met)
	}
	for _, x := range d.Objections {
		fmt.Fprintf(&b, "! %s (done by --force)\n", x)
	}
	if d.Paused != nil {
		b.WriteString("! the agent is paused: the kernel's table stays as it is until \"lvs-ha resume\"\n")
	}
	if undo := undoOf(o); undo != "" && changed > 0 && d.Done {
		fmt.Fprintf(&b, "this director only; undo: %s\n", undo)
	}
	return b.String()
}

func note(why string) string {
	if why == "" {
		return ""
	}
	return " (" + table.Clean(why, true) + ")"
}

func until(o *control.Order) string {
	if o == nil || o.Expires == nil {
		return ""
	}
	return " until " + o.Expires.Local().Format("2006-01-02 15:04:05")
}

// undoOf is the command that takes an order back.
func undoOf(o *adminOptions) string {
	targets := make([]string, len(o.request.Targets))
	for i, t := range o.request.Targets {
		targets[i] = shellWord(t)
	}
	words := strings.Join(targets, " ")
	switch o.request.Action {
	case "drain", "maintenance":
		return "lvs-ha ready " + words
	case "weight":
		if o.request.Weight != nil {
			return "lvs-ha weight " + words + " auto"
		}
	}
	return ""
}

// shellWord quotes what a shell would not leave alone.
func shellWord(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// drainDocument tells how far a drain is, as JSON.
type drainDocument struct {
	Schema  string        `json:"schema"`
	Drained bool          `json:"drained"`
	Waited  float64       `json:"waited"` // seconds
	Servers []drainServer `json:"servers"`
}

type drainServer struct {
	Service    string `json:"service"`
	Server     string `json:"server"`
	Active     uint32 `json:"active_connections"`
	Inactive   uint32 `json:"inactive_connections"`
	Persistent uint32 `json:"persistent_connections"`
}

func (d *drainDocument) write(stdout io.Writer) {
	d.Schema = control.Schema
	if b, err := json.Marshal(d); err == nil {
		stdout.Write(append(b, '\n'))
	}
}
