package ipvsctl

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoIPVS says that the running kernel has no IPVS and could not load it.
var ErrNoIPVS = errors.New("this kernel has no IPVS: load the module with \"modprobe ip_vs\" (kernel option CONFIG_IP_VS), or run on a kernel that has it")

// ErrPermission says that the process may not use IPVS.
var ErrPermission = errors.New("no permission to use IPVS: the process needs the capability CAP_NET_ADMIN (run as root, or set AmbientCapabilities=CAP_NET_ADMIN in the unit)")

// ErrTransport says that a request or its answer was lost on the way: whether
// the change was made is not known.
var ErrTransport = errors.New("no answer from the kernel")

// Error says what was refused and why, for people.
func (e OpError) Error() string {
	return "cannot " + e.Op.String() + ": " + why(e.Op, e.Err)
}

func (e OpError) Unwrap() error { return e.Err }

// why explains the errno of an operation. The meanings are those of
// net/netfilter/ipvs/ip_vs_ctl.c and ip_vs_sync.c.
func why(o Op, err error) string {
	is := func(e unix.Errno) bool { return errors.Is(err, e) }
	switch o.Kind {
	case AddService, SetService:
		switch {
		case is(unix.ENOENT) && o.Service.PEName != "":
			return fmt.Sprintf("the kernel has no scheduler %q (module ip_vs_%s) or no persistence engine %q (module ip_vs_pe_%s)",
				o.Service.Scheduler, o.Service.Scheduler, o.Service.PEName, o.Service.PEName)
		case is(unix.ENOENT):
			return fmt.Sprintf("the kernel has no scheduler %q (module ip_vs_%s)", o.Service.Scheduler, o.Service.Scheduler)
		case is(unix.EEXIST):
			return "there is such a service already"
		case is(unix.ESRCH):
			return "there is no such service"
		case is(unix.EAFNOSUPPORT):
			return "the kernel has no IPv6"
		}
	case DeleteService:
		if is(unix.ESRCH) {
			return "there is no such service"
		}
	case AddServer, SetServer, DeleteServer:
		switch {
		case is(unix.EEXIST):
			return "the service has such a server already"
		case is(unix.ENOENT):
			return "the service has no such server"
		case is(unix.ESRCH):
			return "there is no such service"
		case is(unix.ERANGE):
			return "the weight is above 2147483647, or the lower threshold is above the upper one"
		case is(unix.EINVAL) && o.Server.Key.Addr.Is4() != (o.Service.Key.Family == 4):
			return "a server of the other address family must be tunnelled, and the kernel takes none while a sync daemon runs"
		case is(unix.EINVAL):
			return "the kernel does not take this address as a server's (unicast only), or a GUE tunnel has no port"
		case is(unix.EAFNOSUPPORT):
			return "the kernel has no IPv6"
		}
	case StartDaemon:
		switch {
		case is(unix.EEXIST):
			return "such a daemon runs already"
		case is(unix.ENODEV):
			return fmt.Sprintf("there is no interface %q", o.Daemon.Interface)
		case is(unix.EINVAL):
			return "the group is not multicast, or a server has another address family than its service, which the sync daemon cannot do"
		}
	case StopDaemon:
		if is(unix.ESRCH) {
			return "no such daemon runs"
		}
	case SetTimeouts:
		if is(unix.EINVAL) {
			return "a timeout is out of range"
		}
	}
	return err.Error()
}

// Result classes the outcome of an operation by a label from a closed set:
// ok, exists, missing, invalid, denied, busy, timeout, error.
func Result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, unix.EEXIST):
		return "exists"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENODEV):
		return "missing"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.EAFNOSUPPORT):
		return "invalid"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, ErrPermission):
		return "denied"
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EAGAIN):
		return "busy"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "timeout"
	}
	return "error"
}

// Results lists what Result may return.
var Results = []string{"ok", "exists", "missing", "invalid", "denied", "busy", "timeout", "error"}
