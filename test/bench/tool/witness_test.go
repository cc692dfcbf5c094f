package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const trace = `# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
      keepalived-70      [000] .....     4.000001: add_end: (ip_vs_genl_set_cmd+0x307/0x430 [ip_vs] <- ip_vs_add_dest) ret=0
         ipvsadm-161     [000] .....     5.600000: add_service: (ip_vs_add_service+0x0/0x4e0 [ip_vs])
         ipvsadm-161     [000] .....     5.600004: add_service_end: (ip_vs_genl_set_cmd+0x1f7/0x430 [ip_vs] <- ip_vs_add_service) ret=0
         ipvsadm-162     [000] .....     5.643219: add: (ip_vs_add_dest+0x0/0x340 [ip_vs]) addr=0x100080a port=0x5000 weight=1
         ipvsadm-162     [000] .....     5.643223: add_end: (ip_vs_genl_set_cmd+0x307/0x430 [ip_vs] <- ip_vs_add_dest) ret=0
         ipvsadm-163     [000] .....     5.700000: add: (ip_vs_add_dest+0x0/0x340 [ip_vs]) addr=0x200080a port=0x901f weight=0
         ipvsadm-163     [000] .....     5.700002: add_end: (ip_vs_genl_set_cmd+0x307/0x430 [ip_vs] <- ip_vs_add_dest) ret=0
         ipvsadm-165     [000] .....     5.800000: add: (ip_vs_add_dest+0x0/0x340 [ip_vs]) addr=0x100080a port=0x5000 weight=1
         ipvsadm-165     [000] .....     5.800001: add_end: (ip_vs_genl_set_cmd+0x307/0x430 [ip_vs] <- ip_vs_add_dest) ret=-17
          lvs-ha-170     [000] d..1.     6.000000: edit: (ip_vs_edit_dest+0x0/0x150 [ip_vs]) addr=0x200080a port=0x901f weight=3
          lvs-ha-170     [000] d..1.     6.000009: edit_end: (ip_vs_genl_set_cmd+0x2c6/0x430 [ip_vs] <- ip_vs_edit_dest) ret=0
          lvs-ha-170     [000] d..1.     6.100000: delete: (ip_vs_del_dest+0x0/0x150 [ip_vs]) addr=0x200080a port=0x901f weight=0
          lvs-ha-170     [000] d..1.     6.100009: delete_end: (ip_vs_genl_set_cmd+0x2c6/0x430 [ip_vs] <- ip_vs_del_dest) ret=0
         ipvsadm-171     [000] .....     7.000000: flush: (ip_vs_flush+0x0/0x150 [ip_vs])
         ipvsadm-171     [000] .....     7.000000: delete_service: (ip_vs_unlink_service+0x0/0x150 [ip_vs])
         ipvsadm-171     [000] .....     7.000001: delete_service_end: (ip_vs_flush+0x50/0x150 [ip_vs] <- ip_vs_unlink_service)
         ipvsadm-171     [000] .....     7.000002: flush_end: (do_ip_vs_set_ctl+0x50/0x150 [ip_vs] <- ip_vs_flush) ret=0
`

func TestWrites(t *testing.T) {
	l := newWriteLog()
	if err := l.read(strings.NewReader(trace)); err != nil {
		t.Fatal(err)
	}
	const want = `5600005000 ipvsadm add-service  ? - 4us
5643224000 ipvsadm add 0A080001:0050 - 1 4us
5700003000 ipvsadm add 0A080002:1F90 - 0 2us
5800002000 ipvsadm add 0A080001:0050 1 errno17 1us
6000010000 lvs-ha edit 0A080002:1F90 0 3 9us
6100010000 lvs-ha delete 0A080002:1F90 3 - 9us
7000002000 ipvsadm delete-service  ? - 1us
7000003000 ipvsadm flush  ? - 2us
`
	if got := string(l.text(1000)); got != want {
		t.Errorf("got\n%s\nwanted\n%s", got, want)
	}
	for _, c := range []struct {
		n     int
		match string
		at    int64
		ok    bool
	}{{1, "", 5643223000, true}, {2, "", 6000009000, true}, {3, "", 0, false}, {1, "0A080002", 6000009000, true}} {
		if at, ok := l.complete(c.n, c.match); at != c.at || ok != c.ok {
			t.Errorf("%d servers with a weight at %d (%t), wanted %d", c.n, at, ok, c.at)
		}
	}
	s := l.summary(2, "", 0)
	if s["writes"] != 7 || s["failed"] != 1 || s["complete_ns"] != int64(6000009000) || s["first_ns"] != int64(5600004000) {
		t.Errorf("summary %v", s)
	}
	if by := s["by"].(map[string]int); by["add"] != 2 || by["flush"] != 1 {
		t.Errorf("by operation %v", by)
	}
	if n := len(l.table); n != 0 {
		t.Errorf("%d servers left after the flush", n)
	}
}

func TestARP(t *testing.T) {
	ours, theirs := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	vip, client := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.250")
	reply := arpMessage(arpReply, theirs, vip, client)
	copy(reply[32:], ours)
	foreign := slices.Clone(reply)
	copy(foreign[32:], theirs)
	for _, c := range []struct {
		name        string
		frame       []byte
		ok, unasked bool
	}{
		{"a reply to us", reply, true, false},
		{"a reply to another", foreign, false, false},
		{"our own request", arpMessage(arpRequest, ours, client, vip), false, false},
		{"a gratuitous request", arpMessage(arpRequest, theirs, vip, vip), true, true},
		{"a gratuitous reply", arpMessage(arpReply, theirs, vip, vip), true, true},
		{"another address", arpMessage(arpRequest, theirs, client, client), false, false},
		{"too short", reply[:41], false, false},
	} {
		a, ok := parseARP(c.frame, vip, ours)
		if ok != c.ok || a.gratuitous != c.unasked || ok && a.mac.String() != theirs.String() {
			t.Errorf("%s: %v %t", c.name, a, ok)
		}
	}
}
