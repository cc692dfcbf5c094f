package metrics

import (
	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/histogram"
)

// eachCheck calls f with each check of each server.
func eachCheck(s *director.Snapshot, f func(service, server string, c *director.CheckStatus)) {
	eachServer(s, func(service string, r *director.ServerStatus) {
		for i := range r.Checks {
			f(service, r.Name, &r.Checks[i])
		}
	})
}

// noProbes stands in before a check's first result, in the buckets that the
// scheduler uses.
var noProbes = histogram.New(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10).Snapshot()

var checkFamilies = []family{
	{
		name: "lvs_ha_check_runs_total", kind: counter, labels: []string{"service", "server", "check", "result"},
		help: "Probes finished, by result (ok, fail).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachCheck(s, func(service, server string, c *director.CheckStatus) {
				var failed uint64
				for _, n := range c.Status.Failed {
					failed += n
				}
				put(float64(c.Status.OK), service, server, c.Name, "ok")
				put(float64(failed), service, server, c.Name, "fail")
			})
		},
	},
	{
		name: "lvs_ha_check_failures_total", kind: counter, labels: []string{"service", "check", "reason"},
		help: "Failed probes by reason (timeout, refused, unreachable, reset, tls, status, body, protocol, exec, internal).",
		samples: func(_ *director.Snapshot, t *totals, put putSample) {
			t.each(func(k serviceCheck, sum *checkSum) {
				for i, reason := range health.Reasons {
					put(float64(sum.failed[i]), k.service, k.check, string(reason))
				}
			})
		},
	},
	{
		name: "lvs_ha_check_duration_seconds", kind: histo, labels: []string{"service", "check"},
		help: "Duration of finished probes.",
		histograms: func(_ *director.Snapshot, t *totals, put putHistogram) {
			t.each(func(k serviceCheck, sum *checkSum) {
				if len(sum.duration.Counts) == 0 {
					put(noProbes, k.service, k.check)
					return
				}
				put(sum.duration, k.service, k.check)
			})
		},
	},
	{
		name: "lvs_ha_check_last_duration_seconds", kind: gauge, labels: []string{"service", "server", "check"},
		help: "Duration of the latest probe.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachCheck(s, func(service, server string, c *director.CheckStatus) {
				put(c.Status.LastTook.Seconds(), service, server, c.Name)
			})
		},
	},
	{
		name: "lvs_ha_checks_distinct", kind: gauge,
		help: "Distinct checks: a check of one server that several services share runs once.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(float64(s.Checks.Distinct))
		},
	},
	{
		name: "lvs_ha_checks_running", kind: gauge,
		help: "Probes in flight.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(float64(s.Checks.Running))
		},
	},
	{
		name: "lvs_ha_check_tls_not_after_timestamp_seconds", kind: gauge, labels: []string{"service", "server", "check"},
		help: "Unix time at which the certificate that the server showed last ends; absent for checks without TLS.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachCheck(s, func(service, server string, c *director.CheckStatus) {
				if t := c.Status.NotAfter; !t.IsZero() {
					put(float64(t.Unix()), service, server, c.Name)
				}
			})
		},
	},
	{
		name: "lvs_ha_check_hold_closes_total", kind: counter, labels: []string{"service", "server", "check"},
		help: "Held connections that the server ended, each followed by a probe at once; absent for checks without hold.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachCheck(s, func(service, server string, c *director.CheckStatus) {
				if c.Status.Spec.Hold {
					put(float64(c.Status.Hold.Closes), service, server, c.Name)
				}
			})
		},
	},
	{
		name: "lvs_ha_self_doubt", kind: gauge, labels: []string{"reason"},
		help: "1 while this director distrusts its own probes and has a lower priority, by the latest reason (late, local, canary).",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			for _, r := range []health.DoubtReason{health.DoubtLate, health.DoubtLocal, health.DoubtCanary} {
				put(boolean(s.Checks.Doubt.Doubting && s.Checks.Doubt.Why == r), string(r))
			}
		},
	},
	{
		name: "lvs_ha_self_doubt_frozen", kind: gauge,
		help: "1 while verdicts of down are held back, but for refused and reset ones.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(boolean(s.Checks.Doubt.Frozen))
		},
	},
	{
		name: "lvs_ha_self_doubt_held_total", kind: counter,
		help: "Failures that would have made a verdict of down and were held back.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(float64(s.Checks.Doubt.Held))
		},
	},
}
