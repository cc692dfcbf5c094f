package director

import (
	"context"
	"maps"
	"time"

	"lvs-ha/conf"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp/link"
)

// Stop does what an orderly end asks for, after the addresses are gone: the
// sync daemon's unsent messages leave, then the table is kept or removed as
// on_stop says. It returns when that is done, or with ctx. Run goes on until
// its own context ends.
func (d *Director) Stop(ctx context.Context) error {
	stopped := make(chan struct{})
	if err := d.do(ctx, func() { d.stopped = stopped }); err != nil {
		return err
	}
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish is the loop's part of Stop, looked at after each event.
func (d *Director) finish() {
	if d.stopped == nil {
		return
	}
	w := d.worker.Load()
	if w == nil {
		d.end()
		return
	}
	if d.dirty || d.kernel.applied < d.goalSeq || d.lingers() {
		return
	}
	if d.top.Config.IPVS.OnStop == conf.StopRemove && !d.stopping {
		d.stopping = true
		d.desired.Next = time.Time{}
		d.goalSeq = w.setGoal(ipvsctl.Goal{Owned: maps.Clone(d.owned), ManageDaemons: d.top.Config.Sync != nil})
		return
	}
	d.end()
}

// lingers tells whether the sync daemon's master role runs on for its unsent messages.
func (d *Director) lingers() bool {
	if c := d.top.Config.Sync; c == nil || serves(d.roles[c.Follow].State) {
		return false
	}
	for _, x := range d.desired.Daemons {
		if x.Role == ipvsctl.RoleMaster && !d.stopping {
			return true
		}
	}
	return false
}

func (d *Director) end() {
	close(d.stopped)
	d.stopped = nil
}

// notify is the sign of life and the line for the service manager.
func (d *Director) notify() {
	d.o.Speaker.Notify(link.Notify{Ready: d.top != nil && d.kernelOK(), Status: d.statusLine()})
}

// kernelOK: the table was written, or there is none to write.
func (d *Director) kernelOK() bool { return d.worker.Load() == nil || d.kernel.applied > 0 }
