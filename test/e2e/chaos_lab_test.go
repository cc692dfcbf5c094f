package e2e

import "fmt"

// onIPv6 lets a host have IPv6 addresses at once.
const onIPv6 = "for f in all default eth0; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; " +
	"echo 0 >/proc/sys/net/ipv6/conf/$f/accept_redirects; done; "

// prepare makes of the lab for direct routing one for every way of forwarding,
// over IPv6 too.
func (c *chaos) prepare() {
	c.Helper()
	c.sh(c.Client, onIPv6+"ip addr add 2001:db8::10/64 dev eth0 nodad")
	for i, srv := range c.Servers {
		c.sh(srv.Host, onIPv6+fmt.Sprintf("ip addr add 2001:db8::%d/64 dev eth0 nodad; ip addr add %s/128 dev lo nodad; ", 21+i, chaosVIP6)+
			"modprobe ipip; ip link set tunl0 up; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done")
	}
	for i := range c.Directors {
		c.prepareDirector(i)
	}
}

func (c *chaos) prepareDirector(i int) {
	c.Helper()
	c.sh(c.Directors[i], onIPv6+fmt.Sprintf("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; ip addr add 2001:db8::%d/64 dev eth0 nodad", i+1))
}
