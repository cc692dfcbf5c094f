package speaker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/vrrp/link"
)

func TestOutboxKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.run(ctx, func(t link.Transition) { got = append(got, t.Reason); time.Sleep(time.Second) })
		}()
		for _, s := range []string{"a", "b", "c"} {
			o.put(link.Transition{Reason: s})
		}
		synctest.Wait()
		o.put(link.Transition{Reason: "d"})
		cancel()
		<-done
		if strings.Join(got, "") != "abcd" {
			t.Errorf("delivered %v", got)
		}
	})
}
