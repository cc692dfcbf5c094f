package vrrp

// Reason tells why a packet was not taken. The values stand in the order in
// which the checks are made.
type Reason uint8

const (
	ReasonNone             Reason = iota // accepted
	ReasonTooShort                       // fewer than 8 octets
	ReasonBadTTL                         // multicast, and TTL or hop limit is not 255
	ReasonBadDestination                 // multicast: not the group; unicast: not our address
	ReasonUnknownPeer                    // unicast: the source is not a configured peer
	ReasonBadVersion                     // not the version of the instance
	ReasonBadType                        // not an advertisement
	ReasonBadVRID                        // VRID 0
	ReasonUnknownVRID                    // another virtual router: not an error
	ReasonZeroAddresses                  // address count 0
	ReasonLengthMismatch                 // the length is not what the count says
	ReasonBadChecksum                    // no form of the checksum fits
	ReasonBadAuthType                    // v2: not the authentication type of the instance
	ReasonBadAuthData                    // v2: wrong password
	ReasonIntervalMismatch               // v2: another interval than ours
	ReasonBadInterval                    // v3: interval 0
	ReasonOwnSource                      // our own packet came back
)

// Reasons lists every reason but ReasonNone, in the order of the checks.
var Reasons = []Reason{
	ReasonTooShort, ReasonBadTTL, ReasonBadDestination, ReasonUnknownPeer, ReasonBadVersion, ReasonBadType,
	ReasonBadVRID, ReasonUnknownVRID, ReasonZeroAddresses, ReasonLengthMismatch, ReasonBadChecksum,
	ReasonBadAuthType, ReasonBadAuthData, ReasonIntervalMismatch, ReasonBadInterval, ReasonOwnSource,
}

var reasonNames = [...]string{
	"none", "too-short", "bad-ttl", "bad-destination", "unknown-peer", "bad-version", "bad-type",
	"bad-vrid", "unknown-vrid", "zero-addresses", "length-mismatch", "bad-checksum",
	"bad-auth-type", "bad-auth-data", "interval-mismatch", "bad-interval", "own-source",
}

// String is the reason for people and logs.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Label is the reason as a metric label, from the closed set ttl, checksum,
// version, auth, interval, source, malformed; "" where nothing is to be
// counted: nothing was dropped, or the packet was for another virtual router.
func (r Reason) Label() string {
	switch r {
	case ReasonNone, ReasonUnknownVRID:
		return ""
	case ReasonBadTTL:
		return "ttl"
	case ReasonBadChecksum:
		return "checksum"
	case ReasonBadVersion:
		return "version"
	case ReasonBadAuthType, ReasonBadAuthData:
		return "auth"
	case ReasonIntervalMismatch, ReasonBadInterval:
		return "interval"
	case ReasonBadDestination, ReasonUnknownPeer, ReasonOwnSource:
		return "source"
	case ReasonTooShort, ReasonBadType, ReasonBadVRID, ReasonZeroAddresses, ReasonLengthMismatch:
		return "malformed"
	}
	return "malformed"
}
