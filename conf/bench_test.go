package conf

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// manyServers is a file as a large site has it: n servers, a hundred to a
// service, a check.
func manyServers(n int, timeout string) []byte {
	var s strings.Builder
	fmt.Fprintf(&s, `version = 1
cluster = "bench"
[nodes.a]
[nodes.a.vrrp.edge]
priority = 200
[vrrp.edge]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.100/32"]
[defaults]
start = "up"
on_failure = "remove"
[defaults.check]
interval = "1s"
timeout = %q
[check.lab]
type = "tcp"
`, timeout)
	for i := range n {
		if i%100 == 0 {
			if i > 0 {
				s.WriteString("]\n")
			}
			fmt.Fprintf(&s, `
[[service]]
name = "s%d"
address = "10.0.0.100"
port = %d
protocol = "tcp"
scheduler = "rr"
forward = "dr"
checks = ["lab"]
servers = [
`, i/100+1, 1000+i/100)
		}
		fmt.Fprintf(&s, "  { name = \"r%d\", address = \"10.8.%d.%d\", port = %d, weight = 1 },\n", i+1, i/250, i%250+1, 1000+i/100)
	}
	s.WriteString("]\n")
	return []byte(s.String())
}

// BenchmarkParse has something to report in its second case, so that the
// positions are looked up, in the third a server in each list that is not
// read as a row, and in the fourth something to report in each list. kept-B is
// the size of the configuration itself.
func BenchmarkParse(b *testing.B) {
	for _, x := range []struct {
		name    string
		n       int
		timeout string
		old     string
		new     string
	}{
		{name: "5000", n: 5000, timeout: "1s"},
		{name: "5000-warning", n: 5000, timeout: "2s"},
		{name: "5000-tables", n: 5000, timeout: "1s", old: "1 },\n]", new: "1, forward = \"dr\" },\n]"},
		{name: "5000-shared-port", n: 5000, timeout: "1s", old: "\nport = 1", new: "\nport = 2"},
		{name: "10000", n: 10000, timeout: "1s"},
	} {
		data := manyServers(x.n, x.timeout)
		if x.old != "" {
			data = bytes.ReplaceAll(data, []byte(x.old), []byte(x.new))
		}
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			var c *Config
			for b.Loop() {
				var ps Problems
				if c, ps = Parse("x.toml", data, "a"); c == nil || len(c.Services) != x.n/100 {
					b.Fatal(ps)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(live(c)), "kept-B")
		})
	}
}

// live is how much memory a configuration holds.
func live(c *Config) int64 {
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(c)
	c = nil
	runtime.GC()
	runtime.ReadMemStats(&without)
	return int64(with.HeapAlloc) - int64(without.HeapAlloc)
}
