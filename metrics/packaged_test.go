package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	rulesFile     = "../packaging/prometheus/lvs-ha.rules.yml"
	rulesTestFile = "../packaging/prometheus/lvs-ha.test.yml"
	dashboardFile = "../packaging/grafana/lvs-ha.json"
	listFile      = "../docs/metrics.md"
	alertsFile    = "../docs/alerts.md"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The list in the documentation is the table of families.
func TestDocumentedList(t *testing.T) {
	const begin, end = "<!-- begin list -->\n", "<!-- end list -->"
	text := read(t, listFile)
	head, rest, ok := strings.Cut(text, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks its markers", listFile)
	}
	golden(t, listFile, []byte(head+begin+list()+end+tail))
}

func list() string {
	var b strings.Builder
	parts := []struct{ title, prefix string }{
		{"Process and configuration", ""}, {"VRRP", "lvs_ha_vrrp_"}, {"Virtual services", "lvs_ha_service_"},
		{"Real servers", "lvs_ha_server_"}, {"Checks", "lvs_ha_check"}, {"Kernel table and sync daemon", "lvs_ha_ipvs_"},
	}
	at := -1
	for _, f := range families(testBuild) {
		next := at
		for i, p := range parts {
			if p.prefix != "" && strings.HasPrefix(f.name, p.prefix) {
				next = i
			}
		}
		next = max(next, 0)
		if next != at {
			at = next
			fmt.Fprintf(&b, "\n### %s\n\n| name | type | labels | meaning |\n|---|---|---|---|\n", parts[at].title)
		}
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	return b.String() + "\n"
}

var (
	ourName  = regexp.MustCompile(`\blvs_ha_[a-z0-9_]+`)
	selector = regexp.MustCompile(`\b(lvs_ha_[a-z0-9_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	suffixes = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// checkExpression holds an expression to the families and labels that exist.
func checkExpression(t *testing.T, where, expr string) {
	t.Helper()
	byName := map[string]family{}
	for _, f := range families(testBuild) {
		byName[f.name] = f
	}
	find := func(name string) (family, bool) {
		f, ok := byName[name]
		if !ok {
			if f, ok = byName[suffixes.ReplaceAllString(name, "")]; ok && f.kind != histo {
				ok = false
			}
		}
		return f, ok
	}
	for _, name := range ourName.FindAllString(quoted.ReplaceAllString(expr, `""`), -1) {
		if _, ok := find(name); !ok {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		f, ok := find(m[1])
		if !ok {
			continue // told above
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			// Those of the target are Prometheus' own.
			if !slices.Contains([]string{labelCluster, "instance", "job"}, l[1]) && !slices.Contains(f.labels, l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
}

func TestAlertsUseWhatExists(t *testing.T) {
	text := read(t, rulesFile)
	checkExpression(t, rulesFile, text)
	checkExpression(t, rulesTestFile, read(t, rulesTestFile))
	book := read(t, alertsFile)
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(text, -1)
	if len(alerts) < 10 {
		t.Fatalf("only %d alerts found", len(alerts))
	}
	for _, a := range alerts {
		if !strings.Contains(book, "\n## "+a[1]+"\n") {
			t.Errorf("%s has no section %s", alertsFile, a[1])
		}
		if anchor := "runbook: docs/alerts.md#" + strings.ToLower(a[1]) + "\n"; !strings.Contains(text, anchor) {
			t.Errorf("%s lacks %q", a[1], anchor)
		}
	}
	for _, section := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(book, -1) {
		if !strings.Contains(text, "alert: "+section[1]+"\n") {
			t.Errorf("%s explains %s, which is no alert", alertsFile, section[1])
		}
	}
	for _, name := range ourName.FindAllString(book, -1) {
		checkExpression(t, alertsFile, name)
	}
}

func TestDashboardUsesWhatExists(t *testing.T) {
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range d.Panels {
		for _, x := range p.Targets {
			checkExpression(t, "panel "+p.Title, x.Expr)
			n++
		}
	}
	for _, a := range d.Annotations.List {
		checkExpression(t, "annotation "+a.Name, a.Expr)
		n++
	}
	for _, v := range d.Templating.List {
		checkExpression(t, "variable "+v.Name, v.Query)
	}
	if n < 20 {
		t.Errorf("only %d expressions found", n)
	}
}
