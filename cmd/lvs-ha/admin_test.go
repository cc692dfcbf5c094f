package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/internal/control"
	"lvs-ha/internal/director"
	"lvs-ha/ipvsctl"
)

// orders is an agent that takes orders and remembers the last one.
type orders struct {
	got    atomic.Pointer[director.AdminRequest]
	result director.AdminResult
	err    error
	snap   func() *director.Snapshot
	latest atomic.Pointer[director.Snapshot]
}

func (o *orders) Snapshot() *director.Snapshot { return o.latest.Load() }

func (o *orders) Refresh(context.Context) *director.Snapshot {
	o.latest.Store(o.snap())
	return o.latest.Load()
}

func (o *orders) serve(t *testing.T) (dir string) {
	t.Helper()
	if o.snap == nil {
		o.snap = func() *director.Snapshot { return &director.Snapshot{Node: "lb1"} }
	}
	dir = t.TempDir()
	srv, err := control.Listen(control.Options{Path: filepath.Join(dir, socketName), Source: o, Version: "1.2.3",
		Admin: func(_ context.Context, r director.AdminRequest) (director.AdminResult, error) {
			o.got.Store(&r)
			return o.result, o.err
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = dispatch(args, &out, &err)
	return code, out.String(), err.String()
}

func web1(before, after uint32, state director.ServerState, why string) director.AdminResult {
	return director.AdminResult{
		Servers: []director.AdminServer{{ID: director.ServerID{Service: "web", Server: "web1"}, Configured: true, StateBefore: director.ServerUp, StateAfter: state,
			WeightBefore: before, WeightAfter: after, Why: why, After: director.Admin{Mode: director.AdminDrain}}},
		Services: []director.AdminService{{Name: "web", Quorum: 15, ConfiguredWeight: 25, HealthyBefore: 25, HealthyAfter: 15, UpBefore: true, UpAfter: true}},
	}
}

func TestOrdersOnTheCommandLine(t *testing.T) {
	t.Setenv("SUDO_USER", "anna")
	o := &orders{result: web1(10, 0, director.ServerDrain, "drained by anna: \x1b[2Jdisk")}
	dir := o.serve(t)
	for _, c := range []struct {
		args string
		want director.AdminRequest
		out  string
	}{
		{"drain web/web1 --for 2h --reason disk",
			director.AdminRequest{Action: "drain", Targets: []string{"web/web1"}, For: 2 * time.Hour, Reason: "disk"},
			"web/web1: drain, weight 10 -> 0 (drained by anna: [2Jdisk)\nweb: 15 of 25 weight left, quorum 15 met\nthis director only; undo: lvs-ha ready web/web1\n"},
		{"maintenance --force */web1 web/*", director.AdminRequest{Action: "maintenance", Targets: []string{"*/web1", "web/*"}, Force: true},
			"web/web1: drain, weight 10 -> 0 (drained by anna: [2Jdisk)\nweb: 15 of 25 weight left, quorum 15 met\nthis director only; undo: lvs-ha ready '*/web1' 'web/*'\n"},
		{"ready -dry-run web/web1", director.AdminRequest{Action: "ready", Targets: []string{"web/web1"}, DryRun: true},
			"web/web1: would be drain, weight 10 -> 0 (drained by anna: [2Jdisk)\nweb: 15 of 25 weight left, quorum 15 met\n"},
		{"weight web/web1 --for=1m 7", director.AdminRequest{Action: "weight", Targets: []string{"web/web1"}, Weight: new(uint32(7)), For: time.Minute},
			"web/web1: drain, weight 10 -> 0 (drained by anna: [2Jdisk)\nweb: 15 of 25 weight left, quorum 15 met\nthis director only; undo: lvs-ha weight web/web1 auto\n"},
		{"weight -- web/web1 auto", director.AdminRequest{Action: "weight", Targets: []string{"web/web1"}},
			"web/web1: drain, weight 10 -> 0 (drained by anna: [2Jdisk)\nweb: 15 of 25 weight left, quorum 15 met\n"},
		{"pause", director.AdminRequest{Action: "pause"}, "paused: nothing is changed in the kernel\nundo: lvs-ha resume\n"},
		{"resume --dry-run", director.AdminRequest{Action: "resume", DryRun: true}, "would be resumed: the kernel's table is put right\n"},
	} {
		words := strings.Fields(c.args)
		code, out, errs := run(append(append([]string{words[0]}, "--runtime-dir", dir), words[1:]...)...)
		if code != exitOK || errs != "" {
			t.Errorf("%s: exit %d, %s", c.args, code, errs)
		}
		if d := cmp.Diff(c.out, out); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.args, d)
		}
		got := *o.got.Load()
		if got.Owner == "" {
			t.Errorf("%s: nobody asks", c.args)
		}
		got.Owner = ""
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.args, d)
		}
	}

	o.result.Objections, o.result.Unsaved = []string{"this would end service web"}, "disk full"
	o.result.Services[0].UpAfter, o.result.Pause.On = false, true
	_, out, errs := run("drain", "--runtime-dir", dir, "--force", "web/web1")
	for _, want := range []string{"quorum 15 NOT met\n", "! this would end service web (done by --force)\n", "! the agent is paused"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if !strings.Contains(errs, "cannot be saved: disk full") {
		t.Error(errs)
	}
	code, out, _ := run("drain", "--runtime-dir", dir, "-o", "json", "web/web1")
	var d control.AdminDocument
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != exitOK || !d.Done || d.Servers[0].Server != "web1" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	o := &orders{err: &director.RefusedError{Objections: []string{"this would end service web: 10 of 25 weight left, quorum 15 not met"}}}
	dir := o.serve(t)
	code, out, errs := run("drain", "--runtime-dir", dir, "web")
	if code != 5 || out != "" || !strings.Contains(errs, "quorum 15 not met; --force does it all the same") {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	code, out, _ = run("drain", "--runtime-dir", dir, "-o", "json", "web")
	if code != 5 || !strings.HasPrefix(out, `{"schema":"lvs-ha/v1","error":{"code":"refused"`) {
		t.Errorf("exit %d, %s", code, out)
	}
	o.err = director.ErrNoTarget
	if code, _, _ := run("ready", "--runtime-dir", dir, "nobody"); code != exitUsage {
		t.Errorf("no target: exit %d", code)
	}
	for _, args := range []string{"drain", "drain web --for", "drain web --for -1s", "drain web --for soon", "weight web", "weight web ten", "weight web -1", "weight web 65536",
		"weight web auto --for 1h", "pause web", "ready web --for 1h", "resume --force", "drain web -o yaml", "drain web --wait=never", "maintenance", "resume x"} {
		words := strings.Fields(args)
		if code, out, errs := run(append(words, "--runtime-dir", dir)...); code != exitUsage || errs == "" || out != "" {
			t.Errorf("%s: exit %d, %q %q", args, code, out, errs)
		}
	}
	for name := range adminHelp {
		code, errs, _ := run(name, "--help")
		if code != exitOK || !strings.Contains(errs, "lvs-ha "+name+" ") || !strings.Contains(errs, "Exit status") {
			t.Errorf("%s --help: exit %d\n%s", name, code, errs)
		}
	}
	if code, _, _ := run("pause", "--runtime-dir", t.TempDir()); code != 3 {
		t.Errorf("without an agent: exit %d", code)
	}
}

// draining is a snapshot of web/web1 with so many connections.
func draining(active uint32, admin director.AdminMode, proto ipvsctl.Protocol) *director.Snapshot {
	stats := ipvsctl.ServerStats{Active: active, Inactive: 3, Persistent: 2}
	if proto == ipvsctl.UDP {
		stats = ipvsctl.ServerStats{Inactive: active}
	}
	return &director.Snapshot{Services: []director.ServiceStatus{{Name: "web", Service: ipvsctl.Service{Key: ipvsctl.ServiceKey{Protocol: proto}},
		Servers: []director.ServerStatus{{Name: "web1", Admin: &director.Admin{Mode: admin}, Stats: stats}, {Name: "web2", Stats: ipvsctl.ServerStats{Active: 99}}}}}}
}

func TestWaitForADrain(t *testing.T) {
	for _, proto := range []ipvsctl.Protocol{ipvsctl.TCP, ipvsctl.UDP} {
		var asked atomic.Int32
		o := &orders{result: web1(10, 0, director.ServerDrain, ""), snap: func() *director.Snapshot {
			return draining(uint32(max(0, 2-asked.Add(1))), director.AdminDrain, proto)
		}}
		code, out, errs := run("drain", "--runtime-dir", o.serve(t), "web/web1", "--wait")
		if code != exitOK || !strings.HasSuffix(out, "drained\n") || asked.Load() < 2 || !strings.HasPrefix(errs, "web/web1 1 active, ") {
			t.Errorf("exit %d, %q %q after %d looks", code, out, errs, asked.Load())
		}
	}
	o := &orders{result: web1(10, 0, director.ServerDrain, ""), snap: func() *director.Snapshot { return draining(7, director.AdminDrain, ipvsctl.TCP) }}
	dir := o.serve(t)
	code, out, errs := run("drain", "--runtime-dir", dir, "web/web1", "--wait=1s", "-o", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 6 || len(lines) != 2 || !strings.Contains(lines[1], `"drained":false`) || !strings.Contains(lines[1], `"active_connections":7`) || !strings.Contains(errs, "the drain goes on") {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	o.snap = func() *director.Snapshot { return draining(7, "", ipvsctl.TCP) }
	if code, _, errs := run("drain", "--runtime-dir", dir, "web/web1", "--wait"); code != exitNo || !strings.Contains(errs, "nobody drains it any more") {
		t.Errorf("somebody made it ready: exit %d, %q", code, errs)
	}
	o.snap = func() *director.Snapshot { return &director.Snapshot{} }
	if code, _, errs := run("drain", "--runtime-dir", dir, "web/web1", "--wait"); code != exitNo || !strings.Contains(errs, "web/web1: nobody drains it any more") {
		t.Errorf("it left the configuration: exit %d, %q", code, errs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code := giveOrder(ctx, &adminOptions{socket: filepath.Join(dir, socketName), output: "text"}, io.Discard, io.Discard); code != 6 {
		t.Errorf("interrupted: exit %d", code)
	}
}

func TestProgressText(t *testing.T) {
	var many []drainServer
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		many = append(many, drainServer{Service: "web", Server: n, Active: 1, Persistent: 2})
	}
	if got := progressText(many); !strings.HasPrefix(got, "web/a 1 active, 0 inactive, 2 persistent; ") || !strings.HasSuffix(got, "; 2 more") {
		t.Error(got)
	}
	if got := progressText([]drainServer{{Service: "web", Server: "a"}}); got != "no connections left" {
		t.Error(got)
	}
}
