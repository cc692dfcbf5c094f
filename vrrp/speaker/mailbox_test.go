package speaker

import (
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMailboxKeepsOrderAndLosesNothing(t *testing.T) {
	m, err := newMailbox()
	if err != nil {
		t.Fatal(err)
	}
	const senders, each = 8, 2000
	var wg sync.WaitGroup
	got := make([][]int, senders)
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				m.post(func() { got[s] = append(got[s], i) })
			}
		})
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	poll := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}
	n := 0
	for n < senders*each {
		if k, err := unix.Poll(poll, 5000); k != 1 {
			t.Fatalf("after %d letters nobody rang: %v", n, err)
		}
		m.acknowledge()
		for l := m.take(); l != nil; l = l.next {
			l.f()
			n++
		}
	}
	<-all
	for s := range got {
		if !slices.IsSorted(got[s]) || len(got[s]) != each {
			t.Errorf("sender %d: %d letters", s, len(got[s]))
		}
	}
}
