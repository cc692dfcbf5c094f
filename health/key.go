package health

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Key is the canonical text of everything that matters to this check: values
// that mean the same (an empty method and GET) give the same key, and options
// of other types do not count.
//
// It is short, for it is kept for each of thousands of checks.
func (s Spec) Key() Key {
	b := make([]byte, 0, 128)
	b = append(b, s.Type...)
	b = appendAddrPort(append(b, ' '), s.Target)
	b = appendDuration(b, ' ', s.interval())
	b = appendDuration(b, '/', s.timeout())
	if d := s.fastInterval(); d != s.interval() {
		b = appendDuration(b, 'f', d)
	}
	if d := s.downInterval(); d != s.interval() {
		b = appendDuration(b, 'd', d)
	}
	b = strconv.AppendInt(append(b, ' '), int64(s.rise()), 10)
	b = strconv.AppendInt(append(b, '/'), int64(s.fall()), 10)
	if j := s.jitter(); j != 0 {
		b = strconv.AppendFloat(append(b, 'j'), j, 'g', -1, 64)
	}
	if s.Source.IsValid() {
		b = s.Source.Unmap().AppendTo(append(b, " from "...))
	}
	if s.Interface != "" {
		b = strconv.AppendQuote(append(b, " dev "...), s.Interface)
	}
	if s.Mark != 0 {
		b = strconv.AppendUint(append(b, " mark "...), uint64(s.Mark), 10)
	}
	if s.Hold && s.Type.Holds() {
		b = append(b, " hold"...)
	}
	switch s.Type {
	case TCP:
		if s.TCP.handshake() == handshakeFull {
			b = append(append(b, " full "...), s.TCP.close()...)
		}
	case HTTP:
		b = s.HTTP.appendKey(b)
	case UDP:
		b = strconv.AppendQuote(append(b, ' '), string(s.UDP.payload()))
		b = strconv.AppendQuote(append(b, ' '), string(s.UDP.Expect))
		b = append(b, ' ')
		for i := range s.UDP.Expect {
			b = append(strconv.AppendUint(b, uint64(s.UDP.mask(i)), 16), '.')
		}
		b = strconv.AppendBool(append(b, ' '), s.UDP.NoReply)
	case HTTPS:
		b = s.TLS.appendKey(s.HTTP.appendKey(b))
	case TLS:
		b = s.TLS.appendKey(b)
	case DNS:
		b = appendQuoted(b, s.DNS.Query, s.DNS.queryType(), s.DNS.rcode(), s.DNS.Expect)
	case ICMP:
	case SMTP:
		b = strconv.AppendBool(append(appendQuoted(b, s.SMTP.helo()), ' '), s.SMTP.StartTLS)
		if s.TLS.On || s.SMTP.StartTLS {
			b = s.TLS.appendKey(b)
		}
	case GRPC:
		if b = appendQuoted(b, s.GRPC.Service); s.TLS.On {
			b = s.TLS.appendKey(b)
		}
	case Exec:
		b = strconv.AppendBool(append(appendQuoted(b, s.Exec.User), ' '), s.Exec.WeightFromCode)
		b = appendQuoted(b, s.Exec.Command...)
	case File:
		b = strconv.AppendBool(append(appendQuoted(b, s.File.Path, s.File.Expect), ' '), s.File.Absent)
		b = strconv.AppendBool(append(b, ' '), s.File.WeightFromContent)
	case Agent:
		b = appendQuoted(b, s.Agent.Send)
	}
	return Key(b)
}

func (o HTTPOptions) appendKey(b []byte) []byte {
	b = append(append(b, ' '), o.method()...)
	b = strconv.AppendQuote(append(b, ' '), o.path())
	b = strconv.AppendQuote(append(b, ' '), o.Host)
	for _, h := range o.Headers {
		b = strconv.AppendQuote(append(b, " h"...), h)
	}
	for _, r := range o.statuses() {
		b = strconv.AppendInt(append(b, " s"...), int64(r.From), 10)
		b = strconv.AppendInt(append(b, '-'), int64(r.To), 10)
	}
	if o.ExpectBody != "" {
		b = strconv.AppendQuote(append(b, " b"...), o.ExpectBody)
	}
	if o.BodyPattern != "" {
		b = strconv.AppendQuote(append(b, " p"...), o.BodyPattern)
	}
	if o.WeightBody {
		b = append(b, " wb"...)
	}
	if o.ExpectBody != "" || o.BodyPattern != "" || o.WeightBody { // else the limit has no effect
		b = strconv.AppendInt(append(b, ' '), int64(o.bodyLimit()), 10)
	}
	for _, r := range o.DrainStatus {
		b = strconv.AppendInt(append(b, " d"...), int64(r.From), 10)
		b = strconv.AppendInt(append(b, '-'), int64(r.To), 10)
	}
	if o.WeightHeader != "" {
		b = strconv.AppendQuote(append(b, " wh"...), strings.ToLower(o.WeightHeader))
	}
	return b
}

func (o TLSOptions) appendKey(b []byte) []byte {
	b = strconv.AppendBool(append(b, " tls "...), !o.NoVerify)
	b = appendQuoted(b, o.ServerName, o.CAFile, o.CertFile, o.KeyFile)
	b = strconv.AppendInt(append(b, ' '), int64(o.MinDaysLeft), 10)
	return appendQuoted(b, o.ALPN...)
}

func appendDuration(b []byte, mark byte, d time.Duration) []byte {
	b = append(b, mark)
	if d%time.Millisecond != 0 {
		return append(strconv.AppendInt(b, int64(d), 10), 'n')
	}
	return strconv.AppendInt(b, int64(d/time.Millisecond), 10)
}

func appendQuoted(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = strconv.AppendQuote(append(b, ' '), t)
	}
	return b
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	if !a.Addr().IsValid() {
		return append(b, '-')
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).AppendTo(b)
}

// The methods below give each option its meaning where the zero value stands
// for a default, and keep the loops safe from values that no configuration
// should let through.

const minInterval = time.Millisecond

func (s Spec) interval() time.Duration { return max(s.Interval, minInterval) }

func (s Spec) fastInterval() time.Duration {
	if s.FastInterval <= 0 {
		return s.interval()
	}
	return max(s.FastInterval, minInterval)
}

func (s Spec) downInterval() time.Duration {
	if s.DownInterval <= 0 {
		return s.interval()
	}
	return max(s.DownInterval, minInterval)
}

func (s Spec) timeout() time.Duration {
	if s.Timeout <= 0 {
		return s.interval()
	}
	return s.Timeout
}

func (s Spec) rise() int { return max(s.Rise, 1) }
func (s Spec) fall() int { return max(s.Fall, 1) }

func (s Spec) jitter() float64 {
	if !(s.Jitter > 0) { // NaN too
		return 0
	}
	return min(s.Jitter, 1)
}

const (
	handshakeHalf = "half-open"
	handshakeFull = "full"
	closeFIN      = "fin"
	closeReset    = "reset"
)

func (o TCPOptions) handshake() string {
	if o.Handshake == handshakeFull {
		return handshakeFull
	}
	return handshakeHalf
}

func (o TCPOptions) close() string {
	if o.Close == closeReset {
		return closeReset
	}
	return closeFIN
}

func (o HTTPOptions) method() string {
	if o.Method == "" {
		return "GET"
	}
	return o.Method
}

func (o HTTPOptions) path() string {
	if o.Path == "" {
		return "/"
	}
	return o.Path
}

var defaultStatuses = []StatusRange{{200, 399}}

func (o HTTPOptions) statuses() []StatusRange {
	if len(o.ExpectStatus) == 0 {
		return defaultStatuses
	}
	return o.ExpectStatus
}

func (o HTTPOptions) bodyLimit() int {
	if o.BodyLimit <= 0 {
		return 64 << 10
	}
	return o.BodyLimit
}

func (o DNSOptions) queryType() string {
	if o.QueryType == "" {
		return "A"
	}
	return strings.ToUpper(o.QueryType)
}

func (o DNSOptions) rcode() string {
	if o.RCode == "" {
		return "NOERROR"
	}
	return strings.ToUpper(o.RCode)
}

func (o SMTPOptions) helo() string {
	if o.Helo == "" {
		return "localhost"
	}
	return o.Helo
}

func (o UDPOptions) payload() []byte {
	if len(o.Send) == 0 {
		return zeroOctet
	}
	return o.Send
}

var zeroOctet = []byte{0}

// mask of octet i of Expect; where Mask ends, octets are compared in full.
func (o UDPOptions) mask(i int) byte {
	if i < len(o.Mask) {
		return o.Mask[i]
	}
	return 0xff
}
