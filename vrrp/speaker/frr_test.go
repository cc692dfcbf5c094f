package speaker_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

// frrDir is where the daemons of FRR are.
const frrDir = "/usr/lib/frr"

// frr starts zebra and vrrpd with one group. FRR advertises from a macvlan
// that has the virtual MAC and the addresses, and sets it up or down.
func (s *segment) frr(family vrrp.Family, group string, addrs ...string) *node {
	s.t.Helper()
	if _, err := os.Stat(frrDir + "/vrrpd"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), "frr") {
			s.t.Fatal("frr is not installed")
		}
		s.t.Skip("needs frr")
	}
	dir := frrOwn(s.t)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	write("zebra.conf", "log stdout\n")
	write("vrrpd.conf", "log stdout\ndebug vrrp protocol\ninterface eth0\n"+group)
	var add strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&add, "ip addr add %s dev vrrp nodad\n", a)
	}
	virtual := "00:00:5e:00:01:33"
	if family == vrrp.IPv6 {
		virtual = "00:00:5e:00:02:33"
	}
	write("run", fmt.Sprintf(`set -e
ip link set lo up
ip link add vrrp link eth0 type macvlan mode bridge
ip link set vrrp address %s
%sip link set vrrp up
for d in zebra vrrpd; do
	%s/$d -f %[4]s/$d.conf -i %[4]s/$d.pid -z %[4]s/zserv.api --vty_socket %[4]s -A 127.0.0.1 -P 0 &
	last=$!
	while ! test -S %[4]s/$d.vty; do sleep 0.02; done
done
while ! test -e %[4]s/stop; do sleep 0.02; done
kill $last
wait $last || :
`, virtual, strings.ReplaceAll(add.String(), " nodad", map[bool]string{true: " nodad"}[family == vrrp.IPv6]), frrDir, dir))
	cmd := exec.Command("/proc/self/exe", "/usr/bin/unshare", "--pid", "--fork", "--kill-child", "/bin/sh", filepath.Join(dir, "run"))
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	n := s.run(cmd, "exec")
	s.attach(n)
	n.stop = filepath.Join(dir, "stop")
	// Frames of its advertisements carry the virtual MAC.
	n.mac = []byte{0, 0, 0x5e, 0, 1, 0x33}
	if family == vrrp.IPv6 {
		n.mac[4] = 2
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// frrOwn makes a directory for the user that FRR becomes; the one that testing
// makes only we can enter.
func frrOwn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lvsha-frr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// from counts the advertisements of a node in frames of either family.
func (s *segment) from(n *node) int {
	return len(s.cap.find(func(b []byte) bool {
		v4 := len(b) > 23 && b[12] == 8 && b[13] == 0 && b[23] == vrrp.Protocol
		v6 := len(b) > 20 && b[12] == 0x86 && b[13] == 0xdd && b[20] == vrrp.Protocol
		return (v4 || v6) && bytes.Equal(b[6:12], n.mac)
	}))
}

// electFRR: the better one is master, hands over when it stops, takes back
// when it returns; FRR never takes over from a better one.
func electFRR(t *testing.T, ours vrrp.Instance, theirs func(priority int) string, addrs ...string) {
	const limit = patience
	s := newSegment(t)
	family, vip := ours.Config.Family, ours.Addresses[len(ours.Addresses)-1].Prefix.Addr().String()

	f := s.frr(family, theirs(200), addrs...)
	a := s.speaker()
	eventually(t, limit, "FRR advertises", func() bool { return s.from(f) > 2 })
	a.configure(ours)
	eventually(t, limit, "we hear FRR", func() bool { return a.instance().Received > 2 })
	if st := a.instance(); st.State != vrrp.Backup || st.MasterPriority != 200 || len(rejected(st.Dropped)) > 0 || st.AddressMismatch > 0 || a.has(vip) {
		t.Errorf("beside a better FRR we are %+v", st)
	}
	if err := os.WriteFile(f.stop, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, limit, "we are master after FRR has stopped", func() bool { return a.state() == vrrp.Master && a.has(vip) })

	f = s.frr(family, theirs(200), addrs...)
	eventually(t, limit, "FRR has preempted", func() bool { return a.state() == vrrp.Backup && !a.has(vip) })
	f.kill()
	eventually(t, limit, "we are master after FRR was killed", func() bool { return a.state() == vrrp.Master && a.has(vip) })

	f = s.frr(family, theirs(50), addrs...)
	eventually(t, limit, "FRR is backup", func() bool { return strings.Contains(f.log.String(), "-> Backup") })
	before, sent := s.from(f), a.instance().Sent
	eventually(t, limit, "we go on", func() bool { return a.instance().Sent > sent+4 })
	if n := s.from(f); n != before || a.state() != vrrp.Master {
		t.Errorf("FRR has advertised %d times beside a better master", n-before)
	}
	a.terminate()
	eventually(t, limit, "FRR is master after we have stopped", func() bool { return s.from(f) > before+1 })
}

func frrGroup(version, interval int, ip string, addrs ...string) func(int) string {
	return func(priority int) string {
		out := fmt.Sprintf(" vrrp 51 version %d\n vrrp 51 priority %d\n vrrp 51 advertisement-interval %d\n", version, priority, interval)
		for _, a := range addrs {
			out += fmt.Sprintf(" vrrp 51 %s %s\n", ip, a)
		}
		return out
	}
}

func TestFRRV3(t *testing.T) {
	t.Parallel()
	electFRR(t, group(100), frrGroup(3, 100, "ip", theVIP), theVIP+"/24")
}

func TestFRRV2(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("whole seconds: takes 20 of them")
	}
	in := group(100)
	in.Config.Version, in.Config.Interval = vrrp.V2, time.Second
	electFRR(t, in, frrGroup(2, 1000, "ip", theVIP), theVIP+"/24")
}

func TestFRRV3IPv6(t *testing.T) {
	t.Parallel()
	in := group(100, "fe80::77:1", "2001:db8:77::100")
	in.Config.Family = vrrp.IPv6
	electFRR(t, in, frrGroup(3, 100, "ipv6", "fe80::77:1", "2001:db8:77::100"), "fe80::77:1/64", "2001:db8:77::100/64")
}
