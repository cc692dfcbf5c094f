package conf

import (
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

// BenchmarkParse5000 has something to report in its second case, so that the
// positions are looked up. kept-B is the size of the configuration itself.
func BenchmarkParse5000(b *testing.B) {
	for _, x := range []struct{ name, timeout string }{{"good", "1s"}, {"warning", "2s"}} {
		data := manyServers(5000, x.timeout)
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			var c *Config
			for b.Loop() {
				var ps Problems
				if c, ps = Parse("x.toml", data, "a"); c == nil || len(c.Services) != 50 {
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
