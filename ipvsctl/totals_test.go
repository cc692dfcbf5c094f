package ipvsctl_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvs-ha/ipvsctl"
)

const totals = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
      2A 100000001       10             FFFF                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        2        3                4                A
`

func TestParseTotals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ip_vs_stats")
	if err := os.WriteFile(path, []byte(totals), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ipvsctl.ReadTotalsFile(path)
	want := ipvsctl.Counters{Connections: 42, InPackets: 1<<32 + 1, OutPackets: 16, InBytes: 65535,
		CPS: 1, InPPS: 2, OutPPS: 3, InBPS: 4, OutBPS: 10}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ipvsctl.ReadTotalsFile(path + ".none"); !errors.Is(err, ipvsctl.ErrNoIPVS) {
		t.Errorf("no file: %v", err)
	}
	for _, bad := range []string{"", "1 2 3 4 5\n", "1 2 3 4\n1 2 3 4 5\n", "1 2 3 4 x\n1 2 3 4 5\n", totals + "1 2 3 4 5\n"} {
		if c, err := ipvsctl.ParseTotals(strings.NewReader(bad)); err == nil || c != (ipvsctl.Counters{}) {
			t.Errorf("%q gives %+v, %v", bad, c, err)
		}
	}
}

// FuzzParseTotals: no panic, and what is read is what stands there.
func FuzzParseTotals(f *testing.F) {
	f.Add(totals)
	f.Add("0 0 0 0 0\n0 0 0 0 0")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := ipvsctl.ParseTotals(strings.NewReader(in))
		if err != nil {
			return
		}
		out := fmt.Sprintf("%8X %8X %8X %16X %16X\n\n%8X %8X %8X %16X %16X\n", c.Connections, c.InPackets, c.OutPackets, c.InBytes, c.OutBytes,
			c.CPS, c.InPPS, c.OutPPS, c.InBPS, c.OutBPS)
		if again, err := ipvsctl.ParseTotals(strings.NewReader(out)); err != nil || again != c {
			t.Errorf("%q gives %+v, and then %+v, %v", in, c, again, err)
		}
	})
}
