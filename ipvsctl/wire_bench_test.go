package ipvsctl

import (
	"net/netip"
	"testing"
)

// BenchmarkParseServer is one of the messages of which a dump has thousands.
func BenchmarkParseServer(b *testing.B) {
	var e encoder
	e.server(Server{Key: ServerKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80}, Weight: 7}, true)
	for b.Loop() {
		if _, err := parseServer(e.b, 4, nil); err != nil {
			b.Fatal(err)
		}
	}
}
