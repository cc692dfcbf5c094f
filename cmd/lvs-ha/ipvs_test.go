package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvs-ha/conf"
	"lvs-ha/internal/control"
	"lvs-ha/internal/director"
	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

var updateIPVS = flag.Bool("update-ipvs", false, "write the golden files of lvs-ha ipvs")

const ipvsRules = `-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.21:80 -g -w 10
-a -t 192.0.2.1:80 -r 10.0.0.22:80 -g -w 0
-A -u 192.0.2.2:5060 -s sh -p 300 -M 255.255.255.0 --pe sip -o -b sh-fallback,sh-port
-a -u 192.0.2.2:5060 -r 10.0.0.23:5062 -m -w 3 -x 100 -y 80
-A -t [2001:db8::1]:443 -s mh
-a -t [2001:db8::1]:443 -r 10.0.0.24:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t [2001:db8::1]:443 -r [2001:db8::24]:443 -i -w 1 --tun-type ipip
-A -f 7 -6 -s rr
`

const ipvsConns = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP CB007107 C71A C0000201 0050 0A000015 0050 ESTABLISHED     899
TCP CB007108 C71B C0000201 0050 0A000016 0050 FIN_WAIT         12
UDP CB007107 0000 C0000202 13C4 0A000017 13C6 NONE             99 sip 4711@host
IP  CB007100 0000 00000007 0000 0A000015 0000 NONE            300
TCP 2001:0db8:0000:0000:0000:0000:0000:0007 C71A 2001:0db8:0000:0000:0000:0000:0000:0001 01BB 0A000018 01BB SYN_RECV         60
`

const ipvsConnsSync = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP CB007107 C71A C0000201 0050 0A000015 0050 ESTABLISHED LOCAL      899
TCP CB007108 C71B C0000201 0050 0A000016 0050 FIN_WAIT    SYNC        12
`

const ipvsTotals = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
     3E8    10000        0        100000000                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       C       60        0             1000                0
`

// ipvsRig is a machine in memory and files.
type ipvsRig struct {
	*testing.T
	m    ipvsMachine
	fake *ipvsctltest.Fake
	dir  string
}

func newIPVSRig(t *testing.T) *ipvsRig {
	t.Helper()
	t.Setenv("LC_ALL", "C")
	t.Setenv("LVS_HA_NODE", "lb1")
	r := &ipvsRig{T: t, fake: ipvsctltest.NewFake(), dir: t.TempDir()}
	r.m = ipvsMachine{
		open:  func() (ipvsctl.Kernel, error) { return r.fake.Reopen(), nil },
		conns: r.file("conns", ipvsConns), connsSync: r.file("sync", ipvsConnsSync), totals: r.file("totals", ipvsTotals),
		unixSockets: r.file("unix", "Num RefCount Protocol Flags Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 4711 @other\n"),
		now:         func() time.Time { return time.Date(2026, 11, 20, 18, 2, 11, 0, time.UTC) },
		stdin:       strings.NewReader(""),
	}
	return r
}

func (r *ipvsRig) file(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	return path
}

// filled puts the rules, statistics, and daemons into the fake.
func (r *ipvsRig) filled() *ipvsRig {
	r.Helper()
	tab, err := ipvsctl.ParseRules(strings.NewReader(ipvsRules))
	if err != nil {
		r.Fatal(err)
	}
	ops := ipvsctl.Diff(nil, ipvsctl.Goal{Table: tab})
	ops = append(ops, ipvsctl.Op{Kind: ipvsctl.SetTimeouts, Timeouts: ipvsctl.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}})
	for i, err := range r.fake.Apply(r.Context(), ops) {
		if err != nil {
			r.Fatal(ipvsctl.OpError{Op: ops[i], Err: err})
		}
	}
	web := ipvsctl.AddrKey(ipvsctl.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	r.fake.SetStats(web, ipvsctl.EntryStats{
		Counters: ipvsctl.Counters{Connections: 1000, InPackets: 1 << 40, OutPackets: 7, InBytes: 900, OutBytes: 8, CPS: 12, InPPS: 96, InBPS: 4096},
		Servers: map[ipvsctl.ServerKey]ipvsctl.ServerStats{
			{Addr: netip.MustParseAddr("10.0.0.21"), Port: 80}: {Active: 31, Inactive: 7, Persistent: 2, Counters: ipvsctl.Counters{Connections: 600, CPS: 8}},
			{Addr: netip.MustParseAddr("10.0.0.22"), Port: 80}: {Active: 2, Inactive: 412, Counters: ipvsctl.Counters{Connections: 400, CPS: 4}},
		},
	})
	return r
}

// run runs a command line and gives what it wrote and its status.
func (r *ipvsRig) run(args ...string) (stdout, stderr string, code int) {
	r.Helper()
	var out, errs bytes.Buffer
	code = r.m.command(args, &out, &errs)
	return out.String(), errs.String(), code
}

// want runs a command line that must succeed in silence.
func (r *ipvsRig) want(args ...string) string {
	r.Helper()
	out, errs, code := r.run(args...)
	if code != 0 || errs != "" {
		r.Errorf("ipvs %v: %d %s", args, code, errs)
	}
	return out
}

func TestIPVSGolden(t *testing.T) {
	r := newIPVSRig(t).filled()
	r.fake.SetInterfaces("eth1")
	for name, args := range map[string]string{
		"list.txt": "list", "list.json": "list -o json", "list-service.txt": "list --service 192.0.2.1", "list-server.txt": "list --server 10.0.0.0/24",
		"stats.txt": "stats", "stats.json": "stats --service tcp/192.0.2.1 -o json", "rates.txt": "rates", "rates.json": "rates --server 10.0.0.22 -o json",
		"conns.txt": "conns", "conns.json": "conns -o json", "conns-origin.txt": "conns --origin", "conns-origin.json": "conns --origin -o json",
		"conns-none.txt": "conns --client 198.51.100.1", "conns-none.json": "conns --client 198.51.100.1 -o json",
		"daemon-none.txt": "daemon", "timeouts.txt": "timeouts", "timeouts.json": "timeouts -o json",
	} {
		golden(t, name, r.want(strings.Fields(args)...))
	}
	start := []ipvsctl.Op{
		{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleMaster, Interface: "eth1", ID: 51}},
		{Kind: ipvsctl.StartDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup, Interface: "eth1", ID: 52, Group: netip.MustParseAddr("ff02::99")}},
	}
	// Mixed families keep daemons away.
	mixed := ipvsctl.Op{Kind: ipvsctl.DeleteService, Service: ipvsctl.Service{Key: ipvsctl.AddrKey(ipvsctl.TCP, netip.MustParseAddrPort("[2001:db8::1]:443"))}}
	for _, err := range r.fake.Reopen().Apply(t.Context(), append([]ipvsctl.Op{mixed}, start...)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "daemon.txt", r.want("daemon"))
	golden(t, "daemon.json", r.want("daemon", "-o", "json"))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "ipvs", name)
	if strings.HasSuffix(name, ".json") && !json.Valid([]byte(got)) {
		t.Errorf("%s: not JSON: %s", name, got)
	}
	if *updateIPVS {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got): %s", name, d)
	}
}

func TestIPVSConnFilters(t *testing.T) {
	r := newIPVSRig(t)
	for args, want := range map[string]int{
		"": 5, "--client 203.0.113.7": 2, "--client 203.0.113.7:50970": 1, "--client 203.0.113.0/24": 4, "--client 2001:db8::/64": 1,
		"--server 10.0.0.21": 2, "--server 10.0.0.21:80": 1, "--server 10.0.0.0/24 --state established,syn_recv": 2, "--state ESTABLISHED": 1,
		"--service 192.0.2.1": 2, "--service udp/192.0.2.2:5060": 1, "--service fwmark/7": 1, "--service [2001:db8::1]:443": 1, "--state none --client 203.0.113.7": 1,
	} {
		var doc struct{ Connections []ipvsConn }
		if err := json.Unmarshal([]byte(r.want(append([]string{"conns", "-o", "json"}, strings.Fields(args)...)...)), &doc); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(r.want(append([]string{"conns"}, strings.Fields(args)...)...), "\n") - 1
		if len(doc.Connections) != want || lines != want {
			t.Errorf("conns %s: %d in JSON, %d in text, want %d", args, len(doc.Connections), lines, want)
		}
	}
}

// A long list is written in chunks with one head and columns that stay.
func TestIPVSManyConns(t *testing.T) {
	r := newIPVSRig(t)
	_, head, _ := strings.Cut(ipvsConns, "\n")
	first, _, _ := strings.Cut(head, "\n")
	r.m.conns = r.file("many", "Pro x\n"+strings.Repeat(first+"\n", 2*connChunk+1))
	lines := strings.Split(strings.TrimSpace(r.want("conns")), "\n")
	if len(lines) != 2*connChunk+2 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines[1:] {
		if l != lines[1] {
			t.Fatalf("%q unlike %q", l, lines[1])
		}
	}
}

func TestIPVSSaveRestore(t *testing.T) {
	r := newIPVSRig(t).filled()
	if d := cmp.Diff(ipvsRules, r.want("save")); d != "" {
		t.Errorf("save: %s", d)
	}
	if got := r.want("save", "--service", "192.0.2.2"); !strings.HasPrefix(got, "-A -u 192.0.2.2:5060") || strings.Count(got, "\n") != 2 {
		t.Errorf("save of one service: %s", got)
	}
	file := r.file("rules", ipvsRules)
	writes := r.fake.Writes()
	if got := r.want("restore", file); got != "nothing to change\n" || r.fake.Writes() != writes {
		t.Errorf("restoring what is there: %q, %d writes", got, r.fake.Writes()-writes)
	}
	// Another table: edited in place, what the rules do not name stays.
	other := newIPVSRig(t)
	other.m.stdin = strings.NewReader("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.29:80 -g\n-A -t 192.0.2.99:99\n")
	if got := other.want("restore"); !strings.HasSuffix(got, "\n3 changes made\n") {
		t.Error(got)
	}
	dry := other.want("restore", "--dry-run", file)
	if !strings.Contains(dry, "add real server 10.0.0.21:80 weight 10 dr to tcp 192.0.2.1:80\n") || !strings.HasSuffix(dry, " changes to make; services left alone: 1\n") {
		t.Errorf("dry run: %s", dry)
	}
	before := other.fake.Writes()
	got := other.want("restore", file, "-o", "json")
	var doc struct {
		Changes []string
		Alone   int `json:"services_left_alone"`
	}
	if err := json.Unmarshal([]byte(got), &doc); err != nil || doc.Alone != 1 || len(doc.Changes) != other.fake.Writes()-before {
		t.Errorf("%v %s", err, got)
	}
	if d := cmp.Diff(ipvsRules, strings.Replace(other.want("save"), "-A -t 192.0.2.99:99 -s wlc\n", "", 1)); d != "" {
		t.Error(d)
	}
}

func TestIPVSZeroAndTimeouts(t *testing.T) {
	r := newIPVSRig(t).filled()
	if got := r.want("zero", "--service", "tcp 192.0.2.1:80"); got != "zero tcp 192.0.2.1:80\n1 change made; services left alone: 3\n" {
		t.Error(got)
	}
	if got := r.want("stats", "--service", "192.0.2.1"); strings.Contains(got, "1000") {
		t.Errorf("counters are not 0: %s", got)
	}
	if got := r.want("zero"); got != "zero all counters, of 4 services\n1 change made\n" {
		t.Error(got)
	}
	if got := r.want("timeouts", "set", "--tcp", "20m", "--udp", "30"); got != "set timeouts tcp 20m0s udp 30s (before: tcp 15m0s tcpfin 2m0s udp 5m0s)\n1 change made\n" {
		t.Error(got)
	}
	if got := r.want("timeouts"); got != "tcp 20m0s  tcpfin 2m0s  udp 30s\n" {
		t.Error(got)
	}
}

func TestIPVSTrouble(t *testing.T) {
	r := newIPVSRig(t).filled()
	bad := r.file("bad", "-A -t 192.0.2.7:80\n-C\n")
	writes := r.fake.Writes()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 2, "Subcommands"},
		{"add", 2, `there is no "ipvs add"; "lvs-ha ipvs help" lists what there is`},
		{"list tcp", 2, `ipvs list takes no argument "tcp"`},
		{"list -o yaml", 2, "-o yaml: text or json is wanted"},
		{"list --client 192.0.2.1", 2, "there is no option --client"},
		{"list --service web", 2, `"web" names no service: write it like "tcp 192.0.2.1:80", "192.0.2.1" or "fwmark 7" (a name is known only where an agent runs)`},
		{"conns --client bob", 2, `--client "bob": an address, address:port or network in numbers is wanted`},
		{"zero --service 192.0.2.77", 1, "the kernel has no service 192.0.2.77"},
		{"zero --service web", 2, `there is no service called "web" in the configuration`},
		{"timeouts get", 2, `ipvs timeouts takes no argument "get", only set`},
		{"timeouts set", 2, "give one of --tcp, --tcpfin and --udp"},
		{"timeouts --tcp 5", 2, "lvs-ha ipvs timeouts set --tcp 15m"},
		{"timeouts set --tcp 0", 2, "a time of whole seconds like 15m is wanted"},
		{"timeouts set --udp 1.5s", 2, "a time of whole seconds like 15m is wanted"},
		{"save -o json", 2, "lvs-ha ipvs list -o json"},
		{"restore " + bad, 1, bad + `: line 2: "-C" is none of -A (add a service) and -a (add a server)`},
		{"restore " + bad + ".none", 1, "no such file"},
	} {
		out, errs, code := r.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errs, c.want) || out != "" && !strings.Contains(c.args, "json") {
			t.Errorf("ipvs %s: %d, %q, %q; want %d, %q", c.args, code, out, errs, c.code, c.want)
		}
	}
	r.m.stdin = strings.NewReader(strings.Repeat("#", rulesLimit+1))
	if _, errs, code := r.run("restore"); code != 1 || !strings.Contains(errs, "standard input: has more than") {
		t.Errorf("endless rules: %d %s", code, errs)
	}
	if n := r.fake.Writes(); n != writes {
		t.Errorf("%d writes", n-writes)
	}
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{ipvsctl.ErrNoIPVS, 1, "lvs-ha: " + ipvsctl.ErrNoIPVS.Error() + "\n"},
		{ipvsctl.ErrPermission, 4, "lvs-ha: " + ipvsctl.ErrPermission.Error() + "\n"},
	} {
		r.m.open = func() (ipvsctl.Kernel, error) { return nil, c.err }
		for _, args := range []string{"list", "stats", "rates", "daemon", "timeouts", "timeouts set --tcp 5", "save", "zero", "restore"} {
			if out, errs, code := r.run(strings.Fields(args)...); code != c.code || errs != c.want || out != "" {
				t.Errorf("ipvs %s: %d %q %q, want %d %q", args, code, out, errs, c.code, c.want)
			}
		}
		out, _, _ := r.run("list", "-o", "json")
		var doc struct{ Error *control.Error }
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Error == nil || doc.Error.Message != c.err.Error() {
			t.Errorf("%s %v", out, err)
		}
	}
	r.m.conns, r.m.totals = r.dir+"/none", r.dir+"/none"
	if out, errs, code := r.run("conns", "-o", "json"); code != 1 || !strings.Contains(errs, "modprobe ip_vs") || !json.Valid([]byte(out)) {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

// What the kernel refuses is told, each by itself, and the rest is done.
func TestIPVSRefusedByTheKernel(t *testing.T) {
	r := newIPVSRig(t)
	r.fake.Fail(ipvsctl.AddServer, unix.EINVAL, 1)
	out, errs, code := r.run("restore", r.file("rules", ipvsRules))
	if code != 1 || !strings.Contains(errs, "lvs-ha: cannot add real server 10.0.0.21:80") || !strings.HasSuffix(errs, "lvs-ha: changes that the kernel refused: 1\n") || !strings.Contains(out, "8 changes made") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	r.fake.Fail(ipvsctl.AddServer, unix.EINVAL, 1)
	out, _, code = r.run("restore", r.file("rules", ipvsRules), "-o", "json")
	var doc struct{ Failed []string }
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Failed) != 1 || code != 1 {
		t.Errorf("%d %v %s", code, err, out)
	}
}

func TestIPVSWatch(t *testing.T) {
	r := newIPVSRig(t).filled()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, output := range []string{"json", "text"} {
		var b bytes.Buffer
		c := &ipvsCall{ipvsMachine: r.m, stdout: &b, stderr: &b, output: output, watch: watchFlag(time.Millisecond)}
		c.ctx, cancel = context.WithCancel(ctx)
		n := 0
		r.m.now = time.Now
		f := c.table(viewList)
		if err := c.show(func(w io.Writer, term table.Terminal) error {
			if n++; n == 3 {
				cancel()
			}
			return f(w, term)
		}); err != nil {
			t.Error(err)
		}
		cancel()
		want := strings.Count(b.String(), "\n")
		if output == "json" && (want != 2 || !json.Valid([]byte(strings.SplitN(b.String(), "\n", 2)[0]))) {
			t.Errorf("%d lines: %s", want, b.String())
		}
		if output == "text" && strings.Count(b.String(), "SERVICE/SERVER") != 2 {
			t.Error(b.String())
		}
	}
}

// withAgent starts an agent's socket whose configuration names two of the
// services of ipvsRules.
func (r *ipvsRig) withAgent() *ipvsRig {
	r.Helper()
	if os.Getuid() != 0 {
		r.Skip("needs root, which the agent takes changes from")
	}
	web := ipvsctl.AddrKey(ipvsctl.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	snap := &director.Snapshot{At: r.m.now(), Node: "lb1", Services: []director.ServiceStatus{{Name: "web", Service: ipvsctl.Service{Key: web, Scheduler: "wlc"}}}}
	agent := &agentIPVS{open: r.m.open, log: slog.New(slog.DiscardHandler)}
	agent.config.Store(&conf.Config{
		Services: []conf.Service{{Name: "web", Service: ipvsctl.Service{Key: web, Scheduler: "wlc"}}},
		IPVS:     conf.IPVS{Timeouts: ipvsctl.Timeouts{TCP: 15 * time.Minute}},
	})
	srv, err := control.Listen(control.Options{Path: filepath.Join(r.dir, socketName), Source: stillDirector{snap}, IPVS: agent.change})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	r.m.unixSockets = r.file("unix", "Num\n0000000000000000: 00000002 00000000 00010000 0001 01 4712 @lvs-ha/agent\n")
	// The command itself may not write.
	r.m.open = func() (ipvsctl.Kernel, error) { return readOnly{r.fake.Reopen(), r.T}, nil }
	return r
}

type readOnly struct {
	*ipvsctltest.Fake
	t *testing.T
}

func (k readOnly) Apply(context.Context, []ipvsctl.Op) []error {
	k.t.Error("the command writes beside the agent")
	return nil
}

func (k readOnly) Zero(context.Context, *ipvsctl.ServiceKey) error {
	k.t.Error("the command zeroes beside the agent")
	return nil
}

func TestIPVSThroughTheAgent(t *testing.T) {
	r := newIPVSRig(t).filled().withAgent()
	run := func(args ...string) (string, string, int) {
		t.Helper()
		return r.run(append(args, "--runtime-dir", r.dir)...)
	}
	// Names are known now.
	for _, args := range [][]string{{"list", "--service", "web"}, {"save", "--service", "web"}, {"conns", "--service", "web"}} {
		if out, errs, code := run(args...); code != 0 || strings.Count(out, "10.0.0.2") != 2 {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
	if _, errs, code := run("list", "--service", "wob"); code != 2 || !strings.Contains(errs, `no service called "wob"`) {
		t.Errorf("%d %s", code, errs)
	}
	r.file("rules", ipvsRules)
	other := r.file("other", strings.Replace(ipvsRules, "-x 100 -y 80", "", 1)+"-A -t 192.0.2.99:99\n")
	managed := r.file("managed", strings.Replace(ipvsRules, "-w 10", "-w 11", 1)+"-A -t 192.0.2.98:98\n")
	writes := r.fake.Writes()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"zero"}, "service web (tcp 192.0.2.1:80) is managed by the agent: its counters are left alone"},
		{[]string{"zero", "--service", "web"}, "service web (tcp 192.0.2.1:80) is managed by the agent: its counters are left alone"},
		{[]string{"restore", managed}, "service web (tcp 192.0.2.1:80) is managed by the agent and differs from the rules; change the configuration file"},
		{[]string{"timeouts", "set", "--tcp", "5m"}, "the agent's configuration sets the timeouts tcp 15m0s"},
	} {
		if out, errs, code := run(c.args...); code != 5 || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: %d %s%s, want 5 %s", c.args, code, out, errs, c.want)
		}
	}
	if n := r.fake.Writes(); n != writes {
		t.Errorf("%d writes by what was refused", n-writes)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"zero", "--service", "192.0.2.2"}, "zero udp 192.0.2.2:5060\n1 change made; services left alone: 3\n"},
		{[]string{"restore", other}, "set real server 10.0.0.23:5062 weight 3 nat of udp 192.0.2.2:5060\nadd service tcp 192.0.2.99:99 wlc\n2 changes made\n"},
		{[]string{"timeouts", "set", "--udp", "5s"}, "set timeouts udp 5s (before: tcp 15m0s tcpfin 2m0s udp 5m0s)\n1 change made\n"},
	} {
		out, errs, code := run(c.args...)
		if code != 0 || errs != "" || !sameLines(out, c.want) {
			t.Errorf("%v: %d %s%s, want %s", c.args, code, out, errs, c.want)
		}
	}
	// The agent's name is held, but its socket is elsewhere.
	for _, args := range [][]string{{"zero"}, {"restore", other}, {"timeouts", "set", "--udp", "5s"}} {
		if _, errs, code := r.run(append(args, "--runtime-dir", r.dir+"/none")...); code != 3 || !strings.Contains(errs, "name its socket with --runtime-dir") {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

// sameLines compares without the order.
func sameLines(a, b string) bool {
	sorted := func(s string) map[string]int {
		m := map[string]int{}
		for l := range strings.Lines(s) {
			m[l]++
		}
		return m
	}
	return cmp.Equal(sorted(a), sorted(b))
}
