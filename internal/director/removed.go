package director

import "lvs-ha/ipvsctl"

// tellRemoved passes on which servers have left the kernel's table, each as a
// whole; d.kernel.table is still the table before.
func (d *Director) tellRemoved(done []ipvsctl.Op) {
	if d.o.Removed == nil {
		return
	}
	var gone []ipvsctl.Op
	for _, op := range done {
		before := d.kernel.table.Table[op.Service.Key].Servers
		switch op.Kind {
		case ipvsctl.DeleteServer:
			if s, ok := before[op.Server.Key]; ok {
				op.Server = s
			}
			gone = append(gone, op)
		case ipvsctl.DeleteService:
			for _, s := range before {
				gone = append(gone, ipvsctl.Op{Kind: ipvsctl.DeleteServer, Service: op.Service, Server: s})
			}
		case ipvsctl.AddService, ipvsctl.SetService, ipvsctl.AddServer, ipvsctl.SetServer,
			ipvsctl.StartDaemon, ipvsctl.StopDaemon, ipvsctl.SetTimeouts:
		}
	}
	if len(gone) > 0 {
		d.o.Removed(gone)
	}
}
