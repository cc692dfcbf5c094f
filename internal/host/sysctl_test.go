package host

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPlanSysctls(t *testing.T) {
	want := []Sysctl{
		{Key: "a", Value: "1", Why: "…"}, {Key: "b", Value: "2 50", Why: "…"},
		{Key: "c", Value: "1", Why: "…", Foreign: true}, {Key: "d", Value: "0", Why: "…"},
	}
	for _, tt := range []struct {
		name     string
		have     map[string]string
		manage   bool
		writes   []Change
		findings []string // keys
	}{
		{name: "all well", have: map[string]string{"a": "1", "b": "2\t50", "c": "1", "d": "0"}, manage: true},
		{name: "manage", have: map[string]string{"a": "0", "b": "3\t50", "c": "0", "d": "0"}, manage: true,
			writes: []Change{{"a", "0", "1"}, {"b", "3 50", "2 50"}}, findings: []string{"c"}},
		{name: "check", have: map[string]string{"a": "0", "b": "3\t50", "c": "0", "d": "0"}, findings: []string{"a", "b", "c"}},
		{name: "absent", have: map[string]string{"b": "2 50", "c": "1"}, manage: true, findings: []string{"a", "d"}},
		{name: "numbers are not joined", have: map[string]string{"a": "1", "b": "250", "c": "1", "d": "0"}, manage: true, writes: []Change{{"b", "250", "2 50"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writes, findings := PlanSysctls(want, tt.have, tt.manage)
			var keys []string
			for _, f := range findings {
				keys = append(keys, f.Key)
			}
			if d := cmp.Diff(tt.writes, writes); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.findings, keys); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestPlanSysctlsTwice: a second plan after the first was carried out writes nothing.
func TestPlanSysctlsTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"0", "1", "2 50", "3\t50"})
		var want []Sysctl
		have := map[string]string{}
		for _, k := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, "wanted") {
				want = append(want, Sysctl{Key: k, Value: value.Draw(t, "want"), Foreign: rapid.Bool().Draw(t, "foreign")})
			}
			if rapid.Bool().Draw(t, "there") {
				have[k] = value.Draw(t, "have")
			}
		}
		manage := rapid.Bool().Draw(t, "manage")
		writes, found := PlanSysctls(want, have, manage)
		if !manage && len(writes) > 0 {
			t.Fatal("a check writes")
		}
		for _, c := range writes {
			if _, ok := have[c.Key]; !ok {
				t.Fatal("writes what does not exist")
			}
			have[c.Key] = c.New
		}
		writes, again := PlanSysctls(want, have, manage)
		if len(writes) > 0 || !cmp.Equal(found, again) {
			t.Fatal("not settled", writes, found, again)
		}
	})
}

func TestFindingText(t *testing.T) {
	s := Sysctl{Key: "net.ipv4.vs.sync_threshold", Value: "2 50", Why: "it matters"}
	if got := (Finding{s, "3 50"}).String(); got != `net.ipv4.vs.sync_threshold is 3 50: it matters; cure: sysctl -w net.ipv4.vs.sync_threshold="2 50"` {
		t.Error(got)
	}
	if got := (Finding{s, ""}).String(); !strings.Contains(got, "no such setting") {
		t.Error(got)
	}
}
