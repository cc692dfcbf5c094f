package director

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// What the kernel turns out to hold is part of the next decision, whoever put
// it there: our own writes, somebody else, or somebody else in a pause.
func TestTheKernelsTableIsDecidedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
		svc.StartUp = true // counts with the weight that the kernel holds
		h := newHouse(t, config(svc, service("other", "192.0.2.12", ipvsctl.TCP, rs3)))
		h.start()
		h.consistent()
		healthy := func(want uint32) {
			t.Helper()
			h.verdict(rs3, health.Up) // an event of another service
			h.verdict(rs3, health.Down)
			if got := h.d.Refresh(t.Context()).Services[0].HealthyWeight; got != want {
				t.Errorf("healthy weight %d, want %d", got, want)
			}
		}
		healthy(2)
		weigh := func(w uint32) {
			t.Helper()
			k := svc.Servers[0].Kernel
			k.Weight = w
			if err := h.kernel.Tamper(ipvsctl.Op{Kind: ipvsctl.SetServer, Service: svc.Service, Server: k}); err != nil {
				t.Fatal(err)
			}
		}
		weigh(5)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		h.consistent()
		healthy(6)
		if _, err := h.d.Admin(context.Background(), AdminRequest{Action: ActionPause}); err != nil {
			t.Fatal(err)
		}
		weigh(7)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		h.consistent()
		weigh(5)
		healthy(6)
		if _, err := h.d.Admin(context.Background(), AdminRequest{Action: ActionResume}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.consistent()
		healthy(6)
		h.end()
	})
}
