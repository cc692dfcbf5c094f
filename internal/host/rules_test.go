package host

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// full is one rule of each kind.
func full() Rules {
	return Rules{
		Marks: []Mark{
			{"ftp", 6, netip.MustParseAddr("192.0.2.10"), 5000, 5010, 0x4c560001},
			{"one", 17, netip.MustParseAddr("2001:db8::1"), 69, 69, 0x4c560002},
		},
		Masquerades: []Masquerade{
			{Service: "web", Protocol: 6, Servers: []netip.AddrPort{ap("10.0.1.22:8080"), ap("10.0.1.21:8080"), ap("10.0.1.21:8080"), ap("[2001:db8::21]:80")}},
			{Service: "ftp", Protocol: 6, Mark: 0x4c560001, Servers: []netip.AddrPort{ap("10.0.1.23:0"), ap("10.0.1.24:21"), ap("[2001:db8::23]:0")}},
		},
	}
}

func TestCompile(t *testing.T) {
	r := full()
	tab := r.compile()
	if len(tab.sets) != 5 || len(tab.chains) != 2 || len(tab.chains[0].rules) != 2 || len(tab.chains[1].rules) != 5 {
		t.Fatal(tab.text())
	}
	var keys []string
	for _, k := range tab.sets[0].keys {
		keys = append(keys, hex.EncodeToString([]byte(k)))
	}
	if got := strings.Join(keys, " "); got != "0a0001151f900000 0a0001161f900000" {
		t.Error("servers are not a sorted set of padded keys:", got)
	}
	// The order of servers means nothing, everything else does.
	same := full()
	same.Masquerades[0].Servers[0], same.Masquerades[0].Servers[1] = same.Masquerades[0].Servers[1], same.Masquerades[0].Servers[0]
	if s := same.compile(); s.text() != tab.text() {
		t.Error("depends on the order of servers")
	}
	for name, change := range map[string]func(*Rules){
		"mark":     func(r *Rules) { r.Marks[0].Mark++ },
		"port":     func(r *Rules) { r.Marks[0].Last++ },
		"address":  func(r *Rules) { r.Marks[0].Addr = r.Marks[0].Addr.Next() },
		"protocol": func(r *Rules) { r.Masquerades[0].Protocol = 17 },
		"server":   func(r *Rules) { r.Masquerades[1].Servers[1] = ap("10.0.1.24:22") },
		"name":     func(r *Rules) { r.Masquerades[1].Service = "x" },
	} {
		x := full()
		change(&x)
		if s := x.compile(); s.text() == tab.text() {
			t.Error(name, "makes no difference")
		}
	}
}

func TestKeeperTable(t *testing.T) {
	f := &fake{}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		set := func(r Rules) {
			k.Set(Want{Rules: r, Interval: time.Second})
			if err := k.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		set(Rules{})
		later(10 * time.Second)
		if f.writes != 0 || f.tableReads != 1 {
			t.Errorf("%d writes, %d reads where no table is wanted", f.writes, f.tableReads)
		}
		set(full())
		if s := log.take(); f.writes != 1 || !strings.Contains(s, "nft_written") {
			t.Fatal(f.writes, s)
		}
		later(10 * time.Second)
		if f.writes != 1 {
			t.Errorf("%d writes of an equal table", f.writes)
		}
		f.mu.Lock()
		f.table = nil // flush ruleset
		f.mu.Unlock()
		later(time.Second)
		if s := log.take(); f.writes != 2 || !strings.Contains(s, "nft_repaired") {
			t.Error(f.writes, s)
		}
		if n := k.Repairs()[RepairNFTables]; n != 1 {
			t.Errorf("%d repairs counted", n)
		}
		f.mu.Lock()
		f.tableErr = unix.EPERM
		f.table = nil
		f.mu.Unlock()
		later(5 * time.Second)
		if s := log.take(); strings.Count(s, "\n") != 1 || len(k.Findings()) != 1 {
			t.Error("an error is not said once:", s)
		}
		f.mu.Lock()
		f.tableErr = nil
		f.mu.Unlock()
		later(time.Second)
		if f.table == nil || len(k.Findings()) != 0 {
			t.Error("not repaired after an error")
		}
		if err := k.Stop(t.Context()); err != nil || f.table == nil {
			t.Error("a stop that is to keep it removes it", err)
		}
		k.Set(Want{Rules: full(), Leave: true, Interval: time.Second})
		if err := k.Stop(t.Context()); err != nil || f.table != nil {
			t.Error("a stop that is to remove it keeps it", err)
		}
		set(full())
		set(Rules{})
		if s := log.take(); f.table != nil || !strings.Contains(s, "nft_removed") {
			t.Error("not removed", s)
		}
	})
}

// TestKeeperTableOfBefore: one that an earlier run left is adopted or removed.
func TestKeeperTableOfBefore(t *testing.T) {
	for name, want := range map[string]Rules{"adopted": full(), "removed": {}} {
		r := full()
		left := r.compile()
		f := &fake{table: &left}
		keeping(t, f, func(t *testing.T, k *Keeper, _ *logged) {
			k.Set(Want{Rules: want, Interval: time.Second})
			later(5 * time.Second)
			switch {
			case name == "adopted" && (f.writes != 0 || f.table == nil):
				t.Error("an equal table was written again")
			case name == "removed" && (f.writes != 1 || f.table != nil):
				t.Error("it stays", f.writes)
			}
		})
	}
}

// TestKeeperOddKernel: one that shows tables in another way gets no write each pass.
func TestKeeperOddKernel(t *testing.T) {
	f := &fake{odd: true}
	keeping(t, f, func(t *testing.T, k *Keeper, _ *logged) {
		k.Set(Want{Rules: full(), Interval: time.Second})
		later(10 * time.Second)
		if f.writes != 1 {
			t.Errorf("%d writes", f.writes)
		}
	})
}

func TestKeeperWithoutNFTables(t *testing.T) {
	f := &fake{tableErr: errNoNFTables}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		k.Set(Want{Interval: time.Second})
		later(5 * time.Second)
		if s := log.take(); s != "" {
			t.Error("complains of what it does not need:", s)
		}
		k.Set(Want{Rules: full(), Interval: time.Second})
		later(5 * time.Second)
		if s := log.take(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "modprobe nf_tables") {
			t.Error(s)
		}
	})
}
