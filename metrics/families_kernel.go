package metrics

import (
	"slices"
	"strconv"

	"lvs-ha/internal/director"
	"lvs-ha/ipvsctl"
)

// Closed sets of the labels below.
var (
	operations       = opNames()
	operationResults = []string{"ok", "error"}
	driftKinds       = ipvsctl.DriftKinds
	hostRepairs      = []string{"sysctl", "nftables"} // as internal/host counts them
	syncRoles        = []ipvsctl.Role{ipvsctl.RoleMaster, ipvsctl.RoleBackup}
)

func opNames() []string {
	var names []string
	for _, k := range ipvsctl.OpKinds {
		names = append(names, k.String())
	}
	return names
}

// ifIPVS leaves a family out where the configuration has no use for IPVS.
func ifIPVS(f func(k *director.KernelStatus, put putSample)) func(*director.Snapshot, *totals, putSample) {
	return func(s *director.Snapshot, _ *totals, put putSample) {
		if s.Kernel.Used {
			f(&s.Kernel, put)
		}
	}
}

// ifSync leaves a family out where there is no sync daemon.
func ifSync(f func(y *director.SyncStatus, put putSample)) func(*director.Snapshot, *totals, putSample) {
	return func(s *director.Snapshot, _ *totals, put putSample) {
		if s.Sync.Configured {
			f(&s.Sync, put)
		}
	}
}

var kernelFamilies = []family{
	{
		name: "lvs_ha_ipvs_up", kind: gauge,
		help:    "1 if the kernel IPVS table could be read at the latest attempt.",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) { put(boolean(k.Up)) }),
	},
	{
		name: "lvs_ha_ipvs_paused", kind: gauge,
		help: "1 while a person has frozen the kernel table and sync daemon (lvs-ha pause).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			if s.Kernel.Used {
				put(boolean(s.Pause.On))
			}
		},
	},
	{
		name: "lvs_ha_ipvs_operations_total", kind: counter, labels: []string{"operation", "result"},
		help: "Changes sent to the kernel, by result (ok, error).",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) {
			sums := make(map[director.OperationResult]uint64, len(k.Operations))
			for o, n := range k.Operations {
				o.Operation, o.Result = known(o.Operation, operations), known(o.Result, operationResults)
				sums[o] += n
			}
			for _, o := range operations {
				for _, r := range operationResults {
					key := director.OperationResult{Operation: o, Result: r}
					put(float64(sums[key]), o, r)
					delete(sums, key)
				}
			}
			for o, n := range sums {
				put(float64(n), o.Operation, o.Result)
			}
		}),
	},
	{
		name: "lvs_ha_ipvs_drift_total", kind: counter, labels: []string{"kind"},
		help: "Differences found and repaired that the agent did not make (missing_service, extra_service, missing_server, extra_server, weight, options, daemon).",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) {
			counts(k.Drift, driftKinds, func(kind string, n uint64) { put(float64(n), kind) })
		}),
	},
	{
		name: "lvs_ha_ipvs_contended_objects", kind: gauge,
		help:    "Services, servers and daemons left alone for a minute because somebody keeps changing them.",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) { put(float64(k.Contended)) }),
	},
	{
		name: "lvs_ha_host_repairs_total", kind: counter, labels: []string{"kind"},
		help: "Settings and rules of this machine that somebody had changed and that were set right again (sysctl, nftables).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			if s.Kernel.Used {
				counts(s.Repairs, hostRepairs, func(kind string, n uint64) { put(float64(n), kind) })
			}
		},
	},
	{
		name: "lvs_ha_ipvs_unmanaged_services", kind: gauge,
		help:    "Virtual services in the kernel that are not in the configuration; they are left alone unless it says unmanaged = \"remove\".",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) { put(float64(k.Unmanaged)) }),
	},
	{
		name: "lvs_ha_ipvs_last_reconcile_timestamp_seconds", kind: gauge,
		help:    "Unix time of the last complete comparison with the kernel; 0 if none yet.",
		samples: ifIPVS(func(k *director.KernelStatus, put putSample) { put(unix(k.LastReconcile)) }),
	},
	{
		name: "lvs_ha_ipvs_reconcile_duration_seconds", kind: histo,
		help: "Duration of comparisons with the kernel.",
		histograms: func(s *director.Snapshot, _ *totals, put putHistogram) {
			if s.Kernel.Used {
				put(s.Kernel.Reconcile)
			}
		},
	},
	{
		name: "lvs_ha_sync_daemon_info", kind: gauge, labels: []string{"interface", "syncid", "vrrp_instance"},
		help: "Constant 1; parameters of the connection sync daemon.",
		samples: ifSync(func(y *director.SyncStatus, put putSample) {
			put(1, y.Interface, strconv.Itoa(int(y.ID)), y.Follow)
		}),
	},
	{
		name: "lvs_ha_sync_daemon_running", kind: gauge, labels: []string{"role"},
		help: "1 if the kernel runs the sync daemon in that role (master, backup).",
		samples: ifSync(func(y *director.SyncStatus, put putSample) {
			for _, role := range syncRoles {
				put(boolean(slices.Contains(y.Running, role)), role.String())
			}
		}),
	},
	{
		name: "lvs_ha_sync_daemon_behind", kind: gauge,
		help:    "1 while the sync daemon does not run in the role that the VRRP instance it follows asks for.",
		samples: ifSync(func(y *director.SyncStatus, put putSample) { put(boolean(!y.BehindSince.IsZero())) }),
	},
	{
		name: "lvs_ha_sync_daemon_behind_since_timestamp_seconds", kind: gauge,
		help:    "Unix time since which the sync daemon's role has lagged; 0 while it agrees.",
		samples: ifSync(func(y *director.SyncStatus, put putSample) { put(unix(y.BehindSince)) }),
	},
}
