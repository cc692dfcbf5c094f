package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseTable(t *testing.T) {
	got := parseTable(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000064:0050 rr
  -> 0A000016:0050      Route   1      0          0
  -> 0A000015:0050      Route   0      3          4
FWM  00000007 wlc
  -> 0A000015:0000      Masq    100    0          0
`)
	want := weights{
		"TCP 0A000064:0050": isService, "TCP 0A000064:0050 0A000016:0050": "1", "TCP 0A000064:0050 0A000015:0050": "0",
		"FWM 00000007": isService, "FWM 00000007 0A000015:0000": "100",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%q is %q, wanted %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

func TestGaps(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(ms ...int) []time.Time {
		v := make([]time.Time, len(ms))
		for i, m := range ms {
			v[i] = begin.Add(time.Duration(m) * time.Millisecond)
		}
		return v
	}
	end := begin.Add(100 * time.Millisecond)
	for _, c := range []struct {
		name    string
		ok, bad []time.Time
		want    []gap
	}{
		{"all well", at(10, 20), nil, nil},
		{"two lost in between", at(10, 40), at(20, 30), []gap{{at(10)[0].UnixNano(), 30, 2}}},
		{"lost at the start", at(30), at(10), []gap{{begin.UnixNano(), 30, 1}}},
		{"lost to the end", at(30), at(50, 60), []gap{{at(30)[0].UnixNano(), 70, 2}}},
		{"nothing went well", nil, at(1, 2, 3), []gap{{begin.UnixNano(), 100, 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := gaps(begin, end, c.ok, c.bad); !slices.Equal(got, c.want) {
				t.Errorf("got %v, wanted %v", got, c.want)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	f := figure{"failover", "cut 0.1 s", "keepalived", "ms", numbers("3 - 1 2.5")}
	if !slices.Equal(f.runs, []float64{1, 2.5, 3}) {
		t.Fatalf("runs are %v", f.runs)
	}
	back, ok := parseFigure(f.String())
	if !ok || back.String() != f.String() {
		t.Fatalf("%q came back as %q", f, back)
	}
	if _, ok := parseFigure("failover cut 3 1 2.5"); ok {
		t.Error("a line that is no figure was read as one")
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	err := writeTables(&b, []figure{
		{"failover", "cut", "keepalived", "ms", []float64{300, 310, 320, 400}},
		{"failover", "cut", "lvs-ha", "ms", []float64{100, 105, 110}},
		{"failover", "term", "keepalived", "ms", []float64{60}},
		{"failover", "term", "lvs-ha", "ms", []float64{0}},
		{"failover", "back", "keepalived", "ms", []float64{0}},
		{"failover", "back", "lvs-ha", "ms", []float64{0}},
		{"scale", "1000", "lvs-ha", "s", []float64{0.05}},
		{"scale", "memory", "lvs-ha", "kB", []float64{14480, 14490.4}},
		{"repair", "all", "lvs-ha", "ms", []float64{30}},
		{"repair", "all", "ipvsadm", "ms", []float64{60}},
	}, []string{"keepalived", "lvs-ha"})
	if err != nil {
		t.Fatal(err)
	}
	want := `
failover  unit  keepalived         lvs-ha             lvs-ha/keepalived
cut       ms    315 [300-400] (4)  105 [100-110] (3)  0.33
term      ms    60                 0                  0.00
back      ms    0                  0                  equal

scale   unit  keepalived  lvs-ha                   lvs-ha/keepalived
1000    s     -           0.05                     -
memory  kB    -           14485 [14480-14490] (2)  -

repair  unit  ipvsadm  lvs-ha  lvs-ha/ipvsadm
all     ms    60       30      0.50
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwanted\n%s", got, want)
	}
	if err := writeTables(&b, nil, []string{"a", "b"}); err == nil {
		t.Error("no figure at all is no error")
	}
}
