package conf

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

const (
	minCheckInterval = time.Millisecond
	maxBodyLimit     = 16 << 20
	maxDatagram      = 65507
)

// template reads a check, named or inline, without its target.
func (b *builder) template(name string, l layer) *checkTemplate {
	own := b.view(l)
	v := b.base.over(l)
	v.r = own.r
	s := &health.Method{}
	t := &checkTemplate{name: name, method: s, view: own}
	s.Type = health.Type(own.str("type", "")) // judged with the keys
	s.Interval = v.duration("interval", 2*time.Second, minCheckInterval, day)
	s.FastInterval = v.duration("fast_interval", 0, minCheckInterval, day)
	s.DownInterval = v.duration("down_interval", 0, minCheckInterval, day)
	s.Timeout = v.duration("timeout", min(time.Second, s.Interval), minCheckInterval, time.Hour)
	s.Rise = int(v.integer("rise", 2, 1, 1000))
	s.Fall = int(v.integer("fall", 3, 1, 1000))
	s.Jitter = b.percent(v, "jitter")
	s.Source, _ = b.plainAddr(v, "source")
	if s.Timeout > s.Interval {
		of := short(s.Interval)
		if h := v.height("timeout"); h < len(v.layers)-1 && h != v.height("interval") {
			of += " of check " + quote(name)
		}
		v.warn("timeout", fmt.Sprintf("is above the interval of %s: runs never overlap, so a server that does not answer is probed less often", of), "")
	}
	t.address, _ = b.plainAddr(own, "address")
	t.port = uint16(own.integer("port", 0, 1, 65535))
	t.family = v.choice("family", "", "ipv4", "ipv6")
	if t.address.IsValid() && t.refuses(t.address) {
		own.bad("address", "is "+familyName(t.address)+", but the check has family = "+quote(t.family), "use an address of that family, or remove family")
	}
	if s.Source.IsValid() && t.refuses(s.Source) {
		v.bad("source", "is "+familyName(s.Source)+", but the check has family = "+quote(t.family), "use a source of that family, or remove family")
	}
	switch s.Type {
	case health.TCP:
		s.TCP = b.tcpOptions(own)
	case health.HTTP:
		s.HTTP = b.httpOptions(own)
	case health.UDP:
		s.UDP = b.udpOptions(own)
	default:
		b.typeOptions(own, s)
	}
	s.Interface = b.interfaceName(v, "interface", false)
	s.Mark = uint32(v.integer("mark", 0, 0, 1<<32-1))
	if s.Type.Holds() {
		s.Hold = v.boolean("hold", false)
	}
	return t
}

// percent as "10%", as a share of 1.
func (b *builder) percent(v view, key string) float64 {
	x, _, ok := v.get(key)
	if !ok {
		return 0
	}
	s, text := x.(string)
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if !text || !strings.HasSuffix(s, "%") || err != nil || math.IsNaN(n) {
		v.bad(key, "is no share", `write a percentage, as "10%"`)
		return 0
	}
	if n < 0 || n > 100 {
		v.bad(key, "is outside 0%..100%", "")
		return 0
	}
	return n / 100
}

func (b *builder) tcpOptions(v view) health.TCPOptions {
	o := health.TCPOptions{
		Handshake: v.choice("handshake", "", "half-open", "full"),
		Close:     v.choice("close", "", "fin", "reset"),
	}
	if o.Close != "" && o.Handshake != "full" {
		v.warn("close", "has no effect without handshake = \"full\"", "a half-open check never has a connection to close")
	}
	return o
}

func (b *builder) httpOptions(v view) health.HTTPOptions {
	o := health.HTTPOptions{Method: v.str("method", ""), Path: v.str("path", ""), Host: v.str("host", ""), ExpectBody: v.str("expect_body", "")}
	if isText(v, "method") && !token(o.Method) {
		v.bad("method", "is no method of HTTP", `write it in capitals, as "GET" or "HEAD"`)
	}
	if isText(v, "path") {
		switch {
		case !strings.HasPrefix(o.Path, "/"):
			v.bad("path", "does not begin with /", `host is a key of its own; write path = "/…"`)
		case !plainHost(o.Path):
			v.bad("path", "has blanks or characters that are not ASCII", "write them as %20 and the like")
		}
	}
	if isText(v, "host") && !plainHost(o.Host) {
		v.bad("host", "has blanks or characters that are not ASCII, or is empty", "")
	}
	o.Headers = b.headers(v)
	o.ExpectStatus = b.statuses(v, "expect_status")
	o.DrainStatus = b.statuses(v, "drain_status")
	o.BodyLimit = int(v.integer("body_limit", 0, 1, maxBodyLimit))
	if o.BodyPattern = v.str("body_regex", ""); o.BodyPattern != "" {
		if _, err := regexp.Compile(o.BodyPattern); err != nil {
			v.bad("body_regex", "is no regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is that of RE2; in '…' TOML takes a backslash as it is")
		}
		if o.ExpectBody != "" {
			v.bad("body_regex", "cannot stand beside expect_body", "remove one of them")
		}
	}
	b.httpWeight(v, &o)
	body := ""
	switch {
	case o.ExpectBody != "":
		body = "expect_body"
	case o.BodyPattern != "":
		body = "body_regex"
	case o.WeightBody:
		body = "weight_from"
	}
	if v.has("body_limit") && body == "" {
		v.warn("body_limit", "has no effect without expect_body, body_regex or weight_from = \"body\"", "")
	}
	if o.Method == "HEAD" && body != "" {
		v.bad(body, "cannot be met: HEAD has no body", `remove it, or set method = "GET"`)
	}
	return o
}

// httpWeight is where a weight comes from: "header:NAME" or "body".
func (b *builder) httpWeight(v view, o *health.HTTPOptions) {
	const cure = `write "header:X-Weight" or "body"`
	s := v.str("weight_from", "")
	name, isHeader := strings.CutPrefix(s, "header:")
	switch {
	case !isText(v, "weight_from"):
	case s == "body":
		o.WeightBody = true
	case isHeader && token(name):
		o.WeightHeader = name
	default:
		v.bad("weight_from", "is no source of a weight", cure)
	}
}

// token of RFC 9110 5.6.2.
func token(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// headers as a list of lines, or as a table.
func (b *builder) headers(v view) []string {
	x, _, ok := v.get("headers")
	if !ok {
		return nil
	}
	var out []string
	add := func(name, value string, at *path) {
		switch {
		case !token(name):
			b.add(finding{at: at, what: "is no header line", cure: `write "Name: value"`})
		case strings.EqualFold(name, "host"):
			b.add(finding{at: at, what: "sets the host, which is a key of its own", cure: "write host = " + quote(value)})
		case strings.EqualFold(name, "connection") || strings.EqualFold(name, "content-length") || strings.EqualFold(name, "transfer-encoding"):
			b.add(finding{at: at, what: "is a header that the check sets itself", cure: "remove it"})
		case strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
			b.add(finding{at: at, what: "has control characters in it", cure: "remove them"})
		default:
			out = append(out, name+": "+value)
		}
	}
	if _, isTable := x.(map[string]any); isTable {
		t := v.sub("headers")
		names := []string{}
		for n := range t.layers[0].m {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			if s := t.str(n, ""); isText(t, n) {
				add(n, s, t.place(n))
			}
		}
		return out
	}
	for _, l := range v.texts("headers") {
		name, value, ok := strings.Cut(l.s, ":")
		if !ok {
			name = ""
		}
		add(name, strings.TrimSpace(value), l.at)
	}
	return out
}

// statuses are codes and ranges of codes: 200, "200", "200-299".
func (b *builder) statuses(v view, key string) []health.StatusRange {
	var out []health.StatusRange
	const cure = `write codes and ranges, as ["200-299", "401"]`
	for _, it := range v.list(key) {
		var from, to int
		var err1, err2 error
		switch x := it.value.(type) {
		case int64:
			if x < 100 || x > 599 {
				x = 0
			}
			from, to = int(x), int(x)
		case string:
			a, z, isRange := strings.Cut(x, "-")
			if !isRange {
				z = a
			}
			from, err1 = strconv.Atoi(a)
			to, err2 = strconv.Atoi(z)
		default:
			b.add(finding{at: it.at, what: "must be a status code or a range", cure: cure})
			continue
		}
		if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
			b.add(finding{at: it.at, what: "is no range of status codes within 100..599", cure: cure})
			continue
		}
		out = append(out, health.StatusRange{From: from, To: to})
	}
	if x, ok := listValue(v, key); ok && len(x) == 0 && key == "expect_status" {
		v.bad(key, "is empty, so that nothing would pass", cure)
	}
	return out
}

func (b *builder) udpOptions(v view) health.UDPOptions {
	o := health.UDPOptions{NoReply: !v.boolean("reply", true)}
	for _, k := range []string{"send", "expect"} {
		if v.has(k) && v.has(k+"_hex") {
			v.bad(k+"_hex", "cannot stand beside "+k, "remove one of them")
		}
		if n := len(v.str(k, "")); n > maxDatagram {
			v.bad(k, fmt.Sprintf("is longer than a datagram of %d octets", maxDatagram), "")
		}
	}
	o.Send, _ = b.hex(v, "send_hex", false)
	if s := v.str("send", ""); s != "" {
		o.Send = []byte(s)
	}
	o.Expect, o.Mask = b.hex(v, "expect_hex", true)
	if s := v.str("expect", ""); s != "" {
		o.Expect, o.Mask = []byte(s), nil
	}
	if o.NoReply && len(o.Expect) > 0 {
		v.bad("reply", "contradicts what is expected as reply", "remove reply, or what is expected")
	}
	return o
}

// hex octets, "00 01 ff"; with wildcards XX stands for any octet, and mask
// has 0 there.
func (b *builder) hex(v view, key string, wildcards bool) (octets, mask []byte) {
	s := v.str(key, "")
	if s == "" {
		return nil, nil
	}
	digits := strings.Join(strings.Fields(s), "")
	cure := `write two digits for each octet, as "00 1f"`
	if wildcards {
		cure += "; XX stands for any"
	}
	if len(digits)%2 != 0 {
		v.bad(key, "has an odd number of digits", cure)
		return nil, nil
	}
	if len(digits)/2 > maxDatagram {
		v.bad(key, fmt.Sprintf("is longer than a datagram of %d octets", maxDatagram), "")
		return nil, nil
	}
	wild := false
	for i := 0; i < len(digits); i += 2 {
		d := digits[i : i+2]
		if wildcards && strings.EqualFold(d, "xx") {
			octets, mask, wild = append(octets, 0), append(mask, 0), true
			continue
		}
		n, err := strconv.ParseUint(d, 16, 8)
		if err != nil {
			v.bad(key, fmt.Sprintf("has %s, which is no octet in hex", quote(d)), cure)
			return nil, nil
		}
		octets, mask = append(octets, byte(n)), append(mask, 0xff)
	}
	if !wild {
		mask = nil
	}
	return octets, mask
}

// serviceChecks are those of all servers that name none themselves.
func (b *builder) serviceChecks(s *Service, own, v view, pool layer, hasPool bool) []*checkTemplate {
	out := b.namedChecks(v)
	taken := map[string]bool{}
	for _, t := range out {
		taken[t.name] = true
	}
	inline := own
	if !own.has("check") && hasPool {
		inline = b.view(pool)
	}
	for _, l := range inline.tables("check") {
		typ, _ := l.m["type"].(string)
		name := typ
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", typ, n)
		}
		taken[name] = true
		out = append(out, b.template(name, l))
	}
	if s.Service.Key.Protocol == ipvsctl.UDP && len(out) > 0 {
		only := true
		for _, t := range out {
			only = only && t.method.Type.Holds() && t.method.Type != health.Agent
		}
		if only {
			b.add(finding{at: own.table(), part: atTable, warning: true, what: "is UDP, but its checks only try TCP",
				cure: `add a check of type "udp"`})
		}
	}
	return out
}

// namedChecks are those of the list checks.
func (b *builder) namedChecks(v view) []*checkTemplate {
	var out []*checkTemplate
	for _, t := range v.texts("checks") {
		c, ok := b.templates[t.s]
		switch {
		case !ok:
			known := make([]string, 0, len(b.templates))
			for n := range b.templates {
				known = append(known, n)
			}
			b.add(finding{at: t.at, what: "is no check", cure: orElse(didYouMean(t.s, known), fmt.Sprintf("define it: [check.%s]", keyText(t.s)))})
		case containsTemplate(out, c):
			b.add(finding{at: t.at, what: "is there already", cure: "remove one of them"})
		default:
			out = append(out, c)
		}
	}
	return out
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func containsTemplate(ts []*checkTemplate, t *checkTemplate) bool {
	for _, x := range ts {
		if x == t {
			return true
		}
	}
	return false
}

// needsPort tells whether checks of a type go to a port.
func needsPort(t health.Type) bool {
	switch t {
	case health.ICMP, health.File, health.Exec:
		return false
	default:
		return true
	}
}

// portOrMark tells whether a service has one of the two, and not a port that
// is none.
func portOrMark(service view) bool {
	x, _, has := service.get("port")
	if has {
		if n, number := x.(int64); !number || n < 0 || n > 65535 {
			return false
		}
	}
	return has != service.has("fwmark")
}

// target is the check of one server.
func (b *builder) target(t *checkTemplate, s *Service, srv *Server, service view) Check {
	c := Check{Name: t.name, Spec: health.Spec{Method: t.method}}
	addr, port := srv.Kernel.Key.Addr, srv.Kernel.Key.Port
	if t.address.IsValid() {
		addr = t.address
	}
	if t.port != 0 {
		port = t.port
	}
	switch t.method.Type {
	case health.ICMP, health.File:
		port = 0 // one probe for all ports of a server
	}
	if _, known := checkKinds[string(t.method.Type)]; port == 0 && known && needsPort(t.method.Type) && (s.Ports != nil || portOrMark(service)) && t.noPort != service.table() {
		if !t.view.has("port") && (s.Service.Key.FWMark != 0 || s.Service.Key.Addr.IsValid()) {
			t.noPort = service.table()
			b.add(finding{at: service.table(), part: atTable, what: fmt.Sprintf("has no single port that check %s could try", quote(t.name)),
				cure: "give the check a port"})
		}
	}
	if src := t.method.Source; src.IsValid() && src.Is4() != addr.Is4() && t.otherFamily != service.table() {
		t.otherFamily = service.table()
		b.add(finding{at: service.table(), part: atTable, what: fmt.Sprintf("server %s is %s, but check %s has the source %s", quote(srv.Name), familyName(addr), quote(t.name), src),
			cure: "use a check without source, or with one of that family"})
	}
	if t.refuses(addr) && !t.address.IsValid() && t.otherFamily != service.table() {
		t.otherFamily = service.table()
		b.add(finding{at: service.table(), part: atTable, what: fmt.Sprintf("server %s is %s, but check %s has family = %s", quote(srv.Name), familyName(addr), quote(t.name), quote(t.family)),
			cure: "use another check here, or give the check an address of that family"})
	}
	c.Spec.Target = netip.AddrPortFrom(addr, port)
	return c
}

// refuses tells whether the check is not for addresses as a. A file has none.
func (t *checkTemplate) refuses(a netip.Addr) bool {
	return t.family != "" && t.method.Type != health.File && a.IsValid() && a.Is4() != (t.family == "ipv4")
}
