package vip

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const inNamespace = "LVSHA_TEST_NAMESPACE"

// TestMain runs the tests in a network namespace of their own, so that every
// thread is in it and whatever tests leave behind goes with it.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		if code, ok := again(); ok {
			os.Exit(code)
		}
	}
	goleak.VerifyTestMain(m)
}

// again runs this binary in a new namespace; false if that is not possible.
func again() (int, bool) {
	probe := exec.Command("/proc/self/exe", "-test.run=^$")
	probe.Env = append(os.Environ(), inNamespace+"=probe")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := probe.Run(); err != nil {
		os.Setenv(inNamespace, "no: "+err.Error())
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
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

// needNamespace skips a test that needs the namespace, loudly, or fails it
// where LVSHA_REQUIRE says that there must be one.
func needNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv(inNamespace) == "yes" {
		return
	}
	for _, r := range strings.Split(os.Getenv("LVSHA_REQUIRE"), ",") {
		if r == "netns" {
			t.Fatalf("no network namespace: %s", os.Getenv(inNamespace))
		}
	}
	t.Skipf("needs a network namespace: %s", os.Getenv(inNamespace))
}
