package host

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// sysctls reads the settings and writes those that differ, but not in a pause.
func (k *Keeper) sysctls(want *Want, r *report, paused bool) {
	have := make(map[string]string, len(want.Sysctls))
	unread := map[string]bool{}
	for _, s := range want.Sysctls {
		v, err := k.m.readSysctl(s.Key)
		switch {
		case err == nil:
			have[s.Key] = v
		case !errors.Is(err, fs.ErrNotExist):
			unread[s.Key] = true
			r.add(s.Key, fmt.Sprintf("cannot read the setting %s: %v", s.Key, err))
		}
	}
	writes, findings := PlanSysctls(want.Sysctls, have, want.Manage && !paused)
	for _, f := range findings {
		if !unread[f.Key] {
			r.add(f.Key, f.String())
		}
	}
	var readOnly []Sysctl
	for _, c := range writes {
		s := find(want.Sysctls, c.Key)
		err := k.m.writeSysctl(c.Key, c.New)
		switch {
		case readOnlyErr(err):
			readOnly = append(readOnly, s)
		case err != nil:
			r.add(c.Key, fmt.Sprintf("cannot set %s, which is %s: %v; %s", s.assignment(), c.Old, err, s.Why))
		case k.ours[c.Key] == c.New:
			k.repaired(RepairSysctl)
			k.log.Info("kernel setting changed by somebody else is set again", "event", "sysctl_repaired", "key", c.Key, "old", c.Old, "new", c.New)
		default:
			k.log.Info("kernel setting changed", "event", "sysctl_set", "key", c.Key, "old", c.Old, "new", c.New)
		}
		if err == nil {
			k.ours[c.Key] = c.New
		}
	}
	if len(readOnly) > 0 {
		r.add("/proc/sys", readOnlyText(readOnly))
	}
}

// readOnlyErr: /proc/sys is mounted read-only (EROFS), or we lack CAP_NET_ADMIN
// in the user namespace that owns the network namespace.
func readOnlyErr(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func readOnlyText(list []Sysctl) string {
	text := "kernel settings cannot be written here (with ProtectKernelTunables= systemd makes /proc/sys read-only); " +
		"put these lines into /etc/sysctl.d/90-lvs-ha.conf and run sysctl --system, or allow the writing:"
	for i, s := range list {
		sep := ","
		if i == 0 {
			sep = ""
		}
		text += fmt.Sprintf("%s %s = %s (%s)", sep, s.Key, s.Value, s.Why)
	}
	return text
}

func find(list []Sysctl, key string) Sysctl {
	for _, s := range list {
		if s.Key == key {
			return s
		}
	}
	return Sysctl{Key: key}
}
