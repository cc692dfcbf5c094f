package lab

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// VirtualService is a line of /proc/net/ip_vs with those below it.
type VirtualService struct {
	Protocol  string // TCP, UDP, SCTP, FWM
	Addr      netip.AddrPort
	FWMark    uint32
	Scheduler string
	Flags     string
	Servers   []RealServer
}

// RealServer is a real server as the kernel's table holds it.
type RealServer struct {
	Addr             netip.AddrPort
	Forward          string // Masq, Local, Tunnel, Route, Bypass
	Weight           int
	Active, Inactive int
}

// Table is the kernel's IPVS table on the host, read from /proc/net/ip_vs: a
// witness that shares no code with the program.
func (h *Host) Table() ([]VirtualService, error) {
	b, err := h.readNet("ip_vs")
	if err != nil {
		return nil, err
	}
	return parseTable(string(b)), nil
}

func parseTable(text string) (out []VirtualService) {
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) >= 3 && slices.Contains([]string{"TCP", "UDP", "SCTP", "FWM"}, w[0]):
			s := VirtualService{Protocol: w[0], Scheduler: w[2], Flags: strings.Join(w[3:], " ")}
			if w[0] == "FWM" {
				n, _ := strconv.ParseUint(w[1], 16, 32)
				s.FWMark = uint32(n)
			} else {
				s.Addr = parseHexAddr(w[1])
			}
			out = append(out, s)
		case len(w) >= 6 && w[0] == "->" && len(out) > 0 && w[1] != "RemoteAddress:Port":
			r := RealServer{Addr: parseHexAddr(w[1]), Forward: w[2]}
			r.Weight, _ = strconv.Atoi(w[3])
			r.Active, _ = strconv.Atoi(w[4])
			r.Inactive, _ = strconv.Atoi(w[5])
			s := &out[len(out)-1]
			s.Servers = append(s.Servers, r)
		}
	}
	return out
}

// parseHexAddr reads "0A000064:0050" and "[2001:0db8:…]:0050"; the zero value if it is neither.
func parseHexAddr(s string) netip.AddrPort {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}
	}
	p, err := hex.DecodeString(s[i+1:])
	if err != nil || len(p) != 2 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(p)
	host := s[:i]
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return netip.AddrPortFrom(a, port)
	}
	b, err := hex.DecodeString(host)
	if err != nil || len(b) != 4 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
}

// Weights of the TCP service of the VIP on the host, by server address; nil if
// there is no such service.
func (h *Host) Weights() (map[netip.Addr]int, error) {
	t, err := h.Table()
	if err != nil {
		return nil, err
	}
	for _, s := range t {
		if s.Protocol == "TCP" && s.Addr == netip.AddrPortFrom(VIP, TCPPort) {
			out := map[netip.Addr]int{}
			for _, r := range s.Servers {
				out[r.Addr.Addr()] = r.Weight
			}
			return out, nil
		}
	}
	return nil, nil
}

// Connections counts the entries of the host's connection table to the VIP's
// TCP service by their state, from /proc/net/ip_vs_conn.
func (h *Host) Connections() (map[string]int, error) {
	b, err := h.readNet("ip_vs_conn")
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	vip := strings.ToUpper(hex.EncodeToString(VIP.AsSlice()))
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) >= 8 && w[0] == "TCP" && w[3] == vip && w[4] == fmt.Sprintf("%04X", TCPPort) {
			out[w[7]]++
		}
	}
	return out, nil
}

// Forever is the lifetime of an address that does not end.
const Forever = time.Duration(1<<63 - 1)

// Address on an interface of a host.
type Address struct {
	Prefix netip.Prefix
	// Valid is how long the kernel keeps it from now on.
	Valid time.Duration
}

// Addresses of an interface.
func (h *Host) Addresses(ifname string) ([]Address, error) {
	l, err := h.nl.LinkByName(ifname)
	if err != nil {
		return nil, err
	}
	list, err := h.nl.AddrList(l, 0) // of every family
	if err != nil {
		return nil, err
	}
	var out []Address
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		valid := Forever
		// IFA_CACHEINFO: all ones means for ever.
		if uint32(a.ValidLft) != 1<<32-1 && a.ValidLft != 0 {
			valid = time.Duration(uint32(a.ValidLft)) * time.Second
		}
		out = append(out, Address{netip.PrefixFrom(ip.Unmap(), bits), valid})
	}
	return out, nil
}

// Has tells whether eth0 of the host bears the address.
func (h *Host) Has(addr netip.Addr) (bool, error) {
	list, err := h.Addresses("eth0")
	return slices.ContainsFunc(list, func(a Address) bool { return a.Prefix.Addr() == addr }), err
}

// Get fetches a page over HTTP from within the host.
func (h *Host) Get(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := h.HTTPClient().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, string(b), err
}

// Change is one difference between two looks at a table.
type Change struct {
	At time.Time
	// Entry names a service or, after a blank, one of its servers.
	Entry string
	// Old and New weight; "-" for absent, "service" for the service itself.
	Old, New string
}

func (c Change) String() string { return fmt.Sprintf("%s: %s -> %s", c.Entry, c.Old, c.New) }

// Watch looks at a host's table all the time.
type Watch struct {
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	changes []Change
	err     error
}

// WatchTable notes every change of the host's table until Stop, looking every 2 ms.
func (h *Host) WatchTable() (*Watch, error) {
	w := &Watch{stop: make(chan struct{}), done: make(chan struct{})}
	t, err := h.Table()
	if err != nil {
		return nil, err
	}
	old := flat(t)
	go func() {
		defer close(w.done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			last := false
			select {
			case <-w.stop:
				last = true // one more look: what was done before Stop is seen
			case <-tick.C:
			}
			t, err := h.Table()
			now := time.Now()
			w.mu.Lock()
			w.err = err
			cur := flat(t)
			if err == nil {
				w.changes = append(w.changes, diff(now, old, cur)...)
			}
			w.mu.Unlock()
			if err != nil || last {
				return
			}
			old = cur
		}
	}()
	return w, nil
}

// Changes seen so far.
func (w *Watch) Changes() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// Stop ends the watch and returns what it saw.
func (w *Watch) Stop() ([]Change, error) {
	close(w.stop)
	<-w.done
	return w.changes, w.err
}

func flat(t []VirtualService) map[string]string {
	out := map[string]string{}
	for _, s := range t {
		name := s.Protocol + " " + s.Addr.String()
		if s.Protocol == "FWM" {
			name = fmt.Sprintf("FWM %d", s.FWMark)
		}
		out[name] = "service " + s.Scheduler
		for _, r := range s.Servers {
			out[name+" "+r.Addr.String()+" "+r.Forward] = strconv.Itoa(r.Weight)
		}
	}
	return out
}

func diff(at time.Time, old, cur map[string]string) (out []Change) {
	for k, v := range cur {
		if o, ok := old[k]; !ok {
			out = append(out, Change{at, k, "-", v})
		} else if o != v {
			out = append(out, Change{at, k, o, v})
		}
	}
	for k, v := range old {
		if _, ok := cur[k]; !ok {
			out = append(out, Change{at, k, v, "-"})
		}
	}
	return out
}
