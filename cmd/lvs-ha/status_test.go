package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/health"
	"lvs-ha/internal/control"
	"lvs-ha/internal/director"
	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

var updateStatus = flag.Bool("update-status", false, "write the golden files of the status screen")

type stillDirector struct{ s *director.Snapshot }

func (d stillDirector) Snapshot() *director.Snapshot               { return d.s }
func (d stillDirector) Refresh(context.Context) *director.Snapshot { return d.s }

// fakeAgent serves a snapshot at a socket until the test ends.
func fakeAgent(t *testing.T, s *director.Snapshot) (runtimeDir string) {
	t.Helper()
	dir := t.TempDir()
	srv, err := control.Listen(control.Options{Path: filepath.Join(dir, socketName), Source: stillDirector{s}, Version: "1.2.3"})
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

func statusFixture() *director.Snapshot {
	now := time.Date(2026, 11, 20, 18, 2, 11, 0, time.UTC)
	start := now.Add(-76 * time.Hour)
	vip := func(s string) link.AddressStatus {
		return link.AddressStatus{Address: netip.MustParsePrefix(s), Interface: "eth0", Present: true}
	}
	server := func(name, addr string, st director.ServerState, since time.Duration, weight *uint32, configured uint32, active uint32, why string) director.ServerStatus {
		return director.ServerStatus{Name: name, State: st, Healthy: st == director.ServerUp, Since: now.Add(-since), Weight: weight, ConfiguredWeight: configured, Why: why,
			Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr(addr), Port: 443}, Forward: ipvsctl.Direct},
			Stats:  ipvsctl.ServerStats{Active: active}, Checks: []director.CheckStatus{{Name: "tcp", Status: health.Status{Spec: health.Spec{Method: &health.Method{}}}}}}
	}
	service := func(proto ipvsctl.Protocol, addr string, port uint16, sched string) ipvsctl.Service {
		return ipvsctl.Service{Scheduler: sched, Key: ipvsctl.ServiceKey{Protocol: proto, Addr: netip.MustParseAddr(addr), Port: port, Family: 4}}
	}
	return &director.Snapshot{
		At: now, Node: "lb1", Cluster: "edge-fra1", Started: start, Ready: true, SpeakerAt: now,
		Config: director.ConfigStatus{LastOK: true, LoadedAt: start},
		Speaker: &link.Status{Instances: []link.InstanceStatus{{
			Name: "edge", Interface: "eth0", State: vrrp.Master, Since: start, Reason: "preempted lb2", Priority: 150, ConfiguredPriority: 150,
			LastHeard: start, Addresses: []link.AddressStatus{vip("192.0.2.10/24"), vip("192.0.2.11/24"), vip("192.0.2.12/24"), vip("198.51.100.53/32")},
		}}},
		Services: []director.ServiceStatus{
			{Name: "web-https", Service: service(ipvsctl.TCP, "192.0.2.10", 443, "wrr"), Up: true, QuorumWeight: 1, HealthyWeight: 20, ConfiguredWeight: 25, KernelPresent: true,
				Counters: ipvsctl.Counters{CPS: 412}, Servers: []director.ServerStatus{
					server("web1", "10.0.0.21", director.ServerUp, 76*time.Hour, new(uint32(10)), 10, 1900, ""),
					server("web2", "10.0.0.22", director.ServerUp, 5*time.Hour+7*time.Minute, new(uint32(10)), 10, 1910, ""),
					server("web3", "10.0.0.23", director.ServerMaintenance, 76*time.Hour, nil, 5, 0, "disabled in the configuration"),
				}},
			{Name: "api", Service: service(ipvsctl.TCP, "192.0.2.11", 80, "wlc"), Up: true, QuorumWeight: 1, HealthyWeight: 1, ConfiguredWeight: 2, KernelPresent: true,
				Counters: ipvsctl.Counters{CPS: 38}, Servers: []director.ServerStatus{
					server("api1", "10.1.0.21", director.ServerUp, 2*time.Second, new(uint32(1)), 1, 60, ""),
					server("api2", "2001:db8::22", director.ServerDown, 130*time.Second, new(uint32(0)), 1, 60, "check tcp: connection refused\x1b[2J\u202e"),
				}},
			{Name: "ftp", Service: ipvsctl.Service{Scheduler: "rr", Key: ipvsctl.ServiceKey{FWMark: 21, Family: 4}}, QuorumWeight: 1, KernelPresent: true},
			{Name: "voice", Service: ipvsctl.Service{Scheduler: "sh", Key: ipvsctl.ServiceKey{FWMark: 0x4c560001, Family: 4}}, QuorumWeight: 1, KernelPresent: true,
				Ports: "5060, 10000-20000", Virtual: ipvsctl.ServiceKey{Protocol: ipvsctl.UDP, Addr: netip.MustParseAddr("192.0.2.12"), Family: 4}},
		},
		Kernel: director.KernelStatus{Used: true, Up: true, LastReconcile: now.Add(-3 * time.Second), Drift: map[string]uint64{"weight": 1}, Unmanaged: 2},
		Sync:   director.SyncStatus{Configured: true, Interface: "eth1", ID: 51, Follow: "edge", Running: []ipvsctl.Role{ipvsctl.RoleMaster}},
	}
}

func TestStatusScreen(t *testing.T) {
	full := control.NewDocument(statusFixture(), "1.2.3")
	backup := statusFixture()
	i := &backup.Speaker.Instances[0]
	i.State, i.Priority, i.Addresses = vrrp.Backup, 90, nil
	i.LastHeard, i.MasterSource, i.MasterPriority = backup.At.Add(-400*time.Millisecond), netip.MustParseAddr("10.0.0.12"), 100
	backup.Services, backup.Sync, backup.Kernel = nil, director.SyncStatus{}, director.KernelStatus{}
	many := statusFixture()
	for n := range 100 {
		r := many.Services[0].Servers[0]
		r.Name = fmt.Sprint("more", n)
		many.Services[0].Servers = append(many.Services[0].Servers, r)
	}
	for _, c := range []struct {
		name string
		d    *control.Document
		term table.Terminal
	}{
		{"full", full, table.Terminal{Unicode: true}},
		{"ascii", full, table.Terminal{}},
		{"narrow", full, table.Terminal{Unicode: true, Width: 72}},
		{"colour", full, table.Terminal{Unicode: true, Colour: true}},
		{"backup", control.NewDocument(backup, "1.2.3"), table.Terminal{Unicode: true}},
		{"many", control.NewDocument(many, "1.2.3"), table.Terminal{Unicode: true}},
		{"bare", control.NewDocument(&director.Snapshot{Node: "lb1"}, "1.2.3"), table.Terminal{Unicode: true}},
	} {
		got := statusScreen(c.d, c.term, screenOptions{local: time.UTC})
		path := filepath.Join("testdata", "status", c.name+".txt")
		if *updateStatus {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (run with -update-status to accept), -want +got:\n%s", c.name, d)
		}
		if !c.term.Colour && strings.ContainsAny(got, "\x1b\u202e") {
			t.Errorf("%s: control characters get through", c.name)
		}
	}
}

func runStatus(args ...string) (int, string, string) {
	var out, errs bytes.Buffer
	code := statusCommand(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestStatusCommand(t *testing.T) {
	dir := fakeAgent(t, statusFixture())
	code, out, errs := runStatus("--runtime-dir", dir)
	if code != 0 || !strings.HasPrefix(out, "lb1  MASTER of edge since 3d 04h") || errs != "" {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	code, out, _ = runStatus("--socket", filepath.Join(dir, socketName), "-o", "json")
	var d control.Document
	if err := json.Unmarshal([]byte(out), &d); code != 0 || err != nil || d.Schema != control.Schema || d.VRRP[0].State != "master" {
		t.Errorf("%d %v\n%s", code, err, out)
	}
	if code, out, _ := runStatus("--runtime-dir", dir, "--exit-code"); code != 1 || out == "" {
		t.Errorf("a service is down: exit %d", code)
	}
	well := statusFixture()
	well.Services = well.Services[:1]
	if code, _, _ := runStatus("--runtime-dir", fakeAgent(t, well), "--exit-code"); code != 0 {
		t.Errorf("all is well: exit %d", code)
	}
}

func TestStatusCommandErrors(t *testing.T) {
	dir := t.TempDir()
	want := "no agent at " + filepath.Join(dir, socketName) + ": is lvs-ha running?"
	code, out, errs := runStatus("--runtime-dir", dir)
	if code != 3 || out != "" || errs != "lvs-ha: "+want+"\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	code, out, errs = runStatus("--runtime-dir", dir, "-o", "json")
	if wantJSON := fmt.Sprintf(`{"schema":"lvs-ha/v1","error":{"code":"unreachable","message":%q}}`+"\n", want); code != 3 || out != wantJSON || errs == "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	for _, args := range [][]string{{"-o", "xml"}, {"extra"}, {"--nonsense"}, {"--watch=1"}, {"--watch=1ms"}} {
		if code, _, errs := runStatus(args...); code != 2 || errs == "" {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	if code, _, errs := runStatus("--help"); code != 0 || !strings.Contains(errs, "lvs-ha status --watch") {
		t.Errorf("help: exit %d\n%s", code, errs)
	}
}

// frames collects what is written and ends the watching after some frames.
type frames struct {
	bytes.Buffer
	left int
	stop context.CancelFunc
}

func (f *frames) Write(p []byte) (int, error) {
	if f.left--; f.left == 0 {
		f.stop()
	}
	return f.Buffer.Write(p)
}

func TestStatusWatch(t *testing.T) {
	o := statusOptions{socket: filepath.Join(fakeAgent(t, statusFixture()), socketName), output: "json", watch: watchFlag(10 * time.Millisecond)}
	for _, c := range []struct{ output, socket, each string }{
		{"json", o.socket, `{"schema":"lvs-ha/v1","node":"lb1"`},
		{"text", o.socket, "lb1  MASTER of edge"},
		{"json", "/nonexistent", `{"schema":"lvs-ha/v1","error":{"code":"unreachable"`},
		{"text", "/nonexistent", "no agent at /nonexistent"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out := &frames{left: 3, stop: cancel}
		o.output, o.socket = c.output, c.socket
		if code := watchStatus(ctx, o, out, out); code != 0 {
			t.Errorf("exit %d", code)
		}
		cancel()
		if n := strings.Count(out.String(), c.each); n != 3 {
			t.Errorf("%s: %d frames, want 3:\n%s", c.output, n, out.String())
		}
	}
}

func TestRepaint(t *testing.T) {
	if got := string(repaint([]byte("a\nb\n"), &bytes.Buffer{})); got != "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J" {
		t.Errorf("%q", got)
	}
}

func TestLocale(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"LANG": "en_US.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, true},
	} {
		if got := utf8Locale(func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// What is heard and thrown away shows: two directors with different passwords
// are both master, and nothing else would say why.
func TestRejectedAdvertisementsShow(t *testing.T) {
	now := time.Date(2026, 11, 20, 18, 2, 11, 0, time.UTC)
	then := now.Add(-90 * time.Second)
	d := &control.Document{Time: now}
	for want, v := range map[string]control.VRRP{
		"silent 1m 30s":                   {State: "master", LastHeard: &then, Dropped: map[string]uint64{"auth": 0}},
		"nothing yet, 12 rejected (auth)": {State: "master", Dropped: map[string]uint64{"auth": 12, "ttl": 0}},
		"silent 1m 30s, 6 rejected (ttl)": {State: "master", LastHeard: &then, Dropped: map[string]uint64{"auth": 1, "interval": 1, "ttl": 4}},
	} {
		if got := heard(d, &v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
