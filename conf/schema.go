package conf

import (
	"sort"
	"strings"
)

// kind of a table: which keys may stand in it.
type kind uint8

const (
	kindTop kind = iota
	kindInclude
	kindNode
	kindDefaults
	kindDefaultsCheck
	kindProcess
	kindVRRP
	kindGARP
	kindAuth
	kindAddress
	kindSync
	kindIPVS
	kindTimeouts
	kindHTTP
	kindLog
	kindPool
	kindService
	kindServer
	kindPersistence
	kindTunnel
	kindSorry
	kindCheckTCP
	kindCheckHTTP
	kindCheckUDP
	kindCheckHTTPS
	kindCheckTLS
	kindCheckDNS
	kindCheckICMP
	kindCheckSMTP
	kindCheckGRPC
	kindCheckExec
	kindCheckFile
	kindCheckAgent
	kinds // their number
)

// key says what a key that is not simply supported means for its user; a
// supported one has no text.
type key struct{ refused string }

const (
	tooNew    = "this key is not supported by this version"
	sharedKey = "cannot differ between nodes: all directors need the same"
)

// schema of every kind of table.
var schema [kinds]map[string]key

func define(k kind, supported, later string) {
	m := map[string]key{}
	for _, w := range strings.Fields(supported) {
		m[w] = key{}
	}
	for _, w := range strings.Fields(later) {
		m[w] = key{tooNew}
	}
	schema[k] = m
}

const (
	serverKeys  = " weight forward tunnel max_connections min_connections enabled "
	serviceKeys = " protocol scheduler scheduler_flags persistence one_packet pe checks checks_pass on_failure remove_after start" +
		" quorum quorum_hysteresis on_quorum_loss sorry slow_start min_healthy snat " + serverKeys
	serviceNew = " schedule_timeout degraded_weight server_metrics "
	checkKeys  = " interval fast_interval down_interval timeout rise fall jitter source interface mark family "
	checkOwn   = checkKeys + " type address port "
	checkNew   = " via degraded_status expect_md5 "
	httpKeys   = " method path host headers expect_status expect_body body_regex body_limit drain_status weight_from "
	tlsKeys    = " sni verify ca_file client_cert_file client_key_file min_days_left alpn "
)

func init() {
	define(kindTop, "version cluster include nodes defaults process vrrp sync ipvs http log check pool service", "notify admin doctor")
	define(kindInclude, "version check pool service", "")
	define(kindNode, "address vrrp http sync ipvs log process", "")
	define(kindDefaults, "check"+serviceKeys, serviceNew)
	define(kindDefaultsCheck, checkKeys+"hold", checkNew)
	define(kindProcess, "realtime", "director_grace memory_lock")
	define(kindVRRP, `interface vrid version priority advert_interval mode peers source preempt preempt_delay start_delay
		addresses excluded garp auth checksum track_interfaces track_services track_checks notify notify_timeout group`,
		"track unicast_ttl accept manage_addresses virtual_mac")
	schema[kindVRRP]["virtual_mac"] = key{"a virtual MAC is refused: addresses stay on the interface's own MAC, which gratuitous ARP tells everybody at once;" +
		" a virtual one would need a macvlan with ARP and rp_filter settings of its own, and gains nothing with IPVS"}
	define(kindGARP, "count interval repeat_after refresh opcode", "")
	define(kindAuth, "type password", "key_file")
	define(kindAddress, "address interface label scope", "route preferred")
	define(kindSync, "interface id follow maxlen group port ttl", "")
	define(kindIPVS, `adopt unmanaged on_stop reconcile_interval timeouts
		sysctls expire_nodest_conn expire_quiescent_template conn_reuse_mode sloppy_tcp backup_only sync_threshold
		sync_refresh_period sync_retries stragglers`, "")
	define(kindTimeouts, "tcp tcp_fin udp", "")
	define(kindHTTP, "listen", "status_page tls_cert tls_key bearer_token_file server_metrics")
	define(kindLog, "level format", "")
	define(kindPool, "servers check"+serviceKeys, serviceNew)
	define(kindService, "name address port ports fwmark family vrrp pool servers check"+serviceKeys, serviceNew+"notify")
	define(kindServer, "name address port checks"+serverKeys, "slow_start fwmark")
	define(kindPersistence, "timeout prefix", "")
	define(kindTunnel, "type port", "flags checksum")
	define(kindSorry, "address port forward tunnel", "")
	define(kindCheckTCP, checkOwn+"hold handshake close", checkNew)
	define(kindCheckHTTP, checkOwn+"hold"+httpKeys, checkNew)
	define(kindCheckUDP, checkOwn+"send send_hex expect expect_hex reply", checkNew)
	define(kindCheckHTTPS, checkOwn+"hold"+httpKeys+tlsKeys, checkNew)
	define(kindCheckTLS, checkOwn+"hold"+tlsKeys, checkNew)
	define(kindCheckDNS, checkOwn+"query qtype rcode expect", checkNew)
	define(kindCheckICMP, checkOwn, checkNew)
	define(kindCheckSMTP, checkOwn+"hold helo tls starttls"+tlsKeys, checkNew)
	define(kindCheckGRPC, checkOwn+"hold service tls"+tlsKeys, checkNew)
	define(kindCheckExec, checkOwn+"command user weight_from", checkNew)
	define(kindCheckFile, checkOwn+"file exists expect weight_from", checkNew)
	define(kindCheckAgent, checkOwn+"hold send", checkNew)
	for _, w := range strings.Fields("defaults check pool service cluster include") {
		schema[kindNode][w] = key{sharedKey}
	}
}

// checkKinds are the types of checks.
var (
	checkKinds = map[string]kind{"tcp": kindCheckTCP, "http": kindCheckHTTP, "udp": kindCheckUDP, "https": kindCheckHTTPS, "tls": kindCheckTLS,
		"dns": kindCheckDNS, "icmp": kindCheckICMP, "smtp": kindCheckSMTP, "grpc": kindCheckGRPC, "exec": kindCheckExec, "file": kindCheckFile, "agent": kindCheckAgent}
	checkTypes = []string{"tcp", "http", "https", "tls", "udp", "dns", "icmp", "smtp", "grpc", "exec", "file", "agent"}
)

// elsewhere are words that other programs have for our keys.
var elsewhere = map[string]string{
	"virtual_router_id": "vrid", "advert_int": "advert_interval", "virtual_ipaddress": "addresses",
	"virtual_ipaddress_excluded": "excluded", "unicast_peer": "peers", "track_interface": "track_interfaces",
	"track_script": "track_checks", "vrrp_script": "check", "vrrp_sync_group": "group", "lvs_sync_daemon": "sync",
	"lvs_sync_daemon_interface": "sync", "mcast_src_ip": "source", "delay_before_retry": "fast_interval",
	"auth_type": "type", "auth_pass": "password",
	"lb_algo": "scheduler", "lvs_sched": "scheduler", "lb_kind": "forward", "lvs_method": "forward",
	"real_server": "servers", "server": "servers", "virtual_server": "service", "services": "service",
	"persistence_timeout": "persistence", "persistence_granularity": "persistence", "ops": "one_packet",
	"delay_loop": "interval", "connect_timeout": "timeout", "retry": "fall", "connect_port": "port", "connect_ip": "address",
	"inhibit_on_failure": "on_failure", "quiescent": "on_failure", "alpha": "start", "uthreshold": "max_connections",
	"lthreshold": "min_connections", "sorry_server": "sorry", "fallback": "sorry", "hysteresis": "quorum_hysteresis", "slowstart": "slow_start", "warmup": "slow_start", "syncid": "id", "realtime_priority": "realtime", "vrrp_instance": "vrrp",
	"checks": "check", "pools": "pool", "node": "nodes", "status_code": "expect_status", "virtualhost": "host", "ssl": "tls", "misc_path": "command", "misc_timeout": "timeout", "misc_dynamic": "weight_from", "helo_name": "helo", "fwmark": "mark", "expect_regex": "body_regex", "regex": "body_regex", "name": "query", "server_name": "sni", "argv": "command", "cmd": "command", "url": "path",
}

// advice for words of keepalived.conf that no key of ours stands for by itself.
var advice = map[kind]map[string]string{
	kindTop: {
		"virtual_server":       "write [[service]]; docs/keepalived.md has the other words",
		"virtual_server_group": "write one [[service]] for each address, with servers in a [pool.NAME]",
		"vrrp_instance":        "write [vrrp.NAME]; docs/keepalived.md has the other words",
		"vrrp_sync_group":      "write the same group = \"NAME\" in each [vrrp.*]",
		"global_defs":          "there is no such thing here; docs/keepalived.md says where its words have gone",
	},
	kindVRRP: {
		"nopreempt":           "write preempt = false",
		"state":               "remove it: the node of the highest priority becomes master",
		"advert_int":          "write advert_interval = \"1s\"",
		"authentication":      "write version = 2 and auth = { type = \"pass\", password = \"...\" }, or remove it",
		"unicast_src_ip":      "write source in [nodes.NAME.vrrp.INSTANCE], or the address of each director in [nodes.NAME]",
		"unicast_peer":        "write mode = \"unicast\"; the peers are the addresses in [nodes.NAME], or those in peers",
		"notify_master":       "write notify: one command is told of every state, see docs/notify.md",
		"notify_backup":       "write notify: one command is told of every state, see docs/notify.md",
		"notify_fault":        "write notify: one command is told of every state, see docs/notify.md",
		"notify_stop":         "write notify: one command is told of every state, see docs/notify.md",
		"smtp_alert":          "remove it: no mail is sent; notify runs a command, and docs/alerts.md has rules for Prometheus",
		"use_vmac":            "remove it: addresses stay on the interface's own MAC",
		"garp_master_delay":   "write garp = { repeat_after = \"5s\" }",
		"garp_master_repeat":  "write garp = { count = 5 }",
		"garp_master_refresh": "write garp = { refresh = \"60s\" }",
	},
}

func init() {
	for _, k := range []kind{kindDefaults, kindPool, kindService} {
		advice[k] = map[string]string{
			"persistence_timeout":     "write persistence = { timeout = \"5m\" }",
			"persistence_granularity": "write persistence = { prefix = 24 }",
			"delay_loop":              "write interval in the check, or in [defaults.check]",
			"quorum_up":               "remove it: services run no commands; docs/alerts.md has rules for Prometheus",
			"quorum_down":             "remove it: services run no commands; docs/alerts.md has rules for Prometheus",
			"alpha":                   "remove it: servers wait for their first good check (start = \"up\" is the other way)",
			"inhibit_on_failure":      "remove it: failed servers get weight 0 (remove_after = \"never\" keeps them for good)",
		}
	}
}

// stranger tells whether a word is no key of any table, so that it is
// reported wherever it stands.
func stranger(w string) bool {
	for k := range schema {
		if _, known := schema[k][w]; known {
			return false
		}
	}
	return true
}

// meant tells whether somebody who wrote w will have meant our key.
func meant(w, key string) bool {
	w = strings.ToLower(w)
	return stranger(w) && (elsewhere[w] == key || nearest(w, []string{key}) == key)
}

func isCheck(k kind) bool {
	for _, c := range checkKinds {
		if c == k {
			return true
		}
	}
	return false
}

// keysOf a kind that are supported, sorted.
func keysOf(k kind) []string {
	var out []string
	for w, info := range schema[k] {
		if info.refused == "" {
			out = append(out, w)
		}
	}
	sort.Strings(out)
	return out
}

// keys reports those of a table that may not stand in it.
func (r *report) keys(l layer, k kind) {
	for w := range l.m {
		info, known := schema[k][w]
		if r.seen != nil {
			r.seen(k, w)
		}
		switch {
		case !known:
			r.add(finding{at: l.at.child(w), part: atKey, what: "unknown key", cure: unknownCure(w, k)})
		case info.refused != "":
			r.add(finding{at: l.at.child(w), part: atKey, what: info.refused, cure: refusedCure(info.refused)})
		}
	}
}

func unknownCure(w string, k kind) string {
	known := keysOf(k)
	if a := advice[k][strings.ToLower(w)]; a != "" {
		return a
	}
	if ours := elsewhere[strings.ToLower(w)]; ours != "" {
		if _, ok := schema[k][ours]; ok {
			return `the key is called "` + ours + `" here`
		}
	}
	for _, t := range checkTypes {
		ck := checkKinds[t]
		if info, ok := schema[ck][w]; !ok || info.refused != "" || k == ck {
			continue
		}
		switch {
		case k == kindDefaultsCheck:
			return "move it to the check itself, [check.NAME]"
		case isCheck(k):
			return "checks of type " + quote(t) + " have that key"
		}
	}
	if near := nearest(w, known); near != "" {
		return `did you mean "` + near + `"?`
	}
	return "known here: " + strings.Join(known, ", ")
}

func refusedCure(why string) string {
	switch why {
	case tooNew:
		return "remove it, or use a version that has it"
	case sharedKey:
		return "move it out of [nodes]"
	}
	return "remove it"
}
