package speaker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

const innerVIP6 = "2001:db8:77::100"

// threeOf is a group with IPv4 and IPv6 inside and IPv4 outside.
func threeOf(priority uint8) []vrrp.Instance {
	list := both(priority, 100*time.Millisecond)
	six := group(priority, "fe80::77:1", innerVIP6)
	six.Name, six.Group, six.Config.Family = "inner6", "both", vrrp.IPv6
	return append(list, six)
}

func keepalivedGroup(priority uint8) string {
	var b strings.Builder
	b.WriteString("global_defs {\n vrrp_garp_master_delay 1\n}\nvrrp_sync_group all {\n group {\n inner\n inner6\n outer\n }\n}\n")
	for _, x := range []struct {
		name, iface string
		vrid        int
		addrs       string
	}{{"inner", "eth0", 51, innerVIP + "/32"}, {"inner6", "eth0", 51, "fe80::77:1/128\n " + innerVIP6 + "/128"}, {"outer", "eth1", 52, outerVIP + "/32"}} {
		fmt.Fprintf(&b, "vrrp_instance %s {\n state BACKUP\n interface %s\n version 3\n virtual_router_id %d\n priority %d\n advert_int 0.1\n"+
			" virtual_ipaddress {\n %s\n }\n}\n", x.name, x.iface, x.vrid, priority, x.addrs)
	}
	return b.String()
}

// count is how many of the group's addresses a node has.
func (n *node) count() int {
	n.t.Helper()
	c := 0
	for _, vip := range []string{innerVIP, innerVIP6, outerVIP} {
		if n.has(vip) {
			c++
		}
	}
	return c
}

// TestKeepalivedSyncGroup: a group of three beside keepalived's moves as one,
// whoever loses a link, stops, or is the better one.
func TestKeepalivedSyncGroup(t *testing.T) {
	t.Parallel()
	const limit = 15 * time.Second
	inner, outer := newSegment(t), newSegment(t)
	a := newRouter(inner, outer, 1, "")
	host := byte(1)
	rival := func(priority uint8) (k, out *node) {
		host++
		k = inner.keepalivedWith(keepalivedGroup(priority), func(n *node) { out = n.second(outer, host) })
		return k, out
	}
	all := func(has, not *node) func() bool {
		return func() bool { return has.count() == 3 && not.count() == 0 }
	}

	k, out := rival(200)
	eventually(t, limit, "keepalived has all", func() bool { return k.count() == 3 })
	a.configure(threeOf(100)...)
	eventually(t, limit, "we listen", func() bool {
		return a.named("inner").Received > 5 && a.named("inner6").Received > 5 && a.named("outer").Received > 5
	})
	if a.count() != 0 || k.count() != 3 {
		t.Fatalf("we took %d addresses from a better group, which has %d", a.count(), k.count())
	}
	out.cut(true)
	eventually(t, limit, "we have all after keepalived's link went", all(a.node, k))
	out.cut(false)
	eventually(t, limit, "keepalived has preempted with all", all(k, a.node))
	k.terminate()
	eventually(t, limit, "we have all after keepalived has stopped", func() bool { return a.count() == 3 })

	k, _ = rival(50)
	eventually(t, limit, "keepalived's group is backup", func() bool {
		return strings.Contains(k.log.String(), "Syncing instances to BACKUP") || strings.Count(k.log.String(), "Entering BACKUP STATE") >= 3
	})
	settled(t, a)
	if a.count() != 3 || k.count() != 0 {
		t.Fatalf("we have %d addresses beside a worse group, which has %d", a.count(), k.count())
	}
	a.outer.cut(true)
	eventually(t, limit, "keepalived has all after our link went", all(k, a.node))
	a.outer.cut(false)
	eventually(t, limit, "we have preempted with all", all(a.node, k))
	a.terminate()
	eventually(t, limit, "keepalived has all after we have stopped", all(k, a.node))
	for _, bad := range []string{"mismatch", "nvalid", "incorrect", "rror"} {
		if strings.Contains(k.log.String(), bad) {
			t.Errorf("keepalived complains:\n%s", k.log)
			break
		}
	}
}
