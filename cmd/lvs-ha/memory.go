package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// reloadGarbage is directorGarbage for the time of a reload: it makes a few
// megabytes of garbage, and to collect meanwhile would take as long as the rest.
const reloadGarbage = 200

// uncollected runs a reload with it.
func uncollected(ctx context.Context, reload func(context.Context) error) error {
	defer debug.SetGCPercent(debug.SetGCPercent(reloadGarbage))
	return reload(ctx)
}

// forgetStartup gives back what only the start of this process has touched,
// before the speaker locks its memory: garbage, and the pages of the program
// file, as the packages of both processes are initialised and the speaker needs
// few of them. What is needed comes back from the page cache, also where the
// file has another name by now or none, and stays then. Where it fails, nothing
// is lost.
func forgetStartup() {
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	var from, to uintptr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"):
			from, to = 0, 0
			// The name of a file that was replaced ends with " (deleted)" in both.
			if strings.Join(fields[5:], " ") == exe && (fields[1] == "r-xp" || fields[1] == "r--p") {
				_, _ = fmt.Sscanf(fields[0], "%x-%x", &from, &to)
			}
		case strings.HasPrefix(line, "Anonymous:") && to > from && fields[1] == "0":
			// Only what is as in the file: changed pages could not come back.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
