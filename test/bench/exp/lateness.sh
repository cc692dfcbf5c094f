#!/bin/bash
# How punctual the checks are: N servers, one check a DELAY each.
#   lateness.sh AGENT "N:DELAY..." [SECONDS]
# Seen from outside, of 250 servers: the time between two SYN to the same server, less
# DELAY; a schedule that adds the duration of a check drifts by that.  Of an agent
# whose schedule does not drift also how late each check began: its SYN, compared with
# the earliest in a grid of DELAY that any SYN to that server of the run belongs to.
# Not the agent's own histogram: a page with thousands of servers makes checks late itself.
. "$(dirname "$0")/../lib.sh" "$1"
sizes=${2:-"5000:1"} secs=${3:-20} CHECK=tcp
topo_up dr 1; rs_start 1; farm_up; ip -n lvs1 addr add $VIP/32 dev lo
VRRP=0 VIPS=$VIP ADVERT=1 PRIO=200 TIMEOUT=2 SERVICES=$RUN/services
quantiles() { # NAME FILE of sorted numbers
  local q
  for q in 0.5 0.99 1; do
    awk -v q=$q '{v[NR] = $1} END{i = int(q*NR); print v[i < NR ? i + 1 : NR]}' "$2" |
      figure lateness "$name: $1, $(awk -v q=$q 'BEGIN{print q == 1 ? "max" : "p" q*100}')" ms
  done
}
for size in $sizes; do
  n=${size%:*} DELAY=${size#*:} name="$n servers, tcp each $DELAY s"
  farm_services $n; agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
  wait_table lvs1 $n 120 || { tail -5 $RUN/lvs1/log >&2; exit 1; }
  sleep 4
  benchtool tcp -if p-lvs1-eth0 -only SYN -dst 10.8.0.0/24 -for ${secs}s >/tmp/syn
  # Times of 19 digits are more than awk's numbers hold: without the first four.
  awk -v d="$DELAY" '{t = substr($1, 5) + 0
    if ($3 in last) {g = (t - last[$3])/1e6 - d*1000; printf "%.3f\n", g < 0 ? -g : g}; last[$3] = t}' /tmp/syn | sort -n >/tmp/jitter
  say "$(wc -l </tmp/jitter) intervals"; cp /tmp/syn /tmp/jitter /out/
  quantiles "interval off by" /tmp/jitter
  if [ $agent_name = lvs-ha ]; then
    awk -v d="$DELAY" '{t = substr($1, 5) + 0
      if (!($3 in begun)) begun[$3] = t
      k = (t - begun[$3])/1e6/(d*1000); late = (k - int(k + 0.5))*d*1000
      n++; of[n] = $3; at[n] = late; if (!($3 in least) || late < least[$3]) least[$3] = late}
      END{for (i = 1; i <= n; i++) printf "%.3f\n", at[i] - least[of[i]]}' /tmp/syn | sort -n >/tmp/late
    quantiles "began late by" /tmp/late
  fi
  kill_hard $RUN/lvs1; ns_clean lvs1; rm -rf $RUN/lvs1
done
