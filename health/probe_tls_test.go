package health

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, file: filepath.Join(t.TempDir(), name+".pem")}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour * 365),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.write(a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, typ string, der []byte) {
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue a certificate that is valid between two instants from now.
func (a *authority) issue(from, to time.Duration, names ...string) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), KeyUsage: x509.KeyUsageDigitalSignature}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// store writes a certificate and its key to files.
func (a *authority) store(c tls.Certificate) (cert, key string) {
	dir := a.t.TempDir()
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	der, _ := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	a.write(cert, "CERTIFICATE", c.Certificate[0])
	a.write(key, "EC PRIVATE KEY", der)
	return cert, key
}

const tlsDay = 24 * time.Hour

func tlsServer(t *testing.T, cfg *tls.Config, answer string) (to netip.AddrPort, sni func() []string) {
	var mu sync.Mutex
	var names []string
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, h.ServerName)
		return nil, nil
	}
	to = server(t, func(raw *net.TCPConn) {
		c := tls.Server(raw, cfg)
		defer raw.Close()
		if c.Handshake() != nil {
			return
		}
		if answer != "" {
			r := bufio.NewReader(c)
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == "\r\n" {
					break
				}
			}
			io.WriteString(c, answer)
			c.Close()
			return
		}
		io.Copy(io.Discard, c)
	})
	return to, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), names...) }
}

func TestTLSCertificates(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	for name, tc := range map[string]struct {
		cert tls.Certificate
		o    TLSOptions
		want Reason
		text string
	}{
		"good":              {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example"}, "", ""},
		"by address":        {ca.issue(-time.Hour, 30*tlsDay, "127.0.0.1"), TLSOptions{}, "", ""},
		"wildcard":          {ca.issue(-time.Hour, 30*tlsDay, "*.example"), TLSOptions{ServerName: "a.example"}, "", ""},
		"expired":           {ca.issue(-2*tlsDay, -tlsDay, "a.example"), TLSOptions{ServerName: "a.example"}, ReasonTLS, "expired"},
		"not yet valid":     {ca.issue(tlsDay, 2*tlsDay, "a.example"), TLSOptions{ServerName: "a.example"}, ReasonTLS, "not yet valid"},
		"another name":      {ca.issue(-time.Hour, 30*tlsDay, "b.example"), TLSOptions{ServerName: "a.example"}, ReasonTLS, "b.example"},
		"another address":   {ca.issue(-time.Hour, 30*tlsDay, "127.0.0.9"), TLSOptions{}, ReasonTLS, "127.0.0.9"},
		"unknown issuer":    {other.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example"}, ReasonTLS, "unknown authority"},
		"unverified":        {other.issue(-2*tlsDay, -tlsDay, "b.example"), TLSOptions{ServerName: "a.example", NoVerify: true}, "", ""},
		"days enough":       {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example", MinDaysLeft: 29}, "", ""},
		"too few days":      {ca.issue(-time.Hour, 6*tlsDay+time.Hour, "a.example"), TLSOptions{ServerName: "a.example", MinDaysLeft: 7}, ReasonTLS, "ends in 6 days"},
		"no protocol":       {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example", ALPN: []string{"imap"}}, ReasonTLS, "imap"},
		"no CA file":        {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example", CAFile: "/no/such"}, ReasonInternal, "no such file"},
		"no such own cert":  {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example", CertFile: "/no/such", KeyFile: "/no"}, ReasonInternal, "no such file"},
		"machine's issuers": {ca.issue(-time.Hour, 30*tlsDay, "a.example"), TLSOptions{ServerName: "a.example", CAFile: "-"}, ReasonTLS, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.o.CAFile == "" {
				tc.o.CAFile = ca.file
			} else if tc.o.CAFile == "-" {
				tc.o.CAFile = ""
			}
			for _, typ := range []Type{TLS, HTTPS} {
				to, sni := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{tc.cert}}, map[Type]string{HTTPS: "HTTP/1.1 200 OK\r\n\r\n"}[typ])
				rep, f := ask(t, Spec{Target: to, Method: &Method{Type: typ, TLS: tc.o}}, patience)
				wantReason(t, f, tc.want, tc.text)
				if tc.want == ReasonInternal {
					continue
				}
				leaf, _ := x509.ParseCertificate(tc.cert.Certificate[0])
				if !rep.NotAfter.Equal(leaf.NotAfter) {
					t.Errorf("the certificate ends %v, reported %v", leaf.NotAfter, rep.NotAfter)
				}
				if got := sni(); len(got) != 1 || got[0] != tc.o.ServerName {
					t.Errorf("asked for %q, want %q", got, tc.o.ServerName)
				}
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.issue(-time.Hour, tlsDay, "a.example")
	for name, tc := range map[string]struct {
		reply string
		o     HTTPOptions
		want  Reason
		text  string
		a     Advice
	}{
		"good":          {"HTTP/1.1 200 OK\r\n\r\n", HTTPOptions{}, "", "", Advice{}},
		"status":        {"HTTP/1.1 503 No\r\n\r\n", HTTPOptions{}, ReasonStatus, "503", Advice{}},
		"drain":         {"HTTP/1.1 503 No\r\n\r\n", HTTPOptions{DrainStatus: []StatusRange{{503, 503}}}, "", "", Advice{Kind: AdviseDrain}},
		"text":          {"HTTP/1.1 200 OK\r\n\r\nall ready", HTTPOptions{ExpectBody: "ready"}, "", "", Advice{}},
		"no text":       {"HTTP/1.1 200 OK\r\n\r\nall", HTTPOptions{ExpectBody: "ready"}, ReasonBody, "", Advice{}},
		"pattern":       {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall warm!", HTTPOptions{BodyPattern: "(ready|warm)!$"}, "", "", Advice{}},
		"no pattern":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall cold!", HTTPOptions{BodyPattern: "(ready|warm)!$"}, ReasonBody, "pattern", Advice{}},
		"beyond limit":  {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall warm!", HTTPOptions{BodyPattern: "warm", BodyLimit: 5}, ReasonBody, "5 octets", Advice{}},
		"weight header": {"HTTP/1.1 200 OK\r\nx-weight:  70% \r\n\r\n", HTTPOptions{WeightHeader: "X-Weight"}, "", "", Advice{AdvisePercent, 70}},
		"no weight":     {"HTTP/1.1 200 OK\r\nx-weight: lots\r\n\r\n", HTTPOptions{WeightHeader: "X-Weight"}, "", "", Advice{}},
		"weight body":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n1\r\n\n\r\n0\r\n\r\n", HTTPOptions{WeightBody: true}, "", "", Advice{AdviseWeight, 12}},
		"not HTTP":      {"hello\r\n", HTTPOptions{}, ReasonProtocol, "not HTTP", Advice{}},
		"bad pattern":   {"HTTP/1.1 200 OK\r\n\r\n", HTTPOptions{BodyPattern: "("}, ReasonInternal, "pattern", Advice{}},
	} {
		t.Run(name, func(t *testing.T) {
			to, _ := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, tc.reply)
			tc.o.Host = "a.example"
			rep, f := ask(t, Spec{Target: to, Method: &Method{Type: HTTPS, HTTP: tc.o, TLS: TLSOptions{CAFile: ca.file}}}, patience)
			wantReason(t, f, tc.want, tc.text)
			if rep.Advice != tc.a {
				t.Errorf("advice %v, want %v", rep.Advice, tc.a)
			}
			// The engine's own HTTP comes to the same.
			f, _ = probe(t, Spec{Target: server(t, reply(tc.reply)), Method: &Method{Type: HTTP, HTTP: tc.o}})
			wantReason(t, f, tc.want, tc.text)
		})
	}
}

func TestTLSClientCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	to, _ := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, tlsDay, "127.0.0.1")}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, "HTTP/1.1 200 OK\r\n\r\n")
	s := Spec{Target: to, Method: &Method{Type: HTTPS, TLS: TLSOptions{CAFile: ca.file}}}
	_, f := ask(t, s, patience)
	wantReason(t, f, ReasonTLS, "certificate required")
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(tlsDay), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, _ := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	s.TLS.CertFile, s.TLS.KeyFile = ca.store(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	_, f = ask(t, s, patience)
	wantReason(t, f, "", "")
}

func TestSMTPStartTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, tlsDay, "mx.example")}}
	to := server(t, func(c *net.TCPConn) {
		defer c.Close()
		l := newLineReader(c, 4096)
		io.WriteString(c, "220 a\r\n")
		l.next()
		io.WriteString(c, "250-a\r\n250 STARTTLS\r\n")
		l.next()
		io.WriteString(c, "220 go\r\n")
		s := tls.Server(c, cfg)
		if s.Handshake() != nil {
			return
		}
		l = newLineReader(s, 4096)
		l.next()
		io.WriteString(s, "250 b\r\n")
		l.next()
		io.WriteString(s, "221 bye\r\n")
	})
	s := Spec{Target: to, Method: &Method{Type: SMTP, SMTP: SMTPOptions{StartTLS: true}, TLS: TLSOptions{CAFile: ca.file, ServerName: "mx.example"}}}
	rep, f := ask(t, s, patience)
	if wantReason(t, f, "", ""); rep.NotAfter.IsZero() {
		t.Error("nothing told of the certificate")
	}
	s.TLS.ServerName = "other.example"
	_, f = ask(t, s, patience)
	wantReason(t, f, ReasonTLS, "mx.example")
}

// Servers that hang within the handshake hold up no other check: they have no slot.
func TestHangingHandshakesLeaveRoom(t *testing.T) {
	ca := newAuthority(t, "ca")
	to, _ := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, tlsDay, "127.0.0.1")}}, "")
	many := 3*cap(cpuSlots()) + 3
	var greeted atomic.Int32
	hung := server(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		greeted.Add(1)
		hangs(c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := proberFor(Spec{Target: hung, Method: &Method{Type: TLS}}).(proberFunc)(ctx); err == nil {
				t.Error("passed")
			}
		})
	}
	until(t, "all hang", func() bool { return int(greeted.Load()) == many })
	_, f := ask(t, Spec{Target: to, Method: &Method{Type: TLS, TLS: TLSOptions{CAFile: ca.file}}}, patience)
	wantReason(t, f, "", "")
	cancel()
	wg.Wait()
	if n := len(cpuSlots()); n != 0 {
		t.Errorf("%d slots are still taken", n)
	}
}

// What waits for a slot up to its deadline has not failed the server.
func TestWaitingForASlotIsOurs(t *testing.T) {
	for range cap(cpuSlots()) {
		cpuSlots() <- struct{}{}
	}
	defer func() {
		for range cap(cpuSlots()) {
			cpuSlots().give()
		}
	}()
	to, _ := tlsServer(t, &tls.Config{}, "")
	s := NewScheduler(Options{})
	spec := Spec{Target: to, Method: &Method{Type: TLS, Interval: 500 * time.Millisecond, Timeout: 500 * time.Millisecond}}
	run(t, s, spec)
	until(t, "a probe that was ours to fail", func() bool { st, _ := s.Status(spec.Key()); return st.Failed[ReasonInternal] > 1 })
	if st, _ := s.Status(spec.Key()); st.State != Unknown {
		t.Errorf("%v: %v", st.State, st.Failed)
	}
}
