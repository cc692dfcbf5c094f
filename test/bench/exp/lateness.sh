#!/bin/bash
# How punctual the checks are: N servers, one check a DELAY each.
#   lateness.sh AGENT "N:DELAY..." [SECONDS]
# Seen from outside: the time between two SYN to the same server, less DELAY, of
# 250 servers; a schedule that adds the duration of a check drifts by that.
# Of lvs-ha also its own histogram of how late a check began (lvs_ha_timer_lag_seconds),
# since the start, read once at the end, because a page with thousands of servers makes
# checks late itself: the bound below which 99 % of the checks were, and below which all.
. "$(dirname "$0")/../lib.sh" "$1"
sizes=${2:-"5000:1"} secs=${3:-20} CHECK=tcp
topo_up dr 1; rs_start 1; farm_up; ip -n lvs1 addr add $VIP/32 dev lo
VRRP=0 VIPS=$VIP ADVERT=1 PRIO=200 TIMEOUT=2 SERVICES=$RUN/services HTTP_LISTEN=127.0.0.1:10112
lag() { [ $agent_name != lvs-ha ] || in_ns lvs1 benchtool scrape http://$HTTP_LISTEN/metrics lvs_ha_timer_lag_seconds_bucket |
  grep checks | sed 's/.*le="\([^"]*\)"} /\1 /' >"$1"; }
for size in $sizes; do
  n=${size%:*} DELAY=${size#*:}
  farm_services $n; agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
  wait_table lvs1 $n 120s || { tail -5 $RUN/lvs1/log >&2; exit 1; }
  sleep 4
  timeout "$secs" ip netns exec lvs1 tcpdump -i eth0 -n -tt --time-stamp-precision nano 'dst net 10.8.0.0/24 and tcp[13] = 2' >/tmp/syn 2>/tmp/syn.err
  [ -s /tmp/syn ] || cat /tmp/syn.err >&2
  lag /tmp/lag1
  awk -v d="$DELAY" '{split($1, s, "."); t = (s[1] % 1000000)*1e9 + s[2]
    if ($5 in last) {g = (t - last[$5])/1e6 - d*1000; printf "%.3f\n", g < 0 ? -g : g}; last[$5] = t}' /tmp/syn | sort -n >/tmp/jitter
  say "$(wc -l </tmp/jitter) intervals"; cp /tmp/jitter /out/
  name="$n servers, tcp each $DELAY s"
  for q in 0.5 0.99 1; do
    awk -v q=$q '{v[NR] = $1} END{i = int(q*NR); print v[i < NR ? i + 1 : NR]}' /tmp/jitter | figure lateness "$name: interval off by, $(awk -v q=$q 'BEGIN{print q == 1 ? "max" : "p" q*100}')" ms
  done
  [ $agent_name != lvs-ha ] || for q in 0.99 1; do
    awk -v q=$q '{le[NR] = $1; n[NR] = $2} END{for (i = 1; i <= NR; i++) if (n[i] >= q*n[NR]) {print le[i] == "+Inf" ? "-" : le[i]*1000; exit}}' /tmp/lag1 |
      figure lateness "$name: began late, $(awk -v q=$q 'BEGIN{print q == 1 ? "all" : q*100 " %"}') below" ms
  done
  [ $agent_name != lvs-ha ] || cp /tmp/lag1 /out/lag-$n
  kill_hard $RUN/lvs1; ns_clean lvs1; rm -rf $RUN/lvs1
done
