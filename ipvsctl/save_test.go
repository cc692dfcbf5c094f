package ipvsctl_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// saved is output of ipvsadm 1.31 -Sn.
const saved = `-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 70000
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 192.0.2.1:80 -r 10.0.0.6:80 -i -w 1 --tun-type gre --tun-nocsum
-a -t 192.0.2.1:80 -r 10.0.0.7:80 -i -w 1 --tun-type gre --tun-csum
-a -t 192.0.2.1:80 -r 10.0.0.8:80 -i -w 1 --tun-type ipip
-a -t 192.0.2.1:80 -r 127.0.0.1:80 -g -w 1
-A -t 192.0.2.5:53 -s sh -b sh-fallback,sh-port
-A -t 192.0.2.6:53 -s mh -b mh-fallback,mh-port
-A -t 192.0.2.7:53 -s rr -b flag-1,flag-2,flag-3
-A -t 192.0.2.8:53 -s sh -b sh-fallback
-A -u 192.0.2.2:80 -s sh -p 360 -o -b sh-port
-A -u 192.0.2.3:5060 -s rr -p 60 --pe sip -o
-A -u 192.0.2.4:53 -s rr -o
-A --sctp-service 192.0.2.9:80 -s rr
-A -t [2001:db8::1]:80 -s rr -p 360
-a -t [2001:db8::1]:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip
-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m -w 1
-A -f 7 -s rr -p 300 -M 255.255.255.0
-a -f 7 -r 10.0.0.2:0 -g -w 1
-A -f 8 -6 -s rr -p 300 -M 64
`

func TestRulesOfIpvsadm(t *testing.T) {
	tab, err := ipvsctl.ParseRules(strings.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(saved, ipvsctl.FormatRules(tab)); d != "" {
		t.Error(d)
	}
	mark := tab[ipvsctl.FWMarkKey(7, 4)]
	want := ipvsctl.Service{Key: ipvsctl.FWMarkKey(7, 4), Scheduler: "rr", Flags: ipvsctl.FlagPersistent, Timeout: 300 * time.Second, PersistPrefix: 24}
	if mark.Service != want {
		t.Errorf("%+v, want %+v", mark.Service, want)
	}
	if got := tab[ipvsctl.FWMarkKey(8, 6)].Service.PersistPrefix; got != 64 {
		t.Errorf("IPv6 prefix %d, want 64", got)
	}
}

func TestRulesOfEverySort(t *testing.T) {
	tab := ipvsctl.Table{}
	for _, s := range ipvsctltest.Services() {
		e := ipvsctl.Entry{Service: s.Canonical(), Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
		for _, srv := range ipvsctltest.Servers() {
			if srv.Forward != ipvsctl.Local {
				e.Servers[srv.Key] = srv
			}
		}
		tab[s.Key] = e
	}
	got, err := ipvsctl.ParseRules(strings.NewReader(ipvsctl.FormatRules(tab)))
	if d := cmp.Diff(tab, got, cmpAddr); d != "" || err != nil {
		t.Error(err, d)
	}
}

func TestRulesDefaultsAndLongOptions(t *testing.T) {
	in := `
# a comment
--add-service --tcp-service 192.0.2.1:80
-a -t 192.0.2.1:80 -r 10.0.0.1
--add-server --tcp-service 192.0.2.1:80 --real-server 10.0.0.2:81 --masquerading --weight 3 --u-threshold 9 --l-threshold 4
--add-service --fwmark-service -1 --ipv6 --scheduler mh --persistent --netmask 48 --sched-flags mh-port
-a -f 4294967295 -6 -r [2001:db8::1]
`
	want := `-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:81 -m -w 3 -x 9 -y 4
-A -f 4294967295 -6 -s mh -p 360 -M 48 -b mh-port
-a -f 4294967295 -6 -r [2001:db8::1]:0 -g -w 1
`
	tab, err := ipvsctl.ParseRules(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, ipvsctl.FormatRules(tab)); d != "" {
		t.Error(d)
	}
}

func TestRulesErrors(t *testing.T) {
	const service = "-A -t 192.0.2.1:80\n"
	for in, want := range map[string]string{
		"-C":                               `line 1: "-C" is none of -A (add a service) and -a (add a server)`,
		"-A":                               "line 1: no service is named (-t, -u, --sctp-service or -f)",
		"-A -t":                            "line 1: -t wants a value",
		"-A -t web:http":                   `line 1: -t: "web:http" is not ADDRESS:PORT in numbers (save with: ipvsadm -Sn)`,
		"-A -t 192.0.2.1:80 -f 3":          "line 1: -f: a line has one service",
		"-A -f 0":                          `line 1: -f "0" is no mark from 1 to 4294967295`,
		"-A -t 192.0.2.1:80 -6":            "line 1: -6 is for services by mark (-f) only",
		"-A -t 192.0.2.1:80 -w 3":          "line 1: -w does not belong to a service (-A)",
		"-A -t 192.0.2.1:80 -M 24":         `line 1: -M "24" is no netmask (255.255.255.0), and no prefix length of IPv6 (1..128)`,
		"-A -t 192.0.2.1:80 -p 0x5":        `line 1: -p "0x5" is no number from 0 to 2147483647`,
		"-A -t 192.0.2.1:80 --quick":       `line 1: unknown option "--quick"`,
		"-A -t 192.0.2.1:80 -b x":          `line 1: -b: unknown flag "x"`,
		"-A -t [fe80::1%eth0]:80":          "line 1: -t: fe80::1%eth0: an address here has no zone",
		service + service:                  "line 2: service tcp 192.0.2.1:80 is there already",
		"\n-a -t 192.0.2.1:80 -r 10.0.0.1": "line 2: there is no service tcp 192.0.2.1:80: its -A line must come first",
		service + "-a -t 192.0.2.1:80":     "line 2: no server is named (-r)",
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1 -s rr":                                 "line 2: -s does not belong to a server (-a)",
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1 -y 1":                                  "line 2: -y 1 is above -x 0",
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue":                     "line 2: --tun-type gue wants --tun-port 1..65535",
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1 --tun-type gue --tun-port 6":           "line 2: tunnel options want -i",
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type vxlan":                   `line 2: --tun-type: "vxlan" is none of ipip, gue, gre`,
		service + "-a -t 192.0.2.1:80 -r 10.0.0.1\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m": "line 3: server 10.0.0.1:80 of tcp 192.0.2.1:80 is there already",
	} {
		tab, err := ipvsctl.ParseRules(strings.NewReader(in))
		if err == nil || err.Error() != want || tab != nil {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// FuzzParseRules: no panic, and what is taken is written and read back alike.
func FuzzParseRules(f *testing.F) {
	f.Add(saved)
	f.Add("-A -f -1 -6 -s rr -p -M 64 -b flag-1,flag-3 -o --pe sip\n# x\n")
	f.Add("-A -t 192.0.2.1:0 -p 1\n-a -t 192.0.2.1:0 -r [::1] -i --tun-type gue --tun-port 5 --tun-remcsum -x 4 -y 2\n")
	f.Fuzz(func(t *testing.T, in string) {
		tab, err := ipvsctl.ParseRules(strings.NewReader(in))
		if err != nil {
			return
		}
		out := ipvsctl.FormatRules(tab)
		again, err := ipvsctl.ParseRules(strings.NewReader(out))
		if d := cmp.Diff(tab, again, cmpAddr); d != "" || err != nil {
			t.Errorf("%q gives %q: %v, %s", in, out, err, d)
		}
	})
}

const conns = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 7F000001 0000 7F000001 2328 7F000001 2329 NONE             99
TCP 0000:0000:0000:0000:0000:0000:0000:0001 C71A 2001:0db8:0000:0000:0000:0000:0000:0001 2328 0A000007 0050 ESTABLISHED      900
UDP C0000207 C3A0 7F000001 13C4 7F000001 13C4 UDP               9 sip 4711@host
`

const connsSync = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP 7F000001 C3A0 7F000001 2328 7F000001 2329 CLOSE       LOCAL        9
`

func TestReadConns(t *testing.T) {
	var got []ipvsctl.Conn
	for _, in := range []string{conns, connsSync, ""} {
		if err := ipvsctl.ReadConns(strings.NewReader(in), func(c ipvsctl.Conn) error { got = append(got, c); return nil }); err != nil {
			t.Error(err)
		}
	}
	want := []ipvsctl.Conn{
		{Protocol: "TCP", Client: addrPort("127.0.0.1:0"), Virtual: addrPort("127.0.0.1:9000"), Dest: addrPort("127.0.0.1:9001"), State: "NONE", Expires: 99 * time.Second},
		{Protocol: "TCP", Client: addrPort("[::1]:50970"), Virtual: addrPort("[2001:db8::1]:9000"), Dest: addrPort("10.0.0.7:80"), State: "ESTABLISHED", Expires: 15 * time.Minute},
		{Protocol: "UDP", Client: addrPort("192.0.2.7:50080"), Virtual: addrPort("127.0.0.1:5060"), Dest: addrPort("127.0.0.1:5060"), State: "UDP", Expires: 9 * time.Second, PEName: "sip", PEData: "4711@host"},
		{Protocol: "TCP", Client: addrPort("127.0.0.1:50080"), Virtual: addrPort("127.0.0.1:9000"), Dest: addrPort("127.0.0.1:9001"), State: "CLOSE", Expires: 9 * time.Second, Origin: "LOCAL"},
	}
	if d := cmp.Diff(want, got, cmpAddr, cmpAddrPort); d != "" {
		t.Error(d)
	}
	if !got[0].Template() || got[1].Template() {
		t.Error("templates are not told from connections")
	}
	for _, bad := range []string{"x", "TCP 7F000001 C3A0 7F000001 2328 7F000001 2329 CLOSE x", "TCP 7F0000 C3A0 7F000001 2328 7F000001 2329 CLOSE 9", "TCP 7F000001 3A0 7F000001 2328 7F000001 2329 CLOSE 9"} {
		if err := ipvsctl.ReadConns(strings.NewReader("Pro x\n"+bad+"\n"), func(ipvsctl.Conn) error { return nil }); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := ipvsctl.ReadConnsFile(t.TempDir()+"/none", nil); err == nil || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("no file: %v", err)
	}
}

func FuzzReadConns(f *testing.F) {
	f.Add(conns)
	f.Add(connsSync)
	f.Fuzz(func(t *testing.T, in string) {
		_ = ipvsctl.ReadConns(strings.NewReader(in), func(c ipvsctl.Conn) error {
			if !c.Client.IsValid() || !c.Virtual.IsValid() || !c.Dest.IsValid() || c.Expires < 0 {
				t.Errorf("%q gives %+v", in, c)
			}
			return nil
		})
	})
}
