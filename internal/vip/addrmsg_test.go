package vip

import (
	"net/netip"
	"testing"
	"time"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestBroadcast(t *testing.T) {
	for p, want := range map[string]string{
		"192.0.2.10/24": "192.0.2.255", "10.1.2.3/8": "10.255.255.255", "192.0.2.1/30": "192.0.2.3",
		"192.0.2.1/31": "", "192.0.2.1/32": "", "10.1.2.3/1": "127.255.255.255",
	} {
		b, ok := broadcast(netip.MustParsePrefix(p))
		if ok != (want != "") || ok && b.String() != want {
			t.Errorf("%s: %v %s, want %q", p, ok, b, want)
		}
	}
}

// The kernel tells which program an address is from, since Linux 5.18.
func TestAddressesAreMarkedAsOurs(t *testing.T) {
	pair(t, "vm0", "vm1")
	k, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	idx := linkIndex(t, "vm0")
	for _, p := range []string{"192.0.2.80/24", "2001:db8::80/64"} {
		if err := k.Add(idx, addr(p), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a renewal leaves the mark
		got := protocols(t, idx)
		if _, known := got["kernel"]; !known {
			t.Skip("this kernel does not tell the protocol of an address")
		}
		for _, a := range []string{"192.0.2.80", "2001:db8::80"} {
			if got[a] != AddressProtocol {
				t.Errorf("%s has protocol %d, want %d", a, got[a], AddressProtocol)
			}
		}
		if err := k.Renew(idx, addr("192.0.2.80/24"), time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := k.Renew(idx, addr("2001:db8::80/64"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

// protocols of the addresses of a link, by address. "kernel" is there if the
// kernel tells any protocol: it marks its own link-local addresses.
func protocols(t *testing.T, index int) map[string]uint8 {
	t.Helper()
	c, err := mnl.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	replies, err := c.Execute(mnl.Message{
		Header: mnl.Header{Type: unix.RTM_GETADDR, Flags: mnl.Request | mnl.Dump},
		Data:   make([]byte, 8),
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint8{}
	for _, m := range replies {
		d, err := mnl.NewAttributeDecoder(m.Data[8:])
		if err != nil {
			t.Fatal(err)
		}
		var a netip.Addr
		var proto uint8
		for d.Next() {
			switch d.Type() {
			case unix.IFA_ADDRESS:
				a, _ = netip.AddrFromSlice(d.Bytes())
			case ifaProto:
				proto = d.Uint8()
			}
		}
		if proto == 1 || proto == 3 { // of loopback, link-local
			out["kernel"] = proto
		}
		if m.Data[4] == byte(index) {
			out[a.String()] = proto
		}
	}
	return out
}

// A renewal is no news; anything else about an address is, and so is all that
// comes while the view is older than the event may be.
func TestEventsThatSayNothingNew(t *testing.T) {
	have := InterfaceAddress{Prefix: netip.MustParsePrefix("192.0.2.10/24"), Label: "eth0", Lifetime: 5 * time.Second}
	six := InterfaceAddress{Prefix: netip.MustParsePrefix("2001:db8::10/64"), Lifetime: 5 * time.Second}
	m := &Monitor{view: map[string]Interface{"eth0": {Name: "eth0", Index: 3, Addresses: []InterfaceAddress{have, six}}}}
	message := func(typ mnl.HeaderType, data []byte) []byte {
		b, err := mnl.Message{Header: mnl.Header{Length: uint32(16 + len(data)), Type: typ}, Data: data}.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	news := func(index int, p, label string, typ mnl.HeaderType) []byte {
		return message(typ, appendAddress(nil, index, Address{Prefix: netip.MustParsePrefix(p), Label: label}, 9*time.Second))
	}
	for _, tc := range []struct {
		what string
		news []byte
		want bool
	}{
		{"renewal", news(3, "192.0.2.10/24", "eth0", unix.RTM_NEWADDR), false},
		{"renewal of IPv6", news(3, "2001:db8::10/64", "", unix.RTM_NEWADDR), false},
		{"another label", news(3, "192.0.2.10/24", "eth0:1", unix.RTM_NEWADDR), true},
		{"another length", news(3, "192.0.2.10/25", "eth0", unix.RTM_NEWADDR), true},
		{"new", news(3, "192.0.2.11/24", "eth0", unix.RTM_NEWADDR), true},
		{"another link", news(4, "192.0.2.10/24", "eth0", unix.RTM_NEWADDR), true},
		{"deletion", news(3, "192.0.2.10/24", "eth0", unix.RTM_DELADDR), true},
		{"a link", message(unix.RTM_NEWLINK, make([]byte, 16)), true},
		{"rubbish", message(unix.RTM_NEWADDR, make([]byte, 4)), true},
		{"renewal and deletion", append(news(3, "192.0.2.10/24", "eth0", unix.RTM_NEWADDR), news(3, "192.0.2.10/24", "eth0", unix.RTM_DELADDR)...), true},
	} {
		m.stale, m.listing = false, false
		if got := m.changed(tc.news); got != tc.want || m.stale != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
	renewal := news(3, "192.0.2.10/24", "eth0", unix.RTM_NEWADDR)
	m.stale, m.listing = false, true
	if !m.changed(renewal) {
		t.Error("a list under way may be older than the event")
	}
	m.stale, m.listing = true, false
	if !m.changed(renewal) {
		t.Error("the view is stale")
	}
}
