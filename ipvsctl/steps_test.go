package ipvsctl_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// TestNewsProperties: whatever changes in the course of passes, and whatever
// others did before, the kernel holds the goal as it is in the end once the
// servers that changed were looked at again; and what overtook a pass is taken
// for nobody else's work.
func TestNewsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := ipvsctltest.NewFake()
		fill(t, f, genTable(6).Draw(t, "have"))
		r := ipvsctl.NewReconciler(f, nil)
		r.SetContention(0, 0, 0)
		have, _ := f.Dump(t.Context())
		g := genGoal(have).Draw(t, "g")
		var refs []ipvsctl.ServerRef
		r.SetNews(func() []ipvsctl.ServerRef {
			from := len(refs)
			for range rapid.IntRange(0, 2).Draw(t, "news") {
				if len(g.Table) == 0 {
					break
				}
				k := rapid.SampledFrom(g.Table.Keys()).Draw(t, "service")
				srv := ipvsctl.Server{Key: rs(rapid.IntRange(0, 5).Draw(t, "server")), Forward: ipvsctl.Tunnel, Weight: rapid.Uint32Range(0, 2).Draw(t, "weight")}
				if have, ok := g.Table[k].Servers[srv.Key]; ok {
					have.Weight, srv = srv.Weight, have
				}
				if delete(g.Keep[k], srv.Key); rapid.IntRange(0, 2).Draw(t, "gone") == 0 {
					delete(g.Table[k].Servers, srv.Key)
				} else {
					g.Table[k].Servers[srv.Key] = srv
				}
				refs = append(refs, ipvsctl.ServerRef{Service: k, Server: srv.Key})
			}
			return refs[from:]
		})
		for range rapid.IntRange(1, 3).Draw(t, "passes") {
			pass := r.Full
			if rapid.Bool().Draw(t, "quick") {
				pass = r.Quick
			}
			tampered := rapid.Bool().Draw(t, "tamper")
			if tampered {
				now, _ := f.Dump(t.Context())
				theirs := genGoal(now).Draw(t, "theirs")
				if err := f.Tamper(ipvsctl.Diff(now, theirs)...); err != nil {
					t.Fatal(err)
				}
				pass = r.Full
			}
			rep, err := pass(t.Context(), g)
			if err != nil || len(rep.Failed) != 0 || len(rep.Drift) > 0 && !tampered {
				t.Fatalf("%v, failed %v, drift %v", err, rep.Failed, rep.Drift)
			}
			now, _ := f.Dump(t.Context())
			if d := cmp.Diff(now, rep.Table, cmpAddr); d != "" {
				t.Fatal(d)
			}
		}
		r.SetNews(nil)
		if rep, err := r.QuickServers(t.Context(), g, refs); err != nil || len(rep.Failed) != 0 {
			t.Fatalf("%v, failed %v", err, rep.Failed)
		}
		now, _ := f.Dump(t.Context())
		if again := ipvsctl.Diff(now, g); len(again) != 0 {
			t.Fatalf("left to do: %q", lines(again))
		}
		if rep, err := r.Full(t.Context(), g); err != nil || len(rep.Done)+len(rep.Drift) > 0 {
			t.Fatalf("%v, a further pass did %v and repaired %v", err, rep.Done, rep.Drift)
		}
	})
}
