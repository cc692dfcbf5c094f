package vip

import (
	"net/netip"
	"slices"
	"strings"

	"lvs-ha/internal/sysctl"
)

// The first IPv4 address of a subnet on an interface is its primary one, the
// others are secondary. When the primary one is deleted, the kernel deletes the
// secondary ones of the same prefix along with it, unless promote_secondaries
// is on (net/ipv4/devinet.c __inet_del_ifa). A holder puts its own back at
// once; an address of the machine itself that came after a virtual one is lost.

// siblings tells of each prefix whether it has another address beside it, in
// the list of its interface or among the prefixes themselves, with which it
// would vanish. A prefix of full length is alone by itself.
func siblings(prefixes []netip.Prefix, list []InterfaceAddress) []bool {
	seen := map[netip.Prefix][]netip.Addr{} // by subnet
	add := func(p netip.Prefix) {
		if !p.Addr().Is4() || p.IsSingleIP() {
			return
		}
		if m := p.Masked(); !slices.Contains(seen[m], p.Addr()) {
			seen[m] = append(seen[m], p.Addr())
		}
	}
	for _, p := range prefixes {
		add(p)
	}
	for _, a := range list {
		add(a.Prefix)
	}
	out := make([]bool, len(prefixes))
	for i, p := range prefixes {
		out[i] = len(seen[p.Masked()]) > 1
	}
	return out
}

// promotes tells whether a secondary address stays when its primary one goes:
// the setting of all interfaces counts as well as the interface's own.
func promotes(iface string) bool {
	for _, name := range []string{"all", iface} {
		if v, err := sysctl.Read("net/ipv4/conf/" + name + "/promote_secondaries"); err == nil && v != "0" {
			return true
		}
	}
	return false
}

// findFragile notes which of the configured addresses would vanish with another
// one, and says so when that begins.
func (w *worker) findFragile() {
	before := len(w.fragile)
	clear(w.fragile)
	for name, watched := range w.watched {
		in := watched.latest.Load()
		if in == nil || in.Index == 0 {
			continue
		}
		var prefixes []netip.Prefix
		for _, k := range w.order {
			if k.iface == name {
				prefixes = append(prefixes, k.prefix)
			}
		}
		with := siblings(prefixes, in.Addresses)
		if !slices.Contains(with, true) || w.h.promotes(name) {
			continue
		}
		for i, p := range prefixes {
			if with[i] {
				w.fragile[key{p, name}] = true
			}
		}
		if before == 0 {
			w.h.log.Warn("several addresses of one subnet, and promote_secondaries is 0: deleting the first takes the others along",
				"event", "addresses_fragile", "interface", name, "cure", "sysctl -w net.ipv4.conf."+strings.ReplaceAll(name, ".", "/")+".promote_secondaries=1")
		}
	}
}
