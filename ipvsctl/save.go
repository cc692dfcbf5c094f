package ipvsctl

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// FormatRules writes the table as "ipvsadm -Sn" does, byte for byte and in its
// order, with differences that "ipvsadm -R" takes as well: thresholds,
// which ipvsadm forgets, are written as -x and -y, and so is flag-3 of sh and
// mh, and a mark above 2147483647 is not written as a negative number. Local
// and bypass forwarding, for which ipvsadm has no word, become -g.
func FormatRules(t Table) string {
	var b strings.Builder
	for _, k := range t.Keys() {
		e := t[k]
		s := canonical(e.Service, k)
		name := ruleName(k)
		b.WriteString("-A " + name + " -s " + s.Scheduler)
		if s.Flags&FlagPersistent != 0 {
			fmt.Fprintf(&b, " -p %d", s.Timeout/time.Second)
			switch full := fullPrefix(k.Family); {
			case s.PersistPrefix == full || s.PersistPrefix > full:
			case k.Family == 6:
				fmt.Fprintf(&b, " -M %d", s.PersistPrefix)
			default:
				fmt.Fprintf(&b, " -M %v", maskOf(s.PersistPrefix))
			}
		}
		if s.PEName != "" {
			b.WriteString(" --pe " + s.PEName)
		}
		if s.Flags&FlagOnePacket != 0 {
			b.WriteString(" -o")
		}
		if f := schedFlags(s); f != "" {
			b.WriteString(" -b " + f)
		}
		b.WriteByte('\n')
		for _, sk := range e.Keys() {
			formatServer(&b, name, e.Servers[sk])
		}
	}
	return b.String()
}

func formatServer(b *strings.Builder, name string, s Server) {
	forward := "-g"
	switch s.Forward {
	case NAT:
		forward = "-m"
	case Tunnel:
		forward = "-i"
	case Direct, Local, Bypass:
	}
	fmt.Fprintf(b, "-a %s -r %v %s -w %d", name, s.Key, forward, s.Weight)
	if s.Upper != 0 {
		fmt.Fprintf(b, " -x %d", s.Upper)
	}
	if s.Lower != 0 {
		fmt.Fprintf(b, " -y %d", s.Lower)
	}
	if s.Forward == Tunnel {
		fmt.Fprintf(b, " --tun-type %v", s.TunnelType)
		if s.TunnelType == GUE {
			fmt.Fprintf(b, " --tun-port %d", s.TunnelPort)
		}
		if s.TunnelType != IPIP {
			b.WriteString(tunnelChecksum(s))
		}
	}
	b.WriteByte('\n')
}

// Tunnel flags (include/uapi/linux/ip_vs.h, IP_VS_TUNNEL_ENCAP_FLAG_*).
const (
	TunnelCsum    uint16 = 1
	TunnelRemCsum uint16 = 2
)

func tunnelChecksum(s Server) string {
	switch {
	case s.TunnelFlags&TunnelCsum != 0:
		return " --tun-csum"
	case s.TunnelFlags&TunnelRemCsum != 0 && s.TunnelType == GUE:
		return " --tun-remcsum"
	}
	return " --tun-nocsum"
}

func ruleName(k ServiceKey) string {
	if k.FWMark != 0 {
		n := "-f " + strconv.FormatUint(uint64(k.FWMark), 10)
		if k.Family == 6 {
			n += " -6"
		}
		return n
	}
	ap := netip.AddrPortFrom(k.Addr, k.Port).String()
	switch k.Protocol {
	case TCP:
		return "-t " + ap
	case UDP:
		return "-u " + ap
	case SCTP:
	}
	return "--sctp-service " + ap
}

func maskOf(prefix uint8) netip.Addr {
	m := ^uint32(0) << (32 - min(prefix, 32))
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)})
}

// schedFlags names the scheduler's flags as ipvsadm does: sh-fallback and
// sh-port, mh-fallback and mh-port, flag-1 to flag-3, separated by commas.
func schedFlags(s Service) string {
	var out []string
	named := s.Scheduler == "sh" || s.Scheduler == "mh"
	for _, f := range []struct {
		bit         Flags
		plain, name string
	}{{FlagSched1, "flag-1", "-fallback"}, {FlagSched2, "flag-2", "-port"}, {FlagSched3, "flag-3", ""}} {
		switch {
		case s.Flags&f.bit == 0:
		case named && f.name != "":
			out = append(out, s.Scheduler+f.name)
		default:
			out = append(out, f.plain)
		}
	}
	return strings.Join(out, ",")
}

// ParseRules reads what ipvsadm -Sn and FormatRules write: lines with -A and
// -a, with short or long options, in which every name is a number. Empty lines
// and those that begin with # are passed over. Defaults are ipvsadm's. The
// error names the line.
func ParseRules(r io.Reader) (Table, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	t := Table{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := parseRule(t, words); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return t, nil
}

// rule is one line, before it is known what it is about.
type rule struct {
	words    []string
	at       int
	service  Service
	named    bool
	six      bool
	mask     string
	server   Server
	real     string
	tunnel   bool // a tunnel option was given
	forServe string
	forReal  string
}

func parseRule(t Table, words []string) error {
	r := rule{
		words: words, at: 1,
		service: Service{Scheduler: "wlc"},
		server:  Server{Forward: Direct, Weight: 1},
	}
	add := false
	switch words[0] {
	case "-A", "--add-service":
	case "-a", "--add-server":
		add = true
	default:
		return fmt.Errorf("%q is none of -A (add a service) and -a (add a server)", words[0])
	}
	for r.at < len(r.words) {
		if err := r.option(); err != nil {
			return err
		}
	}
	if err := r.finish(); err != nil {
		return err
	}
	k := r.service.Key
	e, there := t[k]
	if !add {
		switch {
		case r.forReal != "":
			return fmt.Errorf("%s does not belong to a service (-A)", r.forReal)
		case there:
			return fmt.Errorf("service %v is there already", k)
		}
		t[k] = Entry{r.service.Canonical(), map[ServerKey]Server{}}
		return nil
	}
	switch {
	case r.forServe != "":
		return fmt.Errorf("%s does not belong to a server (-a)", r.forServe)
	case !there:
		return fmt.Errorf("there is no service %v: its -A line must come first", k)
	}
	if err := r.realServer(); err != nil {
		return err
	}
	if _, dup := e.Servers[r.server.Key]; dup {
		return fmt.Errorf("server %v of %v is there already", r.server.Key, k)
	}
	e.Servers[r.server.Key] = r.server
	return nil
}

// value takes the word that follows an option.
func (r *rule) value(option string) (string, error) {
	if r.at >= len(r.words) {
		return "", fmt.Errorf("%s wants a value", option)
	}
	r.at++
	return r.words[r.at-1], nil
}

func (r *rule) number(option string, most uint64) (uint64, error) {
	v, err := r.value(option)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("%s %q is no number from 0 to %d", option, v, most)
	}
	return n, nil
}

func (r *rule) option() error {
	o := r.words[r.at]
	r.at++
	switch o {
	case "-t", "--tcp-service":
		return r.address(o, TCP)
	case "-u", "--udp-service":
		return r.address(o, UDP)
	case "--sctp-service":
		return r.address(o, SCTP)
	case "-f", "--fwmark-service":
		return r.mark(o)
	case "-6", "--ipv6":
		r.six = true
		return nil
	}
	if done, err := r.serviceOption(o); done || err != nil {
		r.forServe = o
		return err
	}
	if done, err := r.serverOption(o); done || err != nil {
		r.forReal = o
		return err
	}
	return fmt.Errorf("unknown option %q", o)
}

func (r *rule) address(o string, p Protocol) error {
	v, err := r.value(o)
	if err != nil {
		return err
	}
	ap, err := addrPort(v, 0, false)
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	if r.named {
		return fmt.Errorf("%s: a line has one service", o)
	}
	r.service.Key, r.named = AddrKey(p, ap), true
	return nil
}

// mark takes negative numbers too: ipvsadm writes marks above 2147483647 so.
func (r *rule) mark(o string) error {
	v, err := r.value(o)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n == 0 || n > 1<<32-1 || n < -1<<31 {
		return fmt.Errorf("%s %q is no mark from 1 to %d", o, v, uint32(1<<32-1))
	}
	if r.named {
		return fmt.Errorf("%s: a line has one service", o)
	}
	r.service.Key, r.named = FWMarkKey(uint32(n), 4), true
	return nil
}

func (r *rule) serviceOption(o string) (done bool, err error) {
	s := &r.service
	switch o {
	case "-s", "--scheduler":
		s.Scheduler, err = r.value(o)
		if err == nil && len(s.Scheduler) > 15 {
			err = fmt.Errorf("%s: no scheduler has so long a name", o)
		}
	case "-p", "--persistent":
		s.Flags |= FlagPersistent
		s.Timeout = 360 * time.Second
		if r.at < len(r.words) && !strings.HasPrefix(r.words[r.at], "-") {
			var n uint64
			n, err = r.number(o, 1<<31-1)
			s.Timeout = time.Duration(n) * time.Second
		}
	case "-M", "--netmask":
		r.mask, err = r.value(o)
	case "--pe":
		s.PEName, err = r.value(o)
		if err == nil && len(s.PEName) > 15 {
			err = fmt.Errorf("%s: no persistence engine has so long a name", o)
		}
	case "-o", "--ops":
		s.Flags |= FlagOnePacket
	case "-b", "--sched-flags":
		var v string
		if v, err = r.value(o); err == nil {
			err = r.flags(o, v)
		}
	default:
		return false, nil
	}
	return true, err
}

func (r *rule) flags(o, v string) error {
	for f := range strings.SplitSeq(v, ",") {
		switch f {
		case "flag-1", "sh-fallback", "mh-fallback":
			r.service.Flags |= FlagSched1
		case "flag-2", "sh-port", "mh-port":
			r.service.Flags |= FlagSched2
		case "flag-3":
			r.service.Flags |= FlagSched3
		default:
			return fmt.Errorf("%s: unknown flag %q", o, f)
		}
	}
	return nil
}

func (r *rule) serverOption(o string) (done bool, err error) {
	s := &r.server
	var n uint64
	switch o {
	case "-r", "--real-server":
		r.real, err = r.value(o)
	case "-g", "--gatewaying":
		s.Forward = Direct
	case "-m", "--masquerading":
		s.Forward = NAT
	case "-i", "--ipip":
		s.Forward = Tunnel
	case "-w", "--weight":
		n, err = r.number(o, 1<<31-1)
		s.Weight = uint32(n)
	case "-x", "--u-threshold":
		n, err = r.number(o, 1<<32-1)
		s.Upper = uint32(n)
	case "-y", "--l-threshold":
		n, err = r.number(o, 1<<32-1)
		s.Lower = uint32(n)
	case "--tun-type":
		var v string
		if v, err = r.value(o); err == nil {
			err = fmt.Errorf("%s: %q is none of ipip, gue, gre", o, v)
			for _, typ := range []TunnelType{IPIP, GUE, GRE} {
				if v == typ.String() {
					s.TunnelType, err = typ, nil
				}
			}
		}
		r.tunnel = true
	case "--tun-port":
		n, err = r.number(o, 65535)
		s.TunnelPort, r.tunnel = uint16(n), true
	case "--tun-nocsum":
		s.TunnelFlags, r.tunnel = 0, true
	case "--tun-csum":
		s.TunnelFlags, r.tunnel = TunnelCsum, true
	case "--tun-remcsum":
		s.TunnelFlags, r.tunnel = TunnelRemCsum, true
	default:
		return false, nil
	}
	return true, err
}

// finish checks what belongs together of a service.
func (r *rule) finish() error {
	k := &r.service.Key
	if !r.named {
		return fmt.Errorf("no service is named (-t, -u, --sctp-service or -f)")
	}
	if r.six {
		if k.FWMark == 0 {
			return fmt.Errorf("-6 is for services by mark (-f) only")
		}
		k.Family = 6
	}
	if r.mask == "" {
		return nil
	}
	bad := fmt.Errorf("-M %q is no netmask (255.255.255.0), and no prefix length of IPv6 (1..128)", r.mask)
	if k.Family == 6 {
		n, err := strconv.ParseUint(r.mask, 10, 8)
		if err != nil || n < 1 || n > 128 {
			return bad
		}
		r.service.PersistPrefix = uint8(n)
		return nil
	}
	a, err := netip.ParseAddr(r.mask)
	if err != nil || !a.Is4() {
		return bad
	}
	for n := uint8(1); n <= 32; n++ {
		if maskOf(n) == a {
			r.service.PersistPrefix = n
			return nil
		}
	}
	return bad
}

// realServer checks what belongs together of a server.
func (r *rule) realServer() error {
	s := &r.server
	if r.real == "" {
		return fmt.Errorf("no server is named (-r)")
	}
	ap, err := addrPort(r.real, r.service.Key.Port, true)
	if err != nil {
		return fmt.Errorf("-r: %w", err)
	}
	s.Key = ServerKey{ap.Addr().Unmap(), ap.Port()}
	switch {
	case r.tunnel && s.Forward != Tunnel:
		return fmt.Errorf("tunnel options want -i")
	case s.TunnelType == GUE && s.TunnelPort == 0:
		return fmt.Errorf("--tun-type gue wants --tun-port 1..65535")
	case s.TunnelType != GUE && s.TunnelPort != 0:
		return fmt.Errorf("--tun-port is for --tun-type gue")
	case s.TunnelType == IPIP && s.TunnelFlags != 0, s.TunnelType == GRE && s.TunnelFlags == TunnelRemCsum:
		return fmt.Errorf("--tun-type %v has no such checksum", s.TunnelType)
	case s.Lower > s.Upper:
		return fmt.Errorf("-y %d is above -x %d", s.Lower, s.Upper)
	}
	return nil
}

// addrPort reads ADDRESS:PORT; without a port, where that is allowed, it is the one given.
func addrPort(v string, port uint16, bare bool) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(v)
	if err != nil && bare {
		if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(v, "["), "]")); err == nil {
			return netip.AddrPortFrom(a, port), zoned(a)
		}
	}
	if err != nil {
		return ap, fmt.Errorf("%q is not ADDRESS:PORT in numbers (save with: ipvsadm -Sn)", v)
	}
	return ap, zoned(ap.Addr())
}

func zoned(a netip.Addr) error {
	if a.Zone() != "" {
		return fmt.Errorf("%v: an address here has no zone", a)
	}
	return nil
}
