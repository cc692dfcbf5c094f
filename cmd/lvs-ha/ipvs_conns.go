package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
)

// connFilter chooses connection entries.
type connFilter struct {
	service        ipvsctl.Selector
	client, server peer
	states         map[string]bool // upper case; nil for all
}

func (f *connFilter) matches(c ipvsctl.Conn) bool {
	return f.service.Conn(c) && f.client.matches(c.Client.Addr(), c.Client.Port()) &&
		f.server.matches(c.Dest.Addr(), c.Dest.Port()) && (f.states == nil || f.states[c.State])
}

func (c *ipvsCall) connFilter() (f connFilter, err error) {
	if f.service, err = c.selector(); err != nil {
		return f, err
	}
	if f.client, err = parsePeer("--client", c.client); err != nil {
		return f, err
	}
	if f.server, err = parsePeer("--server", c.server); err != nil {
		return f, err
	}
	if c.state != "" {
		f.states = map[string]bool{}
		for s := range strings.SplitSeq(c.state, ",") {
			f.states[strings.ToUpper(strings.TrimSpace(s))] = true
		}
	}
	return f, nil
}

// ipvsConn is one connection entry in JSON.
type ipvsConn struct {
	Protocol string  `json:"protocol"` // tcp, udp, sctp; ip for a template by mark
	Client   string  `json:"client"`
	Virtual  *string `json:"virtual"` // null for a template by mark
	FWMark   *uint32 `json:"fwmark"`  // of a template by mark
	Server   string  `json:"server"`
	State    string  `json:"state"`
	Expires  float64 `json:"expires"` // seconds from now
	// Template: an entry of persistence, no connection; the client's port is 0.
	Template bool    `json:"template"`
	PEName   *string `json:"persistence_engine"`
	PEData   *string `json:"persistence_data"`
	Origin   *string `json:"origin"` // local, sync; null unless asked for
}

func newIPVSConn(c ipvsctl.Conn) ipvsConn {
	out := ipvsConn{
		Protocol: strings.ToLower(c.Protocol), Client: c.Client.String(), Server: c.Dest.String(),
		State: strings.ToLower(c.State), Expires: c.Expires.Seconds(), Template: c.Template(),
	}
	if mark, ok := c.FWMark(); ok {
		out.FWMark = &mark
	} else {
		out.Virtual = new(c.Virtual.String())
	}
	if c.PEName != "" {
		out.PEName, out.PEData = &c.PEName, &c.PEData
	}
	if c.Origin != "" {
		out.Origin = new(strings.ToLower(c.Origin))
	}
	return out
}

// connections is the frame of "conns". The list may have millions of entries:
// none is kept.
func (c *ipvsCall) connections(w io.Writer, term table.Terminal) error {
	f, err := c.connFilter()
	if err != nil {
		return err
	}
	path := c.conns
	if c.origin {
		path = c.connsSync
	}
	var out connWriter = &connText{w: w, term: term, origin: c.origin, narrowest: connWidths}
	if c.output == "json" {
		out = &connJSON{w: w, head: c.head(), line: c.watch > 0}
	}
	err = ipvsctl.ReadConnsFile(path, func(e ipvsctl.Conn) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if !f.matches(e) {
			return nil
		}
		return out.add(e)
	})
	if err != nil {
		return err
	}
	return out.end()
}

// connWriter writes entries one by one. It begins to write with the first.
type connWriter interface {
	add(ipvsctl.Conn) error
	end() error
}

// connJSON writes one document with an entry a line.
type connJSON struct {
	w    io.Writer
	head ipvsHead
	line bool // all in one line
	n    int
}

func (j *connJSON) begin(sep string) error {
	head, err := json.Marshal(j.head)
	if err == nil {
		_, err = fmt.Fprintf(j.w, "%s,\"connections\":[%s", head[:len(head)-1], sep)
	}
	return err
}

func (j *connJSON) add(e ipvsctl.Conn) error {
	sep := "\n"
	if j.line {
		sep = ""
	}
	if j.n == 0 {
		if err := j.begin(sep); err != nil {
			return err
		}
	} else {
		sep = "," + sep
		if _, err := io.WriteString(j.w, sep); err != nil {
			return err
		}
	}
	j.n++
	b, err := json.Marshal(newIPVSConn(e))
	if err == nil {
		_, err = j.w.Write(b)
	}
	return err
}

func (j *connJSON) end() error {
	if j.n == 0 {
		if err := j.begin(""); err != nil {
			return err
		}
	} else if !j.line {
		if _, err := io.WriteString(j.w, "\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(j.w, "]}\n")
	return err
}

// connText writes a table in chunks: columns grow with what has been seen.
type connText struct {
	w         io.Writer
	term      table.Terminal
	origin    bool
	narrowest []int // of the columns that have been written
	rows      [][]string
	shown     bool
}

const connChunk = 1000

// connWidths fit IPv4, so that chunks of it look alike.
var connWidths = []int{5, 21, 21, 21, 11, 0}

func (t *connText) add(e ipvsctl.Conn) error {
	virtual := e.Virtual.String()
	if mark, ok := e.FWMark(); ok {
		virtual = fmt.Sprintf("fwmark %d", mark)
	}
	row := []string{strings.ToLower(e.Protocol), e.Client.String(), virtual, e.Dest.String(), strings.ToLower(e.State), e.Expires.String()}
	more := ""
	if t.origin {
		more = strings.ToLower(e.Origin)
	} else if e.PEName != "" {
		more = e.PEName + " " + e.PEData
	}
	if t.rows = append(t.rows, append(row, more)); len(t.rows) >= connChunk {
		return t.flush()
	}
	return nil
}

func (t *connText) end() error {
	if len(t.rows) == 0 && !t.shown {
		_, err := io.WriteString(t.w, "no connections\n")
		return err
	}
	return t.flush()
}

func (t *connText) flush() error {
	if len(t.rows) == 0 {
		return nil
	}
	last := ""
	if t.origin {
		last = "ORIGIN"
	}
	tab := table.Table{Head: []string{"PROTO", "CLIENT", "VIRTUAL", "SERVER", "STATE", "EXPIRES", last}}
	widths := append([]int{}, t.narrowest...)
	for _, r := range t.rows {
		cells := make([]table.Cell, len(r))
		for i, text := range r {
			if i < len(widths) {
				widths[i] = max(widths[i], len(text))
				text = fmt.Sprintf("%-*s", t.narrowest[i], text)
			}
			cells[i] = table.Text(text)
		}
		tab.Add(cells...)
	}
	t.narrowest, t.rows = widths, t.rows[:0]
	text := tab.String(t.term)
	if t.shown { // the head stands above already
		_, text, _ = strings.Cut(text, "\n")
	}
	t.shown = true
	_, err := io.WriteString(t.w, text)
	return err
}
