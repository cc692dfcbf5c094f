package speaker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// automaticPriority is what "auto" asks for: above ordinary work, below the
// kernel's own threads (50).
const automaticPriority = 10

// realtime gives all threads of the process SCHED_RR and locks its memory, as
// far as that is permitted, and says what became of it. level is -1 for off, 0
// for automatic, else the priority. SCHED_RESET_ON_FORK keeps children out of
// it, and threads that are made later too: they come in by calling it again.
func realtime(level int) string {
	if level < 0 {
		return ordinary()
	}
	prio := level
	if prio == 0 {
		prio = automaticPriority
	}
	err := eachThread(func(tid int) error {
		return unix.SchedSetAttr(tid, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: uint32(prio),
			Flags: unix.SCHED_FLAG_RESET_ON_FORK,
		}, 0)
	})
	switch {
	case errors.Is(err, unix.EPERM):
		return "not permitted (CAP_SYS_NICE or LimitRTPRIO=; and a share of real time for our control group)"
	case err != nil:
		return "not possible: " + err.Error()
	}
	text := "rr " + strconv.Itoa(prio)
	// On fault: what is never touched needs no memory. The runtime reserves
	// more than a gigabyte of address space that must not become resident.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		text += ", memory not locked (CAP_IPC_LOCK or LimitMEMLOCK=infinity)"
	}
	return text
}

func ordinary() string {
	_ = eachThread(func(tid int) error {
		a, err := unix.SchedGetAttr(tid, 0)
		if err != nil || a.Policy != unix.SCHED_RR {
			return err
		}
		return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	})
	_ = unix.Munlockall()
	return "off"
}

// eachThread calls f for each thread of the process; threads that end
// meanwhile do not matter.
func eachThread(f func(tid int) error) error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("cannot list our threads: %w", err)
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(strings.TrimSpace(e.Name()))
		if err != nil {
			continue
		}
		if err := f(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}
