package speaker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
)

// journal remembers over the end of this process when each instance sent its
// last advertisement as master: a speaker that is started again at once goes
// on as master, before anybody has missed it. It is a file mapped into memory,
// so that noting costs a store and never waits.
//
//	header: magic, hash of the boot id   slot: identity, time of the last one, 0 if not master
type journal struct{ words []uint64 }

const (
	journalMagic = 0x6c76732d68612031 // "lvs-ha 1"
	journalSlots = 511
	journalSize  = 16 * (1 + journalSlots)
)

// openJournal maps the file; one of another boot or of another make begins anew.
func openJournal(name string) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the election's record: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(journalSize); err != nil {
		return nil, fmt.Errorf("cannot size the election's record: %w", err)
	}
	// A store to a page that finds no room would be a signal.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, journalSize); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("cannot make room for the election's record: %w", err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, journalSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map the election's record: %w", err)
	}
	j := &journal{unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), journalSize/8)}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		_ = j.close()
		return nil, fmt.Errorf("cannot tell this boot from another: %w", err)
	}
	if id := hash(string(boot)); j.words[0] != journalMagic || j.words[1] != id {
		clear(j.words)
		j.words[0], j.words[1] = journalMagic, id
	}
	return j, nil
}

func (j *journal) close() error {
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&j.words[0])), journalSize))
}

// slot of an instance, and when its last advertisement was sent; 0 if it was
// not master. A slot that nobody uses any more is given away when all are taken.
func (j *journal) slot(in *vrrp.Instance, taken map[*uint64]bool) (cell *uint64, last time.Duration) {
	id := identity(in)
	free := -1
	for i := 2; i+1 < len(j.words); i += 2 {
		cell := &j.words[i+1]
		switch {
		case j.words[i] == id && !taken[cell]:
			return cell, time.Duration(*cell)
		case j.words[i] == 0 && free < 0, free < 0 && i == len(j.words)-2 && !taken[cell]:
			free = i
		}
	}
	if free < 0 {
		return nil, 0
	}
	j.words[free], j.words[free+1] = id, 0
	return &j.words[free+1], 0
}

// identity of an instance on the wire and here.
func identity(in *vrrp.Instance) uint64 {
	c := &in.Config
	return hash(fmt.Sprint(in.Name, "/", in.Interface, "/", c.VRID, c.Version, c.Family, c.Mode))
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	var b [8]byte
	return binary.NativeEndian.Uint64(h.Sum(b[:0])) | 1 // 0 is an empty slot
}

// note stores the time of an advertisement.
func note(cell *uint64, at time.Duration) {
	if cell != nil {
		atomic.StoreUint64(cell, uint64(at))
	}
}

// recent tells whether a master whose last advertisement was sent at last may
// go on: nobody has missed it, and it was not more than an interval ago.
func recent(last, at, interval time.Duration) bool {
	return last != 0 && at >= last && at-last < interval
}
