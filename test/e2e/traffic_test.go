package e2e

import (
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestForwarding… sends TCP and UDP traffic through the table that the program
// made, in the three ways of forwarding.

func TestForwardingDR(t *testing.T)  { forwarding(t, lab.DR) }
func TestForwardingNAT(t *testing.T) { forwarding(t, lab.NAT) }
func TestForwardingTUN(t *testing.T) { forwarding(t, lab.TUN) }

func forwarding(t *testing.T, mode lab.Mode) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: mode, Servers: 3})
	s.set.UDPCheck = true
	s.start()
	for _, udp := range []bool{false, true} {
		from := time.Now()
		ld := s.load(lab.LoadOptions{UDP: udp, Every: 5 * time.Millisecond})
		s.answered(ld, from, 150)
		sum := s.decided(ld, from)
		if sum.Failed > 0 {
			t.Errorf("udp=%v: %s", udp, sum)
		}
		for _, srv := range s.Servers {
			if n := sum.Servers[srv.Name]; !udp && n < sum.OK/4 {
				t.Errorf("round robin gave %s %d of %d", srv.Name, n, sum.OK)
			}
		}
	}
	want := map[lab.Mode]string{lab.DR: "Route", lab.NAT: "Masq", lab.TUN: "Tunnel"}[mode]
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		s.slowly(10*time.Second, d.Host().Name+" holds both services", func() error {
			table, err := d.Host().Table()
			if err == nil && len(table) != 2 {
				err = errorf("%d services: %v", len(table), table)
			}
			for _, svc := range table {
				if svc.Scheduler != "rr" || len(svc.Servers) != 3 {
					err = errorf("%+v", svc)
				}
				for _, r := range svc.Servers {
					if r.Forward != want || r.Weight != 1 {
						err = errorf("server %+v, want %s with weight 1", r, want)
					}
				}
			}
			return err
		})
	}
	// What the program counts is what the kernel counts.
	s.metric(s.lvs1, 3*time.Second, atLeast(150), "lvs_ha_service_connections_total", "service", "web")
	s.metric(s.lvs1, 3*time.Second, is(1), "lvs_ha_vrrp_state", "state", "master")
	s.metric(s.lvs2, 3*time.Second, is(1), "lvs_ha_vrrp_state", "state", "backup")
	for url, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/role/" + lab.Instance: 200} {
		if code, body, err := s.lvs1.Host().Get(s.ctx, "http://127.0.0.1:10112"+url); code != want || err != nil {
			t.Errorf("lvs1 %s: %d %q %v", url, code, body, err)
		}
	}
	if code, _, err := s.lvs2.Host().Get(s.ctx, "http://127.0.0.1:10112/role/"+lab.Instance); code != 503 || err != nil {
		t.Errorf("lvs2 /role: %d %v", code, err)
	}
}
