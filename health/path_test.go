package health

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Source, interface and mark decide the way of a probe, of the engine's own
// types (tcp) and of those on goroutines (agent) alike.
func TestPathOfAProbe(t *testing.T) {
	inNetns(t, func() {
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		h, _ := cable(t)
		defer h.Close()
		rule := netlink.NewRule()
		rule.Mark, rule.Priority, rule.Type, rule.Family = 7, 100, unix.FR_ACT_PROHIBIT, unix.AF_INET
		must(h.RuleAdd(rule))
		from := make(chan netip.Addr, 100)
		here := server(t, func(c *net.TCPConn) {
			from <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			c.Write([]byte("up\n"))
			c.CloseWrite()
			hangs(c)
		})
		source := netip.MustParseAddr("127.0.0.2")
		far := netip.MustParseAddrPort("192.0.2.9:80")
		for name, tc := range map[string]struct {
			s    Spec
			want Reason
		}{
			"as routed":               {Spec{Target: here, Method: &Method{}}, ""},
			"source":                  {Spec{Target: here, Method: &Method{Source: source}}, ""},
			"source that is not ours": {Spec{Target: here, Method: &Method{Source: netip.MustParseAddr("203.0.113.5")}}, ReasonInternal},
			"interface":               {Spec{Target: here, Method: &Method{Interface: "lo"}}, ""},
			"no such interface":       {Spec{Target: here, Method: &Method{Interface: "nosuch"}}, ReasonInternal},
			"no mark":                 {Spec{Target: far, Method: &Method{}}, ReasonUnreachable},
			"mark":                    {Spec{Target: far, Method: &Method{Mark: 7}}, ReasonInternal},
			"mark of no rule":         {Spec{Target: here, Method: &Method{Mark: 9}}, ""},
		} {
			s := tc.s
			s.Type = Agent
			_, f := ask(t, s, 3*time.Second)
			t.Log(name, f)
			wantReason(t, f, tc.want, "")
			if f == nil {
				if got := <-from; s.Source.IsValid() && got != s.Source {
					t.Errorf("%s: came from %v", name, got)
				}
			}
			s.Type, s.TCP = TCP, full
			e, err := newEngine(t.Context(), newClock(), proberFor) // on this thread, which is in the namespace
			must(err)
			s.Interval, s.Timeout = time.Second, 3*time.Second
			c := &check{spec: s, timing: newTiming(s, "", "")}
			e.start(c, e.clock.now())
			var got *Failure
			for over := false; !over; {
				e.wait(e.until(e.clock.now() + 1e6))
				e.collect(e.clock.now(), func(_ *check, f *Failure) { got, over = f, true })
			}
			e.close()
			t.Log(name, got)
			wantReason(t, got, tc.want, "")
			if got == nil {
				if a := <-from; s.Source.IsValid() && a != s.Source {
					t.Errorf("%s: came from %v", name, a)
				}
			}
		}
	})
}
