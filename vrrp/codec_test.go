package vrrp

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	addrA = netip.MustParseAddr("192.0.2.1")
	addrB = netip.MustParseAddr("192.0.2.2")
	addrC = netip.MustParseAddr("192.0.2.3")
	vip1  = netip.MustParseAddr("192.0.2.100")
	vip2  = netip.MustParseAddr("192.0.2.101")
	linkA = netip.MustParseAddr("fe80::1")
)

func testConfig() Config {
	return Config{VRID: 7, Version: V3, Family: IPv4, Priority: 100, Interval: time.Second, Preempt: true, Addresses: []netip.Addr{vip1}}
}

func headerOf(c *Config, src, dst netip.Addr) Header {
	return Header{Family: c.Family, Src: src, Dst: dst, TTL: 255}
}

func TestValidateChecksInOrder(t *testing.T) {
	v2 := testConfig()
	v2.Version = V2
	v2.Auth = Auth{Type: AuthPass, Data: [8]byte{'a'}}
	unicast := testConfig()
	unicast.Mode, unicast.Peers = Unicast, []netip.Addr{addrB}
	good := func(c Config) Advertisement {
		return Advertisement{Version: c.Version, VRID: c.VRID, Priority: 100, Interval: c.Interval,
			AuthType: c.Auth.Type, AuthData: c.Auth.Data, Addresses: c.Addresses}
	}
	tests := map[string]struct {
		c        Config
		adv      func(*Advertisement)
		bytes    func([]byte) []byte
		header   func(*Header)
		want     Reason
		mismatch bool
	}{
		"good":                        {c: testConfig()},
		"good v2":                     {c: v2},
		"good unicast":                {c: unicast},
		"empty":                       {c: testConfig(), bytes: func(b []byte) []byte { return nil }, want: ReasonTooShort},
		"7 octets":                    {c: testConfig(), bytes: func(b []byte) []byte { return b[:7] }, want: ReasonTooShort},
		"short before TTL":            {c: testConfig(), bytes: func(b []byte) []byte { return b[:7] }, header: func(h *Header) { h.TTL = 1 }, want: ReasonTooShort},
		"TTL":                         {c: testConfig(), header: func(h *Header) { h.TTL = 254 }, want: ReasonBadTTL},
		"TTL unknown":                 {c: testConfig(), header: func(h *Header) { h.TTL = -1 }, want: ReasonBadTTL},
		"TTL before version":          {c: testConfig(), header: func(h *Header) { h.TTL = 0 }, bytes: func(b []byte) []byte { b[0] = 0x41; return b }, want: ReasonBadTTL},
		"TTL does not count, unicast": {c: unicast, header: func(h *Header) { h.TTL = 60 }},
		"unicast to a group member":   {c: testConfig(), header: func(h *Header) { h.Dst = addrA }, want: ReasonBadDestination},
		"multicast to unicast":        {c: unicast, header: func(h *Header) { h.Dst = GroupIPv4 }, want: ReasonBadDestination},
		"stranger":                    {c: unicast, header: func(h *Header) { h.Src = addrC }, want: ReasonUnknownPeer},
		"version 2 for 3":             {c: testConfig(), adv: func(a *Advertisement) { a.Version = V2 }, want: ReasonBadVersion},
		"version 4":                   {c: testConfig(), bytes: func(b []byte) []byte { b[0] = 0x41; return b }, want: ReasonBadVersion},
		"version before type":         {c: testConfig(), bytes: func(b []byte) []byte { b[0] = 0x22; return b }, want: ReasonBadVersion},
		"type":                        {c: testConfig(), bytes: func(b []byte) []byte { b[0] = 0x32; return b }, want: ReasonBadType},
		"VRID 0":                      {c: testConfig(), bytes: func(b []byte) []byte { b[1] = 0; return b }, want: ReasonBadVRID},
		"other VRID":                  {c: testConfig(), adv: func(a *Advertisement) { a.VRID = 8 }, want: ReasonUnknownVRID},
		"other VRID before length":    {c: testConfig(), bytes: func(b []byte) []byte { b[1] = 8; return b[:11] }, want: ReasonUnknownVRID},
		"no addresses":                {c: testConfig(), bytes: func(b []byte) []byte { b[3] = 0; return b }, want: ReasonZeroAddresses},
		"count too high":              {c: testConfig(), bytes: func(b []byte) []byte { b[3] = 2; return b }, want: ReasonLengthMismatch},
		"trailing octet":              {c: testConfig(), bytes: func(b []byte) []byte { return append(b, 0) }, want: ReasonLengthMismatch},
		"v2 without auth data":        {c: v2, bytes: func(b []byte) []byte { return b[:12] }, want: ReasonLengthMismatch},
		"checksum":                    {c: testConfig(), bytes: func(b []byte) []byte { b[7] ^= 1; return b }, want: ReasonBadChecksum},
		"checksum with the group":     {c: unicast, bytes: func(b []byte) []byte { return reSum(b, addrB, GroupIPv4) }, want: ReasonBadChecksum},
		"v2 auth type":                {c: v2, adv: func(a *Advertisement) { a.AuthType = AuthNone }, want: ReasonBadAuthType},
		"v2 password":                 {c: v2, adv: func(a *Advertisement) { a.AuthData[7] = 1 }, want: ReasonBadAuthData},
		"v2 interval":                 {c: v2, adv: func(a *Advertisement) { a.Interval = 2 * time.Second }, want: ReasonIntervalMismatch},
		"v2 auth before interval":     {c: v2, adv: func(a *Advertisement) { a.AuthData[0] = 0; a.Interval = 2 * time.Second }, want: ReasonBadAuthData},
		"v3 interval 0":               {c: testConfig(), bytes: func(b []byte) []byte { b[4], b[5] = 0, 0; return reSum(b, addrB, GroupIPv4) }, want: ReasonBadInterval},
		"v3 other interval":           {c: testConfig(), adv: func(a *Advertisement) { a.Interval = 5 * time.Second }},
		"own packet":                  {c: testConfig(), header: func(h *Header) { h.Src = addrA }, bytes: func(b []byte) []byte { return reSum(b, addrA, GroupIPv4) }, want: ReasonOwnSource},
		"other addresses":             {c: testConfig(), adv: func(a *Advertisement) { a.Addresses = []netip.Addr{vip2} }, mismatch: true},
		"more addresses":              {c: testConfig(), adv: func(a *Advertisement) { a.Addresses = []netip.Addr{vip1, vip2} }, mismatch: true},
		"an address twice":            {c: testConfig(), adv: func(a *Advertisement) { a.Addresses = []netip.Addr{vip1, vip1} }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dst := tt.c.Family.Group()
			if tt.c.Mode == Unicast {
				dst = addrA
			}
			a := good(tt.c)
			if tt.adv != nil {
				tt.adv(&a)
			}
			h := headerOf(&tt.c, addrB, dst)
			b := a.Append(nil, ChecksumPseudoHeader, h.Src, h.Dst)
			if tt.bytes != nil {
				b = tt.bytes(b)
			}
			if tt.header != nil {
				tt.header(&h)
			}
			var got Advertisement
			got.Parse(b, h)
			r, mismatch := tt.c.Validate(&got, h, addrA)
			if r != tt.want || mismatch != tt.mismatch {
				t.Errorf("got %v, mismatch %t; want %v, %t", r, mismatch, tt.want, tt.mismatch)
			}
		})
	}
}

// reSum makes the checksum right again, with pseudo-header.
func reSum(b []byte, src, dst netip.Addr) []byte {
	b[6], b[7] = 0, 0
	s := ^sumFor(b, V3, ChecksumPseudoHeader, src, dst)
	b[6], b[7] = byte(s>>8), byte(s)
	return b
}

func TestRFC9568_5_2_8_BothChecksumForms(t *testing.T) {
	c := testConfig()
	a := Advertisement{Version: V3, VRID: 7, Priority: 1, Interval: time.Second, Addresses: c.Addresses}
	h := headerOf(&c, addrB, GroupIPv4)
	for _, form := range []Checksum{ChecksumPseudoHeader, ChecksumMessageOnly} {
		var got Advertisement
		if r := got.Parse(a.Append(nil, form, h.Src, h.Dst), h); r != ReasonNone || got.ChecksumForm != form {
			t.Errorf("form %d: %v, taken for %d", form, r, got.ChecksumForm)
		}
	}
	// Over IPv6 there is one form only, whatever is asked for.
	a.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
	h = Header{Family: IPv6, Src: linkA, Dst: GroupIPv6, TTL: 255}
	if !slices.Equal(a.Append(nil, ChecksumMessageOnly, h.Src, h.Dst), a.Append(nil, ChecksumPseudoHeader, h.Src, h.Dst)) {
		t.Error("the checksum over IPv6 depends on the form")
	}
}

func TestReasonsAreClosed(t *testing.T) {
	seen := map[string]bool{}
	for i, r := range Reasons {
		if int(r) != i+1 || r.String() == "unknown" || seen[r.String()] {
			t.Errorf("reason %d is %v", i, r)
		}
		seen[r.String()] = true
	}
	if Reason(len(reasonNames)).String() != "unknown" || len(Reasons)+1 != len(reasonNames) {
		t.Error("names and list differ")
	}
}

// genAdvertisement is any that can be sent.
func genAdvertisement(t *rapid.T) (Advertisement, Header, Checksum) {
	h := Header{Family: IPv4, Src: addrA, Dst: GroupIPv4, TTL: 255}
	a := Advertisement{Version: V3, VRID: rapid.Uint8Range(1, 255).Draw(t, "vrid"), Priority: rapid.Uint8().Draw(t, "priority")}
	form := ChecksumPseudoHeader
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		a.Version, form = V2, ChecksumMessageOnly
		a.AuthType = AuthType(rapid.Uint8().Draw(t, "auth"))
		copy(a.AuthData[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "data"))
	case 1:
		form = Checksum(rapid.IntRange(0, 1).Draw(t, "form"))
	case 2:
		h = Header{Family: IPv6, Src: linkA, Dst: GroupIPv6, TTL: 255}
	}
	if a.Version == V2 {
		a.Interval = time.Duration(rapid.IntRange(1, 255).Draw(t, "seconds")) * time.Second
	} else {
		a.Interval = time.Duration(rapid.IntRange(1, 4095).Draw(t, "cs")) * centisecond
	}
	for range rapid.IntRange(1, MaxAddresses).Draw(t, "n") {
		x := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr"))
		if h.Family == IPv4 {
			a.Addresses = append(a.Addresses, netip.AddrFrom4([4]byte(x[:])))
		} else {
			a.Addresses = append(a.Addresses, netip.AddrFrom16(x))
		}
	}
	return a, h, form
}

func TestAppendParseIsIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, h, form := genAdvertisement(t)
		b := a.Append([]byte("before"), form, h.Src, h.Dst)[6:]
		var got Advertisement
		if r := got.Parse(b, h); r != ReasonNone {
			t.Fatalf("%v", r)
		}
		a.ChecksumForm = got.ChecksumForm // both forms may fit by chance
		if !reflect.DeepEqual(a, got) {
			t.Fatalf("got %+v, want %+v", got, a)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, v := range loadVectors(f) {
		h, m, _ := v.split(f)
		f.Add(m, h.Family == IPv6)
	}
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		h := Header{Family: IPv4, Src: addrA, Dst: GroupIPv4, TTL: 255}
		if six {
			h = Header{Family: IPv6, Src: linkA, Dst: GroupIPv6, TTL: 255}
		}
		if len(b) >= headerLen {
			// Chance never finds the checksum: help it.
			b = slices.Clone(b)
			b[6], b[7] = 0, 0
			s := ^sumFor(b, Version(b[0]>>4), ChecksumPseudoHeader, h.Src, h.Dst)
			b[6], b[7] = byte(s>>8), byte(s)
		}
		var a Advertisement
		if r := a.Parse(b, h); r != ReasonNone {
			if r.Label() == "" {
				t.Fatalf("rejected for %v", r)
			}
			return
		}
		if len(a.Addresses) == 0 || a.VRID == 0 || a.Version == V3 && a.Interval == 0 {
			t.Fatalf("accepted %+v", a)
		}
		if a.Version == V2 && a.Interval == 0 {
			return // rejected by Validate: no instance has it, and Append cannot say it
		}
		out := a.Append(nil, a.ChecksumForm, h.Src, h.Dst)
		var again Advertisement
		if r := again.Parse(out, h); r != ReasonNone {
			t.Fatalf("own encoding rejected: %v", r)
		}
		again.ChecksumForm = a.ChecksumForm
		if !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v", a, again)
		}
	})
}

// FuzzValidate: no input panics, and only well-formed input passes.
func FuzzValidate(f *testing.F) {
	for _, v := range loadVectors(f) {
		h, m, _ := v.split(f)
		f.Add(m, uint8(h.TTL), h.Src.AsSlice(), h.Dst.AsSlice(), uint8(v.Receiver.Version), v.Receiver.Mode == "unicast")
	}
	f.Fuzz(func(t *testing.T, b []byte, ttl uint8, src, dst []byte, version uint8, unicast bool) {
		s, _ := netip.AddrFromSlice(src)
		d, _ := netip.AddrFromSlice(dst)
		h := Header{Family: IPv4, Src: s, Dst: d, TTL: int(ttl)}
		if s.Is6() {
			h.Family = IPv6
		}
		c := testConfig()
		c.Family, c.Version = h.Family, Version(version)
		if unicast {
			c.Mode, c.Peers = Unicast, []netip.Addr{addrB}
		}
		var a Advertisement
		parsed := a.Parse(b, h)
		if r, _ := c.Validate(&a, h, addrA); r == ReasonNone && (parsed != ReasonNone || a.VRID != c.VRID || len(b) < headerLen+4) {
			t.Fatalf("passed, although %v", parsed)
		}
	})
}

func TestCodecDoesNotAllocate(t *testing.T) {
	c := testConfig()
	c.Addresses = []netip.Addr{vip1, vip2}
	in := Advertisement{Version: V3, VRID: 7, Priority: 9, Interval: time.Second, Addresses: c.Addresses}
	h := headerOf(&c, addrB, GroupIPv4)
	buf := make([]byte, 0, 64)
	a := Advertisement{Addresses: make([]netip.Addr, 0, 4)}
	if n := testing.AllocsPerRun(100, func() {
		b := in.Append(buf[:0], ChecksumPseudoHeader, h.Src, h.Dst)
		if a.Parse(b, h) != ReasonNone {
			t.Fatal("rejected")
		}
		if r, _ := c.Validate(&a, h, addrA); r != ReasonNone {
			t.Fatal(r)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
