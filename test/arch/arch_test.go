package arch

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "lvs-ha"

// TestImportRules holds the whole tree to the rules.
func TestImportRules(t *testing.T) {
	root := os.DirFS("../..")
	if _, err := root.Open("go.mod"); err != nil {
		t.Fatalf("this test wants the source tree around it: %v", err)
	}
	found, err := Check(root, module)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// TestRulesCanFail shows each rule a file that breaks it, and one beside it
// that does not.
func TestRulesCanFail(t *testing.T) {
	imports := func(paths ...string) string {
		return "package p\n\nimport (\n\t_ \"" + strings.Join(paths, "\"\n\t_ \"") + "\"\n)\n"
	}
	for _, c := range []struct {
		name string
		tree map[string]string
		want string // in the one violation; empty: there is none
	}{
		{"a leaf imports a leaf", map[string]string{"health/a.go": imports("lvs-ha/vrrp")}, "health/a.go:4: health imports vrrp: a leaf"},
		{"a leaf imports what stands above", map[string]string{"ipvsctl/a.go": imports("lvs-ha/internal/director")}, "a leaf"},
		{"a leaf imports conf", map[string]string{"vrrp/a.go": imports("lvs-ha/conf")}, "a leaf"},
		{"vip imports vrrp", map[string]string{"internal/vip/a.go": imports("lvs-ha/vrrp")}, "a leaf"},
		{"a leaf may use a utility", map[string]string{"health/a.go": imports("lvs-ha/internal/histogram"), "internal/histogram/a.go": "package p\n"}, ""},
		{"a utility that stands on a room is none", map[string]string{
			"health/a.go": imports("lvs-ha/internal/sly"), "internal/sly/a.go": imports("lvs-ha/vrrp")}, "health imports internal/sly"},
		{"conf may import leaves", map[string]string{"conf/a.go": imports("lvs-ha/health", "lvs-ha/ipvsctl", "lvs-ha/vrrp")}, ""},
		{"conf imports the director", map[string]string{"conf/a.go": imports("lvs-ha/internal/director")}, "its neighbours are"},
		{"the speaker imports vip", map[string]string{"vrrp/speaker/a.go": imports("lvs-ha/internal/vip")}, "its neighbours are vrrp, vrrp/link"},
		{"the director imports the speaker", map[string]string{"internal/director/a.go": imports("lvs-ha/vrrp/speaker")}, "its neighbours are"},
		{"control imports metrics", map[string]string{"internal/elsewhere/a.go": imports("lvs-ha/metrics")}, "only cmd/lvs-ha imports metrics"},
		{"cmd imports metrics", map[string]string{"cmd/lvs-ha/a.go": imports("lvs-ha/metrics")}, ""},
		{"Prometheus elsewhere", map[string]string{"internal/director/a.go": imports("github.com/prometheus/client_golang/prometheus")}, "only metrics"},
		{"moby/ipvs elsewhere", map[string]string{"internal/director/a.go": imports("github.com/moby/ipvs")}, "only through ipvsctl"},
		{"moby/ipvs at home", map[string]string{"ipvsctl/a.go": imports("github.com/moby/ipvs", "github.com/mdlayher/genetlink")}, ""},
		{"a packet socket elsewhere", map[string]string{"health/a.go": imports("github.com/mdlayher/packet")}, "packet and VRRP sockets"},
		{"a packet socket by hand", map[string]string{"health/a.go": "package p\n\nimport \"golang.org/x/sys/unix\"\n\nvar x = unix.AF_PACKET\n"}, "packet and VRRP sockets"},
		{"netlink elsewhere", map[string]string{"cmd/lvs-ha/a.go": imports("github.com/vishvananda/netlink")}, "netlink is spoken only by"},
		{"vrrp imports net", map[string]string{"vrrp/a.go": imports("net")}, "vrrp is pure"},
		{"vrrp imports slog", map[string]string{"vrrp/a.go": imports("log/slog")}, "vrrp is pure"},
		{"vrrp imports math/rand/v2", map[string]string{"vrrp/a.go": imports("math/rand/v2")}, "vrrp is pure"},
		{"vrrp imports netip", map[string]string{"vrrp/a.go": imports("net/netip", "time")}, ""},
		{"vrrp reads the clock", map[string]string{"vrrp/a.go": "package p\n\nimport clock \"time\"\n\nvar x = clock.Now()\n"}, "vrrp/a.go:5: vrrp uses time.Now: vrrp is pure"},
		{"vrrp counts time", map[string]string{"vrrp/a.go": "package p\n\nimport \"time\"\n\nvar x = time.Second\n"}, ""},
		{"testing in the program", map[string]string{"health/a.go": imports("testing")}, "test helpers stay out"},
		{"testing/synctest in the program", map[string]string{"health/a.go": imports("testing/synctest")}, "test helpers stay out"},
		{"testing in a test-only package", map[string]string{"vrrp/vrrptest/a.go": imports("testing")}, ""},
		{"testing in a test", map[string]string{"health/a_test.go": imports("testing")}, ""},
		{"a test-only package in the program", map[string]string{"cmd/lvs-ha/a.go": imports("lvs-ha/ipvsctl/ipvsctltest")}, "test-only packages"},
		{"os/exec elsewhere", map[string]string{"internal/vip/a.go": imports("os/exec")}, "executes nothing"},
		{"os/exec in the supervisor", map[string]string{"internal/supervise/a.go": imports("os/exec")}, ""},
		{"a process by hand", map[string]string{"health/a.go": "package p\n\nimport \"os\"\n\nvar x = os.StartProcess\n"}, "executes nothing"},
		{"TOML elsewhere", map[string]string{"internal/director/a.go": imports("github.com/BurntSushi/toml")}, "only conf"},
		{"a file that does not parse", map[string]string{"health/a.go": "package"}, "health/a.go:1"},
		{"testdata is left out", map[string]string{"health/testdata/a.go": imports("lvs-ha/vrrp")}, ""},
		{"a nested module is left out", map[string]string{"tools/go.mod": "module x\n", "tools/a.go": imports("os/exec")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{"go.mod": {Data: []byte("module lvs-ha\n")}}
			for name, src := range c.tree {
				fsys[name] = &fstest.MapFile{Data: []byte(src)}
			}
			found, err := Check(fsys, module)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && len(found) > 0:
				t.Errorf("found %q, wanted nothing", found)
			case c.want != "" && (len(found) != 1 || !strings.Contains(found[0], c.want)):
				t.Errorf("found %q, wanted one that says %q", found, c.want)
			}
		})
	}
}
