package link

import (
	"fmt"
	"strings"
)

// Warnings are for people: what is not as it should be on this machine now, as
// far as the speaker sees it.
func (s *Status) Warnings() []string {
	var out []string
	for i := range s.Instances {
		fragile := map[string][]string{} // by interface
		var ifaces []string
		for _, a := range s.Instances[i].Addresses {
			if !a.Fragile {
				continue
			}
			if fragile[a.Interface] == nil {
				ifaces = append(ifaces, a.Interface)
			}
			fragile[a.Interface] = append(fragile[a.Interface], a.Address.String())
		}
		for _, iface := range ifaces {
			out = append(out, fmt.Sprintf("vrrp %s: %s share a subnet with other addresses of %s, and promote_secondaries is 0: when the first of them is deleted, all go; cure: sysctl -w net.ipv4.conf.%s.promote_secondaries=1",
				s.Instances[i].Name, strings.Join(fragile[iface], ", "), iface, strings.ReplaceAll(iface, ".", "/")))
		}
	}
	return out
}
