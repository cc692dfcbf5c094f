package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lvs-ha/internal/lab"
)

// contend sets the weight of a server again and again: three times it is put
// right, the fourth time it stands, and that is said; what the director itself
// decides about the server then goes through, there and back.
func (c *chaos) contend(i int) bool {
	m, d := &c.model.directors[i], c.directors[i]
	if !m.running || m.paused || !m.reaches() || !c.settled {
		return false
	}
	for k := range m.config.services {
		s := &m.config.services[k]
		for _, v := range s.servers {
			at, key := s.address(v.index), s.key()
			object := key + " " + at
			if o := c.tables[i][key].servers[at]; s.floor > 0 || s.slow || m.order(s, v.index) != noOrder || o == "" || strings.HasSuffix(o, "-w 0") ||
				!c.rested(i, object) || !c.rested(i, key) {
				continue
			}
			c.did("the weight of %s in %s on lvs%d is changed again and again", at, key, i+1)
			split, flag := strings.Fields(key), chaosFlags[s.forward]
			theirs := []string{"-e", split[0], split[1], "-r", at, flag, "-w", "9"}
			for range 3 {
				c.ipvsadm(d, theirs...)
				c.slowly(boundRepair, "it is repaired", c.matches)
			}
			c.metric(d, boundRepair, is(1), "lvs_ha_ipvs_contended_objects")
			c.ipvsadm(d, theirs...)
			c.must(lab.Pause(c.ctx, 2*chaosReconcile+slack))
			want := maps.Clone(c.model.table(i))
			e := *want[key]
			e.servers = maps.Clone(e.servers)
			e.servers[at] = flag + " -w 9"
			want[key] = &e
			got, err := c.saved(i)
			c.must(err)
			if diff := want.differs(got); diff != "" {
				c.Fatalf("somebody has kept changing %s on lvs%d, it does not stand: %s", object, i+1, diff)
			}
			name := target(s, v.index)
			for _, weight := range []string{"0", "auto"} {
				c.ask(d, 0, "weight", name, weight, "--force")
				o := noOrder
				if weight == "0" {
					o = order{weight: 0, weightForced: true}
				}
				m.orders[name] = o
				if !s.withdraw && s.sorry < 0 {
					c.slowly(boundRepair, "a decision of the director is carried out: weight "+weight, c.matches)
				}
			}
			delete(m.orders, name)
			c.metric(d, boundRepair, is(0), "lvs_ha_ipvs_contended_objects")
			c.need(boundRepair + boundVerdict)
			return true
		}
	}
	return false
}

// rested: nothing was repaired about the object within the last minute.
func (c *chaos) rested(i int, object string) bool {
	return !slices.ContainsFunc(c.touched[fmt.Sprint(i, " ", object)], func(t time.Time) bool { return time.Since(t) < 65*time.Second })
}
