package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/sysctl"
)

// missing skips, or fails where LVSHA_REQUIRE names the thing.
func missing(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), what) {
		t.Fatalf("LVSHA_REQUIRE names %s: %s", what, why)
	}
	t.Skipf("SKIPPED, needs %s: %s", what, why)
}

// inNamespace runs the rest of the test in a network namespace of its own; the
// thread goes with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		missing(t, "netns", "cannot make a network namespace: "+err.Error())
	}
}

// needNFT skips on kernels without nf_tables.
func needNFT(t *testing.T) {
	t.Helper()
	inNamespace(t)
	if _, err := (kernel{}).readTable(); err != nil {
		missing(t, "ipvs", err.Error()) // a kernel for IPVS has it, too
	}
	if _, err := exec.LookPath("nft"); err != nil {
		missing(t, "ipvs", err.Error())
	}
}

func nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestTableOnKernel: what is written is what is read back, and nft shows it as
// people would have written it.
func TestTableOnKernel(t *testing.T) {
	needNFT(t)
	k := kernel{}
	if have, err := k.readTable(); have != nil || err != nil {
		t.Fatal(have, err)
	}
	nft(t, "add table inet other")
	r := full()
	want := r.compile()
	if err := k.writeTable(&want); err != nil {
		t.Fatal(err)
	}
	have, err := k.readTable()
	if err != nil {
		t.Fatal(err)
	}
	if got := have.text(); got != want.text() {
		t.Errorf("wrote\n%s\nread\n%s", want.text(), got)
	}
	list := nft(t, "list", "table", "inet", TableName)
	t.Log(list)
	for _, line := range []string{
		"ip daddr 192.0.2.10 tcp dport 5000-5010 meta mark set 0x4c560001",
		"ip6 daddr 2001:db8::1 udp dport 69 meta mark set 0x4c560002",
		"elements = { 10.0.1.21 . 8080, 10.0.1.22 . 8080 }",
		"ip daddr . tcp dport @servers1 masquerade",
		"ip6 daddr . tcp dport @servers2 masquerade",
		"meta mark 0x4c560001", `comment "web"`,
	} {
		if !strings.Contains(strings.Join(strings.Fields(list), " "), line) {
			t.Errorf("nft does not show %q", line)
		}
	}
	// What nft saves and loads again is the same to us.
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("flush ruleset\ntable inet other\n"+list), 0o600); err != nil {
		t.Fatal(err)
	}
	nft(t, "-f", file)
	if have, err = k.readTable(); err != nil || have.text() != want.text() {
		t.Errorf("loaded by nft: %v\n%s", err, cmp.Diff(strings.Split(want.text(), "\n"), strings.Split(have.text(), "\n")))
	}
	// Replaced in one go, also by a smaller one; then removed.
	r.Marks, r.Masquerades = nil, r.Masquerades[:1]
	want = r.compile()
	if err := k.writeTable(&want); err != nil {
		t.Fatal(err)
	}
	if have, err = k.readTable(); err != nil || have.text() != want.text() {
		t.Error(err, have)
	}
	for range 2 { // once more where there is none
		if err := k.writeTable(nil); err != nil {
			t.Fatal(err)
		}
	}
	if list := nft(t, "list", "ruleset"); strings.Contains(list, TableName) || !strings.Contains(list, "table inet other") {
		t.Error(list)
	}
}

// TestTableDriftOnKernel: every change that somebody makes by hand is seen.
func TestTableDriftOnKernel(t *testing.T) {
	needNFT(t)
	k := kernel{}
	r := full()
	want := r.compile()
	for _, change := range []string{
		"flush ruleset",
		"delete table inet lvs_ha",
		"flush chain inet lvs_ha postrouting",
		"add rule inet lvs_ha prerouting accept",
		"insert rule inet lvs_ha postrouting counter",
		"add element inet lvs_ha servers1 { 10.9.9.9 . 9 }",
		"delete element inet lvs_ha servers1 { 10.0.1.21 . 8080 }",
		"add set inet lvs_ha more { type mark; }",
		"add set inet lvs_ha more { type ipv4_addr; flags interval; }",
		"add chain inet lvs_ha prerouting { policy drop; }",
		"add chain inet lvs_ha more",
	} {
		if err := k.writeTable(&want); err != nil {
			t.Fatal(err)
		}
		if have, err := k.readTable(); err != nil || have == nil || have.text() != want.text() {
			t.Fatalf("before %q: %v", change, err)
		}
		nft(t, strings.Fields(change)...)
		if have, err := k.readTable(); err != nil || have != nil && have.text() == want.text() {
			t.Errorf("%q is not seen (%v)", change, err)
		}
	}
}

// TestLargeTableOnKernel: more servers than one netlink attribute holds.
func TestLargeTableOnKernel(t *testing.T) {
	needNFT(t)
	r := Rules{Masquerades: []Masquerade{{Service: "many", Protocol: 6}}}
	a := netip.MustParseAddr("10.0.0.1")
	for range 3000 {
		r.Masquerades[0].Servers = append(r.Masquerades[0].Servers, netip.AddrPortFrom(a, 80))
		a = a.Next()
	}
	want := r.compile()
	if err := (kernel{}).writeTable(&want); err != nil {
		t.Fatal(err)
	}
	if have, err := (kernel{}).readTable(); err != nil || have.text() != want.text() {
		t.Error("read back otherwise", err)
	}
}

func TestConntrackOnKernel(t *testing.T) {
	inNamespace(t)
	vip, rs := ap("192.0.2.10:80"), ap("10.0.1.21:8080")
	entry := func(client uint16, to, from netip.AddrPort) {
		t.Helper()
		c := netip.MustParseAddr("198.51.100.1").AsSlice()
		err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFlow{
			FamilyType: unix.AF_INET, TimeOut: 100,
			Forward: netlink.IPTuple{SrcIP: c, DstIP: to.Addr().AsSlice(), SrcPort: client, DstPort: to.Port(), Protocol: 17},
			Reverse: netlink.IPTuple{SrcIP: from.Addr().AsSlice(), DstIP: c, SrcPort: from.Port(), DstPort: client, Protocol: 17},
		})
		if err != nil {
			missing(t, "ipvs", fmt.Sprintf("cannot make a conntrack entry: %v", err))
		}
	}
	entry(1, vip, rs)
	entry(2, vip, ap("10.0.1.22:8080"))
	entry(3, ap("192.0.2.10:81"), rs)
	entry(4, rs, rs)
	n, err := kernel{}.endFlows([]Flow{{17, vip, rs}, {6, vip, ap("10.0.1.22:8080")}, {17, ap("[2001:db8::1]:80"), ap("[2001:db8::2]:80")}})
	if n != 1 || err != nil {
		t.Error(n, err)
	}
	left, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	for _, f := range left {
		ports = append(ports, f.Forward.SrcPort)
	}
	if slices.Sort(ports); !slices.Equal(ports, []uint16{2, 3, 4}) {
		t.Error("left are", ports)
	}
}

// TestSysctlsOnKernel sets and repairs settings that every kernel has.
func TestSysctlsOnKernel(t *testing.T) {
	inNamespace(t)
	const key = "net.ipv4.ip_forward"
	if err := sysctl.Write(key, "0"); err != nil {
		missing(t, "netns", err.Error())
	}
	k := NewKeeper(slog.New(slog.DiscardHandler))
	var r report
	want := &Want{Manage: true, Sysctls: []Sysctl{
		{Key: key, Value: "1"}, {Key: "net.ipv4.ip_local_port_range", Value: "20000 30000"}, {Key: "net.ipv4.no_such", Value: "1"}}}
	k.sysctls(want, &r, false)
	if v, err := sysctl.Read(key); v != "1" || err != nil {
		t.Error(v, err)
	}
	if v, err := sysctl.Read("net.ipv4.ip_local_port_range"); !sameValue(v, "20000 30000") || err != nil {
		t.Error(v, err)
	}
	if len(r) != 1 || r[0].subject != "net.ipv4.no_such" {
		t.Error(r)
	}
	if err := sysctl.Write("net.ipv4.no_such", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestIPVSSettingsOnKernel: those of IPVS exist under the names we use.
func TestIPVSSettingsOnKernel(t *testing.T) {
	inNamespace(t)
	if _, err := sysctl.Read("net.ipv4.vs.conntrack"); err != nil {
		missing(t, "ipvs", err.Error())
	}
	k := NewKeeper(slog.New(slog.DiscardHandler))
	want := &Want{Manage: true}
	for key, value := range map[string]string{"expire_nodest_conn": "1", "expire_quiescent_template": "1", "conn_reuse_mode": "2",
		"sloppy_tcp": "1", "backup_only": "1", "sync_threshold": "2 50", "conntrack": "1"} {
		want.Sysctls = append(want.Sysctls, Sysctl{Key: "net.ipv4.vs." + key, Value: value})
	}
	for range 2 {
		var r report
		k.sysctls(want, &r, false)
		if len(r) > 0 {
			t.Error(r)
		}
	}
	for _, s := range want.Sysctls {
		if v, err := sysctl.Read(s.Key); !sameValue(v, s.Value) || err != nil {
			t.Error(s.Key, v, err)
		}
	}
}

// BenchmarkTableRead is what a pass with nothing to do costs.
func BenchmarkTableRead(b *testing.B) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Skip(err)
	}
	r := full()
	want := r.compile()
	if err := (kernel{}).writeTable(&want); err != nil {
		b.Skip(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if have, err := (kernel{}).readTable(); err != nil || have.text() != want.text() {
			b.Fatal(err)
		}
	}
}
