package director

import (
	"fmt"
	"testing"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// BenchmarkPlan decides on 10 000 servers, plain and with everything about pools.
func BenchmarkPlan(b *testing.B) {
	for _, rich := range []bool{false, true} {
		var services []conf.Service
		for i := range 100 {
			var servers []string
			for j := range 100 {
				servers = append(servers, fmt.Sprintf("10.%d.%d.%d", 1+i/100, i%100, j+1))
			}
			svc := service(fmt.Sprint("s", i), fmt.Sprintf("192.0.%d.1", i), ipvsctl.TCP, servers...)
			for j := range svc.Servers {
				svc.Servers[j].Name = fmt.Sprint("r", j)
			}
			if rich {
				svc.Quorum, svc.QuorumHysteresis, svc.SlowStart, svc.MinHealthy = 20, 5, time.Minute, .5
				svc.Sorry, svc.OnQuorumLoss = sorryServer(), conf.QuorumSorry
			}
			services = append(services, svc)
		}
		s := world(config(services...))
		s.Admin = map[ServerID]Admin{}
		for i := range s.Topology.Specs {
			v := Verdict{State: health.Up, Since: t0, Recovered: t0}
			if i%3 > 0 && rich {
				v = Verdict{State: health.Down, Since: t0}
			}
			s.Verdicts[s.Topology.Specs[i].Key()] = v
		}
		if rich {
			s.Admin[ServerID{"s1", "r1"}] = Admin{Mode: AdminDrain}
		}
		b.Run(map[bool]string{false: "plain", true: "rich"}[rich], func(b *testing.B) {
			for b.Loop() {
				Plan(s)
			}
		})
	}
}

// BenchmarkReplan is one verdict among 10 000 servers, decided on alone.
func BenchmarkReplan(b *testing.B) {
	for _, each := range []int{100, 10_000} {
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			s := world(farm(10_000, each))
			s.Verdicts, s.Quorum = map[health.Key]Verdict{}, map[string]Quorum{}
			for _, k := range s.Topology.Keys {
				s.Verdicts[k] = Verdict{State: health.Up, Since: t0}
			}
			d := Plan(s)
			for i, x := range d.Services {
				s.Quorum[s.Topology.Services[i].Conf.Name] = x.Quorum
			}
			v := Verdict{State: health.Down, Since: t0, Failure: &health.Failure{Reason: health.ReasonRefused}}
			for n := 0; b.Loop(); n++ {
				k := s.Topology.Keys[n/2*37%len(s.Topology.Keys)]
				was := s.Verdicts[k]
				s.Verdicts[k], v = v, was
				var at []serverAt
				s.Topology.fed(k, func(x serverAt) { at = append(at, x) })
				if got := d.changes(s.Topology, d.Replan(s, nil, at)); len(got) != 1 {
					b.Fatal(got)
				}
			}
		})
	}
}
