package health

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A source address costs no port of its own for each probe
// (IP_BIND_ADDRESS_NO_PORT): more probes can be under way than there are
// ephemeral ports, for they go to different servers.
func TestSourceSharesPorts(t *testing.T) {
	const ports, servers = 4, 12
	inNetns(t, func() {
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		must(err)
		defer h.Close()
		lo, err := h.LinkByName("lo")
		must(err)
		must(h.LinkSetUp(lo))
		source := netip.MustParseAddr("127.0.0.2")
		var to []netip.AddrPort
		for i := range servers {
			to = append(to, serverAt(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), 80), hangs))
		}
		must(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40003"), 0o644))

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for i, a := range to { // whatever probes on a goroutine
			d := newDialer(Spec{Target: a, Method: &Method{Source: source}}, "tcp")
			_, done, err := d.open(ctx)
			if err != nil {
				t.Errorf("connection %d with %d ports: %v", i+1, ports, err)
				continue
			}
			defer done()
		}

		e, err := newEngine(t.Context(), newClock(), proberFor) // on this thread, which is in the namespace
		must(err)
		defer e.close()
		m := &Method{Type: HTTP, Source: source, Interval: time.Second, Timeout: patience, Hold: true}
		var checks []*check
		for _, a := range to {
			s := Spec{Target: a, Method: m}
			c := &check{spec: s, timing: newTiming(s, "", ""), hold: new(holding)}
			checks = append(checks, c)
			e.start(c, e.clock.now())
			if e.takeHold(c); c.hold.cn == nil {
				t.Errorf("no held connection to %s", a)
			}
		}
		for waiting := servers; waiting > 0 && ctx.Err() == nil && !t.Failed(); {
			e.collect(e.clock.now(), func(c *check, f *Failure) { t.Errorf("probe of %s with %d ports: %v", c.spec.Target, ports, f) })
			waiting = 0
			for _, c := range checks {
				if cn, ok := c.run.(*conn); !ok || cn.step != receiving || !c.hold.up {
					waiting++
				}
			}
			e.wait(e.until(e.clock.now() + 1e6))
		}
		must(ctx.Err())
	})
}
