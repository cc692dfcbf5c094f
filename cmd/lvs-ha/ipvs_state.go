package main

import (
	"fmt"
	"io"
	"strconv"

	"lvs-ha/internal/table"
	"lvs-ha/ipvsctl"
)

// ipvsDaemon is one running sync daemon in JSON.
type ipvsDaemon struct {
	Role      string `json:"role"`
	Interface string `json:"interface"`
	ID        uint8  `json:"id"`
	MaxLen    uint16 `json:"max_length"` // octets
	Group     string `json:"group"`
	Port      uint16 `json:"port"`
	TTL       uint8  `json:"ttl"`
}

// daemons is the frame of "daemon".
func (c *ipvsCall) daemons(w io.Writer, term table.Terminal) error {
	doc := struct {
		ipvsHead
		Daemons []ipvsDaemon `json:"daemons"`
	}{c.head(), []ipvsDaemon{}}
	err := c.withKernel(func(k ipvsctl.Kernel) error {
		list, err := k.Daemons(c.ctx)
		for _, d := range list {
			group := ""
			if d.Group.IsValid() {
				group = d.Group.String()
			}
			doc.Daemons = append(doc.Daemons, ipvsDaemon{d.Role.String(), d.Interface, d.ID, d.MaxLen, group, d.Port, d.TTL})
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return c.json(w, doc)
	}
	if len(doc.Daemons) == 0 {
		_, err := io.WriteString(w, "no sync daemon runs\n")
		return err
	}
	t := table.Table{Head: []string{"ROLE", "INTERFACE", "ID", "MAX-LENGTH", "GROUP", "PORT", "TTL"}, Right: []int{2, 3}}
	for _, d := range doc.Daemons {
		t.Add(row(table.Plain, d.Role, d.Interface, strconv.Itoa(int(d.ID)), strconv.Itoa(int(d.MaxLen)), d.Group, strconv.Itoa(int(d.Port)), strconv.Itoa(int(d.TTL)))...)
	}
	_, err = io.WriteString(w, t.String(term))
	return err
}

// timeoutsCommand shows the timeouts, or sets those that are given.
func (c *ipvsCall) timeoutsCommand(args []string) error {
	given := c.timeouts != [3]secondsFlag{}
	switch {
	case len(args) > 0 && args[0] != "set":
		return usageError("ipvs timeouts takes no argument %q, only set", args[0])
	case len(args) > 0 && !given:
		return usageError("ipvs timeouts set: give one of --tcp, --tcpfin and --udp")
	case len(args) > 0:
		return c.setTimeouts()
	case given:
		return usageError("to change timeouts: lvs-ha ipvs timeouts set --tcp 15m")
	}
	return c.show(c.showTimeouts)
}

func (c *ipvsCall) showTimeouts(w io.Writer, term table.Terminal) error {
	var now ipvsctl.Timeouts
	err := c.withKernel(func(k ipvsctl.Kernel) (err error) {
		now, err = k.Timeouts(c.ctx)
		return err
	})
	if err != nil {
		return err
	}
	if c.output == "json" {
		type seconds struct {
			TCP    float64 `json:"tcp"`
			TCPFin float64 `json:"tcpfin"`
			UDP    float64 `json:"udp"`
		}
		return c.json(w, struct {
			ipvsHead
			Timeouts seconds `json:"timeouts"`
		}{c.head(), seconds{now.TCP.Seconds(), now.TCPFin.Seconds(), now.UDP.Seconds()}})
	}
	_, err = fmt.Fprintf(w, "tcp %v  tcpfin %v  udp %v\n", now.TCP, now.TCPFin, now.UDP)
	return err
}
