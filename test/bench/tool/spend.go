package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// cmdSpend runs a command, with its output thrown away, and prints what it took.
func cmdSpend(args []string) error {
	if len(args) == 0 {
		return errors.New("wanted: COMMAND [ARG...]")
	}
	c := exec.Command(args[0], args[1:]...)
	c.Stdin, c.Stderr = os.Stdin, os.Stderr
	begin := time.Now()
	if err := c.Run(); err != nil {
		return err
	}
	wall := time.Since(begin)
	u := c.ProcessState.SysUsage().(*syscall.Rusage)
	return emit(map[string]int64{"begin_ns": begin.UnixNano(), "wall_ns": wall.Nanoseconds(), "cpu_ns": u.Utime.Nano() + u.Stime.Nano(), "peak_kb": u.Maxrss})
}

// cmdScrape prints the lines of a metrics page that begin so.
func cmdScrape(args []string) error {
	if len(args) != 2 {
		return errors.New("wanted: URL BEGINNING")
	}
	// To pack such a page takes longer than to make it.
	plain := http.Client{Transport: &http.Transport{DisableCompression: true}}
	answer, err := plain.Get(args[0])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %w", args[0], answer.Status, err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, args[1]) {
			fmt.Print(line)
		}
	}
	return nil
}
