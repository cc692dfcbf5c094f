package arch

import (
	"path"
	"slices"
	"strings"
)

// rooms under internal: packages with an owner and neighbours, no utilities.
var rooms = []string{
	"internal/vip", "internal/host", "internal/director", "internal/control", "internal/doctor",
	"internal/realserver", "internal/lab", "internal/supervise", "internal/fresh", "internal/hooks",
}

// mayImport lists, for the rooms whose neighbours are fixed, the packages of
// this module they may import beside utilities.  The five leaves import none.
var mayImport = map[string][]string{
	"health":              {},
	"ipvsctl":             {},
	"vrrp":                {},
	"internal/vip":        {},
	"internal/host":       {},
	"internal/realserver": {},
	"internal/hooks":      {},
	"vrrp/link":           {"vrrp"},
	"vrrp/speaker":        {"vrrp", "vrrp/link"},
	"conf":                {"health", "ipvsctl", "vrrp"},
	"conf/keepalived":     {"conf", "health", "ipvsctl", "vrrp"},
	"conf/ipvsadm":        {"conf", "health", "ipvsctl", "vrrp"},
	"internal/director":   {"conf", "health", "ipvsctl", "vrrp", "vrrp/link"},
	"internal/fresh":      {"internal/director"},
	"internal/control":    {"conf", "health", "ipvsctl", "vrrp", "vrrp/link", "internal/director", "internal/fresh"},
	"metrics":             {"conf", "health", "ipvsctl", "vrrp", "vrrp/link", "internal/director", "internal/fresh"},
}

// Libraries with an effect on the machine, and who may hold them.
var library = []struct {
	prefix string
	owners []string
	why    string
}{
	{"github.com/prometheus/", []string{"metrics"}, "only metrics imports Prometheus"},
	{"github.com/moby/ipvs", []string{"ipvsctl"}, "IPVS is reached only through ipvsctl"},
	{"github.com/mdlayher/genetlink", []string{"ipvsctl"}, "generic netlink is spoken only by ipvsctl"},
	{"github.com/mdlayher/netlink", []string{"ipvsctl", "internal/vip", "internal/host", "internal/realserver"}, netlinkWhy},
	{"github.com/google/nftables", []string{"internal/host"}, "nftables is written only by internal/host"},
	{"github.com/vishvananda/", []string{"internal/vip", "internal/host", "internal/realserver"}, netlinkWhy},
	{"github.com/mdlayher/packet", packetOwners, packetWhy},
	{"github.com/mdlayher/arp", packetOwners, packetWhy},
	{"github.com/mdlayher/ndp", packetOwners, packetWhy},
	{"github.com/mdlayher/ethernet", packetOwners, packetWhy},
	{"golang.org/x/net/ipv4", packetOwners, packetWhy},
	{"golang.org/x/net/ipv6", packetOwners, packetWhy},
	{"github.com/BurntSushi/toml", []string{"conf"}, "only conf knows the configuration's text"},
	{"os/exec", []string{"internal/supervise", "internal/command"}, execWhy},
	{"testing", nil, "test helpers stay out of the program"},
	{"go.uber.org/goleak", nil, "test helpers stay out of the program"},
	{"pgregory.net/rapid", nil, "test helpers stay out of the program"},
	{"github.com/google/go-cmp", nil, "test helpers stay out of the program"},
}

var packetOwners = []string{"vrrp/speaker", "internal/vip"}

const (
	netlinkWhy = "netlink is spoken only by internal/vip, internal/host, internal/realserver and internal/lab (generic netlink by ipvsctl)"
	packetWhy  = "packet and VRRP sockets belong to vrrp/speaker and internal/vip"
	execWhy    = "the program executes nothing but itself (internal/supervise) and what the configuration names (internal/command)"
	pureWhy    = "vrrp is pure: no sockets, clocks, goroutines, loggers, randomness"
)

// testOnly packages never become part of the program; what they import is their
// own affair.
func testOnly(pkg string) bool {
	return pkg == "internal/lab" || strings.HasPrefix(pkg, "test/") || strings.HasSuffix(path.Base(pkg), "test")
}

// An importRule answers why pkg may not import what; empty when it may.
type importRule func(t *tree, pkg, what string, own bool) string

var importRules = []importRule{
	// Neighbours of the rooms.
	func(t *tree, pkg, what string, own bool) string {
		allowed, fixed := mayImport[pkg]
		switch {
		case !own || !fixed || slices.Contains(allowed, what) || t.utility(what):
			return ""
		case len(allowed) == 0:
			return "a leaf imports no other room"
		}
		return "its neighbours are " + strings.Join(allowed, ", ")
	},
	// metrics is a sink.
	func(_ *tree, pkg, what string, own bool) string {
		if own && what == "metrics" && pkg != "cmd/lvs-ha" && !testOnly(pkg) {
			return "only cmd/lvs-ha imports metrics"
		}
		return ""
	},
	// The program does not hold its own tests, nor the demo's laboratory.
	func(_ *tree, pkg, what string, own bool) string {
		if own && testOnly(what) && !testOnly(pkg) {
			return "test-only packages stay out of the program"
		}
		return ""
	},
	// Libraries.
	func(_ *tree, pkg, what string, own bool) string {
		if own || testOnly(pkg) {
			return ""
		}
		for _, l := range library {
			if (what == strings.TrimSuffix(l.prefix, "/") || strings.HasPrefix(what, strings.TrimSuffix(l.prefix, "/")+"/")) &&
				!slices.Contains(l.owners, pkg) {
				return l.why
			}
		}
		return ""
	},
	// The election is a value.
	func(_ *tree, pkg, what string, own bool) string {
		if own || pkg != "vrrp" {
			return ""
		}
		for _, banned := range []string{"net", "os", "log", "math/rand", "crypto/rand", "syscall", "context", "sync", "golang.org/x"} {
			if what != "net/netip" && (what == banned || strings.HasPrefix(what, banned+"/")) {
				return pureWhy
			}
		}
		return ""
	},
}

// A useRule answers why pkg may not use the identifier what (IMPORTPATH.Name).
type useRule func(pkg, what string) string

var useRules = []useRule{
	func(pkg, what string) string {
		switch what {
		case "time.Now", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Tick", "time.Sleep", "time.Since", "time.Until":
			if pkg == "vrrp" {
				return pureWhy
			}
		case "os.StartProcess", "syscall.Exec", "syscall.ForkExec", "syscall.StartProcess", "golang.org/x/sys/unix.Exec":
			if pkg != "internal/supervise" && !testOnly(pkg) {
				return execWhy
			}
		case "syscall.AF_PACKET", "golang.org/x/sys/unix.AF_PACKET":
			if !slices.Contains(packetOwners, pkg) && !testOnly(pkg) {
				return packetWhy
			}
		case "syscall.AF_NETLINK", "golang.org/x/sys/unix.AF_NETLINK":
			if !slices.Contains([]string{"ipvsctl", "internal/vip", "internal/host", "internal/realserver"}, pkg) && !testOnly(pkg) {
				return netlinkWhy
			}
		}
		return ""
	},
}
