package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"lvs-ha/internal/lab"
)

const (
	foreignService = "-t 10.0.0.77:99"
	foreignServer  = "10.0.0.55:99"
	strangeServer  = "10.0.0.99"
	strangeServer6 = "[2001:db8::99]"
	// brief is how long an order holds that ends by itself.
	brief = 2 * time.Second
)

// tamper changes a kernel behind the program's back.
func (c *chaos) tamper(i int) bool {
	m := &c.model.directors[i]
	t := c.model.table(i)
	if c.rng.IntN(5) == 0 {
		return c.tamperAddress(i)
	}
	if c.rng.IntN(4) == 0 {
		return c.tamperForeign(i)
	}
	if c.rng.IntN(6) == 0 {
		return c.contend(i)
	}
	live := m.running && !m.paused
	if live && (!m.reaches() || !c.settled) {
		return false
	}
	var key string
	var e *tableEntry
	if keys := slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(k string) bool { return k == foreignService }); len(keys) > 0 {
		key = keys[c.rng.IntN(len(keys))]
		e = t[key]
	}
	if e == nil {
		return false
	}
	var at, how string
	// One that may be absent cannot be edited for sure.
	for _, a := range slices.Sorted(maps.Keys(e.servers)) {
		if !e.maybe[a] && (at == "" || c.rng.IntN(2) == 0) {
			at, how = a, e.servers[a]
		}
	}
	split := strings.Fields(key)
	flag, other := "-g", "-i"
	if how != "" {
		flag = strings.Fields(how)[0]
	}
	if flag == other {
		other = "-g"
	}
	var args []string
	object := key + " " + at
	switch n := c.rng.IntN(12); {
	case n < 6 && at == "":
		return false
	case n < 2 && !strings.HasSuffix(how, "-w 0"):
		args = []string{"-e", split[0], split[1], "-r", at, flag, "-w", "0"}
	case n < 3:
		args = []string{"-e", split[0], split[1], "-r", at, flag, "-w", "9"}
	case n < 5:
		args = []string{"-d", split[0], split[1], "-r", at}
	case n == 5:
		args = []string{"-e", split[0], split[1], "-r", at, other, "-w", "1"}
	case n == 6:
		object = key + " strange"
		args = []string{"-a", split[0], split[1], "-r", strangeServer, "-g", "-w", "3"}
		if key == chaosKeys["six"] {
			args[4] = strangeServer6
		}
		if split[0] != "-f" {
			args[4] += split[1][strings.LastIndexByte(split[1], ':'):]
		}
	case n == 7:
		object = key
		args = []string{"-D", split[0], split[1]}
	case n == 8:
		object = key
		args = []string{"-E", split[0], split[1], "-s", "twos"}
		if strings.Contains(e.options, "twos") {
			args[4] = "rr"
		}
		if strings.Contains(e.options, "-p") {
			args = append(args, "-p", "60")
		}
	case n < 11 && live:
		return c.tamperDaemon(i)
	default:
		object = "all"
		args = []string{"-C"}
	}
	if live {
		objects := []string{object}
		if object == "all" {
			objects = slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(k string) bool { return k == foreignService })
		}
		for _, o := range objects {
			if !c.touch(i, o) {
				return false
			}
		}
	}
	c.did("ipvsadm %s on lvs%d", strings.Join(args, " "), i+1)
	c.ipvsadm(c.directors[i], args...)
	if object == "all" {
		m.foreign = table{}
	}
	c.tampered(i)
	return true
}

// tampered: what nobody repairs stands.
func (c *chaos) tampered(i int) {
	c.Helper()
	m := &c.model.directors[i]
	if !m.running || m.paused {
		var err error
		m.still, err = c.saved(i)
		c.must(err)
	}
	c.need(boundRepair)
}

// tamperForeign adds or removes a service that is not ours.
func (c *chaos) tamperForeign(i int) bool {
	m, d := &c.model.directors[i], c.directors[i]
	split := strings.Fields(foreignService)
	if m.foreign[foreignService] != nil {
		c.did("foreign service removed from lvs%d", i+1)
		c.ipvsadm(d, "-D", split[0], split[1])
		m.foreign = table{}
	} else {
		c.did("foreign service added to lvs%d", i+1)
		c.ipvsadm(d, "-A", split[0], split[1], "-s", "wrr")
		c.ipvsadm(d, "-a", split[0], split[1], "-r", foreignServer, "-g", "-w", "7")
		m.foreign = table{foreignService: {options: "-s wrr", servers: map[string]string{foreignServer: "-g -w 7"}}}
	}
	c.tampered(i)
	return true
}

// tamperDaemon stops a sync daemon or starts one that is not wanted.
func (c *chaos) tamperDaemon(i int) bool {
	role, other := "backup", "master"
	if c.now[i] {
		role, other = other, role
	}
	if c.rng.IntN(2) == 0 {
		if !c.touch(i, "daemon "+role) {
			return false
		}
		c.did("sync daemon of lvs%d stopped", i+1)
		c.ipvsadm(c.directors[i], "--stop-daemon", role)
	} else {
		if !c.touch(i, "daemon "+other) {
			return false
		}
		c.did("sync daemon of lvs%d started as %s, too", i+1, other)
		c.ipvsadm(c.directors[i], "--start-daemon", other, "--mcast-interface", "eth1", "--syncid", fmt.Sprint(lab.SyncID))
	}
	c.need(boundRepair)
	return true
}

// tamperAddress takes the VIP off a director.
func (c *chaos) tamperAddress(i int) bool {
	m, d := &c.model.directors[i], c.directors[i]
	if !c.settled || !c.now[i] || !m.running {
		return false
	}
	c.did("ip address del VIP on lvs%d", i+1)
	_, stderr, code, err := d.Host().Run(c.ctx, "ip", "address", "del", lab.VIP.String()+"/32", "dev", "eth0")
	if err != nil || code != 0 {
		c.Fatalf("ip address del: %d %s %v", code, stderr, err)
	}
	c.need(boundAddress)
	return true
}

// actAdmin runs a command of the program.
func (c *chaos) actAdmin(i int) bool {
	m := &c.model.directors[i]
	if !m.running || !c.settled {
		return false
	}
	switch n := c.rng.IntN(12); {
	case m.paused && n < 6:
		c.did("lvs%d resume", i+1)
		c.ask(c.directors[i], 0, "resume")
		m.paused = false
		c.need(boundRepair + boundVerdict + boundRole)
		return true
	case n == 0:
		return c.pause(i)
	case n < 3:
		return c.failover(i)
	}
	return c.order(i)
}

func (c *chaos) pause(i int) bool {
	m := &c.model.directors[i]
	if m.paused {
		return false
	}
	if c.rng.IntN(2) == 0 {
		c.did("lvs%d pause --for %s", i+1, brief)
		c.ask(c.directors[i], 0, "pause", "--for", brief.String())
		c.must(lab.Pause(c.ctx, brief))
		c.need(boundRepair + boundRole)
		return true
	}
	c.did("lvs%d pause", i+1)
	c.still(i, func() { c.ask(c.directors[i], 0, "pause") })
	m.paused = true
	c.need(slack)
	return true
}

// failover hands the VIP over; only a master can.
func (c *chaos) failover(i int) bool {
	d, m, other := c.directors[i], &c.model.directors[i], &c.model.directors[1-i]
	argv := []string{"failover", "--runtime-dir", d.Dir + "/run", "--force"}
	short := c.rng.IntN(3) == 0
	if short {
		argv = append(argv, "--for", brief.String())
	}
	argv = append(argv, lab.Instance)
	c.did("lvs%d failover, briefly: %v", i+1, short)
	out, stderr, code, err := d.Host().Run(c.ctx, append([]string{os.Getenv("LVSHA_BIN")}, argv...)...)
	c.must(err)
	if (code == 0) != c.now[i] {
		c.Errorf("failover on lvs%d, master=%v: status %d %s%s", i+1, c.now[i], code, out, stderr)
	}
	if !c.now[i] {
		c.need(slack)
		return true
	}
	m.suppressed = !short
	// Who is preferred comes back when a short one is over.
	p, tie := c.model.preferred()
	if c.now == [2]bool{i == 0, i == 1} && other.running && other.reaches() && m.reaches() && !c.model.parted && (!short || i != p || tie) {
		c.model.held = [2]bool{i == 1, i == 0}
	}
	// Where nobody takes over, or not for long, it comes back: not before that
	// is all well.
	c.must(lab.Pause(c.ctx, brief))
	c.need(2 * boundRole)
	return true
}

// order gives or takes back an order for servers.
func (c *chaos) order(i int) bool {
	m, d := &c.model.directors[i], c.directors[i]
	var targets []string
	name := fmt.Sprintf("web%d", 1+c.rng.IntN(chaosServers))
	service := chaosNames[c.rng.IntN(len(chaosNames))]
	if c.rng.IntN(4) == 0 {
		service = "*"
	}
	for k := range m.config.services {
		s := &m.config.services[k]
		for _, v := range s.servers {
			if t := target(s, v.index); (service == "*" || s.name == service) && strings.HasSuffix(t, name) {
				targets = append(targets, t)
			}
		}
	}
	if len(targets) == 0 {
		return false
	}
	what := []string{"drain", "drain", "maintenance", "ready", "ready", "weight", "auto"}[c.rng.IntN(7)]
	weight := c.rng.IntN(6)
	force := c.rng.IntN(3) == 0
	change := func(o order) order {
		switch what {
		case "drain", "maintenance":
			o.mode, o.modeForced = what, force
		case "ready":
			o.mode, o.modeForced = "", false
		case "weight":
			o.weight, o.weightForced = weight, force
		case "auto":
			o.weight, o.weightForced = -1, false
		}
		return o
	}
	var argv []string
	ends := (what == "drain" || what == "maintenance" || what == "weight") && c.rng.IntN(4) == 0
	switch what {
	case "weight":
		argv = []string{"weight", service + "/" + name, fmt.Sprint(weight)}
	case "auto":
		argv = []string{"weight", service + "/" + name, "auto"}
	default:
		argv = []string{what, service + "/" + name}
	}
	if ends {
		argv = append(argv, "--for", brief.String())
	}
	if force {
		argv = append(argv, "--force")
	}
	c.did("lvs%d %s", i+1, strings.Join(argv, " "))
	out, stderr, code, err := d.Host().Run(c.ctx, append(append([]string{os.Getenv("LVSHA_BIN")}, argv...), "--runtime-dir", d.Dir+"/run")...)
	c.must(err)
	want := 0
	must, maybe := c.model.objects(i, targets, change)
	if !force && m.reaches() && must {
		want = 5
	}
	if code != want && (code != 5 || force || m.reaches() && !maybe) {
		c.Errorf("lvs%d %s: status %d, want %d\n%s%s", i+1, strings.Join(argv, " "), code, want, out, stderr)
	}
	c.need(slack + boundVerdict)
	if code != 0 {
		c.history[len(c.history)-1] += ", refused"
		return true
	}
	for _, t := range targets {
		o, ok := m.orders[t]
		if !ok {
			o = noOrder
		}
		o = change(o)
		if ends { // in the end there is none
			if what == "weight" {
				o.weight, o.weightForced = -1, false
			} else {
				o.mode, o.modeForced = "", false
			}
		}
		m.orders[t] = o
	}
	if ends {
		c.must(lab.Pause(c.ctx, brief))
	}
	return true
}
