#!/bin/bash
# VRRP on a busy machine: false failovers while every CPU is kept busy.
#   busy.sh AGENT SECONDS "ADVERT..." "BURNERS..." "RTPRIO..."    (- for none)
# With SERVERS=N in the environment each director also TCP-checks N real servers a second.
# One line a setting, also in /out/busy.tsv: changes of master seen on the wire,
# and how even the master's advertisements were.
. "$(dirname "$0")/../lib.sh" "$1"
secs=${2:-60} adverts=${3:-0.01} burners=${4:-"0 2"} rts=${5:-"- 50"}
topo_up dr 1; rs_start 1; : >$RUN/services; VIPS=$VIP servers=${SERVERS:-0}
if [ "$servers" -gt 0 ]; then
  farm_up; CHECK=tcp DELAY=1 TIMEOUT=2
  farm_services $servers
fi
SERVICES=$RUN/services
tsv=/out/busy.tsv; : >$tsv
for ADVERT in $adverts; do for n in $burners; do for rt in $rts; do
  RTPRIO=${rt#-}
  pair_start $servers || { tail -20 $RUN/lvs*/log >&2; pair_stop; continue; }
  sleep $([ $servers -gt 0 ] && echo 3 || echo 1)
  [ "$n" = 0 ] || benchtool burn -n "$n" -for $((secs + 2))s & burn=$!
  sleep 0.5
  for i in 1 2; do begun[i]=$(checks lvs$i); done; begin=$(now)
  benchtool sniff -if front -for ${secs}s >/tmp/sniff.json
  for i in 1 2; do begun[i]=$(($(checks lvs$i) - begun[i])); done; took=$(($(now) - begin))
  [ "$n" = 0 ] || wait $burn
  printf '%s\tservers='$servers'\tadvert=%s\tburners=%s\trtprio=%s\tto_backup=%s\tto_master=%s\t%s\n' $agent_name "$ADVERT" "$n" "$rt" \
    "$(grep -o '"from":"10.0.0.1","to":"10.0.0.2"' /tmp/sniff.json | wc -l)" "$(grep -o '"from":"10.0.0.2","to":"10.0.0.1"' /tmp/sniff.json | wc -l)" \
    "$(grep -o '"senders":.*' /tmp/sniff.json)" | tee -a $tsv
  name="advert $ADVERT s, $n loops, real time ${rt/#-/off}$([ $servers = 0 ] || echo ", $servers checks/s each")"
  grep -o '"from":"10.0.0.1","to":"10.0.0.2"' /tmp/sniff.json | wc -l | figure busy "$name: false failovers" changes
  for q in p50 p99 p999 max; do
    grep -o '"10.0.0.1":{[^}]*}' /tmp/sniff.json | grep -oE "\"interval_${q}_ms\":[0-9.]+" | sed 's/.*://' | figure busy "$name: interval $q" ms
  done
  # Of the director that did fewer.
  [ $servers = 0 ] || awk -v a=${begun[1]} -v b=${begun[2]} -v ns=$took 'BEGIN{printf "%.0f\n", (a < b ? a : b) / ns * 1e9}' | figure busy "$name: checks done" 1/s
  for i in 1 2; do cp $RUN/lvs$i/log /out/$agent_name-$n-$rt-lvs$i.log; done
  pair_stop
done; done; done
