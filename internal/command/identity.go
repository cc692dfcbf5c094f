package command

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Lookup finds whom a name or number of a user stands for. It is an error if
// this process may not become that user.
func Lookup(name string) (*Identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("there is no user %q on this machine", name)
		}
	}
	id := &Identity{}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("user %q has no number", name)
	}
	id.uid, id.gid = uint32(uid), uint32(gid)
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("cannot tell the groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			id.groups = append(id.groups, uint32(n))
		}
	}
	if int(id.uid) == os.Geteuid() && int(id.gid) == os.Getegid() {
		id.self = true
		return id, nil
	}
	if !may(unix.CAP_SETUID) || !may(unix.CAP_SETGID) {
		return nil, fmt.Errorf("the agent may not become user %q: give it CAP_SETUID and CAP_SETGID"+
			" (AmbientCapabilities= and CapabilityBoundingSet= of the unit), or remove user to run as the agent's own", name)
	}
	return id, nil
}

// may tells whether a capability is in this process's effective set.
func may(capability int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// Executable tells what keeps a command from being run by anybody.
func Executable(argv []string) error {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return errors.New("a command begins with the path of a program, from /")
	}
	st, err := os.Stat(argv[0])
	switch {
	case err != nil:
		return err
	case st.IsDir() || st.Mode()&0o111 == 0:
		return fmt.Errorf("%s is no program: make it executable (chmod +x)", argv[0])
	}
	return nil
}
