# What the experiments share; sourced inside the guest.
#   . /bench/lib.sh AGENT      loads the topology and agents/AGENT.sh
BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$BENCH/topology.sh"
. "$BENCH/agents/${1:?which agent}.sh"
RUN=/tmp/run; rm -rf $RUN; mkdir -p $RUN /out
# The next agent starts on a machine as empty as this one's was.
trap 'topo_down' EXIT

# The witness's probes: at the start, because to set them stops the machine for milliseconds. So does
# loading a module (nf_tables: 40 ms); the unit of the package loads them before the agent, too.
modprobe -a ip_vs ip_vs_rr nf_tables nft_dup_ipv4; benchtool writes -arm || echo "bench: no witness of writes here" >&2

now() { benchtool now; }
say() { echo "[$(awk '{print $1}' /proc/uptime)] $*" >&2; }
json() { # FILE .key[.key]: a number from one line of benchtool's JSON
  local key=${2##*.}; grep -oE "\"$key\":-?[0-9.e+]+" "$1" | head -1 | sed 's/.*://'; }

services() { # N real servers behind $VIP:80 (TCP) and :81 (UDP) -> $RUN/services
  local i; : >$RUN/services
  for ((i = 1; i <= $1; i++)); do echo "TCP $VIP:80 ${SCHED:-rr} $(fwd_flag) $(rs_addr $i):80 1"; done >>$RUN/services
  for ((i = 1; i <= $1; i++)); do echo "UDP $VIP:81 ${SCHED:-rr} $(fwd_flag) $(rs_addr $i):81 1"; done >>$RUN/services
  SERVICES=$RUN/services
}

farm_services() { # N real servers of the farm, a hundred to a service -> $RUN/services
  awk -v n="$1" -v vip=$VIP 'BEGIN{for (i = 0; i < n; i++)
    printf "TCP %s:%d rr DR 10.8.%d.%d:80 1\n", vip, 1000 + int(i/100), int(i/250), i%250 + 1}' >$RUN/services
}
instance_vips() { # N: the addresses of VIPS that instance N has
  local v i=0
  for v in $VIPS; do [ $((i++ % ${INSTANCES:-1} + 1)) = "$1" ] && echo "$v"; done; :; }

has_vip() { ip -n "$1" -o addr show dev eth0 to $VIP | grep -q .; }
wait_vip() { # NS SECONDS
  local end=$(( $(date +%s) + $2 ))
  until has_vip "$1"; do [ "$(date +%s)" -lt $end ] || { say "no VIP on $1"; return 1; }; sleep 0.05; done
}
# Not from /proc/net/ip_vs: while two namespaces have a table, the kernel skips
# services there each time that a page of the file is full.
count_table() { in_ns "$1" ipvsadm -Ln | awk '$1 == "->" && $4+0 > 0' | wc -l; } # NS: destinations with a weight
wait_table() { # NS N [SECONDS]
  local end=$(( $(date +%s) + ${3:-30} )) n
  until n=$(count_table "$1"); [ "$n" -ge "$2" ]; do
    [ "$(date +%s)" -lt $end ] || { say "$n destinations on $1 after ${3:-30} s, wanted $2"; return 1; }
    sleep 0.1
  done
}

pair_start() { # both directors from nothing, lvs1 the master; ADVERT etc. are set
  local i
  for i in 1 2; do
    PRIO=$((200 - 100 * (i - 1))) agent_conf lvs$i $RUN/lvs$i
    agent_start lvs$i $RUN/lvs$i
    [ $i = 1 ] && sleep 0.2
  done
  wait_vip lvs1 30 && wait_table lvs1 "$1" && wait_table lvs2 "$1"
}
checks() { in_ns "$1" awk '$1=="Tcp:" && n++ {print $6}' /proc/net/snmp; } # NS: connections begun (a half-open check is none at the server)
kill_hard() { # DIR: all processes of an agent at once
  local p; p=$(agent_pids "$1")
  # Stopped first, so that none can act on the death of another.
  { [ -z "$p" ] || { kill -STOP $p; kill -9 $p; }; wait "$(cat "$1/pid")"; } 2>/dev/null; :; }
ns_clean() { # what a killed agent leaves behind
  in_ns "$1" ipvsadm -C; in_ns "$1" ipvsadm --stop-daemon master 2>/dev/null; in_ns "$1" ipvsadm --stop-daemon backup 2>/dev/null
  ip -n "$1" addr del $VIP/32 dev eth0 2>/dev/null; [ "$TOPO_MODE" = nat ] && ip -n "$1" addr del $GWVIP/32 dev eth1 2>/dev/null; :
}
pair_stop() { local i; for i in 1 2; do kill_hard $RUN/lvs$i; ns_clean lvs$i; rm -rf $RUN/lvs$i; done; }

# witness [OPTION...]: benchtool writes in the background, its pid in $!; the
# writes are in /tmp/watch and the sum in /tmp/writes.json when it has ended.
witness() {
  rm -f /tmp/witness
  benchtool writes -log /tmp/watch -mark /tmp/witness "$@" >/tmp/writes.json &
  until [ -e /tmp/witness ]; do kill -0 $! || break; sleep 0.02; done
}
hex_of() { # ADDRESS:PORT as the kernel's table has it
  local a=${1%:*}; printf '%02X%02X%02X%02X:%04X' ${a//./ } "${1#*:}"; }

random_nap() { # up to SECONDS, so that events fall anywhere in an advert interval
  sleep "$(awk -v m="$1" -v r=$RANDOM 'BEGIN{printf "%.4f", m*r/32768}')"; }

# figure EXPERIMENT NAME UNIT: the numbers on stdin as a line of the report
figure() { benchtool figure "$1" "$2" "$agent_name" "$3"; }
