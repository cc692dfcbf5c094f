package realserver

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/sysctl"
)

// inNamespace runs the rest of the test in a network namespace of its own. The
// thread is never unlocked, so that it and the namespace end with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "netns", "cannot make a network namespace: "+err.Error())
	}
	if err := sysctl.Write("net/ipv4/conf/all/arp_ignore", "0"); err != nil {
		missing(t, "netns", "cannot write /proc/sys: "+err.Error())
	}
}

// missing skips, or fails if LVSHA_REQUIRE says that the thing must be there.
func missing(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), what) {
		t.Fatalf("LVSHA_REQUIRE names %s: %s", what, why)
	}
	t.Skipf("SKIPPED, needs %s: %s", what, why)
}

// needLinkType skips where the kernel lacks a type of device. The kernels of
// the guest, which have IPVS, have these too.
func needLinkType(t *testing.T, l netlink.Link) {
	t.Helper()
	err := netlink.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
		missing(t, "ipvs", "this kernel has no links of type "+l.Type())
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	// A fixed device of the module cannot be deleted, which is fine.
	_ = err
}

func setting(t *testing.T, key string) string {
	t.Helper()
	v, err := sysctl.Read(key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// bad lists the steps of the spec that are not true.
func bad(t *testing.T, s Spec) []string {
	t.Helper()
	fs, err := Check(s)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range fs {
		if !f.OK {
			out = append(out, f.Step.String())
			if f.Have == "" {
				t.Errorf("%s: not said what is there instead", f.Step)
			}
		}
	}
	if Prepared(fs) != (len(out) == 0) {
		t.Errorf("Prepared() disagrees with %v", out)
	}
	return out
}

func TestDirectRouting(t *testing.T) {
	inNamespace(t)
	spec := Spec{Mode: DR, VIPs: addrs("10.0.0.100")}
	plan, err := Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(lines(plan), bad(t, spec)); d != "" {
		t.Fatalf("a fresh namespace: %s", d)
	}
	undo, err := Prepare(spec)
	if err != nil {
		t.Fatal(err)
	}
	if b := bad(t, spec); len(b) > 0 {
		t.Fatalf("after Prepare: %v", b)
	}
	if again, err := Prepare(spec); err != nil || len(again) > 0 {
		t.Errorf("second Prepare did %v, error %v", again, err)
	}

	// One thing at a time is found.
	if err := sysctl.Write("net/ipv4/conf/all/arp_ignore", "0"); err != nil {
		t.Fatal(err)
	}
	if b := bad(t, spec); len(b) != 1 || b[0] != "sysctl net.ipv4.conf.all.arp_ignore = 1" {
		t.Errorf("arp_ignore cleared: %v", b)
	}
	// A stricter value will do, and stays.
	if err := sysctl.Write("net/ipv4/conf/all/arp_ignore", "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(spec); err != nil || setting(t, "net/ipv4/conf/all/arp_ignore") != "2" {
		t.Errorf("arp_ignore 2 was changed, error %v", err)
	}

	if _, err := Apply(undo); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(lines(plan), bad(t, spec)); d != "" {
		t.Errorf("after the undo list: %s", d)
	}
}

func TestRemoveKeepsSettingsForOthers(t *testing.T) {
	inNamespace(t)
	one, both := Spec{Mode: DR, VIPs: addrs("10.0.0.100")}, Spec{Mode: DR, VIPs: addrs("10.0.0.100", "10.0.0.101")}
	if _, err := Prepare(both); err != nil {
		t.Fatal(err)
	}
	if err := Remove(one); err != nil {
		t.Fatal(err)
	}
	if b := bad(t, both); len(b) != 1 || b[0] != "address 10.0.0.100/32 on lo" {
		t.Errorf("one of two removed: %v", b)
	}
	if err := Remove(both); err != nil {
		t.Fatal(err)
	}
	if v := setting(t, "net/ipv4/conf/all/arp_ignore"); v != "0" {
		t.Errorf("arp_ignore = %s after the last address went", v)
	}
	// Nothing left to do is no error, and lo is still up.
	if err := Remove(both); err != nil {
		t.Error(err)
	}
	if lo, err := netlink.LinkByName("lo"); err != nil || lo.Attrs().RawFlags&unix.IFF_UP == 0 {
		t.Errorf("lo is down, error %v", err)
	}
}

func TestTunnel(t *testing.T) {
	inNamespace(t)
	probe := netlink.NewLinkAttrs()
	probe.Name = "probe"
	needLinkType(t, &netlink.Iptun{LinkAttrs: probe, Remote: []byte{10, 9, 9, 9}})
	spec := Spec{Mode: Tunnel, VIPs: addrs("10.0.0.100")}
	// Strict for all: the device's own value has to outbid it.
	if err := sysctl.Write("net/ipv4/conf/all/rp_filter", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(spec); err != nil {
		t.Fatal(err)
	}
	if b := bad(t, spec); len(b) > 0 {
		t.Fatalf("after Prepare: %v", b)
	}
	if v := setting(t, "net/ipv4/conf/tunl0/rp_filter"); v != "2" {
		t.Errorf("tunl0.rp_filter = %s", v)
	}
	for _, tt := range []struct {
		all, tunl0 string
		ok         bool
	}{{"0", "0", true}, {"1", "0", false}, {"0", "1", false}, {"1", "2", true}, {"2", "1", true}, {"2", "0", true}} {
		for k, v := range map[string]string{"all": tt.all, "tunl0": tt.tunl0} {
			if err := sysctl.Write("net/ipv4/conf/"+k+"/rp_filter", v); err != nil {
				t.Fatal(err)
			}
		}
		if b := bad(t, spec); (len(b) == 0) != tt.ok {
			t.Errorf("rp_filter all=%s tunl0=%s: %v", tt.all, tt.tunl0, b)
		}
	}
	if err := Remove(spec); err != nil {
		t.Fatal(err)
	}
	if l, err := netlink.LinkByName(TunnelLink); err != nil || l.Attrs().RawFlags&unix.IFF_UP != 0 {
		t.Errorf("tunl0 still up after Remove, error %v", err)
	}
}

func TestIPv6OnDummy(t *testing.T) {
	inNamespace(t)
	probe := netlink.NewLinkAttrs()
	probe.Name = "probe"
	needLinkType(t, &netlink.Dummy{LinkAttrs: probe})
	spec := Spec{Mode: DR, VIPs: addrs("2001:db8::100")}
	if _, err := Prepare(spec); err != nil {
		t.Fatal(err)
	}
	if b := bad(t, spec); len(b) > 0 {
		t.Fatalf("after Prepare: %v", b)
	}
	l, err := netlink.LinkByName(DummyLink)
	if err != nil {
		t.Fatal(err)
	}
	if l.Attrs().RawFlags&unix.IFF_NOARP == 0 {
		t.Error("the dummy device takes part in neighbour discovery")
	}
	list, err := netlink.AddrList(l, unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.IP.String() == "2001:db8::100" && a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Error("the address is tentative: it is being probed for duplicates")
		}
	}
	if err := Remove(spec); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(DummyLink); err == nil {
		t.Error("the dummy device is still there")
	}
}

// TestUndoAfterFailure: what was done before the error is handed back.
func TestUndoAfterFailure(t *testing.T) {
	inNamespace(t)
	undo, err := Apply([]Step{
		{Kind: Sysctl, Key: "net/ipv4/conf/all/arp_ignore", Value: "1"},
		{Kind: LinkUp, Link: "nosuch"},
		{Kind: Sysctl, Key: "net/ipv4/conf/all/arp_announce", Value: "2"},
	})
	if err == nil || !strings.Contains(err.Error(), "link nosuch up") {
		t.Fatalf("error %v", err)
	}
	if len(undo) != 1 || undo[0].String() != "sysctl net.ipv4.conf.all.arp_ignore = 0" {
		t.Errorf("undo %v", undo)
	}
	if setting(t, "net/ipv4/conf/all/arp_announce") != "0" {
		t.Error("went on after an error")
	}
}
