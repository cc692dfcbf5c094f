package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
)

// ipvsView is what is shown beside the names of services and servers.
type ipvsView int

const (
	viewList ipvsView = iota
	viewStats
	viewRates
)

// ipvsDocument is the JSON of list, stats and rates. Times are in seconds.
type ipvsDocument struct {
	ipvsHead
	IPVS     *ipvsInfo     `json:"ipvs,omitempty"` // of list
	Totals   *ipvsCounts   `json:"totals,omitempty"`
	Rates    *ipvsRates    `json:"total_rates,omitempty"`
	Services []ipvsService `json:"services"`
}

type ipvsInfo struct {
	Version       string `json:"version"`
	ConnTableSize int    `json:"connection_table_size"`
}

type ipvsService struct {
	Service  string  `json:"service"` // "tcp 192.0.2.1:80", "fwmark 7 ipv6"
	Protocol *string `json:"protocol"`
	Address  *string `json:"address"`
	Port     *uint16 `json:"port"`
	FWMark   *uint32 `json:"fwmark"`
	Family   string  `json:"family"` // ipv4, ipv6

	Scheduler      string       `json:"scheduler"`
	SchedulerFlags []string     `json:"scheduler_flags"`
	OnePacket      bool         `json:"one_packet"`
	Persistence    *float64     `json:"persistence_timeout"` // null without
	PersistPrefix  *uint8       `json:"persistence_prefix"`
	PEName         *string      `json:"persistence_engine"`
	Counters       *ipvsCounts  `json:"counters,omitempty"`
	Rates          *ipvsRates   `json:"rates,omitempty"`
	Servers        []ipvsServer `json:"servers"`
}

type ipvsServer struct {
	Server  string `json:"server"` // "10.0.0.1:80"
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	Forward string `json:"forward"` // nat, dr, tun, local, bypass
	Weight  uint32 `json:"weight"`
	Upper   uint32 `json:"upper_threshold"` // 0: none
	Lower   uint32 `json:"lower_threshold"`

	TunnelType *string `json:"tunnel_type"` // ipip, gue, gre; null unless tun
	TunnelPort *uint16 `json:"tunnel_port"`
	TunnelSum  *string `json:"tunnel_checksum"` // none, csum, remcsum; null unless gue or gre

	Active     uint32      `json:"active_connections"`
	Inactive   uint32      `json:"inactive_connections"`
	Persistent uint32      `json:"persistent_connections"`
	Counters   *ipvsCounts `json:"counters,omitempty"`
	Rates      *ipvsRates  `json:"rates,omitempty"`
}

type ipvsCounts struct {
	Connections uint64 `json:"connections"`
	InPackets   uint64 `json:"incoming_packets"`
	OutPackets  uint64 `json:"outgoing_packets"`
	InBytes     uint64 `json:"incoming_bytes"`
	OutBytes    uint64 `json:"outgoing_bytes"`
}

// ipvsRates are per second, as the kernel estimates them.
type ipvsRates struct {
	Connections uint64 `json:"connection_rate"`
	InPackets   uint64 `json:"incoming_packet_rate"`
	OutPackets  uint64 `json:"outgoing_packet_rate"`
	InBytes     uint64 `json:"incoming_byte_rate"`
	OutBytes    uint64 `json:"outgoing_byte_rate"`
}

func (v ipvsView) counts(c ipvsctl.Counters) *ipvsCounts {
	if v != viewStats {
		return nil
	}
	return &ipvsCounts{c.Connections, c.InPackets, c.OutPackets, c.InBytes, c.OutBytes}
}

func (v ipvsView) rates(c ipvsctl.Counters) *ipvsRates {
	if v != viewRates {
		return nil
	}
	return &ipvsRates{c.CPS, c.InPPS, c.OutPPS, c.InBPS, c.OutBPS}
}

// table makes the frame of a view.
func (c *ipvsCall) table(v ipvsView) frame {
	return func(w io.Writer, term table.Terminal) error {
		sel, err := c.selector()
		if err != nil {
			return err
		}
		only, err := parsePeer("--server", c.server)
		if err != nil {
			return err
		}
		doc := ipvsDocument{ipvsHead: c.head(), Services: []ipvsService{}}
		if err := c.withKernel(func(k ipvsctl.Kernel) error { return c.read(k, v, &doc, sel, only) }); err != nil {
			return err
		}
		// The sums are of everything: they say nothing about a part.
		if v != viewList && c.service == "" && c.server == "" {
			sum, err := ipvsctl.ReadTotalsFile(c.totals)
			if err != nil {
				return err
			}
			doc.Totals, doc.Rates = v.counts(sum), v.rates(sum)
		}
		if c.output == "json" {
			return c.json(w, doc)
		}
		_, err = io.WriteString(w, v.text(&doc, term))
		return err
	}
}

// read fills the document from the kernel.
func (c *ipvsCall) read(k ipvsctl.Kernel, v ipvsView, doc *ipvsDocument, sel ipvsctl.Selector, only peer) error {
	if in, ok := k.(ipvsctl.Inspector); ok && v == viewList {
		i, err := in.Info(c.ctx)
		if err != nil {
			return err
		}
		doc.IPVS = &ipvsInfo{i.Version, i.ConnTableSize}
	}
	tab, err := k.Dump(c.ctx)
	if err != nil {
		return err
	}
	stats, err := k.Stats(c.ctx)
	if err != nil {
		return err
	}
	for _, key := range tab.Keys() {
		if !sel.Service(key) {
			continue
		}
		e, st := tab[key], stats[key]
		s := newIPVSService(e.Service)
		s.Counters, s.Rates = v.counts(st.Counters), v.rates(st.Counters)
		for _, sk := range e.Keys() {
			if !only.matches(sk.Addr, sk.Port) {
				continue
			}
			srv := newIPVSServer(e.Servers[sk], st.Servers[sk])
			srv.Counters, srv.Rates = v.counts(st.Servers[sk].Counters), v.rates(st.Servers[sk].Counters)
			s.Servers = append(s.Servers, srv)
		}
		if c.server == "" || len(s.Servers) > 0 {
			doc.Services = append(doc.Services, s)
		}
	}
	return nil
}

func newIPVSService(s ipvsctl.Service) ipvsService {
	out := ipvsService{
		Service: s.Key.String(), Family: "ipv" + strconv.Itoa(int(s.Key.Family)), Scheduler: s.Scheduler,
		SchedulerFlags: append([]string{}, s.SchedulerFlags()...), OnePacket: s.Flags&ipvsctl.FlagOnePacket != 0, Servers: []ipvsServer{},
	}
	if s.Key.FWMark != 0 {
		out.FWMark = &s.Key.FWMark
	} else {
		out.Protocol, out.Address, out.Port = new(s.Key.Protocol.String()), new(s.Key.Addr.String()), &s.Key.Port
	}
	if s.Flags&ipvsctl.FlagPersistent != 0 {
		out.Persistence, out.PersistPrefix = new(s.Timeout.Seconds()), &s.PersistPrefix
	}
	if s.PEName != "" {
		out.PEName = &s.PEName
	}
	return out
}

func newIPVSServer(s ipvsctl.Server, st ipvsctl.ServerStats) ipvsServer {
	out := ipvsServer{
		Server: s.Key.String(), Address: s.Key.Addr.String(), Port: s.Key.Port, Forward: s.Forward.String(), Weight: s.Weight,
		Upper: s.Upper, Lower: s.Lower, Active: st.Active, Inactive: st.Inactive, Persistent: st.Persistent,
	}
	if s.Forward == ipvsctl.Tunnel {
		out.TunnelType = new(s.TunnelType.String())
		if s.TunnelPort != 0 {
			out.TunnelPort = &s.TunnelPort
		}
		switch {
		case s.TunnelType == ipvsctl.IPIP:
		case s.TunnelFlags&ipvsctl.TunnelCsum != 0:
			out.TunnelSum = new("csum")
		case s.TunnelFlags&ipvsctl.TunnelRemCsum != 0:
			out.TunnelSum = new("remcsum")
		default:
			out.TunnelSum = new("none")
		}
	}
	return out
}

// text is the document for people: a line for each service, below it one for
// each server.
func (v ipvsView) text(d *ipvsDocument, term table.Terminal) string {
	var t table.Table
	switch v {
	case viewList:
		t.Head = []string{"SERVICE/SERVER", "METHOD", "WEIGHT", "ACTIVE", "INACTIVE", "PERSISTENT", "OPTIONS"}
		t.Right = []int{2, 3, 4, 5}
	case viewStats:
		t.Head = []string{"SERVICE/SERVER", "CONNECTIONS", "IN-PACKETS", "OUT-PACKETS", "IN-BYTES", "OUT-BYTES"}
		t.Right = []int{1, 2, 3, 4, 5}
	case viewRates:
		t.Head = []string{"SERVICE/SERVER", "CONN/S", "IN-PKT/S", "OUT-PKT/S", "IN-BYTE/S", "OUT-BYTE/S"}
		t.Right = []int{1, 2, 3, 4, 5}
	}
	if d.Totals != nil || d.Rates != nil {
		t.Add(row(table.Bold, "all", countCells(d.Totals, d.Rates)...)...)
	}
	for _, s := range d.Services {
		if v == viewList {
			t.Add(row(table.Bold, s.Service, s.Scheduler, "", "", "", "", s.options())...)
		} else {
			t.Add(row(table.Bold, s.Service, countCells(s.Counters, s.Rates)...)...)
		}
		for _, srv := range s.Servers {
			style := table.Plain
			if srv.Weight == 0 {
				style = table.Warn
			}
			if v == viewList {
				t.Add(row(style, "  "+srv.Server, srv.Forward, number(srv.Weight), number(srv.Active), number(srv.Inactive), number(srv.Persistent), srv.options())...)
			} else {
				t.Add(row(style, "  "+srv.Server, countCells(srv.Counters, srv.Rates)...)...)
			}
		}
	}
	var b strings.Builder
	if d.IPVS != nil {
		b.WriteString(table.Line{{Text: fmt.Sprintf("IPVS %s, connection table of %d buckets", d.IPVS.Version, d.IPVS.ConnTableSize), Style: table.Dim}}.String(term))
	}
	b.WriteString(t.String(term))
	if len(d.Services) == 0 {
		b.WriteString("no services\n")
	}
	return b.String()
}

func row(style table.Style, name string, cells ...string) []table.Cell {
	out := []table.Cell{{Text: name, Style: style}}
	for _, c := range cells {
		out = append(out, table.Text(c))
	}
	return out
}

func number[N uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

func countCells(c *ipvsCounts, r *ipvsRates) []string {
	switch {
	case c != nil:
		return []string{number(c.Connections), number(c.InPackets), number(c.OutPackets), number(c.InBytes), number(c.OutBytes)}
	case r != nil:
		return []string{number(r.Connections), number(r.InPackets), number(r.OutPackets), number(r.InBytes), number(r.OutBytes)}
	}
	return nil
}

func (s ipvsService) options() string {
	var o []string
	if s.Persistence != nil {
		o = append(o, fmt.Sprintf("persistent %v/%d", time.Duration(*s.Persistence)*time.Second, *s.PersistPrefix))
	}
	if s.PEName != nil {
		o = append(o, "pe "+*s.PEName)
	}
	if s.OnePacket {
		o = append(o, "one-packet")
	}
	return strings.Join(slices.Concat(o, s.SchedulerFlags), " ")
}

func (s ipvsServer) options() string {
	var o []string
	if s.TunnelType != nil {
		t := *s.TunnelType
		if s.TunnelPort != nil {
			t += ":" + strconv.Itoa(int(*s.TunnelPort))
		}
		if s.TunnelSum != nil && *s.TunnelSum != "none" {
			t += " " + *s.TunnelSum
		}
		o = append(o, t)
	}
	if s.Upper != 0 {
		o = append(o, "upper "+number(s.Upper))
	}
	if s.Lower != 0 {
		o = append(o, "lower "+number(s.Lower))
	}
	return strings.Join(o, " ")
}
