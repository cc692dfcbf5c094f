package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// badFile is a configuration that cannot be run, made from a good one.
var badFiles = []struct {
	name string
	edit func(good string) string
	want []string // each of them is in what is said
}{
	{"bad TOML", func(g string) string { return g + "\n[vrrp\n" }, []string{"lvs-ha.toml:"}},
	{"unknown key", func(g string) string { return strings.Replace(g, "vrid = 51", "vrid = 51\nintreface = \"eth0\"", 1) },
		[]string{"lvs-ha.toml:", "intreface", "interface"}},
	{"wrong address", func(g string) string { return strings.Replace(g, "10.0.0.21", "10.0.0.321", 1) }, []string{"lvs-ha.toml:", "10.0.0.321"}},
	{"VIP on no instance", func(g string) string {
		return strings.Replace(g, "name = \"web\"\naddress = \"10.0.0.100\"", "name = \"web\"\naddress = \"10.0.0.200\"", 1)
	}, []string{"lvs-ha.toml:", "10.0.0.200", "none"}},
	{"DR server with another port", func(g string) string { return strings.Replace(g, "port = 80, weight", "port = 8080, weight", 1) },
		[]string{"lvs-ha.toml:", "8080", "nat"}},
	{"priority out of range", func(g string) string { return strings.Replace(g, "priority = 200", "priority = 256", 1) }, []string{"lvs-ha.toml:", "256", "255"}},
	{"no such scheduler", func(g string) string { return strings.Replace(g, `scheduler = "rr"`, `scheduler = "rrr"`, 1) }, []string{"lvs-ha.toml:", "rrr"}},
	{"bare number as a duration", func(g string) string {
		return strings.Replace(g, `advert_interval = "100ms"`, `advert_interval = 2`, 1)
	}, []string{"lvs-ha.toml:", "advert_interval", `"2s"`}},
	{"empty file", func(string) string { return "" }, []string{"lvs-ha.toml"}},
}

// untouched asserts that nothing of ours is in the kernel of lvs1.
func (s *scene) untouched(what string) {
	s.Helper()
	table, err := s.Directors[0].Table()
	if err == nil && len(table) > 0 {
		s.Errorf("%s: the table is %v", what, table)
	}
	if has, err := s.Directors[0].Has(lab.VIP); has || err != nil {
		s.Errorf("%s: VIP there %v, error %v", what, has, err)
	}
}

// sober asserts that the message is for people and short.
func (s *scene) sober(what, stderr string, want []string) {
	s.Helper()
	for _, w := range want {
		if !strings.Contains(stderr, w) {
			s.Errorf("%s: the message lacks %q:\n%s", what, w, stderr)
		}
	}
	if strings.TrimSpace(stderr) == "" || strings.Count(stderr, "\n") > 6 || strings.Contains(stderr, "goroutine") || strings.Contains(stderr, "panic") {
		s.Errorf("%s: not one sentence with what to do:\n%s", what, stderr)
	}
}

// lines of the good file, for a lab that does not run: addresses are fixed.
func goodFile() string {
	addr := func(last int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(last)}) }
	l := &lab.Lab{Options: lab.Options{Mode: lab.DR}}
	set := l.Usual()
	for i := range 3 {
		set.Servers = append(set.Servers, addr(21+i))
	}
	return set.TOML()
}

// TestBadFiles: validate and run refuse with the place and the cure.
func TestBadFiles(t *testing.T) {
	bin := binary(t)
	s := open(t, lab.Options{Mode: lab.DR})
	host := s.Directors[0]
	file := filepath.Join(s.Dir, "lvs-ha.toml")
	run := []string{bin, "run", "--config", file, "--node", "lvs1", "--runtime-dir", s.Dir + "/run", "--state-dir", s.Dir + "/state"}
	good := goodFile()
	s.must(os.WriteFile(file, []byte(good), 0o644))
	if out, stderr, code, err := host.Run(s.ctx, bin, "validate", file); code != 0 || err != nil {
		t.Fatalf("the good file: %d %v\n%s%s", code, err, out, stderr)
	}
	for _, tt := range badFiles {
		text := tt.edit(good)
		if text == good {
			t.Fatalf("%s: the edit changes nothing", tt.name)
		}
		s.must(os.WriteFile(file, []byte(text), 0o644))
		for _, argv := range [][]string{{bin, "validate", file}, run} {
			ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
			_, stderr, code, err := host.Run(ctx, argv...)
			cancel()
			what := tt.name + ", " + argv[1]
			if err != nil {
				t.Errorf("%s: %v\n%s", what, err, stderr)
				continue
			}
			if code == 0 {
				t.Errorf("%s: exit status 0", what)
			}
			s.sober(what, stderr, tt.want)
		}
		s.untouched(tt.name)
	}
	for _, argv := range [][]string{
		{bin, "validate", s.Dir + "/nosuch.toml"},
		{bin, "run", "--config", s.Dir + "/nosuch.toml", "--runtime-dir", s.Dir + "/run", "--state-dir", s.Dir + "/state"},
	} {
		_, stderr, code, err := host.Run(s.ctx, argv...)
		s.must(err)
		if code == 0 {
			t.Errorf("missing file: %s ends with 0", argv[1])
		}
		s.sober("missing file, "+argv[1], stderr, []string{"nosuch.toml"})
	}
	s.must(os.WriteFile(file, []byte(good), 0o644))
	_, stderr, code, err := host.Run(s.ctx, append(run, "--node", "stranger")...)
	s.must(err)
	if code == 0 {
		t.Error("unknown node: exit status 0")
	}
	s.sober("unknown node", stderr, []string{"stranger", "lvs1", "lvs2"})
	s.untouched("unknown node")
}

// TestBadMachine: what is wrong with the machine is said, too.
func TestBadMachine(t *testing.T) {
	bin := binary(t)
	s := open(t, lab.Options{Mode: lab.DR})
	host := s.Directors[0]
	s.set.Servers = nil // an election alone needs no IPVS
	file := filepath.Join(s.Dir, "lvs-ha.toml")
	s.must(os.Chmod(s.Dir, 0o755))
	run := func(dir string) []string {
		return []string{bin, "run", "--config", file, "--node", "lvs1", "--runtime-dir", dir + "/run", "--state-dir", dir + "/state"}
	}
	s.must(os.WriteFile(file, []byte(s.set.TOML()), 0o644))

	t.Run("no capability", func(t *testing.T) {
		dir := filepath.Join(s.Dir, "nobody")
		s.must(os.MkdirAll(dir, 0o777))
		s.must(os.Chmod(dir, 0o777))
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		defer cancel()
		_, stderr, code, err := host.RunAs(ctx, 65534, run(dir)...)
		s.must(err)
		if code == 0 {
			t.Error("exit status 0")
		}
		s.sober("no capability", stderr, []string{"CAP_NET_"})
		s.untouched("no capability")
	})

	t.Run("port in use", func(t *testing.T) {
		var ln net.Listener
		s.must(host.Do(func() (err error) {
			ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lab.MetricsPort))
			return err
		}))
		defer ln.Close()
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		defer cancel()
		_, stderr, code, err := host.Run(ctx, run(s.Dir+"/p")...)
		s.must(err)
		if code == 0 {
			t.Error("exit status 0")
		}
		s.sober("port in use", stderr, []string{fmt.Sprint(lab.MetricsPort)})
		s.untouched("port in use")
	})

	t.Run("no IPVS", func(t *testing.T) {
		if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
			t.Skip("SKIPPED: this kernel has IPVS")
		}
		s.must(os.WriteFile(file, []byte(goodFile()), 0o644))
		defer func() { s.must(os.WriteFile(file, []byte(s.set.TOML()), 0o644)) }()
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		defer cancel()
		_, stderr, code, err := host.Run(ctx, run(s.Dir+"/i")...)
		s.must(err)
		if code == 0 {
			t.Error("exit status 0")
		}
		s.sober("no IPVS", stderr, []string{"ip_vs"})
		s.untouched("no IPVS")
	})

	t.Run("second agent", func(t *testing.T) {
		s.pair()
		s.must(s.lvs1.Start())
		s.vip(s.lvs1, true, 5*time.Second)
		defer func() { s.must(s.lvs1.Kill(s.ctx)) }()
		for _, dir := range []string{s.lvs1.Dir, s.Dir + "/second"} {
			ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
			_, stderr, code, err := host.Run(ctx, run(dir)...)
			cancel()
			s.must(err)
			if code == 0 {
				t.Error("exit status 0")
			}
			s.sober("second agent in "+dir, stderr, []string{"another", "lvs-ha status"})
		}
		if has, err := s.lvs1.HasVIP(); !has || err != nil || s.lvs1.Process().Ended() {
			t.Errorf("the first one suffered: VIP %v, %v", has, err)
		}
	})
}

// TestInterfaceAbsent: the agent waits for its interface, says so, and goes on.
func TestInterfaceAbsent(t *testing.T) {
	binary(t)
	s := open(t, lab.Options{Mode: lab.DR})
	s.set.Servers = nil
	s.pair()
	text, err := os.ReadFile(s.lvs1.File)
	s.must(err)
	s.must(os.WriteFile(s.lvs1.File, []byte(strings.ReplaceAll(string(text), `"eth0"`, `"late0"`)), 0o644))
	s.must(s.lvs1.Start())
	s.within(5*time.Second, "it says what it waits for", func() error {
		if s.lvs1.Process().Ended() {
			t.Fatal("it ended")
		}
		if log := s.lvs1.Process().Log(); !strings.Contains(log, "late0") {
			return errorf("log %q", log)
		}
		return nil
	})
	if len(s.sniffer.Adverts(time.Time{})) > 0 {
		t.Error("it advertises on some other interface")
	}
	s.must(s.Directors[0].Rename("eth0", "late0"))
	_, err = s.sniffer.Await(s.ctx, "it advertises", time.Time{}, func(a lab.Advert) bool { return a.From == s.lvs1.Addr() })
	s.must(err)
}
