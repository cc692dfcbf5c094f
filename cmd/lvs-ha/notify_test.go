package main

import (
	"net/netip"
	"testing"

	"lvs-ha/internal/hooks"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

func TestNotifyEventHasTheWordsOfKeepalived(t *testing.T) {
	for _, c := range []struct {
		from, to vrrp.State
		reason   vrrp.TransitionReason
		want     hooks.State // "" for none
		before   string
	}{
		{vrrp.Init, vrrp.Backup, vrrp.CauseStart, hooks.Backup, "init"},
		{vrrp.Backup, vrrp.Master, vrrp.CauseMasterLost, hooks.Master, "backup"},
		{vrrp.Master, vrrp.Releasing, vrrp.CauseStop, "", ""},
		{vrrp.Releasing, vrrp.Init, vrrp.CauseReleased, hooks.Stop, "master"},
		{vrrp.Releasing, vrrp.Init, vrrp.CauseReleaseTimeout, hooks.Stop, "master"},
		{vrrp.Releasing, vrrp.Backup, vrrp.CauseReleased, hooks.Backup, "master"},
		{vrrp.Backup, vrrp.Init, vrrp.CauseStop, hooks.Stop, "backup"},
		{vrrp.Backup, vrrp.Init, vrrp.CauseInterfaceDown, hooks.Fault, "backup"},
		{vrrp.Master, vrrp.Init, vrrp.CauseNoSource, hooks.Fault, "master"},
		{vrrp.Master, vrrp.Backup, vrrp.CauseHigherPriority, hooks.Backup, "master"},
		{vrrp.Backup, vrrp.Fault, vrrp.CauseTrack, hooks.Fault, "backup"},
	} {
		e, ok := notifyEvent(link.Transition{Seq: 3, Instance: "edge", From: c.from, To: c.to, Reason: c.reason.String(), Priority: 90})
		if ok != (c.want != "") || ok && (e.State != c.want || e.From != c.before || e.Kind != hooks.Transition || e.Seq != 3 || e.Priority != 90) {
			t.Errorf("%v to %v (%v): %+v, %v", c.from, c.to, c.reason, e, ok)
		}
	}
	if e, ok := notifyEvent(link.Transition{Instance: "edge", From: vrrp.Backup, To: vrrp.Backup, Master: netip.MustParseAddr("10.0.0.2")}); ok {
		t.Errorf("who is master, which is no change: %+v", e)
	}
	e, ok := notifyEvent(link.Transition{Instance: "edge", From: vrrp.Master, To: vrrp.Master, Reassert: true})
	if !ok || e.Kind != hooks.Reassert || e.State != hooks.Master {
		t.Errorf("reassert: %+v, %v", e, ok)
	}
}

// Two speakers with one process id, as in containers, are two all the same:
// else the first transitions of the second would count as known.
func TestSpeakerIdentity(t *testing.T) {
	stat := func(start string) string {
		return "1 (lvs) ha) S 0 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 9 0 " + start + " 12 13"
	}
	seen := map[int]string{}
	for name, x := range map[string]int{
		"one":            identityOf(1, "a", stat("500")),
		"another start":  identityOf(1, "a", stat("501")),
		"another boot":   identityOf(1, "b", stat("500")),
		"another number": identityOf(2, "a", stat("500")),
		"no /proc":       identityOf(1, "", ""),
	} {
		if other, there := seen[x]; there || x < 0 {
			t.Errorf("%s and %q are %d", name, other, x)
		}
		seen[x] = name
	}
	if a := speakerIdentity(); a != speakerIdentity() {
		t.Error("not the same twice")
	}
}
