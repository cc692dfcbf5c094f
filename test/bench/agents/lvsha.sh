# The agent under test: lvs-ha.
# See agents/keepalived.sh for what each function is asked to do.
# It also shows the smallest useful configuration: one file of one node.
agent_name=lvs-ha

agent_conf() {
  local ns=$1 dir=$2 n v list
  mkdir -p "$dir"
  {
    echo "version = 1
cluster = \"bench\"

[nodes.$ns]

[process]
realtime = \"$([ -n "${RTPRIO:-}" ] && echo auto || echo off)\"

[http]
listen = [${HTTP_LISTEN:+\"$HTTP_LISTEN\"}]

[ipvs]
${IPVS_EXTRA_TOML:-}
on_stop = \"${ON_STOP:-remove}\"
${RECONCILE:+reconcile_interval = \"${RECONCILE}s\"}
"
    if [ "${VRRP:-1}" = 1 ]; then
      for ((n = 1; n <= ${INSTANCES:-1}; n++)); do
        list=
        for v in $(instance_vips $n); do list="$list\"$v/32\", "; done
        echo "[vrrp.VI_$n]
interface = \"${VRRP_IF:-eth0}\"
vrid = $((50 + n))
version = 3
priority = $PRIO
advert_interval = \"${ADVERT}s\"
addresses = [${list%, }]
${VRRP_EXTRA_TOML:-}
"
      done
      [ -n "${NAT_GW:-}" ] && echo "[[vrrp.VI_1.excluded]]
address = \"$NAT_GW/32\"
interface = \"eth1\"
"
    fi
    [ "${SYNC:-0}" = 1 ] && echo "[sync]
interface = \"${VRRP_IF:-eth0}\"
id = 51
follow = \"VI_1\"
"
    awk -v check="${CHECK:-none}" -v delay="${DELAY:-1}" -v retry="${RETRY:-0}" -v rdelay="${RETRY_DELAY:-1}" \
        -v timeout="${TIMEOUT:-1}" -v onfail="${ON_FAIL:-remove}" -v extra="${CHECK_EXTRA_TOML:-}" '
      BEGIN {
        fwd["DR"] = "dr"; fwd["NAT"] = "nat"; fwd["TUN"] = "tun"
        print "[defaults]\nstart = \"up\""
        if (onfail == "weight0") print "on_failure = \"quiesce\"\nremove_after = \"never\""
        else print "on_failure = \"remove\""
        print "\n[defaults.check]\ninterval = \"" delay "s\"\ntimeout = \"" timeout "s\"\nrise = 1\nfall = " retry + 1
        if (retry > 0) print "fast_interval = \"" rdelay "s\""
        if (check != "none") print "\n[check.bench]\ntype = \"" check "\""
        if (check == "http") print "path = \"/\"\nexpect_status = [\"200\"]"
        if (extra != "") print extra
      }
      { svc = $1 " " $2
        if (svc != last) {
          if (last != "") print "]"
          last = svc; split($2, a, ":"); n++
          print "\n[[service]]\nname = \"s" n "\"\naddress = \"" a[1] "\"\nport = " a[2] "\nprotocol = \"" tolower($1) "\"\nscheduler = \"" $3 "\"\nforward = \"" fwd[$4] "\""
          print "checks = [" (check != "none" && $1 == "TCP" ? "\"bench\"" : "") "]\nservers = ["
        }
        split($5, r, ":")
        print "  { name = \"r" NR "\", address = \"" r[1] "\", port = " r[2] ", weight = " $6 " },"
      }
      END { if (last != "") print "]" }' "$SERVICES"
  } >"$dir/conf"
}

agent_start() {
  local ns=$1 dir=$2
  ip netns exec "$ns" lvs-ha run --config "$dir/conf" --node "$ns" --runtime-dir "$dir/run" --state-dir "$dir/state" >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
}

agent_pids() {
  local p; p=$(cat "$1/pid")
  [ -d "/proc/$p" ] || return 0
  echo "$p" $(cat "/proc/$p/task/"*/children 2>/dev/null)
}

agent_speaker() { cat "$1/pid"; }

agent_reload() { kill -HUP "$(cat "$1/pid")"; }

agent_stop() {
  local p; p=$(cat "$1/pid")
  kill -TERM "$p" 2>/dev/null; wait "$p" 2>/dev/null
}

# Beyond what every agent has: lvs-ha NS DIR COMMAND...
agent_command() { local ns=$1 dir=$2; shift 2; ip netns exec "$ns" lvs-ha "$@" --runtime-dir "$dir/run"; }
