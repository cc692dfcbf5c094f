package speaker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// automaticPriority is what "auto" asks for: above ordinary work, below the
// kernel's own threads (50).
const automaticPriority = 10

// realtime gives all threads of the process SCHED_RR and locks its memory, as
// far as that is permitted, and says what became of it. level is -1 for off, 0
// for automatic, else the priority.
//
// Threads that are made later inherit it: one of the ordinary class could hold
// what the runtime has only one of, while it waits for a busy CPU, and the loop
// would wait with it. See OrdinaryChildren for programs that are started. All
// have one priority, the loop's thread too: the runtime waits for its own locks
// with sched_yield(2), which lets nobody of a lower priority run.
func realtime(level int) string {
	if level < 0 {
		return ordinary()
	}
	prio := uint32(level)
	if prio == 0 {
		prio = automaticPriority
	}
	err := settled(func(tid int) (bool, error) {
		a, err := unix.SchedGetAttr(tid, 0)
		if err != nil || a.Policy == unix.SCHED_RR && a.Priority == prio {
			return false, err
		}
		return true, unix.SchedSetAttr(tid, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: prio, Flags: a.Flags & unix.SCHED_FLAG_RESET_ON_FORK,
		}, 0)
	})
	switch {
	case errors.Is(err, unix.EPERM):
		return "not permitted (CAP_SYS_NICE or LimitRTPRIO=; and a share of real time for our control group)"
	case err != nil:
		return "not possible: " + err.Error()
	}
	text := "rr " + strconv.Itoa(int(prio))
	// On fault: what is never touched needs no memory. The runtime reserves
	// more than a gigabyte of address space that must not become resident.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		text += ", memory not locked (CAP_IPC_LOCK or LimitMEMLOCK=infinity)"
	}
	return text
}

// ordinary gives all threads the ordinary class, as it is: a shorter slice, also
// with the highest weight, was seen to make the loop later beside busy threads
// (Linux 6.12), as what a thread saves by using less than its share counts less
// then.
func ordinary() string {
	_ = settled(func(tid int) (bool, error) {
		a, err := unix.SchedGetAttr(tid, 0)
		if err != nil || a.Policy != unix.SCHED_RR {
			return false, err
		}
		return true, unix.SchedSetAttr(tid, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Flags: a.Flags & unix.SCHED_FLAG_RESET_ON_FORK,
		}, 0)
	})
	_ = unix.Munlockall()
	return "off"
}

// OrdinaryChildren locks the calling goroutine to its thread and has the
// programs that are started from it begin in the ordinary class, whatever this
// process is in. In a process with a Speaker in real time all programs are
// started from such a goroutine; the runtime makes its own threads elsewhere.
func OrdinaryChildren() error {
	runtime.LockOSThread()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return fmt.Errorf("cannot read the class of this thread: %w", err)
	}
	err = unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: a.Policy, Nice: a.Nice, Priority: a.Priority, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
	if err != nil {
		return fmt.Errorf("cannot keep real time from children: %w", err)
	}
	return nil
}

// settled calls set, which tells whether it changed anything, for each thread
// of the process until there is nothing to change: a thread that is not changed
// yet makes others like itself. Threads that end meanwhile do not matter.
func settled(set func(tid int) (bool, error)) error {
	again := true
	for pass := 0; again && pass < 10; pass++ {
		again = false
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("cannot list our threads: %w", err)
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			changed, err := set(tid)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			again = again || changed
		}
	}
	return nil
}
