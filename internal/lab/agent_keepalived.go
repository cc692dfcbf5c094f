package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Keepalived is Debian's keepalived: a peer to elect with, and something to
// compare with.
type Keepalived struct{}

func (Keepalived) Name() string { return "keepalived" }

// Write writes a file for one director.
func (Keepalived) Write(file string, i int, s Settings) error {
	return os.WriteFile(file, []byte(s.keepalived(i)), 0o644)
}

// Command runs it in the foreground with its pid files in dir.
func (Keepalived) Command(file, dir string, _ int) []string {
	return []string{"keepalived", "-n", "-l", "-D", "-f", file,
		"-p", filepath.Join(dir, "p"), "-r", filepath.Join(dir, "vrrp"), "-c", filepath.Join(dir, "check")}
}

func (s Settings) keepalived(i int) string {
	s = s.filled()
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("global_defs {\n  router_id lvs%d\n  vrrp_version 3\n  script_user root", i)
	if !s.NoSync && len(s.Servers) > 0 {
		p("  lvs_sync_daemon eth0 VI_1 id %d", SyncID)
	}
	p("}\nvrrp_instance VI_1 {\n  state BACKUP\n  interface eth0\n  virtual_router_id %d\n  priority %d\n  advert_int %g", VRID, s.Priorities[i-1], s.Advert.Seconds())
	if s.NoPreempt {
		p("  nopreempt")
	}
	p("  virtual_ipaddress {\n    %s/32 dev eth0\n  }", VIP)
	if s.Mode == NAT {
		p("  virtual_ipaddress_excluded {\n    %s/32 dev eth1\n  }", Gateway)
	}
	p("}")
	kind := map[Mode]string{DR: "DR", NAT: "NAT", TUN: "TUN"}[s.Mode]
	for _, svc := range []struct {
		proto string
		port  int
	}{{"TCP", TCPPort}, {"UDP", UDPPort}} {
		if len(s.Servers) == 0 {
			break
		}
		p("virtual_server %s %d {\n  delay_loop %g\n  lvs_sched rr\n  lvs_method %s\n  protocol %s", VIP, svc.port, s.CheckInterval.Seconds(), kind, svc.proto)
		for _, a := range s.Servers {
			p("  real_server %s %d {\n    weight 1\n    inhibit_on_failure", a, svc.port)
			common := fmt.Sprintf("      connect_timeout %g\n      retry %d\n      delay_before_retry %g", s.CheckTimeout.Seconds(), s.Fall-1, s.CheckInterval.Seconds())
			switch {
			case svc.proto == "UDP" || s.Check == "none":
			case s.Check == "http":
				p("    HTTP_GET {\n      url {\n        path /\n        status_code 200\n      }\n%s\n    }", common)
			default:
				p("    TCP_CHECK {\n%s\n    }", common)
			}
			p("  }")
		}
		p("}")
	}
	return b.String()
}
