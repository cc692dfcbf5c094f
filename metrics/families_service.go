package metrics

import (
	"strconv"

	"lvs-ha/internal/director"
)

// perService makes the samples of a family with one series per service.
func perService(value func(v *director.ServiceStatus) float64) func(*director.Snapshot, *totals, putSample) {
	return func(s *director.Snapshot, _ *totals, put putSample) {
		for i := range s.Services {
			put(value(&s.Services[i]), s.Services[i].Name)
		}
	}
}

var labelsService = []string{"service"}

var serviceFamilies = []family{
	{
		name: "lvs_ha_service_info", kind: gauge,
		labels: []string{"service", "address", "port", "protocol", "fwmark", "scheduler", "vrrp_instance"},
		help:   "Constant 1; addresses and scheduler behind a service name.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			for i := range s.Services {
				v := &s.Services[i]
				k := v.Service.Key
				mark := ""
				if k.FWMark != 0 {
					mark = strconv.FormatUint(uint64(k.FWMark), 10)
				}
				switch {
				case v.Ports != "": // the mark is ours, and how the kernel knows them
					put(1, v.Name, v.Virtual.Addr.String(), v.Ports, v.Virtual.Protocol.String(), mark, v.Service.Scheduler, v.VRRP)
				case mark != "":
					put(1, v.Name, "", "", "", mark, v.Service.Scheduler, v.VRRP)
				default:
					put(1, v.Name, k.Addr.String(), strconv.Itoa(int(k.Port)), k.Protocol.String(), "", v.Service.Scheduler, v.VRRP)
				}
			}
		},
	},
	{
		name: "lvs_ha_service_up", kind: gauge, labels: labelsService,
		help:    "1 if the quorum of the service is met.",
		samples: perService(func(v *director.ServiceStatus) float64 { return boolean(v.Up) }),
	},
	{
		name: "lvs_ha_service_quorum_weight", kind: gauge, labels: labelsService,
		help:    "Total healthy weight the service needs.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.QuorumWeight) }),
	},
	{
		name: "lvs_ha_service_healthy_weight", kind: gauge, labels: labelsService,
		help:    "Total weight of servers that pass their checks and take new connections; slow start does not lower it.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.HealthyWeight) }),
	},
	{
		name: "lvs_ha_service_configured_weight", kind: gauge, labels: labelsService,
		help:    "Total weight if every server were up.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.ConfiguredWeight) }),
	},
	{
		name: "lvs_ha_service_servers", kind: gauge, labels: []string{"service", "state"},
		help: "Servers by state (up, down, pending, drain, maintenance).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			for i := range s.Services {
				v := &s.Services[i]
				for _, st := range director.ServerStates {
					n := 0
					for j := range v.Servers {
						if v.Servers[j].State == st {
							n++
						}
					}
					put(float64(n), v.Name, string(st))
				}
			}
		},
	},
	{
		name: "lvs_ha_service_serving_weight", kind: gauge, labels: labelsService,
		help:    "Healthy weight and the weight that min_healthy keeps in service.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.ServingWeight) }),
	},
	{
		name: "lvs_ha_service_sorry_active", kind: gauge, labels: labelsService,
		help:    "1 while the sorry server stands in.",
		samples: perService(func(v *director.ServiceStatus) float64 { return boolean(v.SorryActive) }),
	},
	{
		name: "lvs_ha_service_floor_weight", kind: gauge, labels: labelsService,
		help:    "Weight that min_healthy keeps in service; 0 without it.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Floor.Weight) }),
	},
	{
		name: "lvs_ha_service_floor_held_servers", kind: gauge, labels: labelsService,
		help:    "Servers that min_healthy keeps in service and that would be out without it; above 0 the checks or the people are likely wrong.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Floor.Held) }),
	},
	{
		name: "lvs_ha_service_floor_short", kind: gauge, labels: labelsService,
		help:    "1 while less weight serves than min_healthy asks for.",
		samples: perService(func(v *director.ServiceStatus) float64 { return boolean(v.Floor.Short) }),
	},
	{
		name: "lvs_ha_service_kernel_present", kind: gauge, labels: labelsService,
		help:    "1 if the kernel table holds the service as configured.",
		samples: perService(func(v *director.ServiceStatus) float64 { return boolean(v.KernelPresent) }),
	},
	{
		name: "lvs_ha_service_connections_total", kind: counter, labels: labelsService,
		help:    "Connections scheduled (kernel counter).",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Counters.Connections) }),
	},
	{
		name: "lvs_ha_service_incoming_packets_total", kind: counter, labels: labelsService,
		help:    "Packets from clients.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Counters.InPackets) }),
	},
	{
		name: "lvs_ha_service_outgoing_packets_total", kind: counter, labels: labelsService,
		help:    "Packets to clients; stays 0 with DR and TUN, where replies bypass the director.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Counters.OutPackets) }),
	},
	{
		name: "lvs_ha_service_incoming_bytes_total", kind: counter, labels: labelsService,
		help:    "Bytes from clients.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Counters.InBytes) }),
	},
	{
		name: "lvs_ha_service_outgoing_bytes_total", kind: counter, labels: labelsService,
		help:    "Bytes to clients; stays 0 with DR and TUN, where replies bypass the director.",
		samples: perService(func(v *director.ServiceStatus) float64 { return float64(v.Counters.OutBytes) }),
	},
}
