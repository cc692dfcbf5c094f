// Package sdnotify speaks the service manager's notification protocol
// (sd_notify(3)): one datagram per message to the socket in $NOTIFY_SOCKET.
package sdnotify

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Socket is the way to the service manager; the zero value is none, and
// sending to it does nothing.
type Socket struct{ addr *net.UnixAddr }

// FromEnv takes the socket from the environment and removes the variable, so
// that no child speaks for us.
func FromEnv() Socket {
	name := os.Getenv("NOTIFY_SOCKET")
	_ = os.Unsetenv("NOTIFY_SOCKET")
	if name == "" || (name[0] != '/' && name[0] != '@') {
		return Socket{}
	}
	return Socket{&net.UnixAddr{Name: name, Net: "unixgram"}}
}

// Send sends assignments, such as "READY=1". Newlines within one would start
// another and are replaced.
func (s Socket) Send(assignments ...string) error {
	if s.addr == nil {
		return nil
	}
	for i, a := range assignments {
		assignments[i] = strings.ReplaceAll(a, "\n", " ")
	}
	c, err := net.DialUnix("unixgram", nil, s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	// The manager may be slow; a director never waits for it.
	_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, err = c.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// WatchdogInterval is how often the service manager wants a sign of life of
// this process, 0 for never. Half of it is a good period.
func WatchdogInterval() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
