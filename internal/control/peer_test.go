package control

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPermissions(t *testing.T) {
	me := uint32(os.Getuid())
	admin, hasAdmin := lookupGroup(groupAdmin)
	for name, c := range map[string]struct {
		p           peer
		read, write bool
	}{
		"root":             {peer{uid: 0}, true, true},
		"agent's own user": {peer{uid: me}, true, me == 0},
		"socket group":     {peer{uid: 4242, groups: []uint32{7, 500}}, true, false},
		"stranger":         {peer{uid: 4242, groups: []uint32{7}}, false, false},
		"administrator":    {peer{uid: 4242, groups: []uint32{admin}}, hasAdmin, hasAdmin},
	} {
		if name == "administrator" && !hasAdmin {
			continue
		}
		if r, w := c.p.mayRead(500), c.p.mayWrite(); r != c.read || w != c.write {
			t.Errorf("%s: read %v write %v, want %v %v", name, r, w, c.read, c.write)
		}
	}
}

// The kernel tells who is at the other end: the test runs itself as other
// users and lets them talk to the socket.
func TestPeersOfOtherUsers(t *testing.T) {
	if path := os.Getenv("CONTROL_TEST_SOCKET"); path != "" {
		c := NewClient(path)
		_, _, read := c.Status(t.Context())
		fmt.Printf("\nREAD %d WRITE %d\n", ExitCode(read), ExitCode(c.Reload(t.Context())))
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root can become other users")
	}
	dir, err := os.MkdirTemp("", "lvsha-control") // t.TempDir is not open to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "self")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(self, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := serve(t, Options{Path: filepath.Join(dir, "agent.sock"), Source: still(fixture())})
	if err := os.Chown(path, -1, 54321); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		cred        syscall.Credential
		open        bool // whether the file system lets everybody connect
		read, write int
	}{
		// No reload function is given: 2 says that the write was permitted.
		{"root", syscall.Credential{Uid: 0, Gid: 0}, false, 0, 2},
		{"stranger at a closed socket", syscall.Credential{Uid: 54000, Gid: 54000}, false, 4, 4},
		{"stranger at an open socket", syscall.Credential{Uid: 54000, Gid: 54000}, true, 4, 4},
		{"group given by the file system alone", syscall.Credential{Uid: 54000, Gid: 54000, Groups: []uint32{1, 2, 54321}}, false, 4, 4},
	} {
		mode := os.FileMode(0o660)
		if c.open {
			mode = 0o666
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestPeersOfOtherUsers$")
		cmd.Env = []string{"CONTROL_TEST_SOCKET=" + path}
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &c.cred}
		out, err := cmd.CombinedOutput()
		if want := fmt.Sprintf("READ %d WRITE %d\n", c.read, c.write); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: want %q, got %q %v", c.name, want, out, err)
		}
	}
}

// The supplementary groups of a peer count.
func TestPeerGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can choose groups")
	}
	dir, err := os.MkdirTemp("", "lvsha-control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(Options{Path: filepath.Join(dir, "agent.sock"), Source: still(fixture())})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	groups := []uint32{54321}
	for g := range uint32(200) { // more than fit at the first attempt
		groups = append(groups, 60000+g)
	}
	if err := os.Chmod(s.o.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	// A shell's redirection cannot connect; the test binary does, as above.
	self := filepath.Join(dir, "self")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(self, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestPeersOfOtherUsers$")
	cmd.Env, cmd.Dir = []string{"CONTROL_TEST_SOCKET=" + s.o.Path}, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54000, Gid: 54001, Groups: groups}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := s.socket.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	p, err := peerOf(c)
	c.Close()
	s.Close() // the child's second request finds nobody
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err != nil || p.uid != 54000 || !p.mayRead(54321) || !p.mayRead(54001) || !p.mayRead(60199) || p.mayRead(1) || p.mayWrite() {
		t.Errorf("peer %+v %v", p, err)
	}
}
