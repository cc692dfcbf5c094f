package director

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

func (h *house) ask(r AdminRequest) (AdminResult, error) {
	h.t.Helper()
	res, err := h.d.Admin(h.t.Context(), r)
	synctest.Wait()
	return res, err
}

func (h *house) must(r AdminRequest) AdminResult {
	h.t.Helper()
	res, err := h.ask(r)
	if err != nil {
		h.t.Errorf("%s %v: %v", r.Action, r.Targets, err)
	}
	return res
}

// wait lets time pass.
func (h *house) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDrainIsKeptOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		res := h.must(AdminRequest{Action: ActionDrain, Targets: []string{"web/a"}, For: time.Hour, Owner: "anna", Reason: "kernel\nupdate\x1b[2J"})
		h.want(rs1, 0)
		h.want(rs2, 1)
		x := res.Servers[0]
		if len(res.Servers) != 1 || x.StateBefore != ServerUp || x.StateAfter != ServerDrain || x.WeightBefore != 1 || x.WeightAfter != 0 || !x.Changed() {
			t.Errorf("result %+v", res)
		}
		if v := res.Services[0]; v.HealthyBefore != 2 || v.HealthyAfter != 1 || !v.UpAfter {
			t.Errorf("service %+v", v)
		}
		h.wait(10 * time.Minute)
		h.end()

		writes := h.kernel.Writes()
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.wait(10 * time.Second)
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes after a restart", n)
		}
		s := h.d.Refresh(t.Context()).Services[0].Servers[0]
		if s.State != ServerDrain || !s.Healthy || s.Admin.ModeBy.Owner != "anna" || s.Admin.ModeBy.Reason != "kernel update[2J" {
			t.Errorf("after the restart: %+v", s)
		}
		h.wait(time.Until(s.Admin.ModeBy.Expires) - time.Millisecond)
		h.want(rs1, 0)
		h.wait(time.Millisecond)
		h.want(rs1, 1)
		h.end()
		h.start() // and over is over
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		h.end()
	})
}

func TestAdminRefusesHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2, rs3)
		svc.Quorum = 2
		floor := service("api", "192.0.2.11", ipvsctl.TCP, rs1, rs2)
		floor.MinHealthy = 1
		h := newHouse(t, config(svc, floor))
		h.start()
		for _, a := range []string{rs1, rs2, rs3} {
			h.verdict(a, health.Up)
		}
		writes := h.kernel.Writes()
		for _, r := range []AdminRequest{
			{Action: ActionDrain, Targets: []string{"web"}},
			{Action: ActionDrain, Targets: []string{"web/[ab]"}, DryRun: true},
			{Action: ActionMaintenance, Targets: []string{"*/a", "web/" + rs2}},
			{Action: ActionWeight, Targets: []string{"web/10.0.0.2?"}, Weight: new(uint32(0))},
			{Action: ActionDrain, Targets: []string{"api/a"}},
		} {
			var refused *RefusedError
			if res, err := h.ask(r); !errors.As(err, &refused) || len(res.Objections) == 0 {
				t.Errorf("%s %v: %v, %+v", r.Action, r.Targets, err, res)
			}
		}
		res := h.must(AdminRequest{Action: ActionDrain, Targets: []string{"web/a"}, DryRun: true})
		if res.Services[0].HealthyAfter != 2 {
			t.Errorf("dry run: %+v", res)
		}
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes by what was refused or only tried", n)
		}
		for _, c := range []struct {
			r    AdminRequest
			want error
		}{
			{AdminRequest{Action: ActionDrain, Targets: []string{"web/x"}}, ErrNoTarget},
			{AdminRequest{Action: ActionDrain, Targets: []string{"web/["}}, ErrAdminRequest},
			{AdminRequest{Action: ActionDrain, Targets: []string{"/a"}}, ErrAdminRequest},
			{AdminRequest{Action: ActionDrain}, ErrAdminRequest},
			{AdminRequest{Action: ActionPause, Targets: []string{"web"}}, ErrAdminRequest},
			{AdminRequest{Action: ActionReady, Targets: []string{"web"}, For: time.Hour}, ErrAdminRequest},
			{AdminRequest{Action: ActionWeight, Targets: []string{"web"}, Weight: new(uint32(65536))}, ErrAdminRequest},
			{AdminRequest{Action: ActionDrain, Targets: []string{"web/a"}, For: -1}, ErrAdminRequest},
			{AdminRequest{Action: "undo"}, ErrAdminRequest},
		} {
			if _, err := h.ask(c.r); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v, want %v", c.r, err, c.want)
			}
		}

		h.must(AdminRequest{Action: ActionDrain, Targets: []string{"web"}, Force: true})
		h.must(AdminRequest{Action: ActionDrain, Targets: []string{"api/*"}, Force: true})
		for _, a := range []string{rs1, rs2, rs3} {
			h.want(a, 0)
		}
		if d := h.must(AdminRequest{Action: ActionReady, Targets: []string{"*"}}); len(d.Servers) != 5 || !d.Services[0].UpAfter {
			t.Errorf("ready: %+v", d)
		}
		h.want(rs1, 1)
		h.must(AdminRequest{Action: ActionWeight, Targets: []string{"web/b"}, Weight: new(uint32(9))})
		s := h.d.Refresh(t.Context()).Services[0]
		if w := s.Servers[1].Weight; w == nil || *w != 9 || s.HealthyWeight != 11 {
			t.Errorf("weight: %+v", s)
		}
		h.must(AdminRequest{Action: ActionWeight, Targets: []string{"web/b"}})
		if got := h.d.Refresh(t.Context()).Services[0].HealthyWeight; got != 3 {
			t.Errorf("healthy weight %d after auto", got)
		}
		h.end()
	})
}

// An order outlives a reload that takes its server away for a while, and can
// be taken back meanwhile.
func TestOrdersOutliveTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.must(AdminRequest{Action: ActionDrain, Targets: []string{"web/b"}})
		both := h.conf
		h.conf = config(service("web", vip, ipvsctl.TCP, rs1))
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.conf = both
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.verdict(rs2, health.Up)
		h.want(rs2, 0)
		h.conf = config(service("web", vip, ipvsctl.TCP, rs1))
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ask(AdminRequest{Action: ActionDrain, Targets: []string{"web/b"}}); !errors.Is(err, ErrNoTarget) {
			t.Error(err)
		}
		if res := h.must(AdminRequest{Action: ActionReady, Targets: []string{"web/b"}}); len(res.Servers) != 1 || res.Servers[0].Configured || !res.Servers[0].Changed() {
			t.Errorf("%+v", res)
		}
		h.end()
	})
}

func TestPauseFreezesTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(service("web", vip, ipvsctl.TCP, rs1, rs2))
		c.Sync = &conf.Sync{Interface: "eth1", ID: 51, Follow: "edge"}
		c.VRRP = []vrrp.Instance{{Name: "edge"}}
		h := newHouse(t, c)
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.role(1, vrrp.Init, vrrp.Backup, false)
		h.must(AdminRequest{Action: ActionPause, For: time.Hour, Owner: "anna", Reason: "surgery"})
		writes := h.kernel.Writes()
		h.verdict(rs1, health.Down)
		h.role(2, vrrp.Backup, vrrp.Master, false)
		h.must(AdminRequest{Action: ActionDrain, Targets: []string{"web/b"}, Force: true})
		h.wait(time.Minute)
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes in a pause", n)
		}
		// What people change meanwhile stands, and is seen.
		svc := c.Services[0].Service
		k := c.Services[0].Servers[1].Kernel
		k.Weight = 77
		if err := errors.Join(h.kernel.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.SetServer, Service: svc, Server: k}})...); err != nil {
			t.Fatal(err)
		}
		writes = h.kernel.Writes()
		h.wait(c.IPVS.ReconcileInterval)
		s := h.d.Refresh(t.Context())
		if w := s.Services[0].Servers[1].Weight; w == nil || *w != 77 || !s.Pause.On || s.Services[0].Servers[0].State != ServerDown {
			t.Errorf("in the pause: %+v", s.Services[0].Servers)
		}
		if !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.HasPrefix(w, "paused by anna until") }) {
			t.Errorf("warnings %q", s.Warnings)
		}
		h.end()

		h.start() // the next director keeps the pause, and does not lose its role for it
		h.verdict(rs1, health.Down)
		h.verdict(rs2, health.Up)
		h.wait(time.Minute)
		if p, n, _ := h.speaker.told(); !p.Ready || !n.Ready || !strings.Contains(n.Status, "paused") {
			t.Errorf("in a pause: %+v %+v", p, n)
		}
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes in a pause after a restart", n)
		}
		h.wait(time.Until(h.d.Snapshot().Pause.By.Expires) - time.Millisecond)
		h.want(rs2, 77)
		h.wait(time.Millisecond)
		h.want(rs1, 0)
		h.want(rs2, 0)

		h.must(AdminRequest{Action: ActionPause})
		h.must(AdminRequest{Action: ActionReady, Targets: []string{"web"}})
		h.want(rs2, 0)
		h.must(AdminRequest{Action: ActionResume})
		h.want(rs2, 1)
		h.must(AdminRequest{Action: ActionPause})
		c.IPVS.OnStop = conf.StopRemove
		if err := h.d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		h.want(rs2, 1) // a pause holds at the end too
		h.end()
	})
}

func TestSorryServerInTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
		svc.Quorum, svc.Sorry, svc.OnQuorumLoss, svc.RemoveAfter = 2, sorryServer(), conf.QuorumSorry, new(30*time.Second)
		h := newHouse(t, config(svc))
		h.start()
		h.verdict(rs1, health.Up)
		h.want(sorryAddr, -1)
		h.verdict(rs2, health.Up)
		h.want(sorryAddr, -1)
		h.verdict(rs1, health.Down)
		h.want(sorryAddr, 1)
		h.want(rs2, 0)
		if s := h.d.Refresh(t.Context()).Services[0]; !s.SorryActive || s.Up || s.HealthyWeight != 1 {
			t.Errorf("%+v", s)
		}
		h.wait(time.Minute)
		writes := h.kernel.Writes()
		h.end()
		h.start()
		h.verdict(rs1, health.Down)
		h.verdict(rs2, health.Up)
		h.wait(time.Minute)
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes after a restart with the sorry server in", n)
		}
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		h.want(rs2, 1)
		h.want(sorryAddr, 0)
		h.wait(30 * time.Second)
		h.want(sorryAddr, -1)
		h.end()
	})
}

func TestSlowStartGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
		svc.Servers[0].Kernel.Weight, svc.Servers[1].Kernel.Weight = 100, 100
		svc.SlowStart = 20 * time.Second
		h := newHouse(t, config(svc))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.want(rs1, 100) // the start is none
		h.verdict(rs1, health.Down)
		h.wait(time.Minute)
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		h.wait(10 * time.Second)
		h.want(rs1, 50)
		writes := h.kernel.Writes()
		h.end()
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes after a restart", n)
		}
		h.wait(5 * time.Second)
		h.want(rs1, 75)
		h.wait(5 * time.Second)
		h.want(rs1, 100)

		// A changed check confirms its inherited verdict: no new start.
		changed := config(svc)
		changed.Services[0].Servers = slices.Clone(svc.Servers)
		changed.Services[0].Servers[1].Checks = []conf.Check{{Name: "tcp", Spec: spec(rs2, 80)}}
		changed.Services[0].Servers[1].Checks[0].Spec.Fall = 7
		h.conf = changed
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.d.OnChange(health.Change{Key: changed.Services[0].Servers[1].Checks[0].Spec.Key(), To: health.Up, At: time.Now()})
		synctest.Wait()
		h.want(rs2, 100)
		h.must(AdminRequest{Action: ActionMaintenance, Targets: []string{"web/a"}, For: time.Minute})
		h.wait(time.Minute)
		h.want(rs1, 1) // it may have been off
		h.wait(10 * time.Second)
		h.want(rs1, 50)
		h.end()
	})
}

func TestWithdrawReachesTheSpeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1)
		svc.OnQuorumLoss, svc.VRRP = conf.QuorumWithdraw, "edge"
		c := config(svc)
		c.VRRP = []vrrp.Instance{{Name: "edge"}}
		h := newHouse(t, c)
		h.start()
		h.verdict(rs1, health.Up)
		expect := func(when string, want map[string]link.InstancePosture) {
			t.Helper()
			if p, _, _ := h.speaker.told(); !p.Ready || !cmp.Equal(p.Instances, want) {
				t.Errorf("%s: %+v", when, p)
			}
		}
		expect("up", nil)
		h.verdict(rs1, health.Down)
		expect("lost", map[string]link.InstancePosture{"edge": {Deltas: []int{WithdrawDelta}}})
		h.verdict(rs1, health.Up)
		expect("back", nil)
		h.end()
	})
}

func TestAdminFile(t *testing.T) {
	dir := t.TempDir()
	since := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	want := map[ServerID]Admin{
		{"web", "a"}: {Mode: AdminDrain, ModeBy: Order{Owner: "anna", Reason: "because", Since: since, Expires: since.Add(time.Hour), Force: true}},
		{"web", "b"}: {Weight: new(uint32(0)), WeightBy: Order{Since: since}, Mode: AdminMaintenance, ModeBy: Order{Since: since}},
	}
	pause := Pause{On: true, By: Order{Owner: "bert", Since: since}}
	if err := saveAdmin(dir, want, pause); err != nil {
		t.Fatal(err)
	}
	got, p, err := loadAdmin(dir)
	if err != nil || p != pause {
		t.Errorf("%+v %v", p, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if st, err := os.Stat(filepath.Join(dir, adminFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "{", "another version": `{"version":2,"servers":[]}`, "a list": "[]", "too large": strings.Repeat(" ", adminLimit+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, adminFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, p, err := loadAdmin(dir); err == nil || len(m) > 0 || m == nil || p.On || !strings.Contains(err.Error(), adminFile) {
			t.Errorf("%s: %v %v %v", name, m, p, err)
		}
	}
	if m, p, err := loadAdmin(t.TempDir()); err != nil || m == nil || p.On {
		t.Errorf("a missing file: %v %v %v", m, p, err)
	}
}

func TestAdminFileIsNotBelieved(t *testing.T) {
	m, p, err := parseAdmin([]byte(`{"version":1,"pause":{"since":"9999-12-31T23:59:59-23:59"},"servers":[
	 {"service":"web","server":"a","mode":"destroy","mode_by":{"since":"2026-01-02T03:04:05Z"}},
	 {"service":"web","server":"b","mode":"drain"},
	 {"service":"web","server":"c","weight":70000,"weight_by":{"since":"2026-01-02T03:04:05Z"}},
	 {"service":"../x","server":"d","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05Z"}},
	 {"service":"web\u001b","server":"d","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05Z"}},
	 {"service":"web","server":"","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05Z"}},
	 {"service":"web","server":"e","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05Z","expires":"0001-01-02T00:00:00Z"}},
	 {"service":"web","server":"f","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05Z","owner":"\u001b]0;x\u0007 \n","reason":"` + strings.Repeat("ä", 300) + `"}}]}`))
	if err != nil || p.On {
		t.Error(p, err)
	}
	want := map[ServerID]Admin{{"web", "f"}: {Mode: AdminDrain, ModeBy: Order{Owner: "]0;x", Reason: strings.Repeat("ä", 200), Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

// Whatever the file holds: what is read can be written, and reads back the same.
func FuzzAdminFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"pause":{"since":"2026-01-02T03:04:05Z"},"servers":[{"service":"web","server":"a","mode":"drain","mode_by":{"since":"2026-01-02T03:04:05.1+02:00","expires":"2027-01-02T03:04:05Z","force":true,"owner":"x","reason":"\ufffd y"}}]}`))
	f.Add([]byte(`{"version":1,"servers":[{"service":"web","server":"b","weight":1,"weight_by":{"since":"0000-01-01T00:00:00Z"}}]}`))
	f.Add([]byte(`{"version":1,"servers":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, p, err := parseAdmin(b)
		if err != nil {
			return
		}
		text, err := encodeAdmin(m, p)
		if err != nil {
			t.Fatal(err)
		}
		m2, p2, err := parseAdmin(text)
		if err != nil || p2 != p {
			t.Fatalf("%v: %+v, then %+v\n%s", err, p, p2, text)
		}
		if diff := cmp.Diff(m, m2); diff != "" {
			t.Fatal(diff)
		}
	})
}
