package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// six is one service of TestTunnelsAndIPv6.
type six struct {
	name    string
	virtual string // address
	from    string // of the client
	port    int
	more    string   // of the service
	servers []string // addresses
	tunnel  string   // of each server
	udp     bool     // UDP, too
}

// TestTunnelsAndIPv6: each way of forwarding over IPv6, tunnels of each type,
// tunnels whose outside is of the other family, full NAT over IPv6.
//
// The client has a network for each purpose: 2001:db8:c:: is on the link of the
// servers too (direct answers), to 2001:db8:d:: they have a route through the
// director (NAT), to 2001:db8:e:: they have none at all (full NAT).
func TestTunnelsAndIPv6(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	s := open(t, lab.Options{Mode: lab.TUN, Servers: 2})
	v6 := []string{"2001:db8:5::21", "2001:db8:5::22"}
	v4 := []string{s.set.Servers[0].String(), s.set.Servers[1].String()}
	vip4 := lab.VIP.String()
	direct := "2001:db8:c::100"
	cases := []six{
		{name: "gue", virtual: vip4, from: "10.0.0.10", port: 7001, more: `forward = "tun"`, servers: v4, tunnel: `{ type = "gue", port = 6080 }`},
		{name: "gre", virtual: vip4, from: "10.0.0.10", port: 7002, more: `forward = "tun"`, servers: v4, tunnel: `{ type = "gre" }`},
		{name: "ipv4 in ipv6", virtual: vip4, from: "10.0.0.10", port: 7003, more: `forward = "tun"`, servers: v6, tunnel: `{ type = "ipip" }`},
		{name: "ipv6 in ipv4", virtual: direct, from: "2001:db8:c::10", port: 7004, more: `forward = "tun"`, servers: v4, tunnel: `{ type = "ipip" }`},
		{name: "ipv6 in ipv6", virtual: direct, from: "2001:db8:c::10", port: 7005, more: `forward = "tun"`, servers: v6, tunnel: `{ type = "ipip" }`},
		{name: "ipv6 dr", virtual: direct, from: "2001:db8:c::10", port: 7006, more: `forward = "dr"`, servers: v6, udp: true},
		{name: "ipv6 nat", virtual: "2001:db8:d::100", from: "2001:db8:d::10", port: 7007, more: `forward = "nat"`, servers: v6, udp: true},
		{name: "ipv6 full nat", virtual: "2001:db8:e::100", from: "2001:db8:e::10", port: 7008, more: "forward = \"nat\"\nsnat = true", servers: v6, udp: true},
	}
	const on = "for f in all default eth0; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done; "
	s.sh(s.Client, on+"for n in c d e; do ip addr add 2001:db8:$n::10/64 dev eth0 nodad; done")
	s.sh(s.Directors[0], on+"echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; for n in 5 c d e; do ip addr add 2001:db8:$n::1/64 dev eth0 nodad; done; "+
		"for n in c d e; do ip addr add 2001:db8:$n::100/128 dev eth0 nodad; done")
	for i, srv := range s.Servers {
		// With one interface the director would tell servers to answer clients straight.
		s.sh(srv.Host, on+"echo 0 >/proc/sys/net/ipv6/conf/all/accept_redirects; echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_redirects; "+fmt.Sprintf("ip addr add %s/64 dev eth0 nodad; ", v6[i])+
			"ip addr add 2001:db8:c::100/128 dev lo nodad; ip route add 2001:db8:c::/64 dev eth0; "+
			"ip route add 2001:db8:d::/64 via 2001:db8:5::1; ip route add unreachable 2001:db8:e::/64; "+
			// Inside IPv4: GUE, GRE, IPv6.
			"modprobe fou ip_gre; ip fou add port 6080 gue; "+
			fmt.Sprintf("ip link add g0 type gre local %s remote 10.0.0.1; ip link set g0 up; ", v4[i])+
			"modprobe sit; ip link set sit0 up; "+
			// Inside IPv6: IPv6, IPv4.
			"modprobe ip6_tunnel; ip link set ip6tnl0 up; "+
			fmt.Sprintf("ip link add t0 type ip6tnl mode any local %s remote 2001:db8:5::1; ip link set t0 up; ", v6[i])+
			"for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done")
		var tcp, udp []string
		for _, c := range cases {
			tcp = append(tcp, fmt.Sprintf("[::]:%d", c.port))
			if c.udp {
				at := v6[i]
				if c.virtual == direct {
					at = direct
				}
				udp = append(udp, fmt.Sprintf("[%s]:%d", at, c.port))
			}
		}
		s.serveAlso(srv, tcp, udp)
	}
	var b strings.Builder
	for _, c := range cases {
		for _, protocol := range []string{"tcp", "udp"} {
			if protocol == "udp" && !c.udp {
				continue
			}
			fmt.Fprintf(&b, "[[service]]\nname = %q\naddress = %q\nport = %d\nprotocol = %q\nchecks = []\nvrrp = \"none\"\n%s\nservers = [",
				strings.ReplaceAll(c.name, " ", "-")+"-"+protocol, c.virtual, c.port, protocol, c.more)
			for i, a := range c.servers {
				tunnel := ""
				if c.tunnel != "" {
					tunnel = ", tunnel = " + c.tunnel
				}
				fmt.Fprintf(&b, "  { name = \"web%d\", address = %q%s },\n", i+1, a, tunnel)
			}
			b.WriteString("]\n")
		}
	}
	// The kernel takes no sync daemon beside servers of the other family.
	s.set.NoSync = true
	s.set.Extra = b.String()
	s.pair()
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	s.slowly(10*time.Second, "the table is complete", func() error {
		if table := s.tables(); len(table) != 2+len(cases)+3 {
			return errorf("%d services: %v", len(table), table)
		}
		return nil
	})
	s.table(s.lvs1.Host(), true)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			from, to := netip.MustParseAddr(c.from), netip.AddrPortFrom(netip.MustParseAddr(c.virtual), uint16(c.port))
			var got answers
			ctx := s.ctx
			if err := lab.Within(ctx, 6*time.Second, "it answers", func() error {
				name, err := s.asks(from, to)
				got = append(got, name)
				return err
			}); err != nil {
				t.Error(err)
				return
			}
			got = nil
			for range 6 {
				name, err := s.asks(from, to)
				if err != nil {
					t.Error(err)
				}
				got = append(got, name)
			}
			if len(got.counts()) != 2 {
				t.Errorf("%s", got)
			}
			if c.udp {
				for range 4 {
					if err := s.datagrams(3, from, to, "ping"); err != nil {
						t.Error("UDP:", err)
					}
				}
			}
		})
	}
}
