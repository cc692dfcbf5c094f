package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/director"
)

// adminResult has something in every field.
func adminResult() director.AdminResult {
	since := time.Date(2026, 11, 17, 15, 2, 11, 0, time.FixedZone("CET", 3600))
	return director.AdminResult{
		Servers: []director.AdminServer{
			{ID: director.ServerID{Service: "web", Server: "web1"}, Configured: true, StateBefore: director.ServerUp, StateAfter: director.ServerDrain,
				WeightBefore: 10, WeightAfter: 0, Why: "drained by anna",
				After: director.Admin{Mode: director.AdminDrain, ModeBy: director.Order{Owner: "anna", Reason: "kernel update", Since: since, Expires: since.Add(time.Hour)}}},
			{ID: director.ServerID{Service: "web", Server: "gone"}, Before: director.Admin{Mode: director.AdminDrain}},
		},
		Services: []director.AdminService{{Name: "web", Quorum: 15, ConfiguredWeight: 25, HealthyBefore: 25, HealthyAfter: 15, UpBefore: true, UpAfter: true,
			FloorWeight: 13}},
		Pause:      director.Pause{On: true, By: director.Order{Owner: "bert", Since: since, Force: true}},
		Objections: []string{"harm"}, Unsaved: "disk full",
	}
}

func TestAdminDocument(t *testing.T) {
	golden(t, "testdata/admin.json", newAdminDocument(adminResult(), true))
	golden(t, "testdata/admin-bare.json", newAdminDocument(director.AdminResult{}, false))
	for _, r := range []director.AdminResult{adminResult(), {}} {
		b, err := json.Marshal(newAdminDocument(r, true))
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

func TestAdmin(t *testing.T) {
	var got director.AdminRequest
	var answer error
	path := serve(t, Options{Source: still(fixture()), Admin: func(_ context.Context, r director.AdminRequest) (director.AdminResult, error) {
		got = r
		return adminResult(), answer
	}})
	c := NewClient(path)
	q := AdminRequest{Action: "weight", Targets: []string{"web/*"}, Weight: new(uint32(0)), For: 1.5, Reason: "why", Owner: "anna", DryRun: true}
	d, raw, err := c.Admin(t.Context(), q)
	if err != nil || d.Done || len(d.Servers) != 2 || !json.Valid(raw) {
		t.Errorf("%+v %v", d, err)
	}
	if got.Action != director.ActionWeight || got.For != 1500*time.Millisecond || *got.Weight != 0 || !got.DryRun || got.Force || got.Targets[0] != "web/*" {
		t.Errorf("request %+v", got)
	}
	if d, _, _ := c.Admin(t.Context(), AdminRequest{Action: "drain", Targets: []string{"x"}, Force: true}); !d.Done || !got.Force {
		t.Errorf("%+v %+v", d, got)
	}
	for _, x := range []struct {
		err  error
		code Code
		text string
	}{
		{&director.RefusedError{Objections: []string{"one", "two"}}, CodeRefused, "one; two; --force does it all the same"},
		{fmt.Errorf("%w by %q", director.ErrNoTarget, "web/x"), CodeUsage, `by "web/x"`},
		{fmt.Errorf("%w: what", director.ErrAdminRequest), CodeUsage, "what"},
		{context.DeadlineExceeded, CodeTimeout, ""},
		{fmt.Errorf("odd"), CodeInternal, "odd"},
	} {
		answer = x.err
		if _, _, err := c.Admin(t.Context(), q); code(err) != x.code || !strings.Contains(err.Error(), x.text) {
			t.Errorf("%v became %v", x.err, err)
		}
	}
	for _, body := range []string{"", "{", `{"action":"drain","extra":1}`, `{"action":"drain","for":-1}`, `{"action":"drain","for":1e300}`, `{"weight":-1}`, `{"weight":1.5}`,
		`{"targets":[` + strings.Repeat(`"x",`, 2000) + `"x"]}`, strings.Repeat(" ", adminLimit+1) + "{}"} {
		if _, err := c.do(t.Context(), "POST", "/v1/admin", []byte(body)); code(err) != CodeUsage {
			t.Errorf("%.60q: %v", body, err)
		}
	}
}

func TestAdminOwner(t *testing.T) {
	for _, c := range []struct {
		uid        uint32
		said, want string
	}{{0, "anna", "anna"}, {0, "", "root"}, {3999999999, "anna", "uid 3999999999"}} {
		if got := (peer{uid: c.uid}).name(c.said); got != c.want {
			t.Errorf("uid %d who says %q is %q, want %q", c.uid, c.said, got, c.want)
		}
	}
	path := serve(t, Options{Source: still(fixture())})
	if _, _, err := NewClient(path).Admin(t.Context(), AdminRequest{Action: "pause"}); code(err) != CodeUsage {
		t.Errorf("an agent that cannot: %v", err)
	}
}
