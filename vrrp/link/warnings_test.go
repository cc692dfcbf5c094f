package link

import (
	"net/netip"
	"slices"
	"testing"
)

func TestWarningsOfFragileAddresses(t *testing.T) {
	at := func(p, iface string, fragile bool) AddressStatus {
		return AddressStatus{Address: netip.MustParsePrefix(p), Interface: iface, Fragile: fragile}
	}
	s := Status{Instances: []InstanceStatus{
		{Name: "fine", Addresses: []AddressStatus{at("192.0.2.9/32", "eth0", false)}},
		{Name: "edge", Addresses: []AddressStatus{at("192.0.2.10/24", "eth0.7", true), at("192.0.2.11/24", "eth0.7", true), at("192.0.2.12/32", "eth0.7", false)}},
	}}
	want := []string{"vrrp edge: 192.0.2.10/24, 192.0.2.11/24 share a subnet with other addresses of eth0.7, and promote_secondaries is 0: " +
		"when the first of them is deleted, all go; cure: sysctl -w net.ipv4.conf.eth0/7.promote_secondaries=1"}
	if got := s.Warnings(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
