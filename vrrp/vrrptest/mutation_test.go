package vrrptest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutations are rules broken on purpose. Each must be caught by the histories:
// an invariant that nothing can break proves nothing.
var mutations = []struct {
	name string
	file string // relative to this folder
	old  string // occurs once
	new  string
	slow bool // only with -lvsha.histories or LVSHA_LONG=1
}{
	{name: "tie-break", file: "../machine_master.go",
		old: "p == m.priority && order > 0:", new: "p == m.priority && order < 0:"},
	{name: "skew", file: "../priority.go",
		old: "return time.Duration(256-int64(priority)) * master / 256", new: "return master / 256"},
	{name: "rejected packet touches timer", file: "node.go",
		old: "	if p.flaw == flawNone && !n.reloaded() {",
		new: "	n.step(vrrp.Event{Kind: vrrp.EventAdvertisement, Advertisement: &n.adv, Source: h.Src})\n	if p.flaw == flawNone && !n.reloaded() {"},
	{name: "preempt", file: "../machine_backup.go",
		old: "(m.owner() || m.cfg.Preempt)", new: "true"},
	{name: "last word", file: "../machine_master.go",
		old: "	m.send(m.priority, m.masterInterval)\n", new: ""},
	{name: "yields and never lets go", file: "../machine_master.go",
		old: "	if due(m.dropAt, now) {\n", new: "	if false && due(m.dropAt, now) {\n"},
	{name: "yields and lets go at once", file: "../machine_master.go",
		old: "		m.dropAt = now.Add(releaseAfterAdvert)\n", new: "		m.do(Action{Kind: ActionDrop})\n"},
	{name: "group is torn at a take-over", file: "../group.go",
		old: "(masters > 0 || wanting == len(members))", new: "true"},
	{name: "group does not follow who left", file: "../group.go",
		old: "		case left && m.State == Master:\n			m.Order = GroupYield\n", new: ""},

	{name: "lets go as soon as the winner announces", file: "../machine.go", slow: true,
		old: "releaseAfterClaim  = 20 * time.Millisecond", new: "releaseAfterClaim  = time.Millisecond"},
	{name: "claim does not hasten a release", file: "../machine_master.go", slow: true,
		old: "			m.releaseAt = min(m.releaseAt, now.Add(releaseAfterClaim))\n", new: ""},
	{name: "next master does not hasten a release", file: "../machine_master.go", slow: true,
		old: "		m.releaseAt = min(m.releaseUntil, now.Add(releaseAfterAdvert))\n", new: ""},
	{name: "sibling of a lost link lets go before anybody leads", file: "../group.go", slow: true,
		old: "min(3*slowest+m.longestSkew(now)+releaseSlack", new: "min(m.longestSkew(now)+releaseSlack"},
	{name: "says no last word to a tie that it would win", file: "../machine_backup.go", slow: true,
		old: "	return master - 1\n", new: "	return 0\n"},
	{name: "last word wins", file: "../machine_backup.go", slow: true,
		old: "	return master - 1\n", new: "	return m.priority\n"},
	{name: "group takes part with one unfit", file: "../group.go", slow: true,
		old: "unfit > 1 || unfit == 1 && !m.Unfit, GroupNone", new: "false, GroupNone"},
	{name: "each of a group yields by itself", file: "../machine_master.go", slow: true,
		old: "order > 0 && m.tieWaits(now, a.Interval):\n", new: "order > 0 && false:\n"},
	{name: "tie in a group waits for ever", file: "../group.go", slow: true,
		old: "return now.Sub(m.tieAt) <= m.cfg.GroupInterval+tieSlack", new: "return true"},
	{name: "group hands over too fast", file: "../machine.go", slow: true,
		old: "	return max(c.Interval, c.GroupSkew)\n", new: "	return c.Interval\n"},
	{name: "group never leads", file: "../group.go", slow: true,
		old: "			m.Order = GroupLead\n", new: ""},
	{name: "claim does not hasten the yield", file: "../machine_master.go", slow: true,
		old: "			m.dropAt = min(m.dropAt, now.Add(releaseAfterClaim))\n", new: ""},
	{name: "advertises without its addresses", file: "../machine_events.go", slow: true,
		old: "			m.held, m.announce = false, true\n			m.do(Action{Kind: ActionHold})\n", new: "			m.held, m.announce = false, true\n"},
	{name: "any TTL", file: "../validate.go", slow: true,
		old: "if h.TTL != 255 {", new: "if h.TTL == 0 {"},
	{name: "priority 0 ignored", file: "../machine_backup.go", slow: true,
		old: "		m.downAt = min(m.downAt, now.Add(Skew(m.cfg.Version, m.priority, m.masterInterval)))\n", new: ""},
	{name: "break before make", file: "../machine_master.go", slow: true,
		old: "return now.Add(min(m.longestSkew(now)+releaseSlack, releaseMost))", new: "return now"},
	{name: "interval not adopted", file: "../machine_backup.go", slow: true,
		old: "m.masterInterval, m.adopted = a.Interval, true", new: "m.adopted = true"},
	{name: "losing advertisement unanswered", file: "../machine_master.go", slow: true,
		old: "		m.answer(now)\n		m.reannounce(now)\n", new: ""},
	{name: "announcements before the addresses", file: "../machine_master.go", slow: true,
		old: "	if !m.held {\n		m.announce = true\n		return\n	}\n", new: ""},
	{name: "preempt delay ignored", file: "../machine_backup.go", slow: true,
		old: "m.cfg.PreemptDelay <= 0 || m.owner()", new: "true"},
	{name: "failover does not suppress", file: "../machine_backup.go", slow: true,
		old: "	return m.suppressed\n", new: "	return false\n"},
	{name: "not ready keeps its priority", file: "../machine.go", slow: true,
		old: "	if !m.ready {\n		return 1\n	}\n", new: ""},
	{name: "equal is discarded", file: "../machine_backup.go", slow: true,
		old: "a.Priority < m.priority && m.preempts(now)", new: "a.Priority <= m.priority && m.preempts(now)"},
	{name: "lateness adds up", file: "../machine_master.go", slow: true,
		old: "m.advertAt = planned.Add(every)", new: "m.advertAt = planned.Add(2 * every)"},
	{name: "priority 0 answered once in an interval", file: "../machine_master.go", slow: true,
		old: "		m.answerZero(now)\n", new: "		m.answer(now)\n"},
	{name: "second master that gives up leaves its announcement behind", file: "../machine_master.go",
		old: "		m.answerZero(now)\n		m.reannounce(now)\n", new: "		m.answerZero(now)\n"},
	{name: "reload takes a backup's adopted interval away", file: "../machine_events.go", slow: true,
		old: "	if !m.adopted {\n", new: "	if true {\n"},
	{name: "backup of a stalled loop does not wait", file: "../machine_events.go", slow: true,
		old: "m.downAt = max(m.downAt, now.Add(m.masterInterval))", new: "m.downAt = now.Add(5 * m.masterInterval)"},
}

// caughtWithin this many histories.
const caughtWithin = "30000"

func TestMutationsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once for each mutation: not with -short")
	}
	goTool, err := exec.LookPath("go")
	if _, statErr := os.Stat("../machine.go"); err != nil || statErr != nil {
		if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), "go") {
			t.Fatal("no go tool, or no sources")
		}
		t.Skip("needs the go tool and the sources")
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			path, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%q occurs %d times in %s: adjust the mutation", m.old, n, m.file)
			}
			if m.slow && *histories == 0 && os.Getenv("LVSHA_LONG") != "1" {
				t.Skip("only with -lvsha.histories or LVSHA_LONG=1")
			}
			t.Parallel()
			dir := t.TempDir()
			mutant := filepath.Join(dir, "mutant.go")
			write(t, mutant, strings.Replace(string(source), m.old, m.new, 1))
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutant}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "overlay.json"), string(overlay))
			binary := filepath.Join(dir, "mutant.test")
			build := exec.Command(goTool, "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := exec.Command(binary, "-test.run", "^TestHistories$", "-lvsha.histories", caughtWithin).CombinedOutput()
			if err == nil {
				t.Errorf("not caught in %s histories", caughtWithin)
			} else if !strings.Contains(string(out), "replay:") {
				t.Errorf("fell over instead of being caught: %v\n%s", err, out)
			} else {
				_, what, _ := strings.Cut(string(out), "_test.go:")
				what, _, _ = strings.Cut(what, "\n")
				t.Log(what)
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
