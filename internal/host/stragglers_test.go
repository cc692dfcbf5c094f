package host

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

var lost = []Stragglers{
	{Instance: "edge", Interface: "eth0", Back: netip.MustParseAddr("192.0.2.2"), Take: true, Services: []Ports{
		{netip.MustParseAddr("192.0.2.11"), 80, 80}, {netip.MustParseAddr("192.0.2.10"), 443, 443}, {netip.MustParseAddr("192.0.2.10"), 5000, 5010}, {netip.MustParseAddr("192.0.2.12"), 0, 65535},
	}},
	{Instance: "six", Interface: "eth0", Back: netip.MustParseAddr("2001:db8::2"), Services: []Ports{{netip.MustParseAddr("2001:db8::10"), 80, 80}}},
	{Instance: "other", Interface: "eth0", Take: true, Services: []Ports{{netip.MustParseAddr("2001:db8::11"), 80, 80}}},
}

// fakeStraggling is a machine with one neighbour.
type fakeStraggling struct {
	mu      sync.Mutex
	mac     byte // 0: not known yet
	asked   int
	there   string
	writes  int
	refuse  error
	noRoute error
}

func (f *fakeStraggling) neighbour(string, netip.Addr) (hop, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return hop{2, [6]byte{0, 0x53, 0, 0, 0, f.mac}}, f.mac != 0 && f.noRoute == nil, f.noRoute
}

func (f *fakeStraggling) write(t strayTables) (strayCount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.refuse != nil {
		return strayCount{}, f.refuse
	}
	n := strayCount{}
	if f.there != "" {
		n.back = 7
	}
	f.there = t.text()
	return n, nil
}

func (f *fakeStraggling) present(strayTables) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there != "", nil
}

// set changes the machine; state tells of it.
func (f *fakeStraggling) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeStraggling) state() (string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there, f.writes
}

func straggle(t *testing.T, f *fakeStraggling, test func(t *testing.T, k *StragglerKeeper, log *logged)) {
	t.Helper()
	inBubble(t, func(log *slog.Logger) *StragglerKeeper { return newStragglerKeeper(f, log) }, test)
}

// TestStragglerKeeper: what an earlier process left goes at the start; a
// neighbour that is not known yet is waited for; a table that somebody flushed
// comes back; nothing is written twice; nothing is left in the end.
func TestStragglerKeeper(t *testing.T) {
	f := &fakeStraggling{there: "left"}
	straggle(t, f, func(t *testing.T, k *StragglerKeeper, log *logged) {
		if there, n := f.state(); there != "" || n != 1 {
			t.Error("left there", there, n)
		}
		log.take()
		k.Set(lost[1:2])
		later(time.Second)
		if there, n := f.state(); there != "" || n != 1 {
			t.Error("written without a neighbour", there, n)
		}
		f.set(func() { f.mac = 9 })
		later(2 * time.Second)
		if there, n := f.state(); !strings.Contains(there, "edge") && !strings.Contains(there, "six") || n != 2 {
			t.Error(there, n)
		}
		later(time.Minute)
		if _, n := f.state(); n != 2 {
			t.Errorf("%d writes where nothing changed", n)
		}
		f.set(func() { f.there = "" })
		later(strayLook)
		if there, n := f.state(); there == "" || n != 3 {
			t.Error("not repaired", n)
		}
		f.set(func() { f.mac = 8 })
		later(strayLook)
		if _, n := f.state(); n != 4 {
			t.Error("another hardware address", n)
		}
		if s := log.take(); !strings.Contains(s, "event=stragglers back=7") {
			t.Error(s)
		}
		if err := k.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if there, _ := f.state(); there != "" {
			t.Error("left", there)
		}
	})
}

// TestStragglerFindings: what cannot be done is said once, and when it is over.
func TestStragglerFindings(t *testing.T) {
	f := &fakeStraggling{mac: 9, refuse: errors.New("no such module")}
	straggle(t, f, func(t *testing.T, k *StragglerKeeper, log *logged) {
		k.Set(lost)
		later(time.Minute)
		if s := log.take(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "no such module") || !strings.Contains(s, "level=WARN") || len(k.Findings()) != 1 {
			t.Error(s, k.Findings())
		}
		f.set(func() { f.refuse, f.noRoute = nil, errors.New("not on the network") })
		later(strayLook)
		if got := k.Findings(); len(got) != 1 || !strings.Contains(got[0], "not on the network") {
			t.Error(got)
		}
		f.set(func() { f.noRoute = nil })
		later(2 * strayLook)
		if s := log.take(); !strings.Contains(s, "host_finding_over") || len(k.Findings()) != 0 {
			t.Error(s, k.Findings())
		}
	})
}

// TestStragglerTables: a neighbour that is not known sends nothing back; each
// family has its own.
func TestStragglerTables(t *testing.T) {
	paths := []strayPath{{Stragglers: &lost[0]}, {Stragglers: &lost[1]}}
	if got := compileStrays(paths); got.v6 != nil || got.v4 == nil || len(got.v4.chains) != 1 || !got.v4.takes() {
		t.Error(got)
	}
	paths[0].back, paths[1].back = true, true
	got := compileStrays(paths)
	if len(got.v4.chains) != 2 || len(got.v4.chains[0].rules) != 3 || len(got.v4.sets) != 1 || len(got.v4.sets[0].keys) != 2 {
		t.Error(got.v4.text())
	}
	if len(got.v6.chains) != 1 || got.v6.takes() {
		t.Error(got.v6.text())
	}
}

// TestStragglersOnKernel: nft shows what was meant, packets with the mark have
// their route, and nothing is left.
func TestStragglersOnKernel(t *testing.T) {
	needNFT(t)
	k := strayKernel{}
	for _, l := range []netlink.Link{&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}} {
		if err := netlink.LinkAdd(l); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lo", "eth0", "eth1"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		if name != "eth0" {
			continue
		}
		for _, text := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
			a, err := netlink.ParseAddr(text)
			if err != nil {
				t.Fatal(err)
			}
			a.Flags = 2 // IFA_F_NODAD
			if err := netlink.AddrAdd(l, a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, _, err := k.neighbour("eth0", netip.MustParseAddr("198.51.100.1")); err == nil || !strings.Contains(err.Error(), "not on the network") {
		t.Error(err)
	}
	if _, known, err := k.neighbour("eth0", lost[0].Back); known || err != nil {
		t.Error(known, err)
	}
	mac := []byte{0, 0x53, 0, 0, 0, 2}
	var paths []strayPath
	for i := range lost {
		p := strayPath{Stragglers: &lost[i]}
		if lost[i].Back.IsValid() {
			l, _ := netlink.LinkByName("eth0")
			if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: familyOf(lost[i].Back), State: netlink.NUD_PERMANENT, IP: lost[i].Back.AsSlice(), HardwareAddr: mac}); err != nil {
				t.Fatal(err)
			}
			var err error
			if p.to, p.back, err = k.neighbour("eth0", lost[i].Back); err != nil || !p.back || p.to.mac != [6]byte(mac) {
				t.Fatal(p.to, p.back, err)
			}
		}
		paths = append(paths, p)
	}
	tables := compileStrays(paths)
	for range 2 { // once more where it is
		if _, err := k.write(tables); err != nil {
			if strings.Contains(err.Error(), "nft_dup") {
				missing(t, "ipvs", err.Error()) // a kernel for IPVS has it, too
			}
			t.Fatal(err)
		}
	}
	if there, err := k.present(tables); !there || err != nil {
		t.Error(there, err)
	}
	list := strings.Join(strings.Fields(nft(t, "list", "ruleset")), " ")
	for _, want := range []string{
		"type filter hook input priority 150", "192.0.2.10 . 443",
		`ether saddr != 00:53:00:00:00:02 tcp flags ! syn ip daddr . tcp dport @services1 counter packets 0 bytes 0 dup to 192.0.2.2 device "eth0" drop comment "edge"`,
		"ip daddr 192.0.2.10 tcp dport 5000-5010 counter", "ip daddr 192.0.2.12 counter",
		`ip6 daddr . tcp dport @services2 counter packets 0 bytes 0 dup to 2001:db8::2 device "eth0" drop`,
		"iiftype ether tcp flags ! syn ip6 daddr . tcp dport @services3 counter packets 0 bytes 0 meta mark set 0x4c570000",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("nft does not show %q", want)
		}
	}
	t.Log(list)
	for _, af := range []string{"192.0.2.99", "2001:db8::99"} {
		routes, err := netlink.RouteGetWithOptions(netip.MustParseAddr(af).AsSlice(), &netlink.RouteGetOptions{Mark: strayMark})
		if err != nil || len(routes) != 1 || routes[0].Table != strayRoute {
			t.Error(af, routes, err)
		}
	}
	for range 2 { // once more where there is nothing
		if _, err := k.write(strayTables{}); err != nil {
			t.Error(err)
		}
	}
	if list := nft(t, "list", "ruleset"); strings.Contains(list, StragglerTableName) {
		t.Error(list)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Table == strayRoute {
			t.Error("left", r)
		}
	}
}
