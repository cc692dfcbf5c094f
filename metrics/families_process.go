package metrics

import (
	"strings"

	"lvs-ha/internal/director"
)

// logLevels is the closed set of levels of log records.
var logLevels = []string{"debug", "info", "warn", "error"}

// logDropped stands beside the levels for records that were not written.
const logDropped = "dropped"

// eachLog calls f with the records of both processes.
func eachLog(s *director.Snapshot, f func(process string, logged map[string]uint64)) {
	f("director", s.Logged)
	if s.Speaker != nil {
		f("speaker", s.Speaker.Logged)
	}
}

var processFamilies = []family{
	{
		name: "lvs_ha_node_info", kind: gauge, labels: []string{"node"},
		help: "Constant 1; the node name this process resolved for itself.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(1, s.Node)
		},
	},
	{
		name: "lvs_ha_ready", kind: gauge,
		help: "1 once the kernel table is applied and every service is judged; until then this director does not preempt.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(boolean(s.Ready))
		},
	},
	{
		name: "lvs_ha_config_last_reload_successful", kind: gauge,
		help: "1 if the last load or reload of the configuration was accepted, else 0.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(boolean(s.Config.LastOK))
		},
	},
	{
		name: "lvs_ha_config_last_reload_success_timestamp_seconds", kind: gauge,
		help: "Unix time of the last accepted load or reload.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(unix(s.Config.LoadedAt))
		},
	},
	{
		name: "lvs_ha_config_hash", kind: gauge,
		help: "Numeric hash of the shared configuration before per-node overrides; equal on directors that run the same file.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			// A sample has 53 bits of precision: the upper ones of the hash.
			put(float64(s.Config.Hash >> 11))
		},
	},
	{
		name: "lvs_ha_log_messages_total", kind: counter, labels: []string{"process", "level"},
		help: "Log records written, by process (director, speaker) and level.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachLog(s, func(process string, logged map[string]uint64) {
				for _, level := range logLevels {
					put(float64(logged[level]), process, level)
				}
			})
		},
	},
	{
		name: "lvs_ha_log_messages_dropped_total", kind: counter, labels: []string{"process"},
		help: "Log records thrown away because the log did not take them in time.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			eachLog(s, func(process string, logged map[string]uint64) { put(float64(logged[logDropped]), process) })
		},
	},
	{
		name: "lvs_ha_timer_lag_seconds", kind: histo, labels: []string{"loop"},
		help: "How late a timer fired compared with its plan, per loop (vrrp, checks).",
		histograms: func(s *director.Snapshot, _ *totals, put putHistogram) {
			if s.Speaker != nil {
				put(s.Speaker.Lag, "vrrp")
			}
			put(s.Checks.Lag, "checks")
		},
	},
	{
		name: "lvs_ha_director_restarts_total", kind: counter,
		help: "Director processes that the speaker had to start again.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			if s.Speaker != nil {
				put(float64(s.Speaker.DirectorRestarts))
			}
		},
	},
	{
		name: "lvs_ha_speaker_start_timestamp_seconds", kind: gauge,
		help: "Unix time at which the speaker process started; process_start_time_seconds is that of the director.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			if s.Speaker != nil {
				put(unix(s.Speaker.Started))
			}
		},
	},
	{
		name: "lvs_ha_speaker_realtime", kind: gauge,
		help: "1 if the speaker runs with real-time priority.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			if s.Speaker != nil {
				put(boolean(strings.HasPrefix(s.Speaker.Realtime, "rr ")))
			}
		},
	},
	{
		name: "lvs_ha_speaker_last_answer_timestamp_seconds", kind: gauge,
		help: "Unix time of the speaker's latest answer, on which the VRRP series rest; 0 if none yet.",
		samples: func(s *director.Snapshot, _ *totals, put putSample) {
			put(unix(s.SpeakerAt))
		},
	},
}
