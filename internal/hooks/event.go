package hooks

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Hook is the command of one instance.
type Hook struct {
	Argv    []string
	Timeout time.Duration // of one run, above 0
	// Env is added to the environment: facts of the configuration, "NAME=value".
	Env []string
}

// State is what a command is told; the words are keepalived's.
type State string

const (
	Master State = "MASTER"
	Backup State = "BACKUP"
	Fault  State = "FAULT"
	Stop   State = "STOP"
)

// Kind of an event.
type Kind string

const (
	Transition Kind = "transition"
	// Reassert: as master another one of lower priority was heard. Whatever
	// follows the addresses elsewhere (routes of a cloud) may have followed that
	// one: do again what is done for a master.
	Reassert Kind = "reassert"
)

// Event is one thing to tell.
type Event struct {
	// Seq grows with each event of one speaker; what is not above the last one is known already.
	Seq      uint64
	Instance string
	Kind     Kind
	State    State
	From     string // state before, in our words
	Reason   string
	Planned  bool
	Priority uint8
	At       time.Time
}

// command of an event: arguments and environment.
func (h *Hook) command(e *Event) (argv, env []string) {
	argv = append(append(argv, h.Argv...), "INSTANCE", e.Instance, string(e.State), strconv.Itoa(int(e.Priority)))
	env = append(env, "LANG=C.UTF-8",
		"LVS_HA_EVENT="+string(e.Kind),
		"LVS_HA_INSTANCE="+e.Instance,
		"LVS_HA_STATE="+strings.ToLower(string(e.State)),
		"LVS_HA_FROM="+e.From,
		"LVS_HA_REASON="+e.Reason,
		fmt.Sprintf("LVS_HA_PLANNED=%t", e.Planned),
		fmt.Sprintf("LVS_HA_PRIORITY=%d", e.Priority),
		"LVS_HA_TIME="+e.At.UTC().Format(time.RFC3339Nano),
	)
	return argv, append(env, h.Env...)
}

// printable is the output of a command as one line without control characters.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(b), "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1 // controls and what turns the direction of text
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
