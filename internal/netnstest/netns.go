// Package netnstest is test-only: it runs the tests of a package in a network
// namespace of their own, so that every thread is in it and whatever tests
// leave behind goes with it.
//
//	TestMain ──Main──▶ the same binary in a new namespace ──▶ the tests
//	                   └ where there can be none: here, and Need skips
package netnstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const variable = "LVSHA_TEST_NAMESPACE"

// Main is for TestMain. It runs the tests, with args before the flags that were
// given, and looks for goroutines that are left over.
func Main(m *testing.M, args ...string) {
	if os.Getenv(variable) == "" {
		if code, ok := again(args); ok {
			os.Exit(code)
		}
	}
	goleak.VerifyTestMain(m)
}

// again runs this binary in a new namespace; false if that is not possible.
func again(args []string) (int, bool) {
	start := func(value string, args []string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), variable+"="+value)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	if err := start("probe", []string{"-test.run=^$"}).Run(); err != nil {
		os.Setenv(variable, "no: "+err.Error())
		return 0, false
	}
	cmd := start("yes", append(args, os.Args[1:]...))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Ignore(os.Interrupt)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), true
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// Need skips a test that needs the namespace, loudly, or fails it where
// LVSHA_REQUIRE says that there must be one.
func Need(t *testing.T) {
	t.Helper()
	why := os.Getenv(variable)
	switch {
	case why == "yes":
	case slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), "netns"):
		t.Fatalf("no network namespace: %s", why)
	default:
		t.Skipf("needs a network namespace: %s", why)
	}
}
