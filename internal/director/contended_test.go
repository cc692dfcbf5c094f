package director

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// Whoever looks at the director sees that somebody keeps changing the table,
// and what to do instead.
func TestContentionIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		for range 4 {
			table, err := h.kernel.Dump(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for key, e := range table {
				srv := e.Servers[ipvsctl.ServerKey{Addr: addr(rs1), Port: 80}]
				srv.Weight = 0
				if err := h.kernel.Tamper(ipvsctl.Op{Kind: ipvsctl.SetServer, Service: ipvsctl.Service{Key: key}, Server: srv}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(15 * time.Second)
			synctest.Wait()
		}
		s := h.d.Refresh(t.Context())
		if s.Kernel.Contended != 1 || !strings.Contains(strings.Join(s.Warnings, "\n"), "lvs-ha drain") {
			t.Errorf("%d objects contended, warnings %q", s.Kernel.Contended, s.Warnings)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if s := h.d.Refresh(t.Context()); s.Kernel.Contended != 0 {
			t.Errorf("%d objects still contended when nobody changes anything", s.Kernel.Contended)
		}
		h.want(rs1, 1)
		h.end()
	})
}
