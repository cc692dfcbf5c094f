package speaker

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"lvs-ha/internal/netnstest"
	"lvs-ha/vrrp"
)

// One peer that cannot be reached is told once, not with each advertisement,
// though the others can be.
func TestUnreachablePeerIsLoggedOnce(t *testing.T) {
	netnstest.Need(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	fd, err := rawSocket(vrrp.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	spec := testSpec(100)
	spec.Config.Mode = vrrp.Unicast
	here := netip.MustParseAddr("127.0.0.1")
	spec.Config.Peers = []netip.Addr{netip.MustParseAddr("255.255.255.255"), here} // the first one is not permitted
	r := newRig(t, spec)
	r.connect()
	closePort(r.in.port)
	r.in.port.fd, r.in.source = fd, here
	for range 10 {
		r.in.send(100, spec.Config.Interval)
	}
	if n := strings.Count(r.log.String(), "send_failed"); n != 1 || r.in.sent != 10 || r.in.sendErrors < 10 {
		t.Errorf("%d log records, sent %d, errors %d\n%s", n, r.in.sent, r.in.sendErrors, r.log)
	}
	r.in.spec.Config.Peers = spec.Config.Peers[1:]
	r.in.send(100, spec.Config.Interval)
	r.in.spec.Config.Peers = spec.Config.Peers
	r.in.send(100, spec.Config.Interval)
	if n := strings.Count(r.log.String(), "send_failed"); n != 2 {
		t.Errorf("%d log records after it was over and began again", n)
	}
}

// A socket that cannot be opened is tried again twice a second; it is said once
// for each reason.
func TestSocketFailureIsLoggedOnce(t *testing.T) {
	r := newRig(t, testSpec(100))
	there := Interface{Name: "lo", Index: 1, Up: true}
	for _, err := range []string{"no memory", "no memory", "not permitted", "not permitted"} {
		r.l.changed(r.in.port, there, -1, errors.New(err))
	}
	r.l.changed(r.in.port, there, -1, nil)
	r.l.changed(r.in.port, there, -1, errors.New("not permitted"))
	if n := strings.Count(r.log.String(), "socket_failed"); n != 3 {
		t.Errorf("%d log records:\n%s", n, r.log)
	}
}
