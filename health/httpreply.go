package health

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// httpCheck is an HTTP check made ready once: the request as it goes out and
// what the reply is held against.
type httpCheck struct {
	request  []byte
	statuses []StatusRange
	noBody   bool // HEAD
	limit    int
	text     matcher
	pattern  *regexp.Regexp // nil for none
	drain    []StatusRange
	// weightHeader in lower case; "" for none
	weightHeader string
	weightBody   bool
}

// keeps tells whether the body has to be there as a whole.
func (c *httpCheck) keeps() bool { return c.pattern != nil || c.weightBody }

func newHTTPCheck(s Spec) (*httpCheck, *Failure) {
	o := s.HTTP
	port := ":80"
	if s.Type == HTTPS {
		port = ":443"
	}
	c := &httpCheck{request: o.request(s.Target.String(), port), statuses: o.statuses(), noBody: o.method() == "HEAD",
		limit: o.bodyLimit(), text: newMatcher(o.ExpectBody), drain: o.DrainStatus, weightHeader: strings.ToLower(o.WeightHeader), weightBody: o.WeightBody}
	if o.BodyPattern != "" {
		p, err := regexp.Compile(o.BodyPattern)
		if err != nil {
			return nil, &Failure{ReasonInternal, "body pattern: " + err.Error()}
		}
		c.pattern = p
	}
	return c, nil
}

// request in HTTP/1.1; port is the one that a host name need not tell. A line
// of Headers replaces the default of the same name.
func (o HTTPOptions) request(target, port string) []byte {
	host := o.Host
	if host == "" {
		host = strings.TrimSuffix(target, port)
	}
	b := append([]byte(nil), o.method()...)
	b = append(append(append(b, ' '), o.path()...), " HTTP/1.1\r\n"...)
	for _, d := range [][2]string{{"Host", host}, {"User-Agent", "lvs-ha"}, {"Accept", "*/*"}, {"Connection", "close"}} {
		if !o.sets(d[0]) {
			b = append(append(append(append(b, d[0]...), ": "...), d[1]...), "\r\n"...)
		}
	}
	for _, h := range o.Headers {
		b = append(append(b, h...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func (o HTTPOptions) sets(name string) bool {
	for _, h := range o.Headers {
		if n, _, ok := strings.Cut(h, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return true
		}
	}
	return false
}

func (c *httpCheck) accepts(status int) bool { return within(status, c.statuses) }

func within(status int, ranges []StatusRange) bool {
	for _, r := range ranges {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// httpReply reads one reply (RFC 9112) piece by piece, in constant memory, and
// stops as soon as the verdict is certain: with the header if no text is
// expected, else with the text. It accepts bare line feeds, as section 2.2
// allows. Its zero value is ready.
type httpReply struct {
	state  replyState
	status int
	any    bool // an octet has come
	header int  // octets of header so far
	line   [128]byte
	n      int // octets of the line, those beyond its room not kept

	chunked, hasLength bool
	left               int64  // of the body or chunk
	body               int    // octets of body seen
	matched            int    // octets of the text matched
	found              bool   // all of it
	whole              []byte // the body, where it is kept

	advice Advice
}

type replyState uint8

const (
	statusLine replyState = iota
	headerLine
	bodyLength
	bodyChunkSize
	bodyChunk
	bodyChunkEnd
	bodyToEOF
)

const maxHeader = 64 << 10

// feed takes the next octets. When done, f is the result of the probe.
func (r *httpReply) feed(c *httpCheck, p []byte) (f *Failure, done bool) {
	r.any = r.any || len(p) > 0
	for len(p) > 0 {
		switch r.state {
		case statusLine, headerLine, bodyChunkSize, bodyChunkEnd:
			var whole bool
			if p, whole = r.readLine(p); r.header > maxHeader {
				return &Failure{ReasonProtocol, "header of more than 64 KiB"}, true
			}
			if !whole {
				// Something else than HTTP may never end its first line.
				if r.state == statusLine && !statusPrefix(r.kept()) {
					return notHTTP(r.kept()), true
				}
				return nil, false
			}
			f, done = r.endLine(c)
			r.n = 0
		case bodyLength, bodyChunk:
			n := min(int64(len(p)), r.left)
			f, done = r.feedBody(c, p[:n])
			p, r.left = p[n:], r.left-n
			if r.left == 0 && !done {
				if r.state == bodyLength {
					return r.endBody(c), true
				}
				r.state = bodyChunkEnd
			}
		case bodyToEOF:
			f, done = r.feedBody(c, p)
			p = nil
		}
		if done {
			return f, true
		}
	}
	return nil, false
}

// eof is the verdict when the server has closed.
func (r *httpReply) eof(c *httpCheck) *Failure {
	switch {
	case r.state == bodyToEOF:
		return r.endBody(c)
	case !r.any:
		return &Failure{ReasonProtocol, "closed without an answer"}
	case r.state == statusLine || r.state == headerLine:
		return &Failure{ReasonProtocol, "closed within the header"}
	default:
		return &Failure{ReasonProtocol, "closed within the body"}
	}
}

// readLine adds to the line up to its end and returns the rest.
func (r *httpReply) readLine(p []byte) (rest []byte, whole bool) {
	for i, b := range p {
		r.header++
		if b == '\n' {
			return p[i+1:], true
		}
		if r.n < len(r.line) {
			r.line[r.n] = b
		}
		r.n++
	}
	return nil, false
}

func (r *httpReply) kept() []byte { return r.line[:min(r.n, len(r.line))] }

// endLine judges a whole line.
func (r *httpReply) endLine(c *httpCheck) (f *Failure, done bool) {
	cut := r.n > len(r.line)
	l := r.kept()
	if !cut && len(l) > 0 && l[len(l)-1] == '\r' {
		l = l[:len(l)-1]
	}
	switch r.state {
	case statusLine:
		status, ok := parseStatus(l)
		if !ok {
			return notHTTP(l), true
		}
		r.status, r.state = status, headerLine
	case headerLine:
		if len(l) == 0 {
			return r.endHeader(c)
		}
		return r.headerField(c, l, cut)
	case bodyChunkSize:
		n, ok := parseChunkSize(l)
		if !ok || cut && !hasSemicolon(l) {
			return &Failure{ReasonProtocol, "bad chunk size"}, true
		}
		if n == 0 {
			return r.endBody(c), true
		}
		r.left, r.state = n, bodyChunk
		r.header = 0
	case bodyChunkEnd:
		if len(l) > 0 {
			return &Failure{ReasonProtocol, "chunk longer than its size"}, true
		}
		r.state = bodyChunkSize
	}
	return nil, false
}

func (r *httpReply) headerField(c *httpCheck, l []byte, cut bool) (*Failure, bool) {
	if l[0] == ' ' || l[0] == '\t' { // a folded line continues a value; none that counts here is folded
		return nil, false
	}
	colon := -1
	for i, b := range l {
		if b == ':' {
			colon = i
			break
		}
	}
	if colon <= 0 {
		if cut {
			return nil, false // a name of more than 128 octets
		}
		return &Failure{ReasonProtocol, fmt.Sprintf("header line without a colon: %.40q", l)}, true
	}
	name, value := l[:colon], trimSpace(l[colon+1:])
	switch {
	case equalFold(name, "content-length"):
		n, ok := parseLength(value)
		if !ok || cut || r.hasLength && n != r.left {
			return &Failure{ReasonProtocol, fmt.Sprintf("bad Content-Length: %.40q", value)}, true
		}
		r.hasLength, r.left = true, n
	case equalFold(name, "transfer-encoding"):
		// Only chunked has a length of its own; all else ends with the connection.
		r.chunked = !cut && endsWithChunked(value)
		if !r.chunked {
			r.hasLength, r.left = false, 0
		}
	case c.weightHeader != "" && equalFold(name, c.weightHeader) && !cut:
		if a, ok := parseWeight(value); ok {
			r.advice = a
		}
	}
	return nil, false
}

func (r *httpReply) endHeader(c *httpCheck) (*Failure, bool) {
	if r.status >= 100 && r.status < 200 && r.status != 101 { // interim (RFC 9110 section 15.2)
		h := r.header
		*r = httpReply{any: true, header: h}
		return nil, false
	}
	if within(r.status, c.drain) {
		r.advice = Advice{Kind: AdviseDrain}
		return nil, true
	}
	if !c.accepts(r.status) {
		return &Failure{ReasonStatus, "status " + strconv.Itoa(r.status)}, true
	}
	if c.text.empty() && !c.keeps() {
		return nil, true
	}
	switch {
	case c.noBody || r.status == 101 || r.status == 204 || r.status == 304 || !r.chunked && r.hasLength && r.left == 0:
		return r.endBody(c), true
	case r.chunked: // whatever Content-Length says (RFC 9112 section 6.3)
		r.state = bodyChunkSize
	case r.hasLength:
		r.state = bodyLength
	default:
		r.state = bodyToEOF
	}
	return nil, false
}

func (r *httpReply) feedBody(c *httpCheck, p []byte) (*Failure, bool) {
	p = p[:min(len(p), c.limit-r.body)]
	r.body += len(p)
	if !r.found && !c.text.empty() {
		r.matched, r.found = c.text.feed(r.matched, p)
	}
	switch {
	case c.keeps():
		r.whole = append(r.whole, p...)
	case r.found:
		return nil, true
	}
	if r.body >= c.limit {
		return r.endBody(c), true
	}
	return nil, false
}

// endBody is the verdict when the body, or what is looked at of it, has ended.
func (r *httpReply) endBody(c *httpCheck) *Failure {
	switch {
	case !c.text.empty() && !r.found:
		return &Failure{ReasonBody, "text not found in " + strconv.Itoa(r.body) + " octets"}
	case c.pattern != nil && !c.pattern.Match(r.whole):
		return &Failure{ReasonBody, "pattern not found in " + strconv.Itoa(r.body) + " octets"}
	}
	if c.weightBody {
		if a, ok := parseWeight(r.whole); ok {
			r.advice = a
		}
	}
	return nil
}

func notHTTP(l []byte) *Failure {
	return &Failure{ReasonProtocol, fmt.Sprintf("not HTTP: %.40q", l)}
}

// statusPrefix tells whether a status line can begin like this.
func statusPrefix(l []byte) bool {
	const want = "HTTP/1."
	return string(l[:min(len(l), len(want))]) == want[:min(len(l), len(want))]
}

// parseStatus reads "HTTP/1.x NNN" and maybe a reason after a space.
func parseStatus(l []byte) (int, bool) {
	if len(l) < 12 || !statusPrefix(l) || !isDigit(l[7]) || l[8] != ' ' || len(l) > 12 && l[12] != ' ' {
		return 0, false
	}
	n := 0
	for _, b := range l[9:12] {
		if !isDigit(b) {
			return 0, false
		}
		n = n*10 + int(b-'0')
	}
	return n, n >= 100
}

func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	var n int64
	for _, b := range v {
		if !isDigit(b) {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, true
}

// parseChunkSize reads hexadecimal digits, and leaves an extension aside.
func parseChunkSize(l []byte) (int64, bool) {
	var n int64
	digits := 0
	for _, b := range l {
		var d byte
		switch {
		case isDigit(b):
			d = b - '0'
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			d = b | 0x20 - 'a' + 10
		case digits > 0 && (b == ';' || b == ' ' || b == '\t'):
			return n, true
		default:
			return 0, false
		}
		if digits++; digits > 15 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, digits > 0
}

func hasSemicolon(l []byte) bool {
	for _, b := range l {
		if b == ';' {
			return true
		}
	}
	return false
}

func endsWithChunked(v []byte) bool {
	const want = "chunked"
	n := len(v) - len(want)
	return n >= 0 && equalFold(v[n:], want) && (n == 0 || v[n-1] == ',' || v[n-1] == ' ')
}

// equalFold compares with lower, which is in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		x := b[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if x != lower[i] {
			return false
		}
	}
	return true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// matcher finds a text in a stream without keeping the stream (Knuth, Morris
// and Pratt): the state is the number of octets matched so far.
type matcher struct {
	text string
	back []int
}

func newMatcher(text string) matcher {
	m := matcher{text: text, back: make([]int, len(text))}
	for i, k := 1, 0; i < len(text); i++ {
		for k > 0 && text[i] != text[k] {
			k = m.back[k-1]
		}
		if text[i] == text[k] {
			k++
		}
		m.back[i] = k
	}
	return m
}

func (m matcher) empty() bool { return m.text == "" }

func (m matcher) feed(k int, p []byte) (int, bool) {
	for _, b := range p {
		for k > 0 && m.text[k] != b {
			k = m.back[k-1]
		}
		if m.text[k] == b {
			k++
		}
		if k == len(m.text) {
			return k, true
		}
	}
	return k, false
}
