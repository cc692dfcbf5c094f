package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"lvs-ha/internal/control"
)

const (
	// drainPoll is how often a waiting command looks.
	drainPoll = time.Second
	// drainPatience with an agent that does not answer, as while its director
	// process is started again.
	drainPatience = 15 * time.Second
)

// waitDrained returns when the servers of an order have no active connections.
func waitDrained(ctx context.Context, client *control.Client, d *control.AdminDocument, o *adminOptions, stdout, stderr io.Writer) int {
	began := time.Now()
	if o.wait.limit > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, o.wait.limit)
		defer cancel()
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	answered, told := began, ""
	var p drainDocument
	for {
		doc, _, err := client.Status(ctx)
		switch {
		case err == nil:
			answered = time.Now()
			var gone []string
			p.Servers, gone = progress(doc, d)
			if len(gone) > 0 {
				return adminFailed(o, &control.Error{Code: control.CodeInternal, Message: strings.Join(gone, ", ") + ": nobody drains it any more"}, stdout, stderr)
			}
			text := progressText(p.Servers)
			p.Drained = busy(p.Servers) == 0
			if o.output == "text" && text != told {
				told = text
				fmt.Fprintln(stderr, text)
			}
			if p.Drained {
				p.Waited = time.Since(began).Seconds()
				if o.output == "json" {
					p.write(stdout)
				} else {
					fmt.Fprintln(stdout, "drained")
				}
				return exitOK
			}
		case ctx.Err() == nil && time.Since(answered) > drainPatience:
			return adminFailed(o, err, stdout, stderr)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if o.output == "json" {
				p.Waited = time.Since(began).Seconds()
				p.write(stdout)
			}
			fmt.Fprintf(stderr, "lvs-ha: not drained yet: %s; the drain goes on\n", progressText(p.Servers))
			return control.ExitCode(&control.Error{Code: control.CodeTimeout})
		}
	}
}

// progress of the servers that were named; gone are those that nobody
// drains now.
func progress(doc *control.Document, d *control.AdminDocument) (servers []drainServer, gone []string) {
	named := map[[2]string]bool{}
	for i := range d.Servers {
		named[[2]string{d.Servers[i].Service, d.Servers[i].Server}] = d.Servers[i].Configured
	}
	for i := range doc.Services {
		s := &doc.Services[i]
		for j := range s.Servers {
			r := &s.Servers[j]
			id := [2]string{s.Name, r.Name}
			if !named[id] {
				continue
			}
			delete(named, id)
			if r.Admin == nil || r.Admin.ModeBy == nil {
				gone = append(gone, s.Name+"/"+r.Name)
				continue
			}
			x := drainServer{Service: s.Name, Server: r.Name, Active: r.Active, Inactive: r.Inactive, Persistent: r.Persistent}
			if s.Protocol != nil && *s.Protocol == "udp" {
				// The kernel calls no UDP flow active.
				x.Active, x.Inactive = x.Active+x.Inactive, 0
			}
			servers = append(servers, x)
		}
	}
	for i := range d.Servers {
		if x := &d.Servers[i]; named[[2]string{x.Service, x.Server}] { // it left the configuration
			gone = append(gone, x.Service+"/"+x.Server)
		}
	}
	return servers, gone
}

// busy counts active connections.
func busy(servers []drainServer) (n uint64) {
	for i := range servers {
		n += uint64(servers[i].Active)
	}
	return n
}

// progressText is one line, of those that have connections.
func progressText(servers []drainServer) string {
	const most = 5
	var parts []string
	more := 0
	for i := range servers {
		s := &servers[i]
		if s.Active == 0 && s.Inactive == 0 && s.Persistent == 0 {
			continue
		}
		if len(parts) == most {
			more++
			continue
		}
		text := fmt.Sprintf("%s/%s %d active, %d inactive", s.Service, s.Server, s.Active, s.Inactive)
		if s.Persistent > 0 {
			text += fmt.Sprintf(", %d persistent", s.Persistent)
		}
		parts = append(parts, text)
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	if len(parts) == 0 {
		return "no connections left"
	}
	return strings.Join(parts, "; ")
}
