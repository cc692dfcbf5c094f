package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

func (s *scene) ipvsadm(d *lab.Director, args ...string) string {
	s.Helper()
	out, stderr, code, err := d.Host().Run(s.ctx, append([]string{"ipvsadm"}, args...)...)
	if err != nil || code != 0 {
		s.Fatalf("ipvsadm %v: %d %s %v", args, code, stderr, err)
	}
	return out
}

// TestRepair: what somebody changes by hand is put right within the reconcile
// interval and counted; what is not ours is left alone.
func TestRepair(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "ipvsadm")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.set.ReconcileInterval = time.Second
	s.start()
	const vip, foreign = "10.0.0.100:80", "10.0.0.77:99"
	s.ipvsadm(s.lvs1, "-A", "-t", foreign, "-s", "wrr")
	s.ipvsadm(s.lvs1, "-a", "-t", foreign, "-r", "10.0.0.55:99", "-g")
	before, err := s.lvs1.Host().Table()
	s.must(err)
	for _, tt := range []struct {
		name, kind string
		args       []string
	}{
		{"a server deleted", "missing_server", []string{"-d", "-t", vip, "-r", "10.0.0.21:80"}},
		{"a weight changed", "weight", []string{"-e", "-t", vip, "-r", "10.0.0.22:80", "-g", "-w", "7"}},
		{"a server added", "extra_server", []string{"-a", "-t", vip, "-r", "10.0.0.99:80", "-g", "-w", "1"}},
		{"the forwarding changed", "options", []string{"-e", "-t", vip, "-r", "10.0.0.23:80", "-i", "-w", "1"}},
		{"the scheduler changed", "options", []string{"-E", "-t", vip, "-s", "wlc"}},
		{"a service deleted", "missing_service", []string{"-D", "-t", vip}},
	} {
		m, err := s.lvs1.Metrics(s.ctx)
		s.must(err)
		count, _ := m.Get("lvs_ha_ipvs_drift_total", "kind", tt.kind)
		begin := time.Now()
		s.ipvsadm(s.lvs1, tt.args...)
		s.within(2500*time.Millisecond, tt.name+" is repaired", func() error { return sameTable(s.lvs1, before) })
		t.Logf("%s: repaired after %s", tt.name, time.Since(begin).Round(time.Millisecond))
		s.metric(s.lvs1, 2*time.Second, is(count+1), "lvs_ha_ipvs_drift_total", "kind", tt.kind)
	}
	s.metric(s.lvs1, 2*time.Second, is(1), "lvs_ha_ipvs_unmanaged_services")

	// Everything at once. The foreign service is gone with it, and stays so.
	s.ipvsadm(s.lvs1, "-C")
	begin := time.Now()
	s.within(2500*time.Millisecond, "the flushed table is back", func() error {
		t, err := s.lvs1.Host().Table()
		if err == nil && len(t) != 2 {
			err = errorf("%d services", len(t))
		}
		return err
	})
	s.weights(s.lvs1, s.up())
	t.Logf("flushed: repaired after %s", time.Since(begin).Round(time.Millisecond))
	s.metric(s.lvs1, 2*time.Second, atLeast(3), "lvs_ha_ipvs_drift_total", "kind", "missing_service")
	s.metric(s.lvs1, 2*time.Second, is(0), "lvs_ha_ipvs_unmanaged_services")
	ld := s.load(lab.LoadOptions{})
	s.answered(ld, time.Now(), 20)

	// The sync daemon, too.
	s.awaitDaemons(s.lvs1, "master")
	s.ipvsadm(s.lvs1, "--stop-daemon", "master")
	s.awaitDaemons(s.lvs1, "master")
}

// TestUnmanaged: with unmanaged = "remove" services of others go from the real
// kernel, whatever their sort and with their servers, in the second comparison;
// also where the configuration has neither services nor a sync daemon.
func TestUnmanaged(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "ipvsadm")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 2})
	s.set.ReconcileInterval = time.Second
	s.pair()
	foreign := func() {
		s.Helper()
		for _, args := range [][]string{{"-t", "10.0.0.77:99"}, {"-u", "10.0.0.77:99"}, {"-f", "9"}} {
			s.ipvsadm(s.lvs1, append([]string{"-A"}, args...)...)
			s.ipvsadm(s.lvs1, append(append([]string{"-a"}, args...), "-r", "10.0.0.55:99", "-g")...)
		}
		s.ipvsadm(s.lvs1, "-A", "-f", "9", "-6")
	}
	alone := func() {
		s.Helper()
		s.slowly(5*time.Second, "only ours are there", func() error {
			if out := s.ipvsadm(s.lvs1, "-Sn"); strings.Contains(out, "10.0.0.55") || strings.Contains(out, "-f 9") {
				return errorf("%s", out)
			}
			return nil
		})
		s.metric(s.lvs1, 2*time.Second, is(0), "lvs_ha_ipvs_unmanaged_services")
	}
	remove := func(text string) string {
		return strings.Replace(text, "[ipvs]\n", "[ipvs]\nunmanaged = \"remove\"\n", 1)
	}
	foreign()
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	s.metric(s.lvs1, 2*time.Second, is(4), "lvs_ha_ipvs_unmanaged_services")
	ld := s.load(lab.LoadOptions{})
	began := time.Now()
	s.rewrite(remove)
	alone()
	if sum := s.decided(ld, began); sum.Failed > 0 || sum.OK == 0 {
		t.Errorf("clients of our service: %s", sum)
	}
	s.weights(s.lvs1, s.up())
	foreign() // goes again, as something that somebody changed
	alone()
	s.metric(s.lvs1, 2*time.Second, is(4), "lvs_ha_ipvs_drift_total", "kind", "extra_service")
	code, err := s.lvs1.Stop(s.ctx)
	if s.must(err); code != 0 {
		t.Fatalf("stopped with status %d", code)
	}
	// Nothing but the election and the order to remove; what was ours once is ours still.
	foreign()
	text := s.set.TOML()
	text = remove(text[:strings.Index(text, "[sync]\n")] + "[ipvs]\nreconcile_interval = \"1s\"\n")
	s.must(os.WriteFile(s.lvs1.File, []byte(text), 0o644))
	s.must(s.lvs1.Start())
	s.slowly(5*time.Second, "the table is empty", func() error {
		if out := s.ipvsadm(s.lvs1, "-Sn"); out != "" {
			return errorf("%s", out)
		}
		return nil
	})
}

// sameTable compares without the counters, whatever the order.
func sameTable(d *lab.Director, want []lab.VirtualService) error {
	got, err := d.Host().Table()
	if err != nil {
		return err
	}
	a, b := flatten(got), flatten(want)
	if len(a) != len(b) {
		return errorf("table %v", a)
	}
	for k := range b {
		if !a[k] {
			return errorf("%s is missing in %v", k, a)
		}
	}
	return nil
}

func flatten(t []lab.VirtualService) map[string]bool {
	out := map[string]bool{}
	for _, s := range t {
		name := s.Protocol + " " + s.Addr.String()
		out[name+" "+s.Scheduler+" "+s.Flags] = true
		for _, r := range s.Servers {
			out[errorf("%s -> %s %s %d", name, r.Addr, r.Forward, r.Weight).Error()] = true
		}
	}
	return out
}
