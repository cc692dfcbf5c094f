package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"lvs-ha/internal/control"
	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
)

// change makes a change through the agent if one runs in this network
// namespace, else in the kernel: two writers that do not know of one another
// would undo each other's work.
func (c *ipvsCall) change(q control.IPVSChange) error {
	runs, err := c.agentRuns()
	if err != nil {
		return err
	}
	var result control.IPVSResult
	if runs {
		result, err = control.NewClient(c.socket).IPVS(c.ctx, q)
		var e *control.Error
		if errors.As(err, &e) && e.Code == control.CodeUnreachable {
			err = &control.Error{Code: e.Code, Message: "an agent runs in this network namespace, so the change is its to make, but: " + e.Message,
				Hint: "name its socket with --runtime-dir or --socket"}
		}
	} else {
		result, err = ipvsWriter{open: c.open}.change(c.ctx, q)
	}
	if err != nil {
		return err
	}
	return c.tell(q, result)
}

// tell shows what was done and what was not.
func (c *ipvsCall) tell(q control.IPVSChange, r control.IPVSResult) error {
	if c.output == "json" {
		err := c.json(c.stdout, struct {
			ipvsHead
			DryRun  bool     `json:"dry_run"`
			Changes []string `json:"changes"`
			Failed  []string `json:"failed"`
			Alone   int      `json:"services_left_alone"`
		}{c.head(), q.DryRun, append([]string{}, r.Changes...), append([]string{}, r.Failed...), r.Alone})
		if err == nil && len(r.Failed) > 0 {
			err = errTold
		}
		return err
	}
	var b strings.Builder
	for _, s := range r.Changes {
		b.WriteString(table.Clean(s, true) + "\n")
	}
	what := "made"
	if q.DryRun {
		what = "to make"
	}
	switch len(r.Changes) {
	case 0:
		b.WriteString("nothing to change")
	case 1:
		b.WriteString("1 change " + what)
	default:
		fmt.Fprintf(&b, "%d changes %s", len(r.Changes), what)
	}
	if r.Alone > 0 {
		fmt.Fprintf(&b, "; services left alone: %d", r.Alone)
	}
	if _, err := io.WriteString(c.stdout, b.String()+"\n"); err != nil {
		return err
	}
	for _, s := range r.Failed {
		fmt.Fprintf(c.stderr, "lvs-ha: %s\n", table.Clean(s, true))
	}
	if n := len(r.Failed); n > 0 {
		return &control.Error{Code: control.CodeInternal, Message: fmt.Sprintf("changes that the kernel refused: %d", n)}
	}
	return nil
}

func (c *ipvsCall) zero([]string) error {
	return c.change(control.IPVSChange{Kind: control.IPVSZero, Service: c.service})
}

func (c *ipvsCall) setTimeouts() error {
	return c.change(control.IPVSChange{Kind: control.IPVSTimeouts,
		TCP: uint32(c.timeouts[0]), TCPFin: uint32(c.timeouts[1]), UDP: uint32(c.timeouts[2])})
}

// rulesLimit is more than a file of rules ever has.
const rulesLimit = 32 << 20

// restore reads the whole file before anything is changed.
func (c *ipvsCall) restore(args []string) error {
	in, name := c.stdin, "standard input"
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in, name = f, args[0]
	}
	text, err := io.ReadAll(io.LimitReader(in, rulesLimit+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case len(text) > rulesLimit:
		return fmt.Errorf("%s: has more than %d octets", name, rulesLimit)
	}
	if _, err := ipvsctl.ParseRules(strings.NewReader(string(text))); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.change(control.IPVSChange{Kind: control.IPVSRestore, Rules: string(text), DryRun: c.dryRun})
}

// save writes the rules of the kernel's table.
func (c *ipvsCall) save([]string) error {
	if c.output == "json" {
		return usageError("ipvs save writes rules; for JSON: lvs-ha ipvs list -o json")
	}
	sel, err := c.selector()
	if err != nil {
		return err
	}
	return c.withKernel(func(k ipvsctl.Kernel) error {
		t, err := k.Dump(c.ctx)
		if err != nil {
			return err
		}
		for key := range t {
			if !sel.Service(key) {
				delete(t, key)
			}
		}
		_, err = io.WriteString(c.stdout, ipvsctl.FormatRules(t))
		return err
	})
}

// ipvsWriter makes changes that people ask for: in the agent, and in the
// command where no agent runs.
type ipvsWriter struct {
	open func() (ipvsctl.Kernel, error)
	// managed is what the agent's configuration says; nil without an agent.
	managed *ipvsManaged
}

// ipvsManaged is what follows the configuration and nobody else.
type ipvsManaged struct {
	services map[ipvsctl.ServiceKey]string // by name
	timeouts ipvsctl.Timeouts
}

func (w ipvsWriter) change(ctx context.Context, q control.IPVSChange) (control.IPVSResult, error) {
	var r control.IPVSResult
	k, err := w.open()
	if err != nil {
		return r, ipvsError(err)
	}
	defer k.Close()
	switch q.Kind {
	case control.IPVSZero:
		r, err = w.zero(ctx, k, q.Service)
	case control.IPVSRestore:
		r, err = w.restore(ctx, k, q)
	case control.IPVSTimeouts:
		r, err = w.setTimeouts(ctx, k, q)
	default:
		err = usageError("there is no change %q", q.Kind)
	}
	if err != nil {
		return r, ipvsError(err)
	}
	return r, nil
}

// name of a managed service, "" if it is not.
func (w ipvsWriter) name(k ipvsctl.ServiceKey) string {
	if w.managed == nil {
		return ""
	}
	return w.managed.services[k]
}

func refuse(hint, format string, args ...any) error {
	return &control.Error{Code: control.CodeRefused, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (w ipvsWriter) zero(ctx context.Context, k ipvsctl.Kernel, service string) (control.IPVSResult, error) {
	var r control.IPVSResult
	names := map[string]ipvsctl.Selector{}
	if w.managed != nil {
		for key, n := range w.managed.services {
			names[n] = ipvsctl.SelectorOf(key)
		}
	}
	sel, err := namedSelector(service, names)
	if err != nil {
		return r, err
	}
	in, ok := k.(ipvsctl.Inspector)
	if !ok {
		return r, errors.New("this kernel cannot set counters to 0")
	}
	t, err := k.Dump(ctx)
	if err != nil {
		return r, err
	}
	var keys []ipvsctl.ServiceKey
	for _, key := range t.Keys() {
		if !sel.Service(key) {
			r.Alone++
			continue
		}
		if n := w.name(key); n != "" {
			return control.IPVSResult{}, refuse("the agent's metrics count on; look at rates, or at differences",
				"service %s (%v) is managed by the agent: its counters are left alone", n, key)
		}
		keys = append(keys, key)
	}
	if service == "" {
		// One request, which zeroes the sums too.
		if err := in.Zero(ctx, nil); err != nil {
			return r, err
		}
		r.Changes = append(r.Changes, fmt.Sprintf("zero all counters, of %d services", len(keys)))
		return r, nil
	}
	if len(keys) == 0 {
		return r, fmt.Errorf("the kernel has no service %s", service)
	}
	for _, key := range keys {
		if err := in.Zero(ctx, &key); err != nil {
			r.Failed = append(r.Failed, fmt.Sprintf("cannot zero %v: %v", key, err))
			continue
		}
		r.Changes = append(r.Changes, "zero "+key.String())
	}
	return r, nil
}

// restoreRounds: a dump taken while others write is a hint, and what it missed
// is found in the next.
const restoreRounds = 3

// restore makes the services of the rules what they say, in place, and leaves
// all others alone.
func (w ipvsWriter) restore(ctx context.Context, k ipvsctl.Kernel, q control.IPVSChange) (control.IPVSResult, error) {
	var r control.IPVSResult
	want, err := ipvsctl.ParseRules(strings.NewReader(q.Rules))
	if err != nil {
		return r, err
	}
	for range restoreRounds {
		have, err := k.Dump(ctx)
		if err != nil {
			return r, err
		}
		r.Alone = 0
		for key := range have {
			if _, named := want[key]; !named {
				r.Alone++
			}
		}
		ops := ipvsctl.Diff(have, ipvsctl.Goal{Table: want})
		for _, o := range ops {
			if n := w.name(o.Service.Key); n != "" {
				return r, refuse("change the configuration file, or take the service out of the rules",
					"service %s (%v) is managed by the agent and differs from the rules", n, o.Service.Key)
			}
		}
		if len(ops) == 0 {
			return r, nil
		}
		if q.DryRun {
			for _, o := range ops {
				r.Changes = append(r.Changes, o.String())
			}
			return r, nil
		}
		for i, err := range k.Apply(ctx, ops) {
			switch {
			case err == nil:
				r.Changes = append(r.Changes, ops[i].String())
			case errors.Is(err, ipvsctl.ErrPermission):
				return r, err
			default:
				r.Failed = append(r.Failed, ipvsctl.OpError{Op: ops[i], Err: err}.Error())
			}
		}
		if len(r.Failed) > 0 {
			return r, nil
		}
	}
	return r, nil
}

func (w ipvsWriter) setTimeouts(ctx context.Context, k ipvsctl.Kernel, q control.IPVSChange) (control.IPVSResult, error) {
	var r control.IPVSResult
	t := ipvsctl.Timeouts{TCP: time.Duration(q.TCP) * time.Second, TCPFin: time.Duration(q.TCPFin) * time.Second, UDP: time.Duration(q.UDP) * time.Second}
	if t == (ipvsctl.Timeouts{}) {
		return r, usageError("no timeout is given")
	}
	if m := w.managed; m != nil && (t.TCP != 0 && m.timeouts.TCP != 0 || t.TCPFin != 0 && m.timeouts.TCPFin != 0 || t.UDP != 0 && m.timeouts.UDP != 0) {
		return r, refuse("change timeouts of [ipvs] there", "the agent's configuration sets the timeouts %v", m.timeouts)
	}
	was, err := k.Timeouts(ctx)
	if err != nil {
		return r, err
	}
	o := ipvsctl.Op{Kind: ipvsctl.SetTimeouts, Timeouts: t}
	if err := k.Apply(ctx, []ipvsctl.Op{o})[0]; err != nil {
		if errors.Is(err, ipvsctl.ErrPermission) {
			return r, err
		}
		return r, ipvsctl.OpError{Op: o, Err: err}
	}
	r.Changes = append(r.Changes, fmt.Sprintf("%v (before: %v)", o, was))
	return r, nil
}
