package director

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// tracking is a configuration with one instance that tracks the service web
// and a check.
func tracking(service, check int) (*conf.Config, health.Spec) {
	uplink := health.Spec{Target: spec("192.0.2.1", 0).Target, Method: &health.Method{Type: health.ICMP, Interval: 1, Timeout: 1, Rise: 1, Fall: 1}}
	c := config(serviceOf("web", rs1), serviceOf("api", rs2))
	c.VRRP = []vrrp.Instance{{Name: "edge"}}
	c.Duties = []conf.Duties{{
		TrackServices: []vrrp.Track{{Name: "web", Delta: service}},
		TrackChecks:   []conf.TrackCheck{{Track: vrrp.Track{Name: "uplink", Delta: check}, Spec: uplink}},
	}}
	return c, uplink
}

func serviceOf(name, server string) conf.Service {
	return service(name, map[string]string{"web": vip, "api": "192.0.2.11"}[name], ipvsctl.TCP, server)
}

func TestTrackedServicesAndChecksChangeThePosture(t *testing.T) {
	for _, c := range []struct {
		name           string
		service, check int
		web, uplink    health.State
		want           map[string]link.InstancePosture
	}{
		{"all good", -60, -30, health.Up, health.Up, nil},
		{"service lost", -60, -30, health.Down, health.Up, map[string]link.InstancePosture{"edge": {Deltas: []int{-60}}}},
		{"check lost", -60, -30, health.Up, health.Down, map[string]link.InstancePosture{"edge": {Deltas: []int{-30}}}},
		{"both lost", -60, -30, health.Down, health.Down, map[string]link.InstancePosture{"edge": {Deltas: []int{-60, -30}}}},
		{"a fault", 0, -30, health.Down, health.Down, map[string]link.InstancePosture{"edge": {Deltas: []int{-30}, Fault: "service/web"}}},
		{"two faults", 0, 0, health.Down, health.Down, map[string]link.InstancePosture{"edge": {Fault: "service/web"}}},
		{"check not judged", 0, 0, health.Up, health.Unknown, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, uplink := tracking(c.service, c.check)
			s := world(cfg)
			s.Accepted = t0
			s.judge(rs1, c.web, t0)
			s.judge(rs2, health.Down, t0) // of a service that nobody tracks
			s.Verdicts[uplink.Key()] = Verdict{State: c.uplink, Since: t0}
			d := Plan(s)
			if diff := cmp.Diff(c.want, d.Instances); diff != "" {
				t.Error(diff)
			}
			want := []TrackStatus{{"edge", "service/web", c.web == health.Up}, {"edge", "check/uplink", c.uplink != health.Down}}
			if diff := cmp.Diff(want, d.Tracks); diff != "" {
				t.Error(diff)
			}
			if d.Judged != (c.uplink != health.Unknown) {
				t.Errorf("judged %v", d.Judged)
			}
		})
	}
}

func TestTrackedCheckIsProbedOnce(t *testing.T) {
	cfg, uplink := tracking(0, 0)
	cfg.VRRP = append(cfg.VRRP, vrrp.Instance{Name: "other"})
	cfg.Duties = append(cfg.Duties, cfg.Duties[0])
	n := 0
	for _, x := range NewTopology(cfg).Specs {
		if x.Key() == uplink.Key() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("probed by %d checks", n)
	}
}

// A director that doubts its probes is a worse master, whatever it tracks.
func TestDoubtLowersThePriority(t *testing.T) {
	cfg, uplink := tracking(-10, -30)
	s := world(cfg)
	s.Accepted = t0
	s.judge(rs1, health.Up, t0)
	s.judge(rs2, health.Up, t0)
	s.Verdicts[uplink.Key()] = Verdict{State: health.Down, Since: t0}
	s.Doubting = true
	want := map[string]link.InstancePosture{"edge": {Deltas: []int{-30, DoubtDelta}}}
	if diff := cmp.Diff(want, Plan(s).Instances); diff != "" {
		t.Error(diff)
	}
	s.Doubting = false
	if got := Plan(s).Instances["edge"].Deltas; len(got) != 1 {
		t.Error(got)
	}
}
