package conf

import (
	"fmt"
	"strings"
	"testing"
)

// manyServers is a file as a large site has it: one service, n servers, a check.
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
[defaults.check]
interval = "1s"
timeout = %q
[check.lab]
type = "tcp"
[[service]]
name = "s1"
address = "10.0.0.100"
port = 80
checks = ["lab"]
servers = [
`, timeout)
	for i := range n {
		fmt.Fprintf(&s, "  { name = \"r%d\", address = \"10.8.%d.%d\", port = 80, weight = 1 },\n", i, i/250, i%250+1)
	}
	s.WriteString("]\n")
	return []byte(s.String())
}

// BenchmarkParse5000 has something to report in its second case, so that the
// positions are looked up.
func BenchmarkParse5000(b *testing.B) {
	for name, timeout := range map[string]string{"good": "1s", "warning": "2s"} {
		data := manyServers(5000, timeout)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, ps := Parse("x.toml", data, "a"); c == nil || len(c.Services[0].Servers) != 5000 {
					b.Fatal(ps)
				}
			}
		})
	}
}
