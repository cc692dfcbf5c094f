package health

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// daemonPath finds a server of Debian, or skips. Its packages: nginx-light,
// dnsmasq-base, msmtp-mta, openssl.
func daemonPath(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p
		}
	}
	for w := range strings.SplitSeq(os.Getenv("LVSHA_REQUIRE"), ",") {
		if w == "daemons" {
			t.Fatal(name, "is not installed")
		}
	}
	t.Skip(name, "is not installed")
	return ""
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// daemonRun starts a server that stays in the foreground and ends it with the test.
func daemonRun(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if stdin, err := cmd.StdinPipe(); err == nil { // openssl ends with its input
		defer t.Cleanup(func() { stdin.Close() })
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", path, out)
		}
	})
}

// freePort of loopback, for both TCP and UDP. It is below those that the kernel
// gives to whoever wants any, so that nobody has got it when the daemon wants it.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10000+rand.IntN(20000)))
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			continue
		}
		l.Close()
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			continue
		}
		u.Close()
		return at
	}
	t.Fatal("no free port")
	panic("unreachable")
}

// passes waits for a first success: a daemon takes its time to start.
func passes(t *testing.T, s Spec) Report {
	t.Helper()
	var f *Failure
	var rep Report
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if rep, f = askAny(t, s); f == nil {
			return rep
		}
	}
	t.Fatalf("%s: %v", s.Type, f)
	return rep
}

func fails(t *testing.T, s Spec, want Reason, text string) {
	t.Helper()
	_, f := askAny(t, s)
	wantReason(t, f, want, text)
}

// askAny probes by whatever runs the type.
func askAny(t *testing.T, s Spec) (Report, *Failure) {
	switch s.Type {
	case TCP, HTTP, UDP:
		f, _ := probe(t, s)
		return Report{}, f
	default:
		return ask(t, s, patience)
	}
}

func TestDaemonNginx(t *testing.T) {
	path := daemonPath(t, "nginx")
	ca := newAuthority(t, "ca")
	cert, key := ca.store(ca.issue(-time.Hour, 30*tlsDay, "www.example"))
	dir := t.TempDir()
	plain, secure := freePort(t), freePort(t)
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	conf := fmt.Sprintf(`daemon off; master_process off; %[1]s pid %[2]s/pid; error_log stderr; events {}
http { access_log off; client_body_temp_path %[2]s/b; proxy_temp_path %[2]s/p; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
 server { listen %[3]s; listen %[4]s ssl; ssl_certificate %[5]s; ssl_certificate_key %[6]s;
  location = /ok { return 200 "all ready\n"; } location = /drain { return 404; } location = /w { add_header X-Weight 30; return 204; } } }`, user, dir, plain, secure, cert, key)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemonRun(t, path, "-p", dir, "-e", "stderr", "-c", file)
	passes(t, Spec{Target: plain, Method: &Method{Type: HTTP, HTTP: HTTPOptions{Path: "/ok", ExpectBody: "ready"}}})
	o := TLSOptions{CAFile: ca.file}
	web := HTTPOptions{Path: "/ok", Host: "www.example", BodyPattern: "^all r.*y\n$"}
	if rep := passes(t, Spec{Target: secure, Method: &Method{Type: HTTPS, HTTP: web, TLS: o}}); time.Until(rep.NotAfter) < 29*tlsDay {
		t.Error("the certificate ends", rep.NotAfter)
	}
	if rep := passes(t, Spec{Target: secure, Method: &Method{Type: HTTPS, HTTP: HTTPOptions{Path: "/w", Host: "www.example", WeightHeader: "X-Weight"}, TLS: o}}); rep.Advice != (Advice{AdviseWeight, 30}) {
		t.Error(rep.Advice)
	}
	if rep := passes(t, Spec{Target: secure, Method: &Method{Type: HTTPS, HTTP: HTTPOptions{Path: "/drain", Host: "www.example", DrainStatus: []StatusRange{{404, 404}}}, TLS: o}}); rep.Advice.Kind != AdviseDrain {
		t.Error(rep.Advice)
	}
	passes(t, Spec{Target: plain, Method: &Method{Type: TCP, TCP: full}})
	web.Host = "other.example"
	fails(t, Spec{Target: secure, Method: &Method{Type: HTTPS, HTTP: web, TLS: o}}, ReasonTLS, "www.example")
	fails(t, Spec{Target: plain, Method: &Method{Type: HTTP, HTTP: HTTPOptions{Path: "/none"}}}, ReasonStatus, "404")
	fails(t, Spec{Target: secure, Method: &Method{Type: HTTP, HTTP: HTTPOptions{Path: "/ok"}}}, ReasonStatus, "400") // nginx says so in the clear
	fails(t, Spec{Target: plain, Method: &Method{Type: TLS, TLS: o}}, ReasonTLS, "")
	fails(t, Spec{Target: plain, Method: &Method{Type: GRPC}}, ReasonProtocol, "")
}

func TestDaemonDNS(t *testing.T) {
	path := daemonPath(t, "dnsmasq")
	at := freePort(t)
	args := []string{"--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file=",
		fmt.Sprintf("--port=%d", at.Port()), "--address=/ok.example/192.0.2.1", "--txt-record=t.example,all ready", "--mx-host=m.example,mail.example,10", "--local=/example/"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	daemonRun(t, path, args...)
	dns := func(o DNSOptions) Spec { return Spec{Target: at, Method: &Method{Type: DNS, DNS: o}} }
	passes(t, dns(DNSOptions{Query: "ok.example", Expect: "192.0.2.1"}))
	passes(t, dns(DNSOptions{Query: "t.example", QueryType: "TXT", Expect: "all ready"}))
	passes(t, dns(DNSOptions{Query: "m.example.", QueryType: "mx", Expect: "10 mail.example"}))
	passes(t, dns(DNSOptions{Query: "no.example", RCode: "NXDOMAIN"}))
	fails(t, dns(DNSOptions{Query: "no.example"}), ReasonStatus, "NXDOMAIN")
	fails(t, dns(DNSOptions{Query: "ok.example", Expect: "192.0.2.2"}), ReasonBody, "1 answers")
}

func TestDaemonSMTP(t *testing.T) {
	path := daemonPath(t, "msmtpd")
	at := freePort(t)
	daemonRun(t, path, "--interface=127.0.0.1", fmt.Sprintf("--port=%d", at.Port()), "--command=/bin/true")
	passes(t, Spec{Target: at, Method: &Method{Type: SMTP, SMTP: SMTPOptions{Helo: "lb1.example"}}})
	fails(t, Spec{Target: at, Method: &Method{Type: SMTP, SMTP: SMTPOptions{StartTLS: true}}}, ReasonStatus, "STARTTLS")
	fails(t, Spec{Target: at, Method: &Method{Type: HTTP}}, ReasonProtocol, "not HTTP")
}

func TestDaemonOpenSSL(t *testing.T) {
	path := daemonPath(t, "openssl")
	ca := newAuthority(t, "ca")
	for name, tc := range map[string]struct {
		cert tls.Certificate
		want Reason
		text string
	}{
		"good":    {ca.issue(-time.Hour, 30*tlsDay, "127.0.0.1"), "", ""},
		"expired": {ca.issue(-2*tlsDay, -tlsDay, "127.0.0.1"), ReasonTLS, "expired"},
		"name":    {ca.issue(-time.Hour, 30*tlsDay, "b.example"), ReasonTLS, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := ca.store(tc.cert)
			at := freePort(t)
			daemonRun(t, path, "s_server", "-accept", at.String(), "-cert", cert, "-key", key, "-www", "-quiet", "-tls1_2")
			passes(t, Spec{Target: at, Method: &Method{Type: TLS, TLS: TLSOptions{NoVerify: true}}})
			s := Spec{Target: at, Method: &Method{Type: TLS, TLS: TLSOptions{CAFile: ca.file}}}
			fails(t, s, tc.want, tc.text)
			s.Type = HTTPS
			fails(t, s, tc.want, tc.text)
		})
	}
}
