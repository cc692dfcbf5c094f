// Package packaging holds files for installation; only their tests are Go.
package packaging

import (
	"os"
	"slices"
	"strings"
	"testing"

	"lvs-ha/conf"
)

// unit reads a unit file into its settings, in order.
func unit(t *testing.T, path string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Errorf("%s: %q is no setting", path, line)
		}
		set[key] = append(set[key], value)
	}
	return set
}

// What the two processes need must not be taken away by hardening.
func TestUnitLeavesWhatIsNeeded(t *testing.T) {
	u := unit(t, "lvs-ha.service")
	for key, want := range map[string]string{
		"Type":                "notify",
		"NotifyAccess":        "main",
		"KillMode":            "mixed", // SIGTERM goes to the speaker alone
		"RestrictRealtime":    "no",    // else SCHED_RR is refused
		"LimitRTPRIO":         "10",    // what "auto" asks for
		"LimitMEMLOCK":        "infinity",
		"AmbientCapabilities": "CAP_NET_ADMIN CAP_NET_RAW",
		"NoNewPrivileges":     "yes",
		"RuntimeDirectory":    "lvs-ha",
		"StateDirectory":      "lvs-ha",
	} {
		if got := u[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s=%v, want %s", key, got, want)
		}
	}
	for _, key := range []string{"CPUSchedulingPolicy", "PrivateNetwork", "PrivateUsers", "IPAddressDeny"} {
		if u[key] != nil {
			t.Errorf("%s= breaks the agent", key)
		}
	}
	for _, filter := range u["SystemCallFilter"] {
		if strings.HasPrefix(filter, "~") && (strings.Contains(filter, "@resources") || strings.Contains(filter, "@memlock")) {
			t.Errorf("SystemCallFilter=%s forbids sched_setattr or mlockall", filter)
		}
	}
	families := strings.Fields(strings.Join(u["RestrictAddressFamilies"], " "))
	for _, f := range []string{"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"} {
		if !slices.Contains(families, f) {
			t.Errorf("RestrictAddressFamilies lacks %s", f)
		}
	}
	for _, c := range []string{"CAP_NET_ADMIN", "CAP_NET_RAW"} {
		if !slices.Contains(strings.Fields(strings.Join(u["CapabilityBoundingSet"], " ")), c) {
			t.Errorf("CapabilityBoundingSet lacks %s", c)
		}
	}
}

// A unit that is only wanted may start later than ours.
func TestModulesComeFirst(t *testing.T) {
	u := unit(t, "lvs-ha.service")
	after := strings.Fields(strings.Join(u["After"], " "))
	modules := 0
	for _, wanted := range strings.Fields(strings.Join(u["Wants"], " ")) {
		if !strings.HasPrefix(wanted, "modprobe@") {
			continue
		}
		modules++
		if !slices.Contains(after, wanted) {
			t.Errorf("After= lacks %s", wanted)
		}
	}
	if modules == 0 {
		t.Error("no module is loaded before the speaker runs")
	}
}

func TestExampleIsValidOnBothNodes(t *testing.T) {
	for _, node := range []string{"lb1", "lb2"} {
		c, problems := conf.Load("lvs-ha.example.toml", node)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		if text := problems.String(); text != "" {
			t.Errorf("%s: warnings: %s", node, text)
		}
		if len(c.VRRP) != 1 || len(c.Services) != 1 || len(c.Services[0].Servers) != 2 || c.Sync == nil {
			t.Errorf("%s: %+v", node, c)
		}
	}
}
