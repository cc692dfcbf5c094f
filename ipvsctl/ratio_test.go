package ipvsctl_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/ipvsctl"
)

// cpu is the processor time that this process has used, and its dead children.
func cpu(t testing.TB, who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRatios compares with ipvsadm on the same kernel in the same run. It says
// what it measured, and fails where the ratio is above the limit: limits are
// for a guest in virtual time, where figures do not depend on the load.
func TestRatios(t *testing.T) {
	needIpvsadm(t)
	if testing.Short() {
		t.Skip("short")
	}
	sizes := []int{5000}
	if os.Getenv("LVSHA_LONG") == "1" {
		sizes = append(sizes, 10000)
	}
	for _, n := range sizes {
		ns := netns(t)
		k := openIn(t, ns)
		tab := bigTable(n/100, 100)
		rules := ipvsctl.FormatRules(tab)
		measure := func(f func()) (wall, self, children time.Duration) {
			start, s, c := time.Now(), cpu(t, unix.RUSAGE_SELF), cpu(t, unix.RUSAGE_CHILDREN)
			f()
			return time.Since(start), cpu(t, unix.RUSAGE_SELF) - s, cpu(t, unix.RUSAGE_CHILDREN) - c
		}
		adm := func(in string, args ...string) func() {
			return func() {
				c := exec.Command("ip", append([]string{"netns", "exec", ns, "ipvsadm"}, args...)...)
				c.Stdin = strings.NewReader(in)
				c.Stdout = io.Discard
				if err := c.Run(); err != nil {
					t.Fatal(args, err)
				}
			}
		}
		g := ipvsctl.Goal{Table: tab}
		r := ipvsctl.NewReconciler(k, nil)
		full := func() {
			if rep, err := r.Full(t.Context(), g); err != nil || len(rep.Failed) > 0 {
				t.Fatal(err, rep)
			}
		}
		report := func(what string, ours, theirs time.Duration, limit float64) {
			ratio := float64(ours) / float64(theirs)
			fmt.Printf("%s of %d servers: %v, ipvsadm %v, ratio %.2f\n", what, n, ours.Round(10*time.Microsecond), theirs.Round(10*time.Microsecond), ratio)
			if os.Getenv("LVSHA_GUEST") != "" && ratio > limit {
				t.Errorf("%s of %d servers: ratio %.2f, limit %.2f", what, n, ratio, limit)
			}
		}
		// Both find the servers of before in the kernel's trash, which it searches for each that is added.
		adm(rules, "-R")()
		adm("", "-C")()
		restore, _, _ := measure(adm(rules, "-R"))
		// Adopt what ipvsadm left, then lose it: the repair re-reads first.
		full()
		adm("", "-C")()
		repair, _, _ := measure(full)
		report("repair after ipvsadm -C", repair, restore, 1)
		adm("", "-C")()
		r = ipvsctl.NewReconciler(k, nil)
		first, _, _ := measure(full)
		report("first pass on an empty table", first, restore, 0.7)
		full()
		const rounds = 10
		_, self, _ := measure(func() {
			for range rounds {
				full()
			}
		})
		_, _, theirs := measure(func() {
			for range rounds {
				adm("", "-Ln")()
			}
		})
		report("pass with nothing to do, CPU", self/rounds, theirs/rounds, 1)

		sk := tab.Keys()[7]
		quick, _, _ := measure(func() {
			for i := range 100 {
				s := tab[sk].Servers[rs(7)]
				s.Weight = uint32(i % 2)
				tab[sk].Servers[rs(7)] = s
				if rep, err := r.QuickServers(t.Context(), g, []ipvsctl.ServerRef{{Service: sk, Server: rs(7)}}); err != nil || len(rep.Done) != 1 {
					t.Fatal(err, rep)
				}
			}
		})
		whole, _, _ := measure(func() {
			for i := range 10 {
				s := tab[sk].Servers[rs(7)]
				s.Weight = uint32(i % 2)
				tab[sk].Servers[rs(7)] = s
				if rep, err := r.Quick(t.Context(), g); err != nil || len(rep.Done) != 1 {
					t.Fatal(err, rep)
				}
			}
		})
		fmt.Printf("one of %d servers changed: QuickServers %v, Quick %v\n", n, quick/100, whole/10)
	}
}
