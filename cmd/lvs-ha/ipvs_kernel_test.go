package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/ipvsctl"
)

// kernelRig is the real program in a network namespace of a real kernel, with
// ipvsadm as an independent witness.
type kernelRig struct {
	*testing.T
	bin, ns, dir string
}

func ipvsMissing(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), what) {
		t.Fatalf("LVSHA_REQUIRE names %s: %s", what, why)
	}
	t.Skipf("SKIPPED, needs %s: %s", what, why)
}

func newKernelRig(t *testing.T) *kernelRig {
	t.Helper()
	k, err := ipvsctl.Open()
	if err != nil {
		ipvsMissing(t, "ipvs", err.Error())
	}
	k.Close()
	r := &kernelRig{T: t, bin: os.Getenv("LVSHA_BIN"), dir: t.TempDir(), ns: fmt.Sprintf("lvsha-ipvs-%d", os.Getpid())}
	if r.bin == "" {
		ipvsMissing(t, "ipvs", "LVSHA_BIN does not name the program to test")
	}
	if _, err := exec.LookPath("ipvsadm"); err != nil {
		ipvsMissing(t, "ipvs", err.Error())
	}
	if out, err := exec.Command("ip", "netns", "add", r.ns).CombinedOutput(); err != nil {
		ipvsMissing(t, "netns", string(out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", r.ns).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, args := range []string{"link set lo up", "link add eth9 type dummy", "addr add 203.0.113.1/24 dev eth9", "link set eth9 up"} {
		r.must("", append([]string{"ip"}, strings.Fields(args)...)...)
	}
	return r
}

// do runs a program in the namespace.
func (r *kernelRig) do(stdin string, args ...string) (stdout, stderr string, code int) {
	r.Helper()
	c := exec.Command("ip", append([]string{"netns", "exec", r.ns}, args...)...)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func (r *kernelRig) must(stdin string, args ...string) string {
	r.Helper()
	out, errs, code := r.do(stdin, args...)
	if code != 0 || errs != "" {
		r.Fatalf("%s: %d %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func (r *kernelRig) ours(args ...string) string {
	r.Helper()
	return r.must("", append([]string{r.bin, "ipvs"}, args...)...)
}

func (r *kernelRig) adm(args ...string) string {
	r.Helper()
	return r.must("", append([]string{"ipvsadm"}, args...)...)
}

func (r *kernelRig) same(what, want, got string) {
	r.Helper()
	if d := cmp.Diff(want, got); d != "" {
		r.Errorf("%s (-ipvsadm +ours): %s", what, d)
	}
}

// ipvsadmRules are what ipvsadm can say of everything.
const ipvsadmRules = `-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 70000
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 192.0.2.1:80 -r 10.0.0.6:80 -i -w 1 --tun-type gre --tun-csum
-a -t 192.0.2.1:80 -r 10.0.0.8:80 -i -w 0 --tun-type ipip
-A -t 192.0.2.5:53 -s sh -b sh-fallback,sh-port
-A -t 192.0.2.7:53 -s rr -b flag-1,flag-2,flag-3
-A -u 192.0.2.3:5060 -s rr -p 60 --pe sip -o
-A -u 192.0.2.4:53 -s mh -b mh-port
-A --sctp-service 192.0.2.9:80 -s rr
-A -t [2001:db8::1]:80 -s rr -p 360
-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m -w 1
-A -f 7 -s rr -p 300 -M 255.255.255.0
-a -f 7 -r 10.0.0.2:0 -g -w 1
-A -f 8 -6 -s rr -p 300 -M 64
`

func TestIPVSKernelRules(t *testing.T) {
	r := newKernelRig(t)
	r.must(ipvsadmRules, "ipvsadm", "-R")
	saved := r.ours("save")
	r.same("save", r.adm("-Sn"), saved)
	r.same("what was restored", ipvsadmRules, saved)
	file := filepath.Join(r.dir, "rules")
	if err := os.WriteFile(file, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := r.ours("restore", file); out != "nothing to change\n" {
		t.Error(out)
	}

	// Ours restores what ipvsadm saved, into nothing and over something else.
	r.adm("-C")
	r.must(saved, r.bin, "ipvs", "restore")
	r.same("restored into nothing", saved, r.adm("-Sn"))
	r.adm("-e", "-t", "192.0.2.1:80", "-r", "10.0.0.1:80", "-g", "-w", "3")
	r.adm("-a", "-t", "192.0.2.1:80", "-r", "10.0.0.99:80", "-g")
	r.adm("-E", "-f", "7", "-s", "wrr")
	r.adm("-D", "-u", "192.0.2.4:53")
	r.ours("restore", file)
	r.same("restored over changes", saved, r.adm("-Sn"))
	r.adm("-A", "-t", "192.0.2.200:80", "-s", "rr")
	if out := r.ours("restore", file); out != "nothing to change; services left alone: 1\n" {
		t.Error(out)
	}
	r.same("with another service", r.adm("-Sn"), r.ours("save"))

	// ipvsadm restores what ours saved, thresholds too, which its own files forget.
	r.adm("-e", "-t", "192.0.2.1:80", "-r", "10.0.0.1:80", "-m", "-w", "5", "-x", "900", "-y", "800")
	saved = r.ours("save")
	r.adm("-C")
	r.must(saved, "ipvsadm", "-R")
	r.same("restored by ipvsadm", saved, r.ours("save"))
	if !strings.Contains(saved, " -x 900 -y 800") || !strings.Contains(r.ours("list"), "upper 900 lower 800") {
		t.Errorf("thresholds are lost: %s", saved)
	}

	// One error, and nothing is done.
	before := r.adm("-Sn")
	out, errs, code := r.do("-A -t 192.0.2.66:80\n-a -t 192.0.2.67:80 -r 10.0.0.1\n", r.bin, "ipvs", "restore")
	if code != 1 || out != "" || !strings.Contains(errs, "standard input: line 2: there is no service tcp 192.0.2.67:80") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	out, errs, code = r.do("-A -t 192.0.2.66:80 -s nosuch\n", r.bin, "ipvs", "restore")
	if code != 1 || !strings.Contains(errs, `the kernel has no scheduler "nosuch" (module ip_vs_nosuch)`) {
		t.Errorf("%d %s%s", code, out, errs)
	}
	r.same("after errors", before, r.adm("-Sn"))
}

var (
	admCounts = regexp.MustCompile(`(?m)^(TCP|UDP|  ->) +(\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) *$`)
	admConn   = regexp.MustCompile(`(?m)^(TCP|UDP|IP) +\d\d:\d\d +(\S+) +(\S+) +(\S+) +(\S+)`)
)

func (r *kernelRig) stats() (doc ipvsDocument) {
	r.Helper()
	if err := json.Unmarshal([]byte(r.ours("stats", "-o", "json")), &doc); err != nil || doc.Totals == nil {
		r.Fatal(err)
	}
	return doc
}

func TestIPVSKernelTraffic(t *testing.T) {
	r := newKernelRig(t)
	r.must("-A -u 127.0.0.1:9000 -s rr\n-a -u 127.0.0.1:9000 -r 127.0.0.1:9001 -m\n-a -u 127.0.0.1:9000 -r 127.0.0.1:9002 -m\n"+
		"-A -t 127.0.0.1:9100 -s wlc -p 60\n-a -t 127.0.0.1:9100 -r 127.0.0.1:9101 -m\n", "ipvsadm", "-R")
	for range 3 {
		r.must("", "bash", "-c", "echo hello >/dev/udp/127.0.0.1/9000")
	}
	r.do("", "bash", "-c", "echo >/dev/tcp/127.0.0.1/9100") // refused, but counted

	// First what goes by itself: an entry of a refused connection lives ten seconds.
	var conns struct{ Connections []ipvsConn }
	if err := json.Unmarshal([]byte(r.ours("conns", "-o", "json")), &conns); err != nil {
		t.Fatal(err)
	}
	var ours, theirs []string
	for _, c := range conns.Connections {
		ours = append(ours, strings.ToUpper(c.Protocol+" "+c.State)+" "+c.Client+" "+*c.Virtual+" "+c.Server)
	}
	for _, m := range admConn.FindAllStringSubmatch(r.adm("-Lnc"), -1) {
		theirs = append(theirs, strings.Join(m[1:], " "))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if d := cmp.Diff(theirs, ours); d != "" || len(ours) != 5 {
		t.Errorf("connections (-ipvsadm +ours): %s", d)
	}
	for args, want := range map[string]int{
		"--service 127.0.0.1:9000": 3, "--service tcp/127.0.0.1": 2, "--server 127.0.0.1:9101": 2, "--state none": 1, "--client 127.0.0.0/8 --state udp": 3, "--origin": 5,
	} {
		if got := strings.Count(r.ours(append([]string{"conns"}, strings.Fields(args)...)...), "\n") - 1; got != want {
			t.Errorf("conns %s: %d, want %d", args, got, want)
		}
	}

	var doc ipvsDocument
	// The kernel sums up every two seconds, each service and server at a moment of its own.
	counted := func() bool {
		var services, servers uint64
		for _, s := range doc.Services {
			services += s.Counters.Connections
			for _, srv := range s.Servers {
				servers += srv.Counters.Connections
			}
		}
		return doc.Totals.Connections == 4 && services == 4 && servers == 4
	}
	read := func() {
		doc = r.stats()
		ours, theirs = nil, nil
		for _, s := range doc.Services {
			ours = append(ours, fmt.Sprint(strings.ToUpper(s.Service), *s.Counters))
			for _, srv := range s.Servers {
				ours = append(ours, fmt.Sprint("-> "+srv.Server, *srv.Counters))
			}
		}
		for _, m := range admCounts.FindAllStringSubmatch(r.adm("-Ln", "--stats", "--exact"), -1) {
			theirs = append(theirs, fmt.Sprintf("%s %s{%s %s %s %s %s}", strings.TrimSpace(m[1]), m[2], m[3], m[4], m[5], m[6], m[7]))
		}
	}
	// Between the two readings it may do so once more.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if read(); counted() && slices.Equal(ours, theirs) || time.Now().After(end) {
			break
		}
	}
	if d := cmp.Diff(theirs, ours); d != "" || len(ours) != 5 {
		t.Errorf("stats (-ipvsadm +ours): %s", d)
	}
	if !counted() {
		t.Errorf("totals %+v, want 4 connections: %v", doc.Totals, ours)
	}

	// list agrees with ipvsadm -Ln in the numbers that move.
	if err := json.Unmarshal([]byte(r.ours("list", "-o", "json")), &doc); err != nil {
		t.Fatal(err)
	}
	table := r.adm("-Ln")
	for _, s := range doc.Services {
		for _, srv := range s.Servers {
			if !regexp.MustCompile(fmt.Sprintf(`-> %s +Masq +%d +%d +%d *\n`, regexp.QuoteMeta(srv.Server), srv.Weight, srv.Active, srv.Inactive)).MatchString(table) {
				t.Errorf("%+v is not in %s", srv, table)
			}
		}
	}
	if doc.IPVS == nil || !strings.HasPrefix(table, fmt.Sprintf("IP Virtual Server version %s (size=%d)", doc.IPVS.Version, doc.IPVS.ConnTableSize)) {
		t.Errorf("%+v in %s", doc.IPVS, table)
	}

	r.ours("zero", "--service", "udp 127.0.0.1:9000")
	if stats := r.adm("-Ln", "--stats", "--exact"); !regexp.MustCompile(`UDP +127.0.0.1:9000 +0 +0 +0 +0 +0`).MatchString(stats) || !regexp.MustCompile(`TCP +127.0.0.1:9100 +1 `).MatchString(stats) {
		t.Errorf("after zero of one: %s", stats)
	}
	r.ours("zero")
	doc = r.stats()
	for _, s := range doc.Services {
		if *s.Counters != (ipvsCounts{}) || *s.Servers[0].Counters != (ipvsCounts{}) {
			t.Errorf("after zero: %+v", s)
		}
	}
	if *doc.Totals != (ipvsCounts{}) {
		t.Errorf("after zero: %+v", doc.Totals)
	}
}

func TestIPVSKernelTimeoutsAndDaemons(t *testing.T) {
	r := newKernelRig(t)
	r.ours("timeouts", "set", "--tcp", "100s", "--tcpfin", "20", "--udp", "1m")
	r.same("timeouts", "Timeout (tcp tcpfin udp): 100 20 60\n", r.adm("-Ln", "--timeout"))
	r.adm("--set", "900", "0", "0")
	if got := r.ours("timeouts"); got != "tcp 15m0s  tcpfin 20s  udp 1m0s\n" {
		t.Error(got)
	}
	r.adm("--start-daemon", "master", "--mcast-interface", "eth9", "--syncid", "51", "--mcast-ttl", "4")
	r.adm("--start-daemon", "backup", "--mcast-interface", "eth9", "--syncid", "52")
	want := "ROLE    INTERFACE  ID  MAX-LENGTH  GROUP       PORT  TTL\nmaster  eth9       51        1472  224.0.0.81  8848  4\nbackup  eth9       52        1472  224.0.0.81  8848  1\n"
	if got := r.ours("daemon"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	r.adm("--stop-daemon", "master")
	r.adm("--stop-daemon", "backup")
}

// Somebody who may not: one sentence, and status 4.
func TestIPVSKernelPermission(t *testing.T) {
	r := newKernelRig(t)
	c := exec.Command(r.bin, "ipvs", "list")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != 4 || errs.String() != "lvs-ha: "+ipvsctl.ErrPermission.Error()+"\n" {
		t.Errorf("%v %s", err, errs.String())
	}
}

const agentFile = `version = 1
cluster = "test"
[nodes.lb1]
[http]
listen = []
[[service]]
name = "web"
address = "192.0.2.1"
port = 80
protocol = "tcp"
scheduler = "rr"
forward = "nat"
servers = [{ name = "web1", address = "10.0.0.1" }]
`

// TestIPVSKernelAgent: with an agent, changes go through it, and it keeps what is its own.
func TestIPVSKernelAgent(t *testing.T) {
	r := newKernelRig(t)
	file := filepath.Join(r.dir, "lvs-ha.toml")
	if err := os.WriteFile(file, []byte(agentFile), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.dir, "run")
	agent := exec.Command("ip", "netns", "exec", r.ns, r.bin, "run", "--config", file, "--node", "lb1", "--runtime-dir", dir, "--state-dir", filepath.Join(r.dir, "state"))
	var log bytes.Buffer
	agent.Stdout, agent.Stderr = &log, &log
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	t.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil || t.Failed() {
			t.Errorf("%v %s", err, log.String())
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, _, _ := r.do("", "ipvsadm", "-Sn")
		_, _, code := r.do("", r.bin, "status", "--runtime-dir", dir)
		if strings.Contains(out, "10.0.0.1:80") && code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the agent has no table: %s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	run := func(stdin string, args ...string) (string, string, int) {
		t.Helper()
		return r.do(stdin, append(append([]string{r.bin, "ipvs"}, args...), "--runtime-dir", dir)...)
	}
	before := r.adm("-Sn")
	for _, c := range []struct {
		stdin, args string
		code        int
		want        string
	}{
		{"", "zero", 5, "service web (tcp 192.0.2.1:80) is managed by the agent"},
		{"", "zero --service web", 5, "is managed by the agent"},
		{"-A -t 192.0.2.1:80 -s wlc\n", "restore", 5, "is managed by the agent and differs from the rules"},
		{"", "zero --runtime-dir " + r.dir + "/none", 3, "an agent runs in this network namespace"},
	} {
		args := append([]string{r.bin, "ipvs"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--runtime-dir") {
			args = append(args, "--runtime-dir", dir)
		}
		if out, errs, code := r.do(c.stdin, args...); code != c.code || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: %d %s%s, want %d %s", c.args, code, out, errs, c.code, c.want)
		}
	}
	r.same("after what was refused", before, r.adm("-Sn"))
	foreign := "-A -t 192.0.2.99:99 -s wrr\n-a -t 192.0.2.99:99 -r 10.0.0.9:99 -g -w 4\n"
	if out, errs, code := run(before+foreign, "restore"); code != 0 || !strings.HasSuffix(out, "2 changes made\n") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	r.same("restored through the agent", before+foreign, r.adm("-Sn"))
	if _, errs, code := run("", "zero", "--service", "192.0.2.99"); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := run("", "timeouts", "set", "--udp", "77"); code != 0 || !strings.HasSuffix(r.adm("-Ln", "--timeout"), " 77\n") {
		t.Errorf("%d %s", code, errs)
	}
	if out, errs, code := run("", "save", "--service", "web"); code != 0 || out != before {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if !strings.Contains(log.String(), "ipvs_by_hand") {
		t.Error("the agent's log does not tell of changes by hand")
	}

	// Another namespace has no agent: the kernel there is changed, and the socket
	// of this one refuses to be taken for that one's.
	other := &kernelRig{T: t, bin: r.bin, ns: r.ns + "-b", dir: r.dir}
	if out, err := exec.Command("ip", "netns", "add", other.ns).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	defer exec.Command("ip", "netns", "del", other.ns).Run()
	other.must("", "ip", "link", "set", "lo", "up") // makes the routing table that the kernel judges addresses by
	other.must(before, r.bin, "ipvs", "restore", "--runtime-dir", dir)
	other.same("in another namespace", before, other.adm("-Sn"))
	other.ours("zero", "--runtime-dir", dir)
}
