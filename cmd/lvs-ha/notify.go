package main

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lvs-ha/conf"
	"lvs-ha/internal/director"
	"lvs-ha/internal/hooks"
	"lvs-ha/internal/logging"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// notifyLimit bounds how long the last commands may take at an orderly stop.
const notifyLimit = 5 * time.Second

func newNotify(o runOptions, log *logging.Log) *hooks.Runner {
	return hooks.New(hooks.Options{File: filepath.Join(o.runtimeDir, "notify.json"), Speaker: speakerIdentity(), Log: log.Logger})
}

// speakerIdentity tells the numbers of this speaker's transitions from those of
// an earlier one. In a container all have the same process id, and the runtime
// directory may outlive them.
func speakerIdentity() int {
	pid := os.Getppid()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return identityOf(pid, string(boot), string(stat))
}

// identityOf a process, by /proc/PID/stat among others: the 22nd field is when
// it was started, and the second one a name that may contain anything (proc(5)).
func identityOf(pid int, boot, stat string) int {
	start := ""
	if f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]); len(f) >= 20 {
		start = f[19]
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %s", boot, pid, start)
	return int(h.Sum64() >> 1)
}

// notifyHooks are the commands that a configuration names, nil for an instance without one.
func notifyHooks(c *conf.Config) map[string]*hooks.Hook {
	out := make(map[string]*hooks.Hook, len(c.VRRP))
	for i := range c.VRRP {
		in := &c.VRRP[i]
		out[in.Name] = nil
		n := c.Duties[i].Notify
		if n == nil {
			continue
		}
		addresses := make([]string, 0, len(in.Addresses)+len(in.Excluded))
		for _, list := range [][]vrrp.Address{in.Addresses, in.Excluded} {
			for _, a := range list {
				addresses = append(addresses, a.Prefix.String())
			}
		}
		out[in.Name] = &hooks.Hook{Argv: n.Argv, Timeout: n.Timeout, Env: []string{
			"LVS_HA_NODE=" + c.Node,
			"LVS_HA_CLUSTER=" + c.Cluster,
			"LVS_HA_INTERFACE=" + in.Interface,
			fmt.Sprintf("LVS_HA_VRID=%d", in.Config.VRID),
			"LVS_HA_ADDRESSES=" + strings.Join(addresses, " "),
		}}
	}
	return out
}

// notifyEvent is what a command is told of a transition; false for nothing.
// Releasing is not told: the addresses are still here, and what follows it is.
func notifyEvent(t link.Transition) (hooks.Event, bool) {
	e := hooks.Event{
		Seq: t.Seq, Instance: t.Instance, Kind: hooks.Transition, From: t.From.String(), Reason: t.Reason, Planned: t.Planned,
		Priority: t.Priority, At: t.At,
	}
	if !t.Changes() && !t.Reassert {
		return e, false
	}
	if t.Reassert {
		e.Kind = hooks.Reassert
	}
	if t.From == vrrp.Releasing {
		e.From = vrrp.Master.String()
	}
	switch t.To {
	case vrrp.Master:
		e.State = hooks.Master
	case vrrp.Backup:
		e.State = hooks.Backup
	case vrrp.Fault:
		e.State = hooks.Fault
	case vrrp.Init:
		switch t.Reason {
		case vrrp.CauseStop.String(), vrrp.CauseReleased.String(), vrrp.CauseReleaseTimeout.String():
			e.State = hooks.Stop
		default: // the interface or its address went
			e.State = hooks.Fault
		}
	case vrrp.Releasing:
		return e, false
	}
	return e, true
}

func notifyRuns(r *hooks.Runner) map[director.NotifyRun]uint64 {
	runs := r.Runs()
	out := make(map[director.NotifyRun]uint64, len(runs))
	for k, n := range runs {
		out[director.NotifyRun{Hook: k.Instance, Result: string(k.Result)}] = n
	}
	return out
}
