package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestARPFault: a real server that tells its neighbours of the virtual address
// is named by the master, in its log and status, with what to do there.
func TestARPFault(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 2})
	s.set.Advert = advert
	s.start()
	rs := s.Servers[0]
	if log := s.lvs1.Process().Log(); strings.Contains(log, "arp_fault") {
		t.Fatalf("as it should be, but: %s", log)
	}
	s.must(rs.SetSysctls(map[string]string{"net/ipv4/conf/all/arp_announce": "0", "net/ipv4/conf/lo/arp_announce": "0", "net/ipv4/conf/eth0/arp_announce": "0"}))
	s.within(30*time.Second, "lvs1 tells of it", func() error {
		// It asks for the client's hardware address again, in the name of the virtual one.
		if _, stderr, code, err := rs.Run(s.ctx, "ip", "neigh", "flush", "dev", "eth0"); err != nil || code != 0 {
			return errorf("ip neigh flush: %v %s", err, stderr)
		}
		for range len(s.Servers) {
			_, _, _ = s.Client.Get(s.ctx, "http://"+lab.VIP.String()+"/")
		}
		if !strings.Contains(s.lvs1.Process().Log(), `"event":"arp_fault"`) {
			return errorf("no event arp_fault")
		}
		return nil
	})
	out, stderr, _, err := s.lvs1.Host().Run(s.ctx, os.Getenv("LVSHA_BIN"), "status", "--runtime-dir", s.lvs1.Dir+"/run")
	if err != nil || !strings.Contains(out, "tells its neighbours on eth0 that "+lab.VIP.String()+" is its own") || !strings.Contains(out, "("+rs.Addr.String()+")") {
		t.Errorf("status: %v\n%s%s", err, out, stderr)
	}
}
