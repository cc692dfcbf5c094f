package control

import (
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end, as the kernel tells (unix(7)): the
// credentials at the time of connect, which the peer cannot forge.
type peer struct {
	uid    uint32
	groups []uint32 // all of them, the primary one included
}

// peerOf asks the kernel.
func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner == nil {
			p.uid = cred.Uid
			p.groups = append(peerGroups(int(fd)), cred.Gid)
		}
	})
	if err == nil {
		err = inner
	}
	return p, err
}

// peerGroups are the peer's supplementary groups (SO_PEERGROUPS, Linux 4.13);
// none where the kernel does not tell.
func peerGroups(fd int) []uint32 {
	groups := make([]uint32, 64)
	for range 2 {
		size := uint32(len(groups)) * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4]
		case errno == unix.ERANGE && size/4 <= 65536: // NGROUPS_MAX; size tells what is needed
			groups = make([]uint32, size/4)
		default:
			return nil
		}
	}
	return nil
}

// mayRead: root, the agent's own user, the socket's group, and who may write.
func (p peer) mayRead(socketGroup uint32) bool {
	return p.mayWrite() || p.uid == uint32(os.Getuid()) || slices.Contains(p.groups, socketGroup)
}

// mayWrite: root and the group of administrators.
func (p peer) mayWrite() bool {
	if p.uid == 0 {
		return true
	}
	gid, ok := lookupGroup(groupAdmin)
	return ok && slices.Contains(p.groups, gid)
}
