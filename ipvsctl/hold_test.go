package ipvsctl_test

import (
	"slices"
	"testing"

	"lvs-ha/ipvsctl"
)

// TestHoldNew: new connections are held while a scheduler is exchanged, and
// only then.
func TestHoldNew(t *testing.T) {
	ns := netns(t)
	var said []string
	k, err := ipvsctl.Open(ipvsctl.InNetNS("/run/netns/"+ns), ipvsctl.HoldNew(func(k ipvsctl.ServiceKey) func() {
		said = append(said, "hold "+k.String())
		return func() { said = append(said, "release") }
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s := ipvsctl.Service{Key: ipvsctl.FWMarkKey(7, 4), Scheduler: "rr"}
	set := func(kind ipvsctl.OpKind, change func(*ipvsctl.Service), want ...string) {
		t.Helper()
		said = nil
		change(&s)
		if err := k.Apply(t.Context(), []ipvsctl.Op{{Kind: kind, Service: s}})[0]; err != nil && len(want) == 0 {
			t.Error(err)
		}
		if !slices.Equal(said, want) {
			t.Errorf("%v, want %v", said, want)
		}
	}
	both := []string{"hold " + s.Key.String(), "release"}
	set(ipvsctl.AddService, func(*ipvsctl.Service) {})
	set(ipvsctl.SetService, func(s *ipvsctl.Service) { s.Scheduler = "wrr" }, both...)
	set(ipvsctl.SetService, func(s *ipvsctl.Service) { s.Flags |= ipvsctl.FlagSched3 })
	set(ipvsctl.SetService, func(s *ipvsctl.Service) { s.Scheduler = "nosuch" }, both...)
	set(ipvsctl.DeleteService, func(*ipvsctl.Service) {})
}
