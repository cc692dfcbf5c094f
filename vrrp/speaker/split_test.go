package speaker_test

import (
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

// What the tests beside other programs cover. Each line is one test or case;
// "k" is keepalived, "f" FRR.
//
//	v3 IPv4: priority, take-over, graceful both ways   k TestKeepalivedV3         f TestFRRV3
//	v3 IPv6: the same                                  k TestKeepalivedV3IPv6     f TestFRRV3IPv6
//	v2: priority, hand-over; with PASS beside k        k TestKeepalivedV2Pass     f TestFRRV2, and take-over (it refuses authentication)
//	unicast                                            k TestKeepalivedUnicast    f - (it has none)
//	unicast, IPv6                                      k TestKeepalivedUnicastIPv6
//	sync group: link, take-over, hand-over both ways   k TestKeepalivedSyncGroup  f - (it has none)
//	partition and heal, no stale ARP                   k, f TestSplitAndHeal (FRR never announces again as the winner)
//	tie-break by address, both ways                    k, f TestSplitAndHeal/tie
//	no preemption, on our side and on theirs           k, f TestNoPreemption
//	hand-over of whole directors, with traffic         k test/e2e TestKeepalived

// rival is another program on the segment.
type rival struct {
	name  string
	start func(s *segment, priority int, preempt bool) *node
	// repeats: as the winner of a split it announces again.
	repeats bool
}

var rivals = []rival{
	{"keepalived", func(s *segment, priority int, preempt bool) *node {
		return s.keepalived(keepalivedConfig(3, uint8(priority), "0.1", map[bool]string{false: "nopreempt"}[preempt], theVIP+"/32"))
	}, true},
	{"FRR", func(s *segment, priority int, preempt bool) *node {
		text := frrGroup(3, 100, "ip", theVIP)(priority)
		if !preempt {
			text += " no vrrp 51 preempt\n"
		}
		return s.frr(vrrp.IPv4, text, theVIP+"/24")
	}, false},
}

// advertises waits until a node has sent three more.
func (s *segment) advertises(what string, n *node) {
	s.t.Helper()
	before := s.from(n)
	eventually(s.t, 15*time.Second, what, func() bool { return s.from(n) > before+2 })
}

// silentBeside tells whether n sends nothing while we, as master, send six more.
func (s *segment) silentBeside(a, n *node) bool {
	s.t.Helper()
	before, sent := s.from(n), a.instance().Sent
	eventually(s.t, 15*time.Second, "we go on as master", func() bool { return a.instance().Sent > sent+5 })
	return s.from(n) == before && a.state() == vrrp.Master
}

// TestSplitAndHeal: both are masters while they do not hear one another, then
// the right one stays, and the last announcement that neighbours heard is its.
func TestSplitAndHeal(t *testing.T) {
	t.Parallel()
	for _, r := range rivals {
		for _, tc := range []struct {
			name         string
			ours, theirs int
			theirsFirst  bool // and so they have the lower address
			win          bool // we do
		}{
			{"better", 200, 100, true, true},
			{"worse", 100, 200, false, false},
			{"tie, higher address", 150, 150, true, true},
			{"tie, lower address", 150, 150, false, false},
		} {
			t.Run(r.name+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				const limit = patience
				s := newSegment(t)
				var a, k *node
				if tc.theirsFirst {
					k = r.start(s, tc.theirs, true)
					a = s.speaker()
				} else {
					a = s.speaker()
					k = r.start(s, tc.theirs, true)
				}
				a.configure(group(uint8(tc.ours)))
				a.plug(false)
				eventually(t, limit, "we are master on our side", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
				s.advertises("they are master on theirs", k)
				healed, heard := time.Now(), a.instance().Received
				a.plug(true)
				if tc.win {
					eventually(t, limit, "they have yielded", func() bool { return s.silentBeside(a, k) })
				} else {
					eventually(t, limit, "we have yielded", func() bool { return a.state() == vrrp.Backup && !a.has(theVIP) })
					s.advertises("they go on", k)
				}
				if !tc.win && !r.repeats {
					return
				}
				// They may yield before we hear them, without a last word: then we
				// cannot know, and announce only when their addresses have expired, if
				// we had lost them.
				silent := tc.win && a.instance().Received == heard
				winner, loser := a, k
				if !tc.win {
					winner, loser = k, a
				}
				deadline := time.Now().Add(limit / 2)
				eventually(t, limit, "the winner has announced last", func() bool {
					if silent && time.Now().After(deadline) {
						t.Skip("they have yielded before we heard them")
					}
					won, lost := s.cap.find(gratuitous(winner, theVIP)), s.cap.find(gratuitous(loser, theVIP))
					if len(won) == 0 || won[len(won)-1].at.Before(healed) {
						return false
					}
					return len(lost) == 0 || !lost[len(lost)-1].at.After(won[len(won)-1].at)
				})
			})
		}
	}
}

// TestNoPreemption: whoever is told not to preempt leaves a worse master alone
// and takes over when that one is gone.
func TestNoPreemption(t *testing.T) {
	t.Parallel()
	for _, r := range rivals {
		t.Run("ours beside "+r.name, func(t *testing.T) {
			t.Parallel()
			s := newSegment(t)
			k := r.start(s, 100, true)
			s.advertises("they are master", k)
			a := s.speaker()
			in := group(200)
			in.Config.Preempt = false
			a.configure(in)
			eventually(t, 15*time.Second, "we hear them", func() bool { return a.instance().Received > 10 })
			if st := a.instance(); st.State != vrrp.Backup || st.Transitions["master"] > 0 {
				t.Errorf("we have preempted: %+v", st)
			}
			k.kill()
			eventually(t, 15*time.Second, "we are master when they are gone", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
		})
		t.Run("theirs beside "+r.name, func(t *testing.T) {
			t.Parallel()
			s := newSegment(t)
			a := s.speaker()
			a.configure(group(100))
			eventually(t, 15*time.Second, "we are master", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
			k := r.start(s, 200, false)
			eventually(t, 15*time.Second, "they are there", func() bool {
				log := k.log.String()
				return strings.Contains(log, "Entering BACKUP STATE") || strings.Contains(log, "-> Backup")
			})
			for i := range 3 { // longer than their master-down interval
				if !s.silentBeside(a, k) {
					t.Fatalf("they have preempted, round %d", i)
				}
			}
			a.kill()
			s.advertises("they are master when we are gone", k)
		})
	}
}
