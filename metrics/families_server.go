package metrics

import (
	"strconv"

	"lvs-ha/internal/director"
)

// eachServer calls f with each server of each service.
func eachServer(s *director.Snapshot, f func(service string, r *director.ServerStatus)) {
	for i := range s.Services {
		for j := range s.Services[i].Servers {
			f(s.Services[i].Name, &s.Services[i].Servers[j])
		}
	}
}

// perServer makes the samples of a family with one series per server.
func perServer(value func(r *director.ServerStatus) float64) func(*director.Snapshot, *totals, putSample) {
	return func(s *director.Snapshot, _ *totals, put putSample) {
		eachServer(s, func(service string, r *director.ServerStatus) { put(value(r), service, r.Name) })
	}
}

// adminStates is the closed set of what may be chosen for a server.
var adminStates = []string{"ready", "drain", "maintenance"}

// adminState of a server: the part of its state that is intent, not health.
func adminState(st director.ServerState) string {
	switch st {
	case director.ServerDrain:
		return "drain"
	case director.ServerMaintenance:
		return "maintenance"
	case director.ServerUp, director.ServerDown, director.ServerPending:
		return "ready"
	}
	return "ready"
}

var labelsServer = []string{"service", "server"}

var serverFamilies = []family{
	{
		name: "lvs_ha_server_info", kind: gauge, labels: []string{"service", "server", "address", "port", "forward"},
		help: "Constant 1; address and forwarding method behind a server name.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachServer(s, func(service string, r *director.ServerStatus) {
				put(1, service, r.Name, r.Server.Key.Addr.String(), strconv.Itoa(int(r.Server.Key.Port)), r.Server.Forward.String())
			})
		},
	},
	{
		name: "lvs_ha_server_up", kind: gauge, labels: labelsServer,
		help:    "1 if the health checks of the server are satisfied, whatever its admin state.",
		samples: perServer(func(r *director.ServerStatus) float64 { return boolean(r.Healthy) }),
	},
	{
		name: "lvs_ha_server_admin_state", kind: gauge, labels: []string{"service", "server", "state"},
		help: "State set of the admin state (ready, drain, maintenance), chosen by a person, the configuration or the server itself.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachServer(s, func(service string, r *director.ServerStatus) {
				now := adminState(r.State)
				for _, st := range adminStates {
					put(boolean(st == now), service, r.Name, st)
				}
			})
		},
	},
	{
		name: "lvs_ha_server_held_by_floor", kind: gauge, labels: labelsServer,
		help:    "1 while min_healthy keeps the server in service though it would be out.",
		samples: perServer(func(r *director.ServerStatus) float64 { return boolean(r.Held) }),
	},
	{
		name: "lvs_ha_server_weight", kind: gauge, labels: labelsServer,
		help: "Weight in the kernel now; 0 when quiesced, absent when not in the table.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachServer(s, func(service string, r *director.ServerStatus) {
				if r.Weight != nil {
					put(float64(*r.Weight), service, r.Name)
				}
			})
		},
	},
	{
		name: "lvs_ha_server_configured_weight", kind: gauge, labels: labelsServer,
		help:    "Weight from the configuration.",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.ConfiguredWeight) }),
	},
	{
		name: "lvs_ha_server_transitions_total", kind: counter, labels: []string{"service", "server", "to"},
		help: "Health changes, by the verdict entered (up, down).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachServer(s, func(service string, r *director.ServerStatus) {
				put(float64(r.TransitionsUp), service, r.Name, "up")
				put(float64(r.TransitionsDown), service, r.Name, "down")
			})
		},
	},
	{
		name: "lvs_ha_server_last_transition_timestamp_seconds", kind: gauge, labels: labelsServer,
		help:    "Unix time of the last health change.",
		samples: perServer(func(r *director.ServerStatus) float64 { return unix(r.Since) }),
	},
	{
		name: "lvs_ha_server_active_connections", kind: gauge, labels: labelsServer,
		help:    "Established connections (kernel).",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.Active) }),
	},
	{
		name: "lvs_ha_server_inactive_connections", kind: gauge, labels: labelsServer,
		help:    "Connections in other states (kernel).",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.Inactive) }),
	},
	{
		name: "lvs_ha_server_persistent_connections", kind: gauge, labels: labelsServer,
		help:    "Persistence templates that point here (kernel).",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.Persistent) }),
	},
	{
		name: "lvs_ha_server_connections_total", kind: counter, labels: labelsServer,
		help:    "Connections scheduled to the server.",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.Connections) }),
	},
	{
		name: "lvs_ha_server_incoming_packets_total", kind: counter, labels: labelsServer,
		help:    "Packets forwarded to the server.",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.InPackets) }),
	},
	{
		name: "lvs_ha_server_outgoing_packets_total", kind: counter, labels: labelsServer,
		help:    "Packets from the server seen by the director (NAT only).",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.OutPackets) }),
	},
	{
		name: "lvs_ha_server_incoming_bytes_total", kind: counter, labels: labelsServer,
		help:    "Bytes forwarded to the server.",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.InBytes) }),
	},
	{
		name: "lvs_ha_server_outgoing_bytes_total", kind: counter, labels: labelsServer,
		help:    "Bytes from the server seen by the director (NAT only).",
		samples: perServer(func(r *director.ServerStatus) float64 { return float64(r.Stats.OutBytes) }),
	},
}
