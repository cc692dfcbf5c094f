package director

import (
	"time"

	"lvs-ha/conf"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
)

// SyncOverlap is how long the sync daemon of the role that ends runs on beside
// the new one. The kernel keeps a part-filled message for up to 2 s and looks
// once a second (net/netfilter/ipvs/ip_vs_sync.c, IPVS_SYNC_FLUSH_TIME), and
// throws away what is unsent when the daemon stops.
const SyncOverlap = 3 * time.Second

// sync decides which sync daemons run.
func (d *Desired) sync(s *State) {
	c := s.Topology.Config.Sync
	if c == nil {
		return
	}
	r, known := s.Roles[c.Follow]
	if !known {
		// Before the speaker has told the role, what runs stands.
		return
	}
	d.ManageDaemons = true
	overlap := false
	end := r.Since.Add(SyncOverlap)
	if serves(r.State) {
		d.daemon(c, ipvsctl.RoleMaster)
		overlap = r.Was == vrrp.Backup
	} else {
		d.daemon(c, ipvsctl.RoleBackup)
		overlap = r.Planned && serves(r.Was)
	}
	if overlap && s.Now.Before(end) {
		d.at(end)
		if serves(r.State) {
			d.daemon(c, ipvsctl.RoleBackup)
		} else {
			d.daemon(c, ipvsctl.RoleMaster)
		}
	}
}

// serves tells whether a node in this state holds the addresses, so that
// clients' packets reach its kernel.
func serves(s vrrp.State) bool {
	switch s {
	case vrrp.Master, vrrp.Releasing:
		return true
	case vrrp.Init, vrrp.Backup, vrrp.Fault:
		return false
	}
	return false
}

func (d *Desired) daemon(c *conf.Sync, role ipvsctl.Role) {
	d.Daemons = append(d.Daemons, ipvsctl.Daemon{
		Role: role, Interface: c.Interface, ID: c.ID, MaxLen: c.MaxLen, Group: c.Group, Port: c.Port, TTL: c.TTL,
	})
}
