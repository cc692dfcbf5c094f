package conf

import (
	"strings"

	"lvs-ha/health"
)

// typeOptions are those of the types that are more than tcp, http and udp.
func (b *builder) typeOptions(v view, s *health.Method) {
	switch s.Type {
	case health.HTTPS:
		s.HTTP, s.TLS = b.httpOptions(v), b.tlsOptions(v, true)
	case health.TLS:
		s.TLS = b.tlsOptions(v, true)
	case health.DNS:
		s.DNS = b.dnsOptions(v)
	case health.SMTP:
		s.SMTP = health.SMTPOptions{Helo: v.str("helo", ""), StartTLS: v.boolean("starttls", false)}
		if isText(v, "helo") && !plainHost(s.SMTP.Helo) {
			v.bad("helo", "has blanks or characters that are not ASCII, or is empty", "")
		}
		on := v.boolean("tls", false)
		if on && s.SMTP.StartTLS {
			v.bad("starttls", "cannot stand beside tls, which is TLS from the first octet", "remove one of them")
		}
		s.TLS = b.tlsOptions(v, on || s.SMTP.StartTLS)
		s.TLS.On = on
	case health.GRPC:
		s.GRPC = health.GRPCOptions{Service: v.str("service", "")}
		on := v.boolean("tls", false)
		s.TLS = b.tlsOptions(v, on)
		s.TLS.On = on
	case health.Exec:
		s.Exec = b.execOptions(v)
	case health.File:
		s.File = b.fileOptions(v)
	case health.Agent:
		s.Agent = health.AgentOptions{Send: v.str("send", "")}
		if !v.has("port") {
			v.missing("port", "name the port that the agent listens on")
		}
	case health.TCP, health.HTTP, health.UDP, health.ICMP: // read elsewhere, or without options
	}
}

// tlsOptions of a check; on tells whether it speaks TLS at all.
func (b *builder) tlsOptions(v view, on bool) health.TLSOptions {
	o := health.TLSOptions{
		ServerName: v.str("sni", ""), NoVerify: !v.boolean("verify", true),
		CAFile: b.absolute(v, "ca_file"), CertFile: b.absolute(v, "client_cert_file"), KeyFile: b.absolute(v, "client_key_file"),
		MinDaysLeft: int(v.integer("min_days_left", 0, 0, 3650)),
	}
	if isText(v, "sni") && !plainHost(o.ServerName) {
		v.bad("sni", "has blanks or characters that are not ASCII, or is empty", "")
	}
	for _, t := range v.texts("alpn") {
		if t.s == "" || len(t.s) > 255 {
			b.add(finding{at: t.at, what: "is no name of a protocol", cure: `write names as "h2" and "http/1.1"`})
			continue
		}
		o.ALPN = append(o.ALPN, t.s)
	}
	switch {
	case v.has("client_cert_file") && !v.has("client_key_file"):
		v.bad("client_cert_file", "needs its key", "add client_key_file")
	case v.has("client_key_file") && !v.has("client_cert_file"):
		v.bad("client_key_file", "needs its certificate", "add client_cert_file")
	}
	if o.NoVerify && o.CAFile != "" {
		v.warn("ca_file", "has no effect with verify = false", "")
	}
	if !on {
		for _, k := range strings.Fields(tlsKeys) {
			if v.has(k) {
				v.warn(k, "has no effect without TLS", "set tls = true")
				break
			}
		}
	}
	return o
}

// absolute path of a file.
func (b *builder) absolute(v view, key string) string {
	s := v.str(key, "")
	if isText(v, key) && (!strings.HasPrefix(s, "/") || strings.ContainsRune(s, 0)) {
		v.bad(key, "is no path from /", "write the whole path, for the agent works in a directory of its own")
	}
	return s
}

var (
	dnsTypes  = []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
	dnsRCodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
)

func (b *builder) dnsOptions(v view) health.DNSOptions {
	o := health.DNSOptions{Query: v.str("query", ""), QueryType: v.choice("qtype", "A", dnsTypes...), RCode: v.choice("rcode", "NOERROR", dnsRCodes...), Expect: v.str("expect", "")}
	switch {
	case !v.has("query"):
		v.missing("query", `write the name to ask for, as query = "health.example.com"`)
	case isText(v, "query") && !domainName(o.Query):
		v.bad("query", "is no domain name", "labels of 1..63 octets with dots between, at most 253 together; an international name in its xn-- form")
	}
	if o.Expect != "" && o.RCode != "NOERROR" {
		v.bad("expect", "cannot be met: an answer "+o.RCode+" has no data", "remove one of them")
	}
	return o
}

func domainName(s string) bool {
	if s == "." {
		return true
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 || !plainHost(s) {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if l == "" || len(l) > 63 {
			return false
		}
	}
	return true
}

func (b *builder) execOptions(v view) health.ExecOptions {
	o := health.ExecOptions{User: v.str("user", ""), WeightFromCode: v.choice("weight_from", "", "exit-code") == "exit-code"}
	const cure = `write the program and its arguments as a list, ["/usr/lib/checks/lag", "--max", "5s"]; there is no shell`
	words := v.texts("command")
	for i, t := range words {
		switch {
		case i == 0 && !strings.HasPrefix(t.s, "/"):
			b.add(finding{at: t.at, what: "is no path from /", cure: "write the whole path of the program"})
		case strings.ContainsRune(t.s, 0):
			b.add(finding{at: t.at, what: "has a zero octet in it"})
		default:
			o.Command = append(o.Command, t.s)
		}
	}
	if !v.has("command") {
		v.missing("command", cure)
	} else if x, ok := listValue(v, "command"); ok && len(x) == 0 {
		v.bad("command", "is empty", cure)
	}
	if isText(v, "user") && (o.User == "" || strings.ContainsAny(o.User, ":\n/")) {
		v.bad("user", "is no user", `write a name, as "nobody"`)
	}
	return o
}

func (b *builder) fileOptions(v view) health.FileOptions {
	o := health.FileOptions{Path: b.absolute(v, "file"), Absent: !v.boolean("exists", true), Expect: v.str("expect", ""),
		WeightFromContent: v.choice("weight_from", "", "content") == "content"}
	if !v.has("file") {
		v.missing("file", `write the whole path, as file = "/run/ready"`)
	}
	for _, k := range []string{"expect", "weight_from"} {
		if o.Absent && v.has(k) {
			v.bad(k, "contradicts exists = false: there is no content where there is no file", "remove one of them")
		}
	}
	return o
}
