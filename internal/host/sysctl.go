package host

import (
	"fmt"
	"slices"
	"strings"
)

// Sysctl is a kernel setting and the value it should have.
type Sysctl struct {
	Key   string // with dots, as "net.ipv4.vs.conntrack"
	Value string // of several numbers with single blanks between
	Why   string // what happens otherwise, for people
	// Foreign settings change what the machine is for others, too: they are
	// reported, never written.
	Foreign bool
}

// Change of a setting.
type Change struct{ Key, Old, New string }

// Finding is a setting that is not as it should be and stays so.
type Finding struct {
	Sysctl
	Have string // "" where the kernel has no such setting
}

func (f Finding) String() string {
	if f.Have == "" {
		return fmt.Sprintf("%s: this kernel has no such setting here; without %s = %s %s", f.Key, f.Key, f.Value, f.Why)
	}
	return fmt.Sprintf("%s is %s: %s; cure: sysctl -w %s", f.Key, f.Have, f.Why, f.assignment())
}

// assignment as sysctl(8) and sysctl.d(5) take it.
func (s Sysctl) assignment() string {
	v := s.Value
	if strings.Contains(v, " ") {
		v = `"` + v + `"`
	}
	return s.Key + "=" + v
}

// PlanSysctls compares what is wanted with what there is (a key that is not
// in have does not exist). With manage, what differs is to be written; what is
// foreign or does not exist is only found.
func PlanSysctls(want []Sysctl, have map[string]string, manage bool) (writes []Change, findings []Finding) {
	for _, s := range want {
		v, exists := have[s.Key]
		switch {
		case exists && sameValue(v, s.Value):
		case exists && manage && !s.Foreign:
			writes = append(writes, Change{s.Key, strings.Join(strings.Fields(v), " "), s.Value})
		default:
			findings = append(findings, Finding{s, strings.Join(strings.Fields(v), " ")})
		}
	}
	return writes, findings
}

// sameValue: the kernel puts tabs between the numbers of a vector.
func sameValue(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }
