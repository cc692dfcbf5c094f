package metrics

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/fresh"
	"lvs-ha/vrrp"
)

var update = flag.Bool("update", false, "write golden files and lists")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (run with -update to accept), -want +got:\n%s", path, d)
	}
}

func pedantic(t testing.TB, s *director.Snapshot) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(newCollector(fresh.NewReader(still(s), time.Second), testBuild)); err != nil {
		t.Fatal(err)
	}
	return reg
}

func get(t testing.TB, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestExposition(t *testing.T) {
	code, body := get(t, New(still(fixture()), testBuild), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	// go_* and process_* change from run to run: only that they are there.
	var ours bytes.Buffer
	foreign := map[string]bool{}
	for line := range strings.Lines(body) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if strings.HasPrefix(name, "lvs_ha_") {
			ours.WriteString(line)
		} else {
			foreign[name[:strings.Index(name, "_")]] = true
		}
	}
	golden(t, "testdata/exposition.txt", ours.Bytes())
	if d := cmp.Diff(map[string]bool{"go": true, "process": true}, foreign); d != "" {
		t.Error(d)
	}
}

func TestPedanticAndLint(t *testing.T) {
	for name, s := range map[string]*director.Snapshot{
		"full": fixture(), "bare": {Node: "lb1"}, "nothing heard": {Node: "lb1", Kernel: director.KernelStatus{Used: true}},
	} {
		problems, err := testutil.GatherAndLint(pedantic(t, s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

func TestEveryFamilyIsShownAndExplained(t *testing.T) {
	shown := map[string]string{}
	families_, err := pedantic(t, fixture()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families_ {
		shown[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	seen := map[string]bool{}
	for _, f := range families(testBuild) {
		if seen[f.name] {
			t.Errorf("%s is listed twice", f.name)
		}
		seen[f.name] = true
		if shown[f.name] != f.kind.String() {
			t.Errorf("%s: shown as %q, want %s; the fixture must fill it", f.name, shown[f.name], f.kind)
		}
		if !strings.HasSuffix(f.help, ".") || len(f.help) < 10 {
			t.Errorf("%s: help %q is not a sentence", f.name, f.help)
		}
		if (f.kind == counter) != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s: is a %s", f.name, f.kind)
		}
		for _, l := range f.labels {
			if l == "instance" || l == "job" || l == labelCluster {
				t.Errorf("%s: label %s is reserved", f.name, l)
			}
		}
	}
}

// What the configuration names is there before anything has happened.
func TestZeroFromTheStart(t *testing.T) {
	s := fixture()
	s.Speaker.Instances[0].Transitions, s.Speaker.Instances[0].Dropped = nil, nil
	s.Kernel.Operations, s.Kernel.Drift, s.Logged = nil, nil, nil
	for i := range s.Services[0].Servers {
		r := &s.Services[0].Servers[i]
		r.TransitionsUp, r.TransitionsDown = 0, 0
		r.Checks[0].Status = health.Status{Spec: r.Checks[0].Status.Spec}
	}
	_, body := get(t, New(still(s), testBuild), "/metrics")
	for _, want := range []string{
		`lvs_ha_vrrp_transitions_total{cluster="edge-fra1",to="master",vrrp_instance="edge"} 0`,
		`lvs_ha_vrrp_state{cluster="edge-fra1",state="releasing",vrrp_instance="edge"} 0`,
		`lvs_ha_vrrp_advertisements_dropped_total{cluster="edge-fra1",reason="checksum",vrrp_instance="edge"} 0`,
		`lvs_ha_server_transitions_total{cluster="edge-fra1",server="web3",service="web",to="down"} 0`,
		`lvs_ha_check_failures_total{check="http-ok",cluster="edge-fra1",reason="tls",service="web"} 0`,
		`lvs_ha_check_runs_total{check="http-ok",cluster="edge-fra1",result="ok",server="web1",service="web"} 0`,
		`lvs_ha_check_duration_seconds_count{check="http-ok",cluster="edge-fra1",service="web"} 0`,
		`lvs_ha_ipvs_operations_total{cluster="edge-fra1",operation="delete_server",result="error"} 0`,
		`lvs_ha_ipvs_drift_total{cluster="edge-fra1",kind="missing_service"} 0`,
		`lvs_ha_log_messages_total{cluster="edge-fra1",level="error",process="director"} 0`,
		`lvs_ha_service_servers{cluster="edge-fra1",service="ftp",state="drain"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
}

// Text from outside never becomes a label: values are configured names or
// words of closed sets.
func TestHostileText(t *testing.T) {
	s := fixture()
	const evil = "evil\"}\n\xff<script>"
	s.Speaker.Instances[0].Reason = evil
	s.Speaker.Realtime = evil
	s.Speaker.Logged = map[string]uint64{evil: 1}
	s.Speaker.Instances[0].Transitions = map[string]uint64{evil: 1}
	s.Speaker.Instances[0].Dropped = map[string]uint64{evil: 1}
	s.Logged = map[string]uint64{evil: 2}
	s.Kernel.Error, s.Config.LastError = evil, evil
	s.Kernel.Drift = map[string]uint64{evil: 1}
	s.Kernel.Operations = map[director.OperationResult]uint64{{Operation: evil, Result: evil}: 1, {Operation: evil + "2", Result: evil}: 1}
	s.Warnings = []string{evil}
	c := &s.Services[0].Servers[0].Checks[0].Status
	c.Failed = map[health.Reason]uint64{evil: 9}
	c.LastFailure = &health.Failure{Reason: evil, Detail: evil}
	s.Services[0].Servers[0].Why = evil
	if problems, err := testutil.GatherAndLint(pedantic(t, s)); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
	code, body := get(t, New(still(s), testBuild), "/metrics")
	if code != http.StatusOK || strings.Contains(body, "evil") {
		t.Errorf("status %d; hostile text is shown: %v", code, regexp.MustCompile(`(?m)^.*evil.*$`).FindString(body))
	}
	for _, path := range []string{"/healthz", "/readyz", "/role/edge", "/role/%22evil%00", "/"} {
		if _, body := get(t, New(still(s), testBuild), path); strings.Contains(body, "evil") {
			t.Errorf("%s shows hostile text: %q", path, body)
		}
	}
}

// A snapshot that should not be (two servers of one name) costs the doubles, not the scrape.
func TestDoubleNames(t *testing.T) {
	s := fixture()
	s.Services[0].Servers = append(s.Services[0].Servers, s.Services[0].Servers[0])
	code, body := get(t, New(still(s), testBuild), "/metrics")
	if code != http.StatusOK || !strings.Contains(body, `lvs_ha_server_up{cluster="edge-fra1",server="web1",service="web"} 1`) {
		t.Errorf("status %d, %d octets", code, len(body))
	}
}

func TestHangingDirector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := still(fixture())
		release := make(chan struct{})
		src.refresh = func(context.Context) { <-release }
		h := New(src, testBuild)
		for _, path := range []string{"/metrics", "/readyz", "/role/edge", "/healthz"} {
			start := time.Now()
			code, _ := get(t, h, path)
			if took := time.Since(start); code != http.StatusOK || took > 2*time.Second {
				t.Errorf("%s: status %d after %v, want 200 within 2s", path, code, took)
			}
		}
		close(release)
	})
}

func TestNoSnapshotYet(t *testing.T) {
	h := New(&source{}, testBuild)
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 503, "/role/edge": 503} {
		if code, _ := get(t, h, path); code != want {
			t.Errorf("%s: status %d, want %d", path, code, want)
		}
	}
}

func TestReadyz(t *testing.T) {
	for _, c := range []struct {
		change func(s *director.Snapshot)
		code   int
		text   string
	}{
		{func(*director.Snapshot) {}, 200, "ready\n"},
		{func(s *director.Snapshot) { s.Ready = false }, 503, "not ready: not every service is judged and applied yet\n"},
		{func(s *director.Snapshot) { s.Kernel.Up = false }, 503, "not ready: the kernel's IPVS table cannot be read\n"},
		{func(s *director.Snapshot) { s.Kernel.Up, s.Kernel.Used = false, false }, 200, "ready\n"},
		{func(s *director.Snapshot) { s.Speaker = nil }, 503, "not ready: the speaker has not answered yet\n"},
	} {
		s := fixture()
		c.change(s)
		if code, text := get(t, New(still(s), testBuild), "/readyz"); code != c.code || text != c.text {
			t.Errorf("got %d %q, want %d %q", code, text, c.code, c.text)
		}
	}
}

func TestRole(t *testing.T) {
	s := fixture()
	h := New(still(s), testBuild)
	for _, st := range vrrp.States {
		s.Speaker.Instances[0].State = st
		want := 503
		if st == vrrp.Master {
			want = 200
		}
		if code, text := get(t, h, "/role/edge"); code != want || text != st.String()+"\n" {
			t.Errorf("%s: got %d %q, want %d", st, code, text, want)
		}
	}
	for path, want := range map[string]int{"/role/other": 404, "/role/": 404, "/role/a/b": 404, "/nothing": 404} {
		if code, _ := get(t, h, path); code != want {
			t.Errorf("%s: got %d, want %d", path, code, want)
		}
	}
}

func TestOnlyReading(t *testing.T) {
	h := New(still(fixture()), testBuild)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/metrics", nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d", method, w.Code)
		}
	}
}

func BenchmarkScrape5000Servers(b *testing.B) {
	h := New(still(large(5000)), testBuild)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		w.Body = nil
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
