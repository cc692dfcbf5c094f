package ipvsctl

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func genAddr(t *rapid.T, family uint8) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
	}
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")
	b[0] = 0x20 // not an IPv4 address in disguise
	return netip.AddrFrom16([16]byte(b))
}

func genKey(t *rapid.T) ServiceKey {
	family := rapid.SampledFrom([]uint8{4, 6}).Draw(t, "family")
	if rapid.Bool().Draw(t, "by mark") {
		return FWMarkKey(rapid.Uint32Range(1, 1<<32-1).Draw(t, "mark"), family)
	}
	return AddrKey(rapid.SampledFrom([]Protocol{TCP, UDP, SCTP}).Draw(t, "protocol"),
		netip.AddrPortFrom(genAddr(t, family), rapid.Uint16().Draw(t, "port")))
}

// TestWireSymmetry: what is sent is read back as it was.
func TestWireSymmetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := genKey(t)
		top := int(fullPrefix(k.Family))
		s := Service{
			Key: k, Scheduler: rapid.StringMatching(`[a-z]{1,15}`).Draw(t, "scheduler"),
			Flags:         Flags(rapid.Uint32Range(0, 0x3f).Draw(t, "flags")),
			Timeout:       time.Duration(rapid.Uint32().Draw(t, "timeout")) * time.Second,
			PersistPrefix: uint8(rapid.IntRange(0, top).Draw(t, "prefix")),
			PEName:        rapid.StringMatching(`[a-z]{0,15}`).Draw(t, "pe"),
		}.Canonical()
		var e encoder
		e.service(s)
		if got, err := parseService(e.b, nil); err != nil || got != s {
			t.Fatalf("%v: %+v, want %+v", err, got, s)
		}
		srv := Server{
			Key:     ServerKey{genAddr(t, rapid.SampledFrom([]uint8{4, 6}).Draw(t, "server family")), rapid.Uint16().Draw(t, "server port")},
			Forward: Forward(rapid.Uint32Range(0, 7).Draw(t, "forward")),
			Weight:  rapid.Uint32().Draw(t, "weight"), Upper: rapid.Uint32().Draw(t, "upper"), Lower: rapid.Uint32().Draw(t, "lower"),
			TunnelType: TunnelType(rapid.Byte().Draw(t, "tunnel")), TunnelPort: rapid.Uint16().Draw(t, "tunnel port"), TunnelFlags: rapid.Uint16().Draw(t, "tunnel flags"),
		}
		e.b = e.b[:0]
		e.server(srv, true)
		if got, err := parseServer(e.b, k.Family, nil); err != nil || got != srv {
			t.Fatalf("%v: %+v, want %+v", err, got, srv)
		}
		d := Daemon{
			Role: rapid.SampledFrom([]Role{RoleMaster, RoleBackup}).Draw(t, "role"), Interface: rapid.StringMatching(`[a-z0-9.]{1,15}`).Draw(t, "interface"),
			ID: rapid.Byte().Draw(t, "id"), MaxLen: rapid.Uint16().Draw(t, "maxlen"), Port: rapid.Uint16().Draw(t, "port"), TTL: rapid.Byte().Draw(t, "ttl"),
		}
		if rapid.Bool().Draw(t, "group") {
			d.Group = genAddr(t, rapid.SampledFrom([]uint8{4, 6}).Draw(t, "group family"))
		}
		e.b = e.b[:0]
		e.daemon(d)
		if got, err := parseDaemon(e.b); err != nil || got != d {
			t.Fatalf("%v: %+v, want %+v", err, got, d)
		}
	})
}

func TestNetmask(t *testing.T) {
	for n := uint8(1); n <= 32; n++ {
		m := netmask(Service{Key: ServiceKey{Family: 4}, PersistPrefix: n})
		if got := prefix(4, m); got != n {
			t.Errorf("/%d is %#x is /%d", n, m, got)
		}
	}
	// The word lies in memory in network order.
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], netmask(Service{Key: ServiceKey{Family: 4}, PersistPrefix: 24}))
	if b != [4]byte{255, 255, 255, 0} {
		t.Errorf("/24 is %v", b)
	}
	for _, bad := range [][4]byte{{0, 0, 0, 0}, {255, 0, 255, 0}, {0, 0, 0, 1}} {
		if got := prefix(4, binary.NativeEndian.Uint32(bad[:])); got != badPrefix {
			t.Errorf("%v is /%d", bad, got)
		}
	}
	if prefix(6, 0) != badPrefix || prefix(6, 129) != badPrefix || prefix(6, 64) != 64 {
		t.Error("IPv6 prefixes")
	}
}

// TestCounters32 reads what kernels before 4.1 give.
func TestCounters32(t *testing.T) {
	var e encoder
	at := e.nest(attrDest)
	e.addr(destAddr, netip.MustParseAddr("10.0.0.1"))
	e.be16(destPort, 80)
	old := e.nest(destStats)
	e.u32(1, 7)
	e.attr(4, 8)
	e.b = binary.NativeEndian.AppendUint64(e.b, 1<<40)
	e.close(old)
	e.close(at)
	var st ServerStats
	srv, err := parseServer(e.b, 4, &st)
	if err != nil || st.Connections != 7 || st.InBytes != 1<<40 || srv.Key.String() != "10.0.0.1:80" {
		t.Errorf("%v, %+v, %v", err, st, srv)
	}
}

// TestServerOfTheServicesFamily reads a server of a kernel before 3.18, which does not name the family.
func TestServerOfTheServicesFamily(t *testing.T) {
	var e encoder
	at := e.nest(attrDest)
	e.addr(destAddr, netip.MustParseAddr("a00:2::"))
	e.be16(destPort, 80)
	e.close(at)
	for family, want := range map[uint8]string{4: "10.0.0.2:80", 6: "[a00:2::]:80"} {
		if s, err := parseServer(e.b, family, nil); err != nil || s.Key.String() != want {
			t.Errorf("%v, %v, want %s", err, s.Key, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	attr := func(typ uint16, b ...byte) []byte {
		var e encoder
		e.attr(typ, len(b))
		e.b = append(e.b, b...)
		return e.b
	}
	nest := func(typ uint16, inner ...[]byte) []byte {
		var e encoder
		at := e.nest(typ)
		for _, b := range inner {
			e.b = append(e.b, b...)
			e.pad()
		}
		e.close(at)
		return e.b
	}
	four := attr(svcFamily, 2, 0)
	for name, b := range map[string][]byte{
		"empty":                             {},
		"no service":                        nest(attrDest),
		"attribute longer than it is":       {200, 0, 1, 0},
		"attribute shorter than its header": {2, 0, 1, 0},
		"no family":                         nest(attrService),
		"other family":                      nest(attrService, attr(svcFamily, 99, 0)),
		"no address":                        nest(attrService, four),
		"short address":                     nest(attrService, four, attr(svcAddr, 1, 2, 3)),
		"short port":                        nest(attrService, four, attr(svcAddr, 1, 2, 3, 4), attr(svcPort, 1)),
		"bad counters":                      nest(attrService, four, attr(svcAddr, 1, 2, 3, 4), nest(svcStats64, attr(1, 1))),
	} {
		if s, err := parseService(b, new(Counters)); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	for name, b := range map[string][]byte{
		"short header": make([]byte, 15),
		"length 0":     make([]byte, 16),
		"too long":     {17, 0, 0, 0, 15: 0},
	} {
		if m, _, err := nextMessage(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for _, n := range []int32{1, -5000, -1 << 31} {
		if no, err := (message{data: binary.NativeEndian.AppendUint32(nil, uint32(n))}).errno(); !errors.Is(err, errMalformed) {
			t.Errorf("error number %d: %v, %v", n, no, err)
		}
	}
}

func TestChecks(t *testing.T) {
	k := AddrKey(TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	if err := checkService(Service{Key: k}); err != nil {
		t.Error(err)
	}
	for _, o := range []Op{
		{Kind: AddService, Service: Service{Key: ServiceKey{Family: 4}}},
		{Kind: AddService, Service: Service{Key: ServiceKey{Family: 6, Addr: k.Addr}}},
		{Kind: SetService, Service: Service{Key: k, Scheduler: "a-scheduler-with-a-long-name"}},
		{Kind: SetService, Service: Service{Key: k, Timeout: -1}},
		{Kind: AddServer, Service: Service{Key: k}},
		{Kind: SetServer, Service: Service{Key: k}, Server: Server{Key: ServerKey{Addr: k.Addr}, Forward: 8}},
		{Kind: SetTimeouts, Timeouts: Timeouts{UDP: -1}},
	} {
		if err := check(o); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// FuzzParse: whatever a kernel answers, nothing panics, and what is taken for
// a service, server or daemon is encoded and read back alike.
func FuzzParse(f *testing.F) {
	var e encoder
	s := Service{Key: AddrKey(UDP, netip.MustParseAddrPort("[2001:db8::1]:53")), Scheduler: "sh", Flags: 1, Timeout: time.Minute, PersistPrefix: 64, PEName: "sip"}
	at := e.begin(30, cmdNewService, unix.NLM_F_MULTI, 1)
	e.service(s)
	e.end(at)
	at = e.begin(30, cmdNewDest, unix.NLM_F_MULTI, 1)
	e.server(Server{Key: ServerKey{netip.MustParseAddr("10.0.0.1"), 80}, Weight: 70000}, true)
	e.end(at)
	at = e.begin(30, cmdNewDaemon, unix.NLM_F_MULTI, 1)
	e.daemon(Daemon{Role: RoleBackup, Interface: "eth0", Group: netip.MustParseAddr("ff02::1")})
	e.end(at)
	f.Add(e.b)
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := nextMessage(b)
			if err != nil {
				return
			}
			b = rest
			m.errno()
			body, err := m.body()
			if err != nil {
				continue
			}
			var out encoder
			var c Counters
			if s, err := parseService(body, &c); err == nil && checkService(s) == nil && s.PersistPrefix != badPrefix {
				out.service(s)
				if again, err := parseService(out.b, nil); err != nil || again != s {
					t.Errorf("service %+v, again %+v, %v", s, again, err)
				}
			}
			var st ServerStats
			if s, err := parseServer(body, 4, &st); err == nil {
				out.b = out.b[:0]
				out.server(s, true)
				if again, err := parseServer(out.b, 4, nil); err != nil || again != s {
					t.Errorf("server %+v, again %+v, %v", s, again, err)
				}
			}
			if d, err := parseDaemon(body); err == nil {
				out.b = out.b[:0]
				out.daemon(d)
				if again, err := parseDaemon(out.b); err != nil || again.asKernel() != d.asKernel() {
					t.Errorf("daemon %+v, again %+v, %v", d, again, err)
				}
			}
			parseInfo(body)
			parseTimeouts(body)
		}
	})
}
