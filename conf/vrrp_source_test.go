package conf

import (
	"fmt"
	"slices"
	"testing"
)

func TestSource(t *testing.T) {
	const text = `
version = 1
[nodes.a]
address = "10.0.0.1"
[nodes.a.vrrp.named]
source = "10.0.0.9"
[nodes.b]
address = "10.0.0.2"
[vrrp.peers]
interface = "eth0"
vrid = 1
mode = "unicast"
addresses = ["192.0.2.1"]
[vrrp.named]
interface = "eth0"
vrid = 2
addresses = ["192.0.2.2"]
[vrrp.six]
interface = "eth0"
vrid = 3
mode = "unicast"
peers = ["2001:db8::2"]
addresses = ["2001:db8::100"]
`
	c := mustParse(t, "a", text)
	var got []string
	for _, i := range c.VRRP {
		got = append(got, fmt.Sprint(i.Name, " ", i.Source, " ", i.Prefer))
	}
	want := []string{"named 10.0.0.9 invalid IP", "peers invalid IP 10.0.0.1", "six invalid IP invalid IP"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c = mustParse(t, "b", text); c.VRRP[0].Source.IsValid() {
		t.Error("node b sends from the address of a")
	}
}
