package vip

import "time"

// Renewed tells whether all addresses are on their links, and somebody who is
// gone now has renewed each in time: a holder renews at each third of the
// lifetime. Addresses that were put there for ever are nobody's to renew.
func (m *Monitor) Renewed(c Config) bool { return renewed(m.k, c) }

func renewed(k kernel, c Config) bool {
	least := c.Lifetime*2/3 - time.Second // the kernel counts in whole seconds
	ours := false
	for _, a := range c.Addresses {
		if a.Interface == "" {
			a.Interface = c.Interface
		}
		in, err := k.Lookup(a.Interface)
		if err != nil {
			return false
		}
		list, err := k.List(in.Index)
		if err != nil {
			return false
		}
		have, ok := find(list, a.Prefix)
		if !ok || !have.Permanent && have.Lifetime < least {
			return false
		}
		ours = ours || !have.Permanent
	}
	return ours
}
