package director

import (
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
)

// What a director lost while it was cut off, it gets back before it preempts.
func TestReturnFromBeingCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(service("web", vip, ipvsctl.TCP, rs1, rs2))
		c.VRRP = []vrrp.Instance{{Name: "edge"}}
		h := newHouse(t, c)
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.role(1, vrrp.Init, vrrp.Backup, false)
		h.role(2, vrrp.Backup, vrrp.Master, false)
		held := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			p, _, _ := h.speaker.told()
			if got := len(p.Instances["edge"].Deltas) > 0; got != want {
				t.Errorf("%s: held back %v, want %v", when, got, want)
			}
		}
		held("as master", false)
		h.role(3, vrrp.Master, vrrp.Init, false)
		time.Sleep(time.Second)
		h.verdict(rs1, health.Down)
		h.verdict(rs2, health.Down)
		time.Sleep(time.Second)
		h.role(4, vrrp.Init, vrrp.Backup, false)
		held("back, both servers lost", true)
		h.verdict(rs1, health.Up)
		held("one server came back", true)
		h.verdict(rs2, health.Up)
		held("both came back", false)

		h.role(5, vrrp.Backup, vrrp.Master, true)
		h.role(6, vrrp.Master, vrrp.Init, false)
		time.Sleep(time.Second)
		h.verdict(rs1, health.Down)
		h.role(7, vrrp.Init, vrrp.Backup, false)
		held("back, one server lost", true)
		time.Sleep(ReturnLimit)
		held("one is really down", false)

		time.Sleep(time.Second)
		h.verdict(rs2, health.Down)
		held("a failure after the return", false)
		h.end()
	})
}
