package sysctl

import (
	"errors"
	"os"
	"testing"
)

func TestPath(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.vs.conntrack":            "/proc/sys/net/ipv4/vs/conntrack",
		"net.ipv4.conf.eth0/7.rp_filter":   "/proc/sys/net/ipv4/conf/eth0.7/rp_filter",
		"net/ipv4/conf/eth0.7/arp_ignore":  "/proc/sys/net/ipv4/conf/eth0.7/arp_ignore",
		"net/ipv4/conf/tunl0/arp_announce": "/proc/sys/net/ipv4/conf/tunl0/arp_announce",
	} {
		if got := Path(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

func TestReadAndWrite(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/ostype")
	if err != nil {
		t.Skip(err)
	}
	if v, err := Read("kernel.ostype"); err != nil || v+"\n" != string(b) {
		t.Errorf("kernel.ostype is %q, %v, want %q", v, err, b)
	}
	if _, err := Read("net.ipv4.no_such"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := Write("net.ipv4.no_such", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
