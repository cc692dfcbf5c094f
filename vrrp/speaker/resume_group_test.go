package speaker

import (
	"testing"
)

func TestGroupsResumeTogether(t *testing.T) {
	one := func(group string, resuming bool) *instance {
		in := &instance{resuming: resuming}
		in.spec.Group, in.spec.Config.Grouped = group, group != ""
		return in
	}
	for name, test := range map[string]struct {
		added []*instance
		want  []bool
	}{
		"alone":                {[]*instance{one("", true), one("", false)}, []bool{true, false}},
		"a whole group":        {[]*instance{one("g", true), one("g", true), one("", false)}, []bool{true, true, false}},
		"half a group":         {[]*instance{one("g", true), one("g", false), one("", true)}, []bool{false, false, true}},
		"the others are whole": {[]*instance{one("g", false), one("h", true), one("g", true), one("h", true)}, []bool{false, true, false, true}},
	} {
		resumeTogether(test.added)
		for i, in := range test.added {
			if in.resuming != test.want[i] {
				t.Errorf("%s: instance %d resumes: %v, want %v", name, i, in.resuming, test.want[i])
			}
		}
	}
}
