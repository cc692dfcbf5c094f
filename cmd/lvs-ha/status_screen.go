package main

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"lvs-ha/internal/control"
	"lvs-ha/internal/table"
)

// screenOptions of the status screen.
type screenOptions struct {
	all   bool           // show all servers
	local *time.Location // of times of day
}

// serversShown is how many servers fit a screen; beyond that only those that
// need attention are shown.
const serversShown = 30

// statusScreen draws the document. It is pure.
func statusScreen(d *control.Document, term table.Terminal, o screenOptions) string {
	var b strings.Builder
	b.WriteString(headLine(d).String(term))
	for _, part := range []string{
		vrrpTable(d, o).String(term),
		serviceTable(d).String(term),
		serversPart(d, term, o),
		footer(d, term),
		problemsPart(d, term),
	} {
		if part != "" {
			b.WriteString("\n" + part)
		}
	}
	return b.String()
}

// headLine: node, roles, services, cluster.
func headLine(d *control.Document) table.Line {
	line := table.Line{{Text: d.Node, Style: table.Bold}, table.Text("  ")}
	if len(d.VRRP) == 0 {
		line = append(line, table.Text("no VRRP instance"))
	}
	for i := range d.VRRP {
		v := &d.VRRP[i]
		if i > 0 {
			line = append(line, table.Text(", "))
		}
		line = append(line, roleCell(v.State), table.Text(" of "+v.Name+" since "+ago(d.Time, v.Since)))
	}
	line = append(line, table.Text("   "))
	if len(d.Services) == 0 {
		line = append(line, table.Text("no services"))
	}
	n := map[string]int{}
	for i := range d.Services {
		n[d.Services[i].State]++
	}
	first := true
	for _, st := range []string{control.StateOK, control.StateDegraded, control.StatePending, control.StateDown} {
		if n[st] == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", n[st], st)
		if first {
			text = fmt.Sprintf("%d %s %s", n[st], plural(n[st], "service"), st)
		} else {
			line = append(line, table.Text(", "))
		}
		first = false
		line = append(line, table.Cell{Text: text, Style: serviceStyle(st)})
	}
	if d.Cluster != "" {
		line = append(line, table.Text("   cluster "+d.Cluster))
	}
	return line
}

func vrrpTable(d *control.Document, o screenOptions) *table.Table {
	t := &table.Table{Head: []string{"VRRP", "STATE", "PRIO", "VIPS", "HEARD", "LAST CHANGE"}, Right: []int{2}}
	for i := range d.VRRP {
		v := &d.VRRP[i]
		prio := strconv.Itoa(v.Priority)
		if v.Priority != v.ConfiguredPriority {
			prio += "/" + strconv.Itoa(v.ConfiguredPriority)
		}
		change := ""
		if v.Since != nil {
			change = v.Since.In(o.local).Format("2006-01-02 15:04:05")
		}
		t.Add(table.Text(v.Name), roleCell(v.State), table.Text(prio), table.Text(addresses(v)), table.Text(heard(d, v)),
			table.Text(strings.TrimSpace(change+"  "+v.Reason)))
	}
	return t
}

// addresses of an instance, the first ones by name.
func addresses(v *control.VRRP) string {
	const most = 3
	var list []string
	for i, a := range v.Addresses {
		if i == most {
			list = append(list, fmt.Sprintf("+%d", len(v.Addresses)-most))
			break
		}
		text := a.Address
		if p, err := netip.ParsePrefix(a.Address); err == nil {
			text = p.Addr().String()
		}
		list = append(list, text)
	}
	if len(list) == 0 {
		return "–"
	}
	return strings.Join(list, " ")
}

// heard tells of the last advertisement of somebody else, and of those that
// were thrown away since the start: two directors that reject one another's are
// both master.
func heard(d *control.Document, v *control.VRRP) string {
	var sum, most uint64
	why := ""
	for reason, n := range v.Dropped {
		if sum += n; n > most || n == most && reason < why {
			most, why = n, reason
		}
	}
	if sum == 0 {
		return accepted(d, v)
	}
	return fmt.Sprintf("%s, %d rejected (%s)", accepted(d, v), sum, why)
}

func accepted(d *control.Document, v *control.VRRP) string {
	switch {
	case v.LastHeard == nil:
		return "nothing yet"
	case v.State == "backup" && v.MasterSource != nil && v.MasterPriority != nil:
		return fmt.Sprintf("%s (%d) %s ago", *v.MasterSource, *v.MasterPriority, ago(d.Time, v.LastHeard))
	}
	return "silent " + ago(d.Time, v.LastHeard)
}

func serviceTable(d *control.Document) *table.Table {
	t := &table.Table{Head: []string{"SERVICE", "STATE", "ADDRESS", "SCHED", "UP/ALL", "WEIGHT", "CONN/S", "ACTIVE"}, Right: []int{4, 5, 6, 7}}
	for i := range d.Services {
		s := &d.Services[i]
		up, active := 0, uint64(0)
		for j := range s.Servers {
			if s.Servers[j].State == "up" {
				up++
			}
			active += uint64(s.Servers[j].Active)
		}
		t.Add(table.Text(s.Name), table.Cell{Text: s.State, Style: serviceStyle(s.State)}, table.Text(serviceAddress(s)), table.Text(s.Scheduler),
			table.Text(fmt.Sprintf("%d/%d", up, len(s.Servers))),
			table.Text(fmt.Sprintf("%d/%d", s.HealthyWeight, s.ConfiguredWeight)),
			table.Text(strconv.FormatUint(s.Counters.ConnectionRate, 10)), table.Text(strconv.FormatUint(active, 10)))
	}
	return t
}

func serviceAddress(s *control.Service) string {
	switch {
	case s.Address != nil && s.Ports != nil && s.Protocol != nil:
		return *s.Protocol + " " + hostPorts(*s.Address, strings.ReplaceAll(*s.Ports, ", ", ","))
	case s.FWMark != nil:
		return fmt.Sprintf("fwmark %d %s", *s.FWMark, s.Family)
	case s.Address != nil && s.Port != nil && s.Protocol != nil:
		return *s.Protocol + " " + hostPort(*s.Address, *s.Port)
	}
	return "?"
}

func hostPort(host string, port int) string { return hostPorts(host, strconv.Itoa(port)) }

func hostPorts(host, ports string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + ports
}

// serversPart lists the servers, all of them if they fit.
func serversPart(d *control.Document, term table.Terminal, o screenOptions) string {
	total := 0
	for i := range d.Services {
		total += len(d.Services[i].Servers)
	}
	brief := !o.all && total > serversShown
	t := &table.Table{Head: []string{"SERVER", "ADDRESS", "FWD", "STATE", "WEIGHT", "ACTIVE", "SINCE", "WHY"}, Right: []int{4, 5}}
	for i := range d.Services {
		s := &d.Services[i]
		for j := range s.Servers {
			r := &s.Servers[j]
			if brief && (r.State == "up" || len(t.Rows) == serversShown) {
				continue
			}
			weight := "–"
			if r.Weight != nil {
				weight = strconv.FormatUint(uint64(*r.Weight), 10)
			}
			t.Add(table.Text(s.Name+"/"+r.Name), table.Text(hostPort(r.Address, r.Port)), table.Text(r.Forward),
				table.Cell{Text: r.State, Style: serverStyle(r.State)},
				table.Text(fmt.Sprintf("%s/%d", weight, r.ConfiguredWeight)), table.Text(strconv.FormatUint(uint64(r.Active), 10)),
				table.Text(ago(d.Time, r.Since)), table.Text(r.Why))
		}
	}
	text := t.String(term)
	if hidden := total - len(t.Rows); hidden > 0 {
		text += table.Line{{Text: fmt.Sprintf("%d of %d servers are not shown; --all shows them", hidden, total), Style: table.Dim}}.String(term)
	}
	return text
}

// footer: the sync daemon and the kernel's table.
func footer(d *control.Document, term table.Terminal) string {
	t := &table.Table{Head: []string{"", ""}}
	if y := d.Sync; y != nil {
		running := strings.Join(y.Running, " and ")
		cell := table.Cell{Text: fmt.Sprintf("%s on %s, id %d, follows %s", running, y.Interface, y.ID, y.Follow)}
		if running == "" {
			cell = table.Cell{Text: fmt.Sprintf("not running (follows %s)", y.Follow), Style: table.Bad}
		} else if y.BehindSince != nil {
			cell.Style = table.Warn
		}
		t.Add(table.Text("sync"), cell)
	}
	if k := d.Kernel; k.Used {
		cell := table.Text("compared " + ago(d.Time, k.LastReconcile) + " ago")
		switch {
		case !k.Up:
			cell = table.Cell{Text: "cannot be read", Style: table.Bad}
		case k.LastReconcile == nil:
			cell = table.Text("readable, not compared yet")
		}
		var repaired uint64
		for _, n := range k.Drift {
			repaired += n
		}
		if repaired > 0 {
			cell.Text += fmt.Sprintf(", %d foreign %s repaired", repaired, plural(int(min(repaired, 2)), "change"))
		}
		if k.Unmanaged > 0 {
			cell.Text += fmt.Sprintf(", %d %s not ours", k.Unmanaged, plural(k.Unmanaged, "service"))
		}
		t.Add(table.Text("kernel"), cell)
	}
	_, text, _ := strings.Cut(t.String(term), "\n")
	return text
}

func problemsPart(d *control.Document, term table.Terminal) string {
	var b strings.Builder
	for _, p := range d.Problems {
		style := table.Warn
		if d.State == control.StateDown {
			style = table.Bad
		}
		b.WriteString(table.Line{{Text: "! ", Style: style}, table.Text(p)}.String(term))
	}
	return b.String()
}

func roleCell(state string) table.Cell {
	c := table.Cell{Text: strings.ToUpper(state)}
	switch state {
	case "master":
		c.Style = table.Good
	case "fault":
		c.Style = table.Bad
	case "init", "releasing":
		c.Style = table.Warn
	}
	return c
}

func serviceStyle(state string) table.Style {
	switch state {
	case control.StateOK:
		return table.Good
	case control.StateDown:
		return table.Bad
	}
	return table.Warn
}

func serverStyle(state string) table.Style {
	switch state {
	case "up":
		return table.Good
	case "down":
		return table.Bad
	}
	return table.Warn
}

// ago is the time from t to now in its two largest units: 3d 04h, 2m 10s, 0.4s.
func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "–"
	}
	d := max(0, now.Sub(*t))
	s := int64(d / time.Second)
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", s)
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %02dh", s/86400, s/3600%24)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
