package conf

import (
	"fmt"
	"time"
)

// Sysctls are the kernel settings below net.ipv4.vs that matter to the table.
type Sysctls struct {
	// Manage: they are set, and set again when somebody changes them. Otherwise
	// differences are only reported.
	Manage bool
	// ExpireNodestConn ends the connections of a removed server.
	ExpireNodestConn bool
	// ExpireQuiescentTemplate lets persistent clients leave a server of weight 0.
	ExpireQuiescentTemplate bool
	// What the file does not name is nil and left alone.
	ConnReuseMode         *int // 0..3, a set of bits
	SloppyTCP, BackupOnly *bool
	// SyncThreshold and period: a connection is copied after its first packets
	// of that number, and then once in each period (0: then never).
	SyncThreshold *[2]int
	// SyncRefreshPeriod: a connection is copied again after it (0: not for that
	// reason), whole seconds; SyncRetries: so many times more within an eighth of it.
	SyncRefreshPeriod *time.Duration
	SyncRetries       *int // 0..3
}

func (b *builder) sysctls(v view) Sysctls {
	s := Sysctls{
		Manage:                  v.choice("sysctls", "manage", "manage", "check") == "manage",
		ExpireNodestConn:        v.boolean("expire_nodest_conn", true),
		ExpireQuiescentTemplate: v.boolean("expire_quiescent_template", true),
		SloppyTCP:               v.optionalBool("sloppy_tcp"),
		BackupOnly:              v.optionalBool("backup_only"),
	}
	if v.has("conn_reuse_mode") {
		n := int(v.integer("conn_reuse_mode", 1, 0, 3))
		s.ConnReuseMode = &n
	}
	s.SyncThreshold = b.syncThreshold(v)
	if v.has("sync_refresh_period") {
		d := v.duration("sync_refresh_period", 0, 0, 24*time.Hour)
		if d%time.Second != 0 {
			v.bad("sync_refresh_period", "must be whole seconds", "")
		}
		s.SyncRefreshPeriod = &d
	}
	if v.has("sync_retries") {
		n := int(v.integer("sync_retries", 0, 0, 3))
		s.SyncRetries = &n
	}
	return s
}

func (v view) optionalBool(key string) *bool {
	if !v.has(key) {
		return nil
	}
	x := v.boolean(key, false)
	return &x
}

// syncThreshold follows proc_do_sync_threshold in net/netfilter/ipvs/ip_vs_ctl.c.
func (b *builder) syncThreshold(v view) *[2]int {
	if !v.has("sync_threshold") {
		return nil
	}
	const cure = "write the packet that has the connection copied first and the period after that, as [2, 50]"
	list := v.list("sync_threshold")
	if _, isList := listValue(v, "sync_threshold"); !isList {
		return nil // reported
	}
	if len(list) != 2 {
		v.bad("sync_threshold", fmt.Sprintf("has %d numbers", len(list)), cure)
		return nil
	}
	var out [2]int
	for i, it := range list {
		n, ok := it.value.(int64)
		if !ok || n < 0 || n > 1<<31-1 {
			b.add(finding{at: it.at, what: "must be an integer of 0..2147483647", cure: cure})
			return nil
		}
		out[i] = int(n)
	}
	if out[1] != 0 && out[0] >= out[1] {
		v.bad("sync_threshold", "is refused by the kernel: the first number must be below the second", cure)
		return nil
	}
	return &out
}
