package vrrp

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// vector is a frame with what a receiver must make of it. Most were captured
// from keepalived 2.2.7 and FRR 8.4.4, the others are such frames with one flaw.
type vector struct {
	ID       string
	Origin   string
	Frame    string
	Receiver struct {
		Family     Family
		Version    Version `json:"vrrp_version"`
		VRID       uint8
		IntervalCS int `json:"interval_cs"`
		Mode       string
		Auth       struct{ Type, Key string }
		Addresses  []netip.Addr `json:"virtual_addresses"`
		Address    *netip.Addr
	}
	Verdict, Reason string
	Decoded         *struct {
		Version   Version
		VRID      uint8
		Priority  uint8
		Addresses []netip.Addr
		Checksums []string `json:"checksum_matches"`
		Seconds   int      `json:"adver_int_s"`
		Centisecs int      `json:"max_adver_int_cs"`
	}
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors/adverts.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// split takes Ethernet and IP headers off, as a raw socket does.
func (v *vector) split(t testing.TB) (h Header, message []byte, protocol byte) {
	t.Helper()
	frame, err := hex.DecodeString(v.Frame)
	if err != nil {
		t.Fatal(err)
	}
	body := frame[14:]
	if binary.BigEndian.Uint16(frame[12:]) == 0x0800 {
		h.Family = IPv4
		h.Src, h.Dst = netip.AddrFrom4([4]byte(body[12:])), netip.AddrFrom4([4]byte(body[16:]))
		h.TTL = int(body[8])
		return h, body[int(body[0]&15)*4 : binary.BigEndian.Uint16(body[2:])], body[9]
	}
	h.Family = IPv6
	h.Src, h.Dst = netip.AddrFrom16([16]byte(body[8:])), netip.AddrFrom16([16]byte(body[24:]))
	h.TTL = int(body[7])
	return h, body[40 : 40+int(binary.BigEndian.Uint16(body[4:]))], body[6]
}

func (v *vector) config(h Header) (Config, netip.Addr) {
	r := &v.Receiver
	c := Config{
		VRID: r.VRID, Version: r.Version, Family: r.Family, Priority: 100,
		Interval: time.Duration(r.IntervalCS) * centisecond, Addresses: r.Addresses,
	}
	if r.Auth.Type == "pass" {
		c.Auth.Type = AuthPass
		copy(c.Auth.Data[:], r.Auth.Key)
	}
	own := netip.MustParseAddr("192.0.2.254")
	if r.Mode == "unicast" {
		c.Mode = Unicast
		c.Peers = []netip.Addr{h.Src}
		own = *r.Address
	}
	return c, own
}

func TestVectors(t *testing.T) {
	list := loadVectors(t)
	counts := map[string]int{}
	for _, v := range list {
		t.Run(v.ID, func(t *testing.T) {
			h, message, protocol := v.split(t)
			if protocol != Protocol {
				t.Skipf("IP protocol %d never reaches a VRRP socket", protocol) // v2 with IPsec AH
			}
			counts[v.Verdict]++
			c, own := v.config(h)
			var a Advertisement
			a.Parse(message, h)
			got, mismatch := c.Validate(&a, h, own)
			switch v.Verdict {
			case "accept":
				if got != ReasonNone || mismatch {
					t.Fatalf("rejected: %v, mismatch %t", got, mismatch)
				}
				v.compare(t, &a, message, h)
			case "reject", "ignore":
				if got.String() != v.Reason {
					t.Fatalf("got %v, want %s", got, v.Reason)
				}
				if (got.Label() == "") != (v.Verdict == "ignore") {
					t.Errorf("label %q for verdict %s", got.Label(), v.Verdict)
				}
			case "either":
				switch v.Reason {
				case "address-list-mismatch": // never a reason to drop
					if got != ReasonNone || !mismatch {
						t.Errorf("got %v, mismatch %t", got, mismatch)
					}
				case "bad-ttl": // unicast peers may be routed
					if got != ReasonNone {
						t.Errorf("got %v", got)
					}
				default:
					if got.String() != v.Reason {
						t.Errorf("got %v, want %s", got, v.Reason)
					}
				}
			default:
				t.Fatalf("unknown verdict %q", v.Verdict)
			}
		})
	}
	if counts["accept"] < 50 || counts["reject"] < 40 || counts["ignore"] < 3 || counts["either"] < 9 {
		t.Errorf("vectors are missing: %v", counts)
	}
}

func (v *vector) compare(t *testing.T, a *Advertisement, message []byte, h Header) {
	t.Helper()
	d := v.Decoded
	if a.Version != d.Version || a.VRID != d.VRID || a.Priority != d.Priority || !slices.Equal(a.Addresses, d.Addresses) {
		t.Errorf("decoded %+v, want %+v", a, d)
	}
	want := time.Duration(d.Centisecs) * centisecond
	if a.Version == V2 {
		want = time.Duration(d.Seconds) * time.Second
	}
	if a.Interval != want {
		t.Errorf("interval %v, want %v", a.Interval, want)
	}
	if a.Version == V3 {
		form := map[Checksum]string{ChecksumPseudoHeader: "pseudo", ChecksumMessageOnly: "plain"}[a.ChecksumForm]
		if !slices.Contains(d.Checksums, form) {
			t.Errorf("checksum form %s, want one of %v", form, d.Checksums)
		}
	}
	out := a.Append(nil, a.ChecksumForm, h.Src, h.Dst)
	in := slices.Clone(message)
	if a.Version == V3 && in[4]&0xf0 != 0 {
		return // reserved bits are not kept
	}
	if !slices.Equal(out, in) {
		t.Errorf("encoded again: %x, was %x", out, in)
	}
}
