package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// groupRead may read the status, groupAdmin may change things.
	groupRead  = "lvs-ha"
	groupAdmin = "lvs-ha-admin"
	// maxPath is what a unix socket's address holds, without the final zero octet.
	maxPath = 107
)

// socket is a listening unix socket with the lock that makes it ours.
type socket struct {
	*net.UnixListener
	path string
	lock *os.File
	ino  uint64 // of our socket: a successor's is not removed
	gid  uint32
}

// openSocket makes the socket at path. That of a dead agent is replaced; if an
// agent lives there, it is an error that says so.
func openSocket(path string) (*socket, error) {
	const suffix = ".new"
	if len(path)+len(suffix) > maxPath {
		return nil, fmt.Errorf("the path of the control socket %s is longer than %d octets; name a shorter directory with --runtime-dir", path, maxPath-len(suffix))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the control socket: %w", err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	s := &socket{path: path, lock: lock}
	if err := s.listen(path + suffix); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// takeLock holds the lock beside the socket until its file is closed, by the
// kernel if need be. A socket that answers although its lock is free (of an
// agent that has lost its lock file) is left alone too.
func takeLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of the control socket: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, inUse(path)
		}
		return nil, fmt.Errorf("cannot lock %s.lock: %w", path, err)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		lock.Close()
		return nil, inUse(path)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return lock, nil
	}
	lock.Close()
	return nil, fmt.Errorf("cannot tell whether an agent lives at %s: %w; remove it if none does", path, err)
}

func inUse(path string) error {
	return fmt.Errorf("another agent runs at %s; stop it, or give this one its own --runtime-dir", path)
}

// listen binds to a name of its own, sets mode and group, and only then moves
// the socket into place: nobody ever meets it half made.
func (s *socket) listen(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove what stands at %s: %w", name, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot make the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	err = s.adopt(name)
	if err == nil {
		err = os.Rename(name, s.path)
	}
	if err != nil {
		l.Close()
		os.Remove(name)
		return fmt.Errorf("cannot make the control socket: %w", err)
	}
	s.UnixListener = l
	return nil
}

func (s *socket) adopt(name string) error {
	if err := os.Chmod(name, 0o660); err != nil {
		return err
	}
	if gid, ok := lookupGroup(groupRead); ok {
		// Without the right to give it away it stays with our own group.
		if err := os.Chown(name, -1, int(gid)); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return err
	}
	s.ino, s.gid = st.Ino, st.Gid
	return nil
}

// Close ends listening and takes the socket away, unless it is no longer ours.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	var st unix.Stat_t
	if unix.Lstat(s.path, &st) == nil && st.Ino == s.ino {
		os.Remove(s.path)
	}
	s.lock.Close()
	return err
}

// lookupGroup finds a group's number.
func lookupGroup(name string) (uint32, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(gid), err == nil
}
