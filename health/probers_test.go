package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ask runs one probe of a check that has a Prober.
func ask(t *testing.T, s Spec, timeout time.Duration) (Report, *Failure) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	rep, err := proberFor(s).(proberFunc)(ctx)
	return rep, failureOf(ctx, err)
}

// patience with what passes at once where nothing else runs.
const patience = 30 * time.Second

func wantReason(t *testing.T, f *Failure, want Reason, text string) {
	t.Helper()
	switch {
	case want == "" && f != nil:
		t.Errorf("failed: %v", f)
	case want != "" && (f == nil || f.Reason != want || !strings.Contains(f.Detail, text)):
		t.Errorf("%v, want %s with %q", f, want, text)
	}
}

// says sends the lines, each but the first after a line of the client.
func says(lines ...string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		l := newLineReader(c, 1<<20)
		for i, s := range lines {
			if i > 0 {
				if _, err := l.next(); err != nil {
					return
				}
			}
			io.WriteString(c, s)
		}
		c.CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
}

func hangs(c *net.TCPConn) { io.Copy(io.Discard, c) }

func resets(c *net.TCPConn) {
	c.Read(make([]byte, 1))
	c.SetLinger(0)
	c.Close()
}

func closes(c *net.TCPConn) { c.Close() }

func trickles(c *net.TCPConn) {
	for {
		if _, err := c.Write([]byte("2")); err != nil {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

func floods(c *net.TCPConn) {
	b := []byte(strings.Repeat("2", 64<<10))
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// Every type that goes over TCP meets servers that refuse, reset, hang,
// trickle, flood, close early and speak something else.
func TestStreamProbersMeetBadServers(t *testing.T) {
	types := map[Type]Spec{
		HTTPS: {Method: &Method{Type: HTTPS, TLS: TLSOptions{NoVerify: true}}}, TLS: {Method: &Method{Type: TLS, TLS: TLSOptions{NoVerify: true}}},
		SMTP: {Method: &Method{Type: SMTP}}, GRPC: {Method: &Method{Type: GRPC}}, Agent: {Method: &Method{Type: Agent, Agent: AgentOptions{Send: "x\n"}}},
	}
	for typ, s := range types {
		s.Target = closedPort(t)
		t.Run(string(typ)+"/refuse", func(t *testing.T) {
			_, f := ask(t, s, patience)
			wantReason(t, f, ReasonRefused, "")
		})
		for name, tc := range map[string]struct {
			f       func(*net.TCPConn)
			timeout time.Duration
			want    map[Type]Reason // "" is for the rest
		}{
			"hang":    {hangs, 60 * time.Millisecond, map[Type]Reason{"": ReasonTimeout}},
			"trickle": {trickles, 80 * time.Millisecond, map[Type]Reason{"": ReasonTimeout, HTTPS: "*", TLS: "*", GRPC: "*"}},
			"flood":   {floods, patience, map[Type]Reason{"": ReasonProtocol, HTTPS: ReasonTLS, TLS: ReasonTLS, GRPC: "*"}},
			"close":   {closes, patience, map[Type]Reason{"": "*"}},
			"reset":   {resets, patience, map[Type]Reason{"": ReasonReset, SMTP: "*"}},
			"other":   {says("SSH-2.0-OpenSSH_9\r\n"), patience, map[Type]Reason{"": ReasonProtocol, HTTPS: ReasonTLS, TLS: ReasonTLS}},
		} {
			if typ == SMTP && name == "reset" { // waits for the server's word: nothing makes this one speak
				continue
			}
			t.Run(string(typ)+"/"+name, func(t *testing.T) {
				s := s
				s.Target = server(t, tc.f)
				began := time.Now()
				_, f := ask(t, s, tc.timeout)
				want, ok := tc.want[typ]
				if !ok {
					want = tc.want[""]
				}
				switch {
				case f == nil:
					t.Error("passed")
				case f.Reason == ReasonInternal:
					t.Error("taken for trouble of this machine:", f)
				case want != "*" && f.Reason != want:
					t.Errorf("%v, want %s", f, want)
				}
				if d := time.Since(began); d > tc.timeout+patience {
					t.Errorf("took %v", d)
				}
			})
		}
	}
}

func TestSMTP(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  Reason
		text  string
	}{
		"good":       {[]string{"220 hi\r\n", "250-a\r\n250-b\r\n250 c\r\n", "221 bye\r\n"}, "", ""},
		"no bye":     {[]string{"220 hi\r\n", "250 c\r\n"}, "", ""},
		"many lines": {[]string{"220-a\r\n220 b\n", "250\r\n", "221 bye\r\n"}, "", ""},
		"busy":       {[]string{"421 too many\r\n"}, ReasonStatus, "421 too many"},
		"no hello":   {[]string{"220 hi\r\n", "550 no\r\n"}, ReasonStatus, "EHLO"},
		"mixed":      {[]string{"220-a\r\n250 b\r\n"}, ReasonProtocol, "not SMTP"},
		"cut":        {[]string{"220-a\r\n"}, ReasonProtocol, "closed"},
		"huge":       {[]string{strings.Repeat("220-aaaaaaaaaaaaaaaa\r\n", 2000)}, ReasonProtocol, "without end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := ask(t, Spec{Target: server(t, says(tc.lines...)), Method: &Method{Type: SMTP}}, patience)
			wantReason(t, f, tc.want, tc.text)
		})
	}
	_, f := ask(t, Spec{Target: server(t, says("220 a\r\n", "250 b\r\n", "454 no TLS\r\n")), Method: &Method{Type: SMTP, SMTP: SMTPOptions{StartTLS: true}}}, patience)
	wantReason(t, f, ReasonStatus, "454")
}

func TestAgent(t *testing.T) {
	for in, want := range map[string]struct {
		a    Advice
		r    Reason
		text string
	}{
		"75%\n": {Advice{AdvisePercent, 75}, "", ""}, "up\n": {}, "ready\r\n": {}, "up 50%": {Advice{AdvisePercent, 50}, "", ""},
		"drain\n": {Advice{Kind: AdviseDrain}, "", ""}, "MAINT, drain\n": {Advice{Kind: AdviseMaint}, "", ""},
		"maxconn:30 20%\n": {Advice{AdvisePercent, 20}, "", ""}, "0%\n": {Advice{AdvisePercent, 0}, "", ""},
		"down#disk\tfull\n": {r: ReasonStatus, text: "down: disk full"}, "stopped\n": {r: ReasonStatus}, "fail 50%\n": {r: ReasonStatus},
		"\n": {r: ReasonProtocol}, "": {r: ReasonProtocol}, "hello\n": {r: ReasonProtocol}, "75\n": {r: ReasonProtocol}, "-3%\n": {r: ReasonProtocol}, "5000%\n": {r: ReasonProtocol},
	} {
		t.Run(fmt.Sprintf("%q", in), func(t *testing.T) {
			rep, f := ask(t, Spec{Target: server(t, says(in)), Method: &Method{Type: Agent}}, patience)
			wantReason(t, f, want.r, want.text)
			if rep.Advice != want.a {
				t.Errorf("advice %v, want %v", rep.Advice, want.a)
			}
		})
	}
	var got string
	ok := make(chan struct{})
	to := server(t, func(c *net.TCPConn) {
		got, _ = newLineReader(c, 100).next()
		io.WriteString(c, "up\n")
		close(ok)
	})
	_, f := ask(t, Spec{Target: to, Method: &Method{Type: Agent, Agent: AgentOptions{Send: "lb1\n"}}}, patience)
	<-ok
	if wantReason(t, f, "", ""); got != "lb1" {
		t.Errorf("sent %q", got)
	}
}

func TestAdviceWeight(t *testing.T) {
	for _, tc := range []struct {
		a        Advice
		of, want uint32
	}{
		{Advice{}, 7, 7}, {Advice{AdviseWeight, 3}, 7, 3}, {Advice{AdvisePercent, 50}, 7, 4}, {Advice{AdvisePercent, 1}, 7, 1},
		{Advice{AdvisePercent, 0}, 7, 0}, {Advice{AdvisePercent, 50}, 0, 0}, {Advice{AdvisePercent, 1000}, 60000, 65535},
		{Advice{Kind: AdviseDrain}, 7, 0}, {Advice{Kind: AdviseMaint}, 7, 0},
	} {
		if got := tc.a.Weight(tc.of); got != tc.want {
			t.Errorf("%v of %d: %d, want %d", tc.a, tc.of, got, tc.want)
		}
	}
}

// dnsServer answers each query with what f makes of it.
func dnsServer(t *testing.T, f func(q dnsmessage.Message, raw []byte) [][]byte) netip.AddrPort {
	// No connection of another test has this address, whose port TCP may want too.
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 53)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(b[:n]) != nil {
				continue
			}
			for _, r := range f(q, b[:n]) {
				c.WriteToUDPAddrPort(r, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestDNS(t *testing.T) {
	answer := func(q dnsmessage.Message, change func(*dnsmessage.Message)) []byte {
		q.Response = true
		q.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
		if change != nil {
			change(&q)
		}
		b, err := q.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	one := func(change func(*dnsmessage.Message)) func(dnsmessage.Message, []byte) [][]byte {
		return func(q dnsmessage.Message, _ []byte) [][]byte { return [][]byte{answer(q, change)} }
	}
	for name, tc := range map[string]struct {
		f    func(dnsmessage.Message, []byte) [][]byte
		o    DNSOptions
		want Reason
		text string
	}{
		"good":       {one(nil), DNSOptions{Query: "a.example"}, "", ""},
		"data":       {one(nil), DNSOptions{Query: "a.example", Expect: "192.0.2.1"}, "", ""},
		"other data": {one(nil), DNSOptions{Query: "a.example", Expect: "192.0.2.2"}, ReasonBody, "1 answers"},
		"refused":    {one(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused }), DNSOptions{Query: "a"}, ReasonStatus, "REFUSED"},
		"nxdomain":   {one(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }), DNSOptions{Query: "a", RCode: "NXDOMAIN"}, "", ""},
		"echo":       {func(_ dnsmessage.Message, raw []byte) [][]byte { return [][]byte{raw} }, DNSOptions{Query: "a"}, ReasonProtocol, "came back"},
		"garbage":    {func(dnsmessage.Message, []byte) [][]byte { return [][]byte{[]byte("220 hi")} }, DNSOptions{Query: "a"}, ReasonProtocol, "not DNS"},
		"other name": {one(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("b.") }), DNSOptions{Query: "a"}, ReasonProtocol, "another question"},
		"silent":     {func(dnsmessage.Message, []byte) [][]byte { return nil }, DNSOptions{Query: "a"}, ReasonTimeout, ""},
		"old answer": {one(func(m *dnsmessage.Message) { m.ID++ }), DNSOptions{Query: "a"}, ReasonTimeout, ""},
		"old and ours": {func(q dnsmessage.Message, _ []byte) [][]byte {
			x := q
			x.ID++
			return [][]byte{answer(x, nil), answer(q, nil)}
		}, DNSOptions{Query: "a"}, "", ""},
		"bad name": {one(nil), DNSOptions{Query: strings.Repeat("a", 300)}, ReasonInternal, "query"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := patience
			if tc.want == ReasonTimeout {
				limit = 60 * time.Millisecond
			}
			_, f := ask(t, Spec{Target: dnsServer(t, tc.f), Method: &Method{Type: DNS, DNS: tc.o}}, limit)
			wantReason(t, f, tc.want, tc.text)
		})
	}
	c, _ := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	c.Close()
	_, f := ask(t, Spec{Target: c.LocalAddr().(*net.UDPAddr).AddrPort(), Method: &Method{Type: DNS, DNS: DNSOptions{Query: "a"}}}, patience)
	wantReason(t, f, ReasonRefused, "")
}

func TestICMP(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1"} {
		_, f := ask(t, Spec{Target: netip.AddrPortFrom(netip.MustParseAddr(a), 0), Method: &Method{Type: ICMP}}, patience)
		if f != nil && f.Reason == ReasonInternal {
			t.Skip("no ICMP socket here:", f)
		}
		wantReason(t, f, "", "")
	}
}

func TestEchoAnswers(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		e := &echo{v6: v6, id: 7, tok: [16]byte{1, 2, 3}}
		b := e.packet()
		if e.answers(b) {
			t.Error("the request was taken for its answer")
		}
		if !v6 && checksum(b) != 0 {
			t.Errorf("checksum of the packet: %x", checksum(b))
		}
		b[0] = echoReply4
		if v6 {
			b[0] = echoReply6
		}
		if !e.answers(b) {
			t.Error("the answer was not seen")
		}
		if e.raw = !v6; e.raw && !e.answers(append(append([]byte{0x45}, make([]byte, 19)...), b...)) {
			t.Error("the answer was not seen behind an IP header")
		}
		e.raw = false
		b[8]++
		if e.answers(b) || e.answers(b[:10]) || e.answers(nil) {
			t.Error("something else was taken for the answer")
		}
	}
}

// grpcServer speaks HTTP/2 in the clear.
func grpcServer(t *testing.T, h http.HandlerFunc) netip.AddrPort {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

func TestGRPC(t *testing.T) {
	serving := []byte{0, 0, 0, 0, 2, 8, 1}
	answer := func(status string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if r.URL.Path != "/grpc.health.v1.Health/Check" || r.Method != "POST" || r.Header.Get("TE") != "trailers" || string(b) != string(grpcRequest("svc")) {
				status = "3"
			}
			w.Header().Set("Content-Type", "application/grpc+proto")
			w.Header().Set("Trailer", "Grpc-Status")
			w.Write(body)
			if status != "" {
				w.Header().Set("Grpc-Status", status)
			}
		}
	}
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		want Reason
		text string
	}{
		"serving":     {answer("0", serving), "", ""},
		"not serving": {answer("0", []byte{0, 0, 0, 0, 2, 8, 2}), ReasonStatus, "NOT_SERVING"},
		"empty":       {answer("0", []byte{0, 0, 0, 0, 0}), ReasonStatus, "UNKNOWN"},
		"not found":   {answer("5", nil), ReasonStatus, "does not know"},
		"no health":   {answer("12", nil), ReasonProtocol, "no health service"},
		"no status":   {answer("", serving), ReasonProtocol, "no grpc-status"},
		"compressed":  {answer("0", []byte{1, 0, 0, 0, 2, 8, 1}), ReasonProtocol, "compressed"},
		"lies":        {answer("0", []byte{0, 0, 0, 9, 2, 8, 1}), ReasonProtocol, "octets"},
		"huge":        {answer("0", make([]byte, 1<<20)), ReasonProtocol, "more than"},
		"web":         {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, ReasonProtocol, "not gRPC"},
		"502":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, ReasonStatus, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := ask(t, Spec{Target: grpcServer(t, tc.h), Method: &Method{Type: GRPC, GRPC: GRPCOptions{Service: "svc"}}}, patience)
			wantReason(t, f, tc.want, tc.text)
		})
	}
	// It reads to the end: closed with octets unread, its end would be a reset that may overtake the answer.
	_, f := ask(t, Spec{Target: server(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")), Method: &Method{Type: GRPC}}, patience)
	wantReason(t, f, ReasonProtocol, "")
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	look := func(o FileOptions) (Report, *Failure) {
		o.Path = name
		return ask(t, Spec{Method: &Method{Type: File, File: o}}, patience)
	}
	_, f := look(FileOptions{})
	wantReason(t, f, ReasonStatus, "no file")
	_, f = look(FileOptions{Absent: true})
	wantReason(t, f, "", "")
	os.WriteFile(name, []byte(" 40%\n"), 0o600)
	_, f = look(FileOptions{Absent: true})
	wantReason(t, f, ReasonStatus, "there is")
	_, f = look(FileOptions{Expect: "ready"})
	wantReason(t, f, ReasonBody, "not found")
	rep, f := look(FileOptions{Expect: "%", WeightFromContent: true})
	if wantReason(t, f, "", ""); rep.Advice != (Advice{AdvisePercent, 40}) {
		t.Error(rep.Advice)
	}
	os.WriteFile(name, []byte("many"), 0o600)
	_, f = look(FileOptions{WeightFromContent: true})
	wantReason(t, f, ReasonBody, "no weight")
	name = dir
	_, f = look(FileOptions{Expect: "x"})
	wantReason(t, f, ReasonInternal, "no regular file")
}

func TestExec(t *testing.T) {
	run := func(timeout time.Duration, o ExecOptions) (Report, *Failure) {
		return ask(t, Spec{Target: netip.MustParseAddrPort("10.0.0.1:80"), Method: &Method{Type: Exec, Exec: o}}, timeout)
	}
	sh := func(s string) []string { return []string{"/bin/sh", "-c", s} }
	_, f := run(patience, ExecOptions{Command: sh(`test "$LVS_HA_CHECK_ADDRESS $LVS_HA_CHECK_PORT $(env | wc -l)" = "10.0.0.1 80 4"`)}) // and PWD
	wantReason(t, f, "", "")
	_, f = run(patience, ExecOptions{Command: sh("echo no disk >&2; exit 3")})
	wantReason(t, f, ReasonExec, "exit status 3: no disk")
	_, f = run(patience, ExecOptions{Command: sh("kill -9 $$")})
	wantReason(t, f, ReasonExec, "killed")
	_, f = run(patience, ExecOptions{Command: []string{"/no/such/program"}})
	wantReason(t, f, ReasonInternal, "cannot run")
	_, f = run(50*time.Millisecond, ExecOptions{Command: sh("sleep 60 & sleep 60")})
	wantReason(t, f, ReasonTimeout, "")
	for code, want := range map[string]Advice{"0": {}, "2": {AdviseWeight, 0}, "255": {AdviseWeight, 253}} {
		rep, f := run(patience, ExecOptions{Command: sh("exit " + code), WeightFromCode: true})
		if wantReason(t, f, "", ""); rep.Advice != want {
			t.Errorf("exit %s: %v, want %v", code, rep.Advice, want)
		}
	}
	_, f = run(patience, ExecOptions{Command: sh("exit 1"), WeightFromCode: true})
	wantReason(t, f, ReasonExec, "exit status 1")
	_, f = run(patience, ExecOptions{Command: sh("exit 0"), User: "no-such-user"})
	wantReason(t, f, ReasonInternal, "no user")
}

// Each type runs under the scheduler as it is, and its keys tell all options apart.
func TestKeysTellOptionsApart(t *testing.T) {
	base := Spec{Target: netip.MustParseAddrPort("10.0.0.1:80"), Method: &Method{}}
	seen := map[Key]string{}
	for name, change := range map[string]func(*Spec){
		"https": func(s *Spec) { s.Type = HTTPS }, "https sni": func(s *Spec) { s.Type = HTTPS; s.TLS.ServerName = "a" },
		"https ca": func(s *Spec) { s.Type = HTTPS; s.TLS.CAFile = "a" }, "tls": func(s *Spec) { s.Type = TLS }, "tls days": func(s *Spec) { s.Type = TLS; s.TLS.MinDaysLeft = 3 },
		"tls noverify": func(s *Spec) { s.Type = TLS; s.TLS.NoVerify = true }, "tls alpn": func(s *Spec) { s.Type = TLS; s.TLS.ALPN = []string{"h2"} },
		"dns": func(s *Spec) { s.Type = DNS }, "dns q": func(s *Spec) { s.Type = DNS; s.DNS.Query = "a" }, "dns t": func(s *Spec) { s.Type = DNS; s.DNS.QueryType = "MX" },
		"icmp": func(s *Spec) { s.Type = ICMP }, "smtp": func(s *Spec) { s.Type = SMTP }, "smtp starttls": func(s *Spec) { s.Type = SMTP; s.SMTP.StartTLS = true },
		"smtp tls": func(s *Spec) { s.Type = SMTP; s.TLS.On = true },
		"grpc":     func(s *Spec) { s.Type = GRPC }, "grpc s": func(s *Spec) { s.Type = GRPC; s.GRPC.Service = "a" }, "grpc tls": func(s *Spec) { s.Type = GRPC; s.TLS.On = true },
		"exec": func(s *Spec) { s.Type = Exec; s.Exec.Command = []string{"a", "b"} }, "exec 2": func(s *Spec) { s.Type = Exec; s.Exec.Command = []string{"a b"} },
		"exec u": func(s *Spec) { s.Type = Exec; s.Exec.Command = []string{"b"}; s.Exec.User = "a" },
		"file":   func(s *Spec) { s.Type = File }, "file e": func(s *Spec) { s.Type = File; s.File.Absent = true }, "file w": func(s *Spec) { s.Type = File; s.File.WeightFromContent = true },
		"agent": func(s *Spec) { s.Type = Agent }, "agent s": func(s *Spec) { s.Type = Agent; s.Agent.Send = "a" },
		"http": func(s *Spec) { s.Type = HTTP }, "http drain": func(s *Spec) { s.Type = HTTP; s.HTTP.DrainStatus = []StatusRange{{404, 404}} },
		"http re": func(s *Spec) { s.Type = HTTP; s.HTTP.BodyPattern = "a" }, "http body": func(s *Spec) { s.Type = HTTP; s.HTTP.ExpectBody = "a" },
		"http wh": func(s *Spec) { s.Type = HTTP; s.HTTP.WeightHeader = "a" }, "http wb": func(s *Spec) { s.Type = HTTP; s.HTTP.WeightBody = true },
		"tcp": func(s *Spec) { s.Type = TCP }, "tcp dev": func(s *Spec) { s.Type = TCP; s.Interface = "lo" }, "tcp mark": func(s *Spec) { s.Type = TCP; s.Mark = 1 }, "tcp hold": func(s *Spec) { s.Type = TCP; s.Hold = true },
	} {
		s := with(base, change)
		if old, dup := seen[s.Key()]; dup {
			t.Errorf("%s and %s have the key %s", name, old, s.Key())
		}
		seen[s.Key()] = name
	}
}
