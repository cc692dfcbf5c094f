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
