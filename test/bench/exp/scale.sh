#!/bin/bash
# Many checked real servers: start-up, CPU per check, memory, reload.
#   scale.sh AGENT "N:DELAY..." [SECONDS] [CHECK]
# N real servers, a hundred to a virtual service, each checked every DELAY s.
# One line a size on stdout and in /out/scale.tsv, key=value.  Table and reload are
# timed and counted by the kernel's own trace, which costs both agents a
# microsecond a write.  LABEL in the environment is added to the names of the figures.
. "$(dirname "$0")/../lib.sh" "$1"
sizes=${2:-"100:1 1000:1 5000:5"} secs=${3:-10} CHECK=${4:-tcp}
topo_up dr 1; rs_start 1; farm_up; ip -n lvs1 addr add $VIP/32 dev lo
VRRP=${SCALE_VRRP:-0} VIPS=$VIP ADVERT=1 PRIO=200 TIMEOUT=${TIMEOUT:-2} ON_FAIL=remove SERVICES=$RUN/services
busy() { awk '$1=="cpu"{printf "%.2f", ($2+$3+$4+$7+$8)/100}' /proc/stat; }
val() { json "$1" "$2"; }
for size in $sizes; do
  n=${size%:*} DELAY=${size#*:}
  farm_services $n; agent_conf lvs1 $RUN/lvs1
  witness -want $n -timeout 30s; watch=$!
  t0=$(now); agent_start lvs1 $RUN/lvs1; wait $watch
  t1=$(val /tmp/writes.json complete_ns) start_writes=$(val /tmp/writes.json writes)
  say "start: $(cat /tmp/writes.json)"
  [ -n "$t1" ] || { tail -5 $RUN/lvs1/log >&2; say "table incomplete"; }
  sleep 1; benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p0; cpu_start=$(val /tmp/p0 cpu_ns)
  sleep "$(awk -v d="$DELAY" 'BEGIN{print 2*d + 2}')"
  benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p1; c1=$(checks lvs1); b1=$(busy)
  sleep "$secs"
  benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p2; c2=$(checks lvs1); b2=$(busy)
  have=$(count_table lvs1)
  # One change: another real server in the last service.
  echo "TCP $VIP:$((1000 + (n - 1) / 100)) rr DR 10.8.250.1:80 1" >>$RUN/services
  agent_conf lvs1 $RUN/lvs1
  # By its address: with DR keepalived writes the service's port for the server's.
  added=$(hex_of 10.8.250.1:80)
  witness -want 1 -match "${added%:*}:" -quiet 1s -timeout 20s; watch=$!
  benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p3; r0=$(now); agent_reload $RUN/lvs1; wait $watch
  say "reload: $(cat /tmp/writes.json)"
  r1=$(val /tmp/writes.json complete_ns); left=$(count_table lvs1)
  sleep "$(awk -v d="$DELAY" 'BEGIN{print d + 1}')"; benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p4
  awk -v a="$agent_name" -v n="$n" -v d="$DELAY" -v k="$CHECK" -v t0="$t0" -v t1="${t1:-0}" -v cs="$cpu_start" \
    -v p1="$(val /tmp/p1 cpu_ns)" -v p2="$(val /tmp/p2 cpu_ns)" -v w1="$(val /tmp/p1 at_ns)" -v w2="$(val /tmp/p2 at_ns)" \
    -v c="$((c2 - c1))" -v b1="$b1" -v b2="$b2" -v rss="$(val /tmp/p2 rss_kb)" -v pss="$(val /tmp/p2 pss_kb)" \
    -v pk="$(val /tmp/p2 peak_kb)" -v pr="$(val /tmp/p2 processes)" -v r0="$r0" -v r1="${r1:-0}" -v have="$have" -v left="$left" \
    -v u1="$(val /tmp/p1 user_ms)" -v u2="$(val /tmp/p2 user_ms)" -v s1="$(val /tmp/p1 system_ms)" -v s2="$(val /tmp/p2 system_ms)" \
    -v sw="$start_writes" -v rw="$(val /tmp/writes.json writes)" -v p3="$(val /tmp/p3 cpu_ns)" -v p4="$(val /tmp/p4 cpu_ns)" 'BEGIN{
    w = (w2 - w1)/1e9
    printf "agent=%s check=%s n=%d delay=%s table_s=%.3f start_cpu_s=%.3f checks_per_s=%.0f cpu_s_per_1000=%.4f user_part_pct=%.0f cpu_pct=%.1f guest_busy_pct=%.1f rss_kb=%d pss_kb=%d peak_kb=%d processes=%d up=%d reload_s=%.3f reload_cpu_s=%.3f start_writes=%d reload_writes=%d after_reload=%d\n",
      a, k, n, d, (t1 - t0)/1e9, cs/1e9, c/w, c ? (p2 - p1)/1e9/c*1000 : 0, (u2 + s2 > u1 + s1) ? (u2 - u1)/(u2 - u1 + s2 - s1)*100 : 0, (p2 - p1)/1e7/w, (b2 - b1)/w*100, rss, pss, pk, pr, have, (r1 - r0)/1e9, (p4 - p3)/1e9, sw, rw, left}' | tee -a /out/scale.tsv
  kill_hard $RUN/lvs1; ns_clean lvs1; tail -50 $RUN/lvs1/log >/out/agent-$n.log; rm -rf $RUN/lvs1
  line=$(tail -1 /out/scale.tsv)
  for col in "table_s;table complete;s" "start_cpu_s;CPU to start;s" "checks_per_s;checks;1/s" "cpu_s_per_1000;CPU for 1000 checks;s" "cpu_pct;CPU;%" \
      "rss_kb;RSS;kB" "pss_kb;PSS;kB" "reload_s;reload, one server added;s" "reload_cpu_s;CPU until it is over, with the checks of that time;s" \
      "reload_writes;writes of the reload;writes" "peak_kb;highest RSS;kB"; do
    IFS=';' read -r key name unit <<<"$col"
    grep -oE "\b$key=[-0-9.]+" <<<"$line" | sed 's/.*=//' | figure scale "$n servers, $CHECK each $DELAY s${LABEL:+, $LABEL}: $name" "$unit"
  done
done
