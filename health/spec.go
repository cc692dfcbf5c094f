package health

import (
	"net/netip"
	"time"
)

// Type of a check, as named in the configuration.
type Type string

const (
	TCP   Type = "tcp"
	HTTP  Type = "http"
	UDP   Type = "udp"
	HTTPS Type = "https" // HTTP over TLS
	TLS   Type = "tls"   // the handshake alone
	DNS   Type = "dns"   // a query over UDP
	ICMP  Type = "icmp"  // an echo request
	SMTP  Type = "smtp"
	GRPC  Type = "grpc"  // grpc.health.v1
	Exec  Type = "exec"  // a program of this machine
	File  Type = "file"  // a file of this machine
	Agent Type = "agent" // HAProxy's agent-check
)

// Spec is one check of one target, fully resolved: defaults merged, target
// filled in. Two services that name the same check of the same server have
// equal specs, which run once (see Key).
//
// It is small, for thousands of servers share the Method of one check.
type Spec struct {
	// Target is where the probe goes.
	Target netip.AddrPort
	*Method
}

// Method is how a check probes, whatever its target. Nobody changes it once it
// stands in a Spec.
type Method struct {
	Type Type
	// Interval between the starts of two probes; at least 1 ms.
	Interval time.Duration
	// FastInterval is used while a verdict is in doubt (first failure of an up
	// server, first success of a down one), DownInterval while down; 0: Interval.
	FastInterval, DownInterval time.Duration
	// Timeout is the hard deadline of one probe.
	Timeout time.Duration
	// Rise successes in a row make up, Fall failures in a row make down; both at
	// least 1. The first verdict needs one result whatever they say.
	Rise, Fall int
	// Jitter is the share of the interval (0..1) by which each run is moved at random.
	Jitter float64
	// Source address of the probe; invalid for the kernel's choice.
	Source netip.Addr
	// Interface that the probe leaves by (SO_BINDTODEVICE); "" for the routes' choice.
	Interface string
	// Mark of the probe's packets (SO_MARK, needs CAP_NET_ADMIN); 0 for none.
	Mark uint32
	// Hold keeps an idle connection to the server beside the probes of a type
	// that goes over TCP (see Holds): its end triggers a probe at once.
	Hold bool
	// Each is of use to the type of its name. HTTP is for HTTPS too, and TLS for
	// HTTPS, TLS, and with On for SMTP and GRPC.
	TCP   TCPOptions
	HTTP  HTTPOptions
	UDP   UDPOptions
	TLS   TLSOptions
	DNS   DNSOptions
	SMTP  SMTPOptions
	GRPC  GRPCOptions
	Exec  ExecOptions
	File  FileOptions
	Agent AgentOptions
}

// Holds tells whether checks of the type can hold a connection.
func (t Type) Holds() bool {
	switch t {
	case TCP, HTTP, HTTPS, TLS, SMTP, GRPC, Agent:
		return true
	default:
		return false
	}
}

// TCPOptions of a TCP check.
type TCPOptions struct {
	// Handshake: "half-open" (SYN, SYN-ACK, RST; the application sees no
	// connection) or "full". Empty means the prober's default.
	Handshake string
	// Close of a full handshake: "fin" or "reset".
	Close string
}

// HTTPOptions of an HTTP check. Each probe is one fresh connection: no
// proxy, no redirect followed, no connection reused.
type HTTPOptions struct {
	Method string // "" is GET
	Path   string // "" is /
	Host   string // Host header; "" is the target
	// Headers as "Name: value" lines, in order.
	Headers []string
	// ExpectStatus lists accepted ranges; empty is 200-399.
	ExpectStatus []StatusRange
	// ExpectBody is a text that the body must contain, within BodyLimit octets.
	ExpectBody string
	// BodyPattern is a regular expression (RE2) that the body must match, within BodyLimit.
	BodyPattern string
	BodyLimit   int // octets; 0 is 64 KiB
	// DrainStatus lists statuses that pass and advise to drain; they go before ExpectStatus.
	DrainStatus []StatusRange
	// WeightHeader names a header that advises a weight; WeightBody takes the
	// body for it. What is no weight (see Advice) advises nothing.
	WeightHeader string
	WeightBody   bool
}

// StatusRange is an inclusive range of HTTP status codes.
type StatusRange struct{ From, To int }

// UDPOptions of a UDP check.
type UDPOptions struct {
	// Send is the datagram; empty sends one zero octet.
	Send []byte
	// Expect is compared with the reply octet by octet where Mask is 0xff;
	// a reply may be longer. Empty accepts any reply.
	Expect, Mask []byte
	// NoReply accepts silence: only an ICMP error then fails the probe.
	NoReply bool
}

// TLSOptions of a check that speaks TLS.
type TLSOptions struct {
	// On: speak TLS; types HTTPS and TLS always do.
	On bool
	// NoVerify accepts any certificate.
	NoVerify bool
	// ServerName is asked for (SNI) and has to stand in the certificate; "" is
	// the host of an HTTPS check, else the target's address.
	ServerName string
	// CAFile holds the issuers to trust (PEM); "" is the machine's own set.
	CAFile string
	// CertFile and KeyFile hold this side's certificate (PEM); "" for none.
	CertFile, KeyFile string
	// MinDaysLeft: a certificate that ends sooner fails.
	MinDaysLeft int
	// ALPN lists protocols to offer; the server has to choose one of them.
	ALPN []string
}

// DNSOptions of a DNS check.
type DNSOptions struct {
	Query string // name; "" is the root
	// QueryType: A, AAAA, CNAME, MX, NS, PTR, SOA, SRV or TXT; "" is A.
	QueryType string
	// RCode expected, as "NOERROR" or "NXDOMAIN"; "" is NOERROR.
	RCode string
	// Expect is the data of an answer of the type asked for, as text: an
	// address, a name, the text of a TXT record, "10 mail.example.com" of MX. ""
	// accepts any answer, also none.
	Expect string
}

// SMTPOptions of an SMTP check: greeting, EHLO, QUIT.
type SMTPOptions struct {
	Helo     string // name that we give; "" is "localhost"
	StartTLS bool   // go on in TLS after STARTTLS
}

// GRPCOptions of a check by grpc.health.v1.Health/Check, over HTTP/2 without
// TLS unless TLS.On.
type GRPCOptions struct {
	Service string // "" is the server as a whole
}

// ExecOptions of a check that runs a program. Status 0 passes. The program
// gets PATH, LVS_HA_CHECK_ADDRESS and LVS_HA_CHECK_PORT, nothing else; it and
// what it has started die at the deadline and when it ends.
type ExecOptions struct {
	Command []string
	User    string // to run as; "" is the agent's own
	// WeightFromCode: 1 fails, 2..255 pass and advise weight 0..253.
	WeightFromCode bool
}

// FileOptions of a check of a file on this machine.
type FileOptions struct {
	Path string
	// Absent: the check passes while there is no such file.
	Absent bool
	// Expect is a text that the file must contain, within its first 64 KiB.
	Expect string
	// WeightFromContent: the file's content advises a weight (see Advice).
	WeightFromContent bool
}

// AgentOptions of a check that asks an agent on the server in HAProxy's
// agent-check protocol.
type AgentOptions struct {
	Send string // text to send first; "" for none
}
