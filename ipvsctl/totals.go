package ipvsctl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// TotalsPath is where the kernel shows the sums over all services, in the
// network namespace of the reading thread. There is no netlink request for them.
const TotalsPath = "/proc/net/ip_vs_stats"

// totalsLimit is more than any kernel writes; the rest is not read.
const totalsLimit = 4 << 10

// ParseTotals reads the format of /proc/net/ip_vs_stats: two lines of heads,
// the sums, and the same of the rates, all hexadecimal
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_stats_show).
func ParseTotals(r io.Reader) (Counters, error) {
	var c Counters
	text, err := io.ReadAll(io.LimitReader(r, totalsLimit))
	if err != nil {
		return c, fmt.Errorf("counters of IPVS: %w", err)
	}
	rows := [][]*uint64{
		{&c.Connections, &c.InPackets, &c.OutPackets, &c.InBytes, &c.OutBytes},
		{&c.CPS, &c.InPPS, &c.OutPPS, &c.InBPS, &c.OutBPS},
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "Total" || strings.HasPrefix(w[0], "Conns") {
			continue
		}
		if n == len(rows) {
			return Counters{}, fmt.Errorf("counters of IPVS: %d rows are one too many", n+1)
		}
		if len(w) != len(rows[n]) {
			return Counters{}, fmt.Errorf("counters of IPVS: %d columns, want %d", len(w), len(rows[n]))
		}
		for i, to := range rows[n] {
			if *to, err = strconv.ParseUint(w[i], 16, 64); err != nil {
				return Counters{}, fmt.Errorf("counters of IPVS: %q is no number", w[i])
			}
		}
		n++
	}
	if n < len(rows) {
		return Counters{}, fmt.Errorf("counters of IPVS: %d rows, want %d", n, len(rows))
	}
	return c, nil
}

// ReadTotalsFile is ParseTotals of a file, usually TotalsPath.
func ReadTotalsFile(path string) (Counters, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Counters{}, fmt.Errorf("%w (no %s)", ErrNoIPVS, path)
	}
	if err != nil {
		return Counters{}, fmt.Errorf("cannot read the counters of IPVS: %w", err)
	}
	defer f.Close()
	return ParseTotals(f)
}
