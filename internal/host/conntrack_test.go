package host

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFlowMatches(t *testing.T) {
	vip, rs := ap("192.0.2.10:80"), ap("10.0.1.21:8080")
	for _, tt := range []struct {
		name     string
		flow     Flow
		proto    uint8
		to, from netip.AddrPort
		want     bool
	}{
		{"all given", Flow{6, vip, rs}, 6, vip, rs, true},
		{"other protocol", Flow{6, vip, rs}, 17, vip, rs, false},
		{"other virtual port", Flow{6, vip, rs}, 6, ap("192.0.2.10:81"), rs, false},
		{"other virtual address", Flow{6, vip, rs}, 6, ap("192.0.2.11:80"), rs, false},
		{"other server", Flow{6, vip, rs}, 6, vip, ap("10.0.1.22:8080"), false},
		{"other server port", Flow{6, vip, rs}, 6, vip, ap("10.0.1.21:8081"), false},
		{"every virtual port", Flow{6, ap("192.0.2.10:0"), rs}, 6, ap("192.0.2.10:99"), rs, true},
		{"a mark", Flow{0, netip.AddrPort{}, ap("10.0.1.21:0")}, 17, ap("192.0.2.77:5"), ap("10.0.1.21:5"), true},
		{"straight to the server", Flow{0, netip.AddrPort{}, rs}, 6, rs, rs, false},
	} {
		if got := tt.flow.matches(tt.proto, tt.to, tt.from); got != tt.want {
			t.Error(tt.name, got)
		}
	}
}

func TestKeeperEnds(t *testing.T) {
	f := &fake{sys: map[string]string{"net.ipv4.vs.conntrack": "0"}}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		one := []Flow{{6, ap("192.0.2.10:80"), ap("10.0.1.21:80")}}
		k.End(nil)
		k.End(one)
		later(time.Second)
		if len(f.ended) != 0 {
			t.Error("looks for entries that cannot be there")
		}
		f.put("net.ipv4.vs.conntrack", "1")
		k.End(one)
		later(time.Second)
		if s := log.take(); len(f.ended) != 1 || !strings.Contains(s, "conntrack_ended") {
			t.Error(f.ended, s)
		}
		f.mu.Lock()
		f.endErr = unix.EPERM
		f.mu.Unlock()
		k.End(one)
		later(time.Second)
		if s := log.take(); !strings.Contains(s, "conntrack_failed") {
			t.Error(s)
		}
	})
}
