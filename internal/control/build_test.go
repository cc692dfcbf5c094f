package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/vrrp"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, path string, v any) {
	t.Helper()
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("%s differs (run with -update to accept), -want +got:\n%s", path, d)
	}
}

func TestDocument(t *testing.T) {
	golden(t, "testdata/status.json", NewDocument(fixture(), "1.2.3"))
	golden(t, "testdata/status-bare.json", NewDocument(&director.Snapshot{Node: "lb1"}, "1.2.3"))
}

func TestDocumentRules(t *testing.T) {
	for _, s := range []*director.Snapshot{fixture(), {}} {
		b, err := json.Marshal(NewDocument(s, "x"))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		walk(t, "", v)
	}
}

var (
	snake = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	zoned = regexp.MustCompile(`^\d{4}-\d\d-\d\dT.*[+-]\d\d:\d\d$`)
	lists = []string{"problems", "vrrp", "services", "servers", "checks", "addresses", "tracks", "operations", "running", "wanted"}
)

// walk holds the rules that every part of the document keeps.
func walk(t *testing.T, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if !snake.MatchString(k) {
				t.Errorf("%s: key %q is not snake case", path, k)
			}
			for _, l := range lists {
				if k == l && x == nil {
					t.Errorf("%s/%s: a list is null", path, k)
				}
			}
			walk(t, path+"/"+k, x)
		}
	case []any:
		for _, x := range v {
			walk(t, path, x)
		}
	case string:
		if zoned.MatchString(v) {
			t.Errorf("%s: %s is not UTC", path, v)
		}
		if strings.HasSuffix(path, "state") && v != strings.ToLower(v) {
			t.Errorf("%s: %s is not lower case", path, v)
		}
	}
}

func TestAssess(t *testing.T) {
	calm := func(s *director.Snapshot) {
		s.Warnings, s.Sync.BehindSince = nil, s.Sync.BehindSince.AddDate(-9999, 0, 0)
		s.Sync = director.SyncStatus{}
		s.Services = s.Services[:1]
		s.Services[0].Servers = s.Services[0].Servers[:1]
		s.Services[0].Floor = director.Floor{}
		i := &s.Speaker.Instances[0]
		i.Addresses, i.TrackUp = i.Addresses[:1], nil
	}
	for _, c := range []struct {
		name    string
		change  func(s *director.Snapshot)
		state   string
		problem string
	}{
		{"calm", func(*director.Snapshot) {}, StateOK, ""},
		{"maintenance is no trouble", func(s *director.Snapshot) {
			s.Services[0].Servers = fixture().Services[0].Servers
			s.Services[0].Servers[1].State = director.ServerMaintenance
		}, StateOK, ""},
		{"server down", func(s *director.Snapshot) { s.Services[0].Servers = fixture().Services[0].Servers }, StateDegraded, "service web runs without web2 (check http-ok: connection refused)"},
		{"a server is kept by the floor", func(s *director.Snapshot) {
			s.Services[0].Floor.Held = 1
			s.Warnings = []string{"service web: min_healthy keeps web1"}
		}, StateDegraded, "service web: min_healthy keeps web1"},
		{"service down", func(s *director.Snapshot) { s.Services[0].Up, s.Services[0].HealthyWeight = false, 0 }, StateDown, "service web is down: weight 0, needs 1"},
		{"pending", func(s *director.Snapshot) {
			s.Services[0].Up = false
			s.Services[0].Servers[0].State = director.ServerPending
		}, StateDegraded, "service web waits for the first results of its checks"},
		{"not in the kernel", func(s *director.Snapshot) { s.Services[0].KernelPresent = false }, StateDegraded, "service web is not in the kernel's table as configured"},
		{"kernel gone", func(s *director.Snapshot) { s.Kernel.Up, s.Kernel.Error = false, "no such file" }, StateDown, "the kernel's IPVS table cannot be read: no such file"},
		{"no speaker", func(s *director.Snapshot) { s.Speaker = nil }, StateDown, "the speaker process has not answered: roles are not known"},
		{"fault", func(s *director.Snapshot) {
			s.Speaker.Instances[0].State, s.Speaker.Instances[0].Reason, s.Speaker.Instances[0].Addresses = vrrp.Fault, "eth1 is down", nil
		}, StateDegraded, "vrrp edge is in fault: eth1 is down"},
		{"address missing", func(s *director.Snapshot) { s.Speaker.Instances[0].Addresses[0].Present = false }, StateDegraded, "vrrp edge is master, but 192.0.2.10/24 is not on eth0"},
		{"address left over", func(s *director.Snapshot) { s.Speaker.Instances[0].State = vrrp.Backup }, StateDegraded, "vrrp edge is backup, but 192.0.2.10/24 is still on eth0"},
		{"releasing keeps its addresses", func(s *director.Snapshot) { s.Speaker.Instances[0].State = vrrp.Releasing }, StateOK, ""},
		{"track", func(s *director.Snapshot) { s.Speaker.Instances[0].TrackUp = map[string]bool{"eth1": false} }, StateDegraded, "vrrp edge: tracked eth1 is down"},
		{"reload", func(s *director.Snapshot) {
			s.Config.LastOK, s.Config.LastError = false, "x.toml:1: bad\n    do better\n1 error"
			s.Warnings = []string{"the last reload was refused: x.toml:1: bad\n    do better\n1 error"}
		}, StateDegraded, "the last reload was refused, the configuration before it is in force: x.toml:1: bad (and 2 more lines)"},
		{"not ready", func(s *director.Snapshot) { s.Ready = false }, StateDegraded, "not ready: until every service is judged and applied this director does not preempt"},
		{"sync", func(s *director.Snapshot) { s.Sync = fixture().Sync }, StateDegraded, "the connection sync daemon runs as backup, not in the role of edge"},
		{"self-doubt", func(s *director.Snapshot) {
			s.Checks.Doubt = health.Doubt{Doubting: true, Why: health.DoubtLate}
		}, StateDegraded, "this director doubts itself, every priority is lower by 60 (its probes start late: look for what takes the processor)"},
		{"own warning", func(s *director.Snapshot) { s.Warnings = []string{"a word"} }, StateDegraded, "a word"},
	} {
		s := fixture()
		calm(s)
		c.change(s)
		d := NewDocument(s, "x")
		want := []string{}
		if c.problem != "" {
			want = append(want, c.problem)
		}
		if d.State != c.state || cmp.Diff(want, d.Problems) != "" {
			t.Errorf("%s: %s %q, want %s %q", c.name, d.State, d.Problems, c.state, want)
		}
	}
}
