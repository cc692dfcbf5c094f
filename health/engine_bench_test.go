package health

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestEngineCost probes a farm of servers (10.8.x.y:80, made by the caller)
// and prints what it costs, as scale runs do for other agents: CPU of all
// threads from schedstat, connections begun from the network namespace's own
// counter. It runs only where LVSHA_FARM says how, as "servers seconds type
// [handshake] [close]", e.g. "5000 10 tcp full fin".
func TestEngineCost(t *testing.T) {
	how := strings.Fields(os.Getenv("LVSHA_FARM"))
	if len(how) < 3 {
		t.Skip("LVSHA_FARM does not name a farm")
	}
	n, _ := strconv.Atoi(how[0])
	secs, _ := strconv.Atoi(how[1])
	how = append(how, "", "")
	if os.Getenv("LVSHA_GOGC") != "" {
		g, _ := strconv.Atoi(os.Getenv("LVSHA_GOGC"))
		debug.SetGCPercent(g)
	}
	var specs []Spec
	for i := range n {
		specs = append(specs, Spec{Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, byte(i / 250), byte(i%250 + 1)}), 80), Method: &Method{Type: Type(how[2]), Interval: time.Second, Timeout: 2 * time.Second, Rise: 1, Fall: 1, TCP: TCPOptions{Handshake: how[3], Close: how[4]}}})
	}
	down := 0
	s := NewScheduler(Options{OnChange: func(c Change) {
		if c.To == Down {
			down++
		}
	}})
	s.Apply(specs)
	specs = nil
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		if os.Getenv("X_LOCK") != "" {
			runtime.LockOSThread()
		}
		done <- s.Run(ctx)
	}()
	<-time.After(3 * time.Second)
	cpu, begun, at, lag := cpuOfThreads(t), connectionsBegun(t), time.Now(), s.Lag()
	<-time.After(time.Duration(secs) * time.Second)
	cpu, begun = cpuOfThreads(t)-cpu, connectionsBegun(t)-begun
	took, after := time.Since(at), s.Lag()
	rss := residentKB(t)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range after.Counts {
		after.Counts[i] -= lag.Counts[i]
	}
	total, below, p99 := after.Count(), uint64(0), "more"
	for i, c := range after.Counts {
		if below += c; below*100 >= total*99 && i < len(after.Bounds) {
			p99 = fmt.Sprint(after.Bounds[i])
			break
		}
	}
	bad := 0
	for _, st := range s.Statuses() {
		if st.State != Up || len(st.Failed) > 0 {
			bad++
		}
	}
	fmt.Printf("check=%s n=%d starts_per_s=%.0f connections_per_s=%.0f cpu_s_per_1000=%.4f cpu_pct=%.1f rss_kb=%d late_p99_below_s=%s late_mean_ms=%.2f not_up=%d down_changes=%d\n",
		strings.Join(how[2:], "/"), n, float64(total)/took.Seconds(), float64(begun)/took.Seconds(), cpu.Seconds()/float64(total)*1000, cpu.Seconds()/took.Seconds()*100, rss, p99,
		(after.Sum-lag.Sum)/float64(total)*1000, bad, down)
}

func cpuOfThreads(t *testing.T) time.Duration {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, k := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + k.Name() + "/schedstat")
		if w := strings.Fields(string(b)); len(w) > 0 {
			v, _ := strconv.ParseInt(w[0], 10, 64)
			sum += v
		}
	}
	return time.Duration(sum)
}

func connectionsBegun(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for l := range strings.Lines(string(b)) {
		if w := strings.Fields(l); len(w) > 5 && w[0] == "Tcp:" {
			if seen {
				v, _ := strconv.ParseInt(w[5], 10, 64)
				return v
			}
			seen = true
		}
	}
	return 0
}

func residentKB(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if w := strings.Fields(l); len(w) > 1 && w[0] == "VmRSS:" {
			v, _ := strconv.ParseInt(w[1], 10, 64)
			return v
		}
	}
	return 0
}
