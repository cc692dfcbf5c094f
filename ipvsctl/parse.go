package ipvsctl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// errMalformed is a reply that no kernel sends. Nothing in it is believed.
var errMalformed = errors.New("malformed netlink reply")

// message is one netlink message of a reply.
type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte // after nlmsghdr
}

// nextMessage takes the first message off a datagram.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < nlHeader {
		return m, nil, fmt.Errorf("%w: %d octets of header", errMalformed, len(b))
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < nlHeader || n > len(b) {
		return m, nil, fmt.Errorf("%w: length %d of %d", errMalformed, n, len(b))
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), data: b[nlHeader:n],
	}
	return m, b[min((n+3)&^3, len(b)):], nil
}

// errno of a message of type error or done; 0 is an acknowledgement. A done
// message may be without.
func (m message) errno() (unix.Errno, error) {
	if len(m.data) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: error without number", errMalformed)
	}
	n := int32(binary.NativeEndian.Uint32(m.data))
	if n > 0 || n < -4095 {
		return 0, fmt.Errorf("%w: error number %d", errMalformed, n)
	}
	return unix.Errno(-n), nil
}

// body is what follows genlmsghdr.
func (m message) body() ([]byte, error) {
	if len(m.data) < genlHeader {
		return nil, fmt.Errorf("%w: no generic header", errMalformed)
	}
	return m.data[genlHeader:], nil
}

// find gives the value of the first attribute of a type.
func find(b []byte, want uint16) ([]byte, error) {
	var f fields
	for typ, val := range f.in(b) {
		if typ == want {
			return val, nil
		}
	}
	if err := f.err("list"); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: no attribute %d", errMalformed, want)
}

// fields reads attributes and values, and remembers what was wrong with them.
type fields struct {
	short bool  // a value was too short
	bad   error // an attribute could not be told from the next one
}

// in gives the attributes of a list. A tail that is too short for one ends it.
func (f *fields) in(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(typ uint16, val []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				f.bad = fmt.Errorf("%w: attribute of length %d of %d", errMalformed, n, len(b))
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) & 0x3fff // without nested and byte order flags
			if !yield(typ, b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

func (f *fields) u8(b []byte) uint8 {
	if len(b) < 1 {
		f.short = true
		return 0
	}
	return b[0]
}

func (f *fields) u16(b []byte) uint16 {
	if len(b) < 2 {
		f.short = true
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func (f *fields) be16(b []byte) uint16 {
	if len(b) < 2 {
		f.short = true
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func (f *fields) u32(b []byte) uint32 {
	if len(b) < 4 {
		f.short = true
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// wide takes 32 or 64 bits.
func (f *fields) wide(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(f.u32(b))
}

func (f *fields) err(what string) error {
	if f.bad != nil {
		return f.bad
	}
	if f.short {
		return fmt.Errorf("%w: short attribute of a %s", errMalformed, what)
	}
	return nil
}

func str(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// schedulers that need no string of their own for each service of a dump.
var schedulers = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos"} {
		m[s] = s
	}
	return m
}()

// addrOf reads an address: the kernel gives 16 octets for either family.
func addrOf(af uint16, b []byte) (netip.Addr, error) {
	switch {
	case af == unix.AF_INET && len(b) >= 4:
		return netip.AddrFrom4([4]byte(b[:4])), nil
	case af == unix.AF_INET6 && len(b) >= 16:
		return netip.AddrFrom16([16]byte(b[:16])), nil
	}
	return netip.Addr{}, fmt.Errorf("%w: address of family %d in %d octets", errMalformed, af, len(b))
}

// parseService reads a message body that holds a service; c may be nil.
func parseService(body []byte, c *Counters) (Service, error) {
	var s Service
	b, err := find(body, attrService)
	if err != nil {
		return s, err
	}
	var (
		f          fields
		af         uint16
		addr       []byte
		mask       uint32
		has64      bool
		secs, mark uint32
	)
	for typ, val := range f.in(b) {
		switch typ {
		case svcFamily:
			af = f.u16(val)
		case svcProtocol:
			s.Key.Protocol = Protocol(f.u16(val))
		case svcAddr:
			addr = val
		case svcPort:
			s.Key.Port = f.be16(val)
		case svcFWMark:
			mark = f.u32(val)
		case svcSched:
			name, _, _ := bytes.Cut(val, []byte{0})
			if known, ok := schedulers[string(name)]; ok {
				s.Scheduler = known
			} else {
				s.Scheduler = string(name)
			}
		case svcPEName:
			s.PEName = str(val)
		case svcFlags:
			s.Flags = Flags(f.u32(val))
		case svcTimeout:
			secs = f.u32(val)
		case svcNetmask:
			mask = f.u32(val)
		case svcStats, svcStats64:
			if c != nil && (typ == svcStats64 || !has64) {
				has64 = has64 || typ == svcStats64
				if *c, err = parseCounters(val); err != nil {
					return s, err
				}
			}
		}
	}
	if err := f.err("service"); err != nil {
		return s, err
	}
	switch af {
	case unix.AF_INET:
		s.Key.Family = 4
	case unix.AF_INET6:
		s.Key.Family = 6
	default:
		return s, fmt.Errorf("%w: service of address family %d", errMalformed, af)
	}
	if mark != 0 {
		s.Key = ServiceKey{FWMark: mark, Family: s.Key.Family}
	} else if s.Key.Addr, err = addrOf(af, addr); err != nil {
		return s, err
	}
	s.Timeout = time.Duration(secs) * time.Second
	s.PersistPrefix = prefix(s.Key.Family, mask)
	return s.Canonical(), nil
}

// parseServer reads a message body that holds a server; family is that of the
// service, for kernels before 3.18. st may be nil.
func parseServer(body []byte, family uint8, st *ServerStats) (Server, error) {
	var s Server
	b, err := find(body, attrDest)
	if err != nil {
		return s, err
	}
	var (
		f     fields
		addr  []byte
		has64 bool
	)
	af := afOf(family)
	for typ, val := range f.in(b) {
		switch typ {
		case destAddr:
			addr = val
		case destPort:
			s.Key.Port = f.be16(val)
		case destFamily:
			af = f.u16(val)
		case destForward:
			s.Forward = Forward(f.u32(val) & 7)
		case destWeight:
			s.Weight = f.u32(val)
		case destUpper:
			s.Upper = f.u32(val)
		case destLower:
			s.Lower = f.u32(val)
		case destTunType:
			s.TunnelType = TunnelType(f.u8(val))
		case destTunPort:
			s.TunnelPort = f.be16(val)
		case destTunFlags:
			s.TunnelFlags = f.u16(val)
		}
		if st == nil {
			continue
		}
		switch typ {
		case destActive:
			st.Active = f.u32(val)
		case destInactive:
			st.Inactive = f.u32(val)
		case destPersist:
			st.Persistent = f.u32(val)
		case destStats, destStats64:
			if typ == destStats64 || !has64 {
				has64 = has64 || typ == destStats64
				if st.Counters, err = parseCounters(val); err != nil {
					return s, err
				}
			}
		}
	}
	if err := f.err("server"); err != nil {
		return s, err
	}
	if s.Key.Addr, err = addrOf(af, addr); err != nil {
		return s, err
	}
	if st != nil {
		st.Weight = s.Weight
	}
	return s, nil
}

// parseCounters reads statistics of 32 or 64 bits; the attributes are numbered alike.
func parseCounters(b []byte) (Counters, error) {
	var c Counters
	var f fields
	to := [...]*uint64{
		1: &c.Connections, 2: &c.InPackets, 3: &c.OutPackets, 4: &c.InBytes, 5: &c.OutBytes,
		6: &c.CPS, 7: &c.InPPS, 8: &c.OutPPS, 9: &c.InBPS, 10: &c.OutBPS,
	}
	for typ, val := range f.in(b) {
		if typ >= 1 && int(typ) < len(to) {
			*to[typ] = f.wide(val)
		}
	}
	return c, f.err("counter")
}

func parseDaemon(body []byte) (Daemon, error) {
	var d Daemon
	b, err := find(body, attrDaemon)
	if err != nil {
		return d, err
	}
	var f fields
	for typ, val := range f.in(b) {
		switch typ {
		case daemonState:
			d.Role = Role(f.u32(val))
		case daemonIfname:
			d.Interface = str(val)
		case daemonID:
			// The protocol carries eight bits of it.
			d.ID = uint8(f.u32(val))
		case daemonMaxLen:
			d.MaxLen = f.u16(val)
		case daemonGroup4:
			if d.Group, err = addrOf(unix.AF_INET, val); err != nil {
				return d, err
			}
		case daemonGroup6:
			if d.Group, err = addrOf(unix.AF_INET6, val); err != nil {
				return d, err
			}
		case daemonPort:
			d.Port = f.u16(val)
		case daemonTTL:
			d.TTL = f.u8(val)
		}
	}
	return d, f.err("daemon")
}

func parseInfo(b []byte) (Info, error) {
	var i Info
	var f fields
	for typ, val := range f.in(b) {
		switch typ {
		case infoVersion:
			v := f.u32(val)
			i.Version = fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff)
		case infoTabSize:
			i.ConnTableSize = int(f.u32(val))
		}
	}
	return i, f.err("info")
}

func parseTimeouts(b []byte) (Timeouts, error) {
	var t Timeouts
	var f fields
	for typ, val := range f.in(b) {
		switch d := func() time.Duration { return time.Duration(f.u32(val)) * time.Second }; typ {
		case attrTimeoutTCP:
			t.TCP = d()
		case attrTimeoutTCP + 1:
			t.TCPFin = d()
		case attrTimeoutTCP + 2:
			t.UDP = d()
		}
	}
	return t, f.err("timeout")
}
