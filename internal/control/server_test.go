package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"lvs-ha/vrrp/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server until the test ends, and returns its socket's path.
func serve(t *testing.T, o Options) string {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "agent.sock")
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(o.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return o.Path
}

func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestStatus(t *testing.T) {
	path := serve(t, Options{Source: still(fixture()), Version: "1.2.3"})
	d, raw, err := NewClient(path).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(NewDocument(fixture(), "1.2.3"), d); diff != "" {
		t.Error(diff)
	}
	if !json.Valid(raw) || strings.Contains(string(raw), "\n") {
		t.Errorf("not one line of JSON: %.80q", raw)
	}
}

func TestStatusWhileTheDirectorHangs(t *testing.T) {
	src := still(fixture())
	release := make(chan struct{})
	src.refresh = func(context.Context) { <-release }
	path := serve(t, Options{Source: src})
	start := time.Now()
	d, _, err := NewClient(path).Status(t.Context())
	if err != nil || d.Node != "lb1" {
		t.Errorf("%v %v", d, err)
	}
	if took := time.Since(start); took > 20*time.Second { // it would hang for ever
		t.Errorf("took %v", took)
	}
	close(release)
}

func TestStatusBeforeTheFirstSnapshot(t *testing.T) {
	path := serve(t, Options{Source: &source{}})
	if _, _, err := NewClient(path).Status(t.Context()); code(err) != CodeUnreachable || ExitCode(err) != 3 {
		t.Error(err)
	}
}

func TestChanges(t *testing.T) {
	needRoot(t)
	var got link.Failover
	var answer error
	path := serve(t, Options{
		Source:   still(fixture()),
		Reload:   func(context.Context) error { return answer },
		Failover: func(_ context.Context, f link.Failover) error { got = f; return answer },
	})
	c := NewClient(path)
	want := link.Failover{Instance: "edge", For: 90 * time.Second, Force: true}
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Failover(t.Context(), want); err != nil || got != want {
		t.Errorf("%v %+v", err, got)
	}
	for _, x := range []struct {
		err              error
		reload, failover Code
		exit             [2]int
		text             string
	}{
		{errors.New("a.toml:1: bad\na.toml:2: worse"), CodeInvalid, CodeRefused, [2]int{1, 5}, "a.toml:1: bad\na.toml:2: worse"},
		{&Error{Code: CodeRefused, Message: "no", Hint: "use --force"}, CodeRefused, CodeRefused, [2]int{5, 5}, "no; use --force"},
		{fmt.Errorf("speaker: %w", context.DeadlineExceeded), CodeTimeout, CodeTimeout, [2]int{6, 6}, "no result in time"},
	} {
		answer = x.err
		if err := c.Reload(t.Context()); code(err) != x.reload || ExitCode(err) != x.exit[0] || err.Error() != x.text {
			t.Errorf("reload with %v: %v", x.err, err)
		}
		if err := c.Failover(t.Context(), want); code(err) != x.failover || ExitCode(err) != x.exit[1] {
			t.Errorf("failover with %v: %v", x.err, err)
		}
	}
	if err := c.Failover(t.Context(), link.Failover{}); code(err) != CodeUsage {
		t.Errorf("no instance: %v", err)
	}
	if err := c.Failover(t.Context(), link.Failover{Instance: "edge", For: -1}); code(err) != CodeUsage {
		t.Errorf("negative time: %v", err)
	}
}

func TestChangesThatCannotBe(t *testing.T) {
	needRoot(t)
	c := NewClient(serve(t, Options{Source: still(fixture())}))
	if err := c.Reload(t.Context()); code(err) != CodeUsage {
		t.Error(err)
	}
	if err := c.Failover(t.Context(), link.Failover{Instance: "x"}); code(err) != CodeUsage {
		t.Error(err)
	}
}

// raw writes octets to the socket and returns what comes back until the end.
func raw(t *testing.T, path, request string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(c, request)
	b, _ := io.ReadAll(c) // a reset ends it too
	return string(b)
}

func TestHostileRequests(t *testing.T) {
	needRoot(t)
	called := false
	path := serve(t, Options{Source: still(fixture()),
		Reload:   func(context.Context) error { called = true; return nil },
		Failover: func(context.Context, link.Failover) error { called = true; return nil }})
	post := func(url, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", url, len(body), body)
	}
	for name, c := range map[string]struct{ request, answer string }{
		"not HTTP":        {"\x00\x01\x02\r\n\r\n", "HTTP/1.1 400 "},
		"huge header":     {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"unknown path":    {"GET /v2/status HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
		"wrong method":    {"GET /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
		"body at reload":  {post("/v1/reload", "x"), "HTTP/1.1 400 "},
		"huge body":       {post("/v1/failover", `{"instance":"`+strings.Repeat("a", 64<<10)+`"}`), "HTTP/1.1 400 "},
		"unknown key":     {post("/v1/failover", `{"instance":"edge","Farce":true}`), "HTTP/1.1 400 "},
		"not an object":   {post("/v1/failover", `[]`), "HTTP/1.1 400 "},
		"too long a time": {post("/v1/failover", `{"instance":"edge","for":1e300}`), "HTTP/1.1 400 "},
		"path traversal":  {"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 "},
	} {
		answer := raw(t, path, c.request)
		if !strings.HasPrefix(answer, c.answer) {
			t.Errorf("%s: got %.80q, want %q", name, answer, c.answer)
		}
	}
	if called {
		t.Error("a malformed request had an effect")
	}
	if _, _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Error("after all that:", err)
	}
}

// Connections that say nothing are bounded in number, and others get through
// once they are gone.
func TestSilentConnections(t *testing.T) {
	path := serve(t, Options{Source: still(fixture())})
	var held []net.Conn
	for range connLimit {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	if _, _, err := NewClient(path).Status(t.Context()); code(err) != CodeUnreachable {
		t.Errorf("over the limit: %v", err)
	}
	for _, c := range held {
		c.Close()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, _, err := NewClient(path).Status(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestSocketMode(t *testing.T) {
	path := serve(t, Options{Source: still(fixture())})
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v", st.Mode())
	}
	if gid, ok := lookupGroup(groupRead); ok && os.Getuid() == 0 && st.Sys().(*syscall.Stat_t).Gid != gid {
		t.Errorf("group %d, want %d", st.Sys().(*syscall.Stat_t).Gid, gid)
	}
}

func TestLivingAgentIsNotRobbed(t *testing.T) {
	path := serve(t, Options{Source: still(fixture()), Version: "first"})
	if _, err := Listen(Options{Path: path, Source: still(fixture())}); err == nil || !strings.Contains(err.Error(), "another agent runs at "+path) {
		t.Errorf("second agent: %v", err)
	}
	// Even while its socket is not there, or somebody removed the lock.
	if err := os.Rename(path, path+".aside"); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Path: path, Source: still(fixture())}); err == nil || !strings.Contains(err.Error(), "another agent runs at "+path) {
		t.Errorf("second agent without a socket: %v", err)
	}
	if err := os.Rename(path+".aside", path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Path: path, Source: still(fixture())}); err == nil || !strings.Contains(err.Error(), "another agent runs at "+path) {
		t.Errorf("second agent without the lock: %v", err)
	}
	if d, _, err := NewClient(path).Status(t.Context()); err != nil || d.Version != "first" {
		t.Errorf("the first agent: %v", err)
	}
}

func TestDeadAgentIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as a killed process leaves it
	if _, _, err := NewClient(path).Status(t.Context()); code(err) != CodeUnreachable || ExitCode(err) != 3 {
		t.Errorf("dead agent: %v", err)
	}
	serve(t, Options{Path: path, Source: still(fixture())})
	if _, _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// A director that is being started again is waited for.
func TestRestartingAgentIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	result := make(chan error, 1)
	go func() {
		_, _, err := NewClient(path).Status(t.Context())
		result <- err
	}()
	serve(t, Options{Path: path, Source: still(fixture())})
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// An agent that ends leaves what stands in the place of its socket.
func TestSuccessorKeepsItsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	s, err := Listen(Options{Path: path, Source: still(fixture())})
	if err != nil {
		t.Fatal(err)
	}
	other := path + ".other"
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error("somebody else's file is gone:", err)
	}
}

func TestPathTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "agent.sock")
	if _, err := Listen(Options{Path: path, Source: still(fixture())}); err == nil || !strings.Contains(err.Error(), "--runtime-dir") {
		t.Error(err)
	}
}

func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "no.sock")
	_, _, err := NewClient(missing).Status(t.Context())
	if want := "no agent at " + missing + ": is lvs-ha running?"; err == nil || err.Error() != want || ExitCode(err) != 3 {
		t.Errorf("missing socket: %v", err)
	}
	for name, c := range map[string]struct {
		answer string
		want   Code
	}{
		"not HTTP":     {"hello\n", CodeUnreachable},
		"hangs up":     {"", CodeUnreachable},
		"not ours":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", CodeInternal},
		"not JSON":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx", CodeInternal},
		"strange code": {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", CodeInternal},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if c.answer != "" {
				if q, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.Copy(io.Discard, q.Body)
				}
			}
			io.WriteString(conn, c.answer)
		}()
		if _, _, err := NewClient(path).Status(t.Context()); code(err) != c.want {
			t.Errorf("%s: %q %v, want %q", name, code(err), err, c.want)
		}
		l.Close()
		<-done
	}
	silent := filepath.Join(dir, "silent.sock")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := NewClient(silent).Status(ctx); code(err) != CodeTimeout || ExitCode(err) != 6 {
		t.Errorf("silent agent: %v", err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("changes over the socket need root")
	}
}
