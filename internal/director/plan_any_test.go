package director

import (
	"testing"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
)

func TestOneCheckThatPassesIsEnough(t *testing.T) {
	at := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }
	up := func(n int) Verdict { return Verdict{State: health.Up, Since: at(n)} }
	down := func(n int) Verdict { return Verdict{State: health.Down, Since: at(n)} }
	asks := func(v Verdict, percent uint32) Verdict {
		v.Advice = health.Advice{Kind: health.AdvisePercent, Value: percent}
		return v
	}
	for _, c := range []struct {
		name  string
		have  []Verdict
		want  Verdict
		check string
	}{
		{"both pass", []Verdict{up(2), up(1)}, up(1), ""},
		{"first passes", []Verdict{up(2), down(1)}, up(2), ""},
		{"last passes", []Verdict{down(2), up(3)}, up(3), ""},
		{"one is not known", []Verdict{down(2), {}}, Verdict{}, "b"},
		{"one is not known, first", []Verdict{{}, down(2)}, Verdict{}, "a"},
		{"not known and up", []Verdict{{}, up(1)}, up(1), ""},
		{"none passes", []Verdict{down(2), down(4)}, down(4), "b"},
		{"none passes, the first failed last", []Verdict{down(5), down(4)}, down(5), "a"},
		{"the lesser advice", []Verdict{asks(up(2), 80), asks(up(1), 90)}, asks(up(1), 80), ""},
		{"advice of one that fails", []Verdict{up(2), asks(down(1), 10)}, up(2), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := &TopologyServer{Conf: &conf.Server{AnyCheck: true, Checks: []conf.Check{{Name: "a"}, {Name: "b"}}}, Keys: []health.Key{"a", "b"}}
			srv.Conf.Kernel.Weight = 100
			s := &State{Verdicts: map[health.Key]Verdict{"a": c.have[0], "b": c.have[1]}}
			if got, name := combine(s, srv); got != c.want || name != c.check {
				t.Errorf("%+v by %q, want %+v by %q", got, name, c.want, c.check)
			}
		})
	}
	srv := &TopologyServer{Conf: &conf.Server{AnyCheck: true}}
	if v, _ := combine(&State{}, srv); v.State != health.Up {
		t.Error("a server without checks is", v.State)
	}
}
