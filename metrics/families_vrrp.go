package metrics

import (
	"slices"
	"strconv"

	"lvs-ha/internal/director"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// dropReasons is the closed set of reasons for which the speaker ignores an
// advertisement.
var dropReasons = labels(vrrp.Reasons)

func labels(reasons []vrrp.Reason) []string {
	var set []string
	for _, r := range reasons {
		if l := r.Label(); l != "" && !slices.Contains(set, l) {
			set = append(set, l)
		}
	}
	return set
}

// eachInstance calls f with each VRRP instance; there are none before the
// speaker's first answer.
func eachInstance(s *director.Snapshot, f func(i *link.InstanceStatus)) {
	if s.Speaker == nil {
		return
	}
	for n := range s.Speaker.Instances {
		f(&s.Speaker.Instances[n])
	}
}

// perInstance makes the samples of a family with one series per instance.
func perInstance(value func(i *link.InstanceStatus) float64) func(*director.Snapshot, *totals, putSample) {
	return func(s *director.Snapshot, _ *totals, put putSample) {
		eachInstance(s, func(i *link.InstanceStatus) { put(value(i), i.Name) })
	}
}

var labelsInstance = []string{"vrrp_instance"}

var vrrpFamilies = []family{
	{
		name: "lvs_ha_vrrp_info", kind: gauge,
		labels: []string{"vrrp_instance", "interface", "vrid", "version", "family", "mode"},
		help:   "Constant 1; static facts of a VRRP instance (mode is multicast or unicast).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				mode := "multicast"
				if i.Mode == vrrp.Unicast {
					mode = "unicast"
				}
				family := "ipv4"
				if i.Family == vrrp.IPv6 {
					family = "ipv6"
				}
				put(1, i.Name, i.Interface, strconv.Itoa(int(i.VRID)), strconv.Itoa(int(i.Version)), family, mode)
			})
		},
	},
	{
		name: "lvs_ha_vrrp_state", kind: gauge, labels: []string{"vrrp_instance", "state"},
		help: "State set: 1 for the present state, 0 for the others (init, backup, master, releasing, fault).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				for _, st := range vrrp.States {
					put(boolean(i.State == st), i.Name, st.String())
				}
			})
		},
	},
	{
		name: "lvs_ha_vrrp_priority", kind: gauge, labels: labelsInstance,
		help:    "Priority in use now, after tracking adjustments.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.Priority) }),
	},
	{
		name: "lvs_ha_vrrp_configured_priority", kind: gauge, labels: labelsInstance,
		help:    "Priority from the configuration of this node.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.ConfiguredPriority) }),
	},
	{
		name: "lvs_ha_vrrp_transitions_total", kind: counter, labels: []string{"vrrp_instance", "to"},
		help: "State changes, by the state entered.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				for _, st := range vrrp.States {
					put(float64(i.Transitions[st.String()]), i.Name, st.String())
				}
			})
		},
	},
	{
		name: "lvs_ha_vrrp_last_transition_timestamp_seconds", kind: gauge, labels: labelsInstance,
		help:    "Unix time of the last state change.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return unix(i.Since) }),
	},
	{
		name: "lvs_ha_vrrp_advertisements_sent_total", kind: counter, labels: labelsInstance,
		help:    "Advertisements sent.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.Sent) }),
	},
	{
		name: "lvs_ha_vrrp_advertisements_received_total", kind: counter, labels: labelsInstance,
		help:    "Valid advertisements received from other nodes.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.Received) }),
	},
	{
		name: "lvs_ha_vrrp_advertisements_dropped_total", kind: counter, labels: []string{"vrrp_instance", "reason"},
		help: "Advertisements ignored, by reason (ttl, checksum, version, auth, interval, source, malformed).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				counts(i.Dropped, dropReasons, func(reason string, n uint64) { put(float64(n), i.Name, reason) })
			})
		},
	},
	{
		name: "lvs_ha_vrrp_address_mismatch_advertisements_total", kind: counter, labels: labelsInstance,
		help:    "Valid advertisements whose list of addresses is not ours; the directors' configurations differ.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.AddressMismatch) }),
	},
	{
		name: "lvs_ha_vrrp_message_only_checksum_advertisements_total", kind: counter, labels: labelsInstance,
		help:    "Valid VRRPv3 advertisements over IPv4 whose checksum leaves out the pseudo-header, the form of RFC 9568.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.MessageOnly) }),
	},
	{
		name: "lvs_ha_vrrp_lower_priority_advertisements_total", kind: counter, labels: labelsInstance,
		help:    "Advertisements of lower priority received while master; a second master was active.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.LowerPriority) }),
	},
	{
		name: "lvs_ha_vrrp_foreign_claims_total", kind: counter, labels: labelsInstance,
		help:    "Claims of our addresses by other stations (ARP, neighbour discovery) heard while master; a second holder.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.ForeignClaims) }),
	},
	{
		name: "lvs_ha_vrrp_priority_zero_sent_total", kind: counter, labels: labelsInstance,
		help:    "Priority-zero advertisements sent (orderly release).",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.ZeroSent) }),
	},
	{
		name: "lvs_ha_vrrp_priority_zero_received_total", kind: counter, labels: labelsInstance,
		help:    "Priority-zero advertisements received.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.ZeroReceived) }),
	},
	{
		name: "lvs_ha_vrrp_last_advertisement_received_timestamp_seconds", kind: gauge, labels: labelsInstance,
		help:    "Unix time of the last valid advertisement received; 0 if none yet.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return unix(i.LastHeard) }),
	},
	{
		name: "lvs_ha_vrrp_announcements_sent_total", kind: counter, labels: []string{"vrrp_instance", "kind"},
		help: "Gratuitous ARP and unsolicited neighbour advertisements sent (kind is arp or na).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				put(float64(i.AnnouncedARP), i.Name, "arp")
				put(float64(i.AnnouncedNA), i.Name, "na")
			})
		},
	},
	{
		name: "lvs_ha_vrrp_address_present", kind: gauge, labels: []string{"vrrp_instance", "address"},
		help: "1 if the virtual address is on the interface right now, read back from the kernel.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				for _, a := range i.Addresses {
					put(boolean(a.Present), i.Name, a.Address.String())
				}
			})
		},
	},
	{
		name: "lvs_ha_vrrp_track_up", kind: gauge, labels: []string{"vrrp_instance", "track"},
		help: "1 if what is tracked is good: an interface by its name, service/NAME, check/NAME.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachInstance(s, func(i *link.InstanceStatus) {
				for track, up := range i.TrackUp {
					put(boolean(up), i.Name, track)
				}
			})
			for _, t := range s.Tracks {
				put(boolean(t.Up), t.Instance, t.Name)
			}
		},
	},
	{
		name: "lvs_ha_notify_runs_total", kind: counter, labels: []string{"hook", "result"},
		help: "Notify commands that have ended, by VRRP instance and result (ok, fail, timeout).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			for run, n := range s.NotifyRuns {
				put(float64(n), run.Hook, run.Result)
			}
		},
	},
	{
		name: "lvs_ha_vrrp_send_errors_total", kind: counter, labels: labelsInstance,
		help:    "Advertisements or announcements that could not be sent.",
		samples: perInstance(func(i *link.InstanceStatus) float64 { return float64(i.SendErrors) }),
	},
}
