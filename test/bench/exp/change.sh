#!/bin/bash
# Requests that fail while people change something: four servers, one director,
# a client that asks every 2 ms and whose kernel uses source ports again.
#   change.sh AGENT RUNS "EVENT..."
# Events: add (a fifth server), edit (a server's weight), take (a server leaves the
# file), scheduler (another one for the service), restart (the agent is stopped and
# started again), drain (a server gets no new connections; an agent that has that).
# A line a run, also in /out/change.tsv: agent event failed worst_gap_ms writes kinds
. "$(dirname "$0")/../lib.sh" "$1"
runs=${2:-3} events=${3:-"add edit take scheduler restart drain"} CHECK=tcp
topo_up dr 5; for i in 1 2 3 4 5; do rs_start $i; done
ip -n lvs1 addr add $VIP/32 dev eth0
VRRP=0 VIPS=$VIP ADVERT=1 PRIO=200 DELAY=0.5 TIMEOUT=0.5 SERVICES=$RUN/services ON_STOP=keep
tsv=/out/change.tsv; : >$tsv
servers() { local i; for i in $1; do echo "TCP $VIP:80 ${2:-rr} $(fwd_flag) $(rs_addr $i):80 $([ $i = "${3:-0}" ] && echo 5 || echo 1)"; done >$RUN/services; }
for event in $events; do for ((r = 1; r <= runs; r++)); do
  [ $event != drain ] || declare -F agent_command >/dev/null || continue
  servers "1 2 3 4"; agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
  wait_table lvs1 4 || { tail -20 $RUN/lvs1/log >&2; exit 1; }
  sleep 2
  witness; watch=$!
  ip netns exec client benchtool load -target $VIP:80 -every 2ms -for 120s >/tmp/load.json & load=$!
  sleep 1; random_nap 0.5
  case $event in
    add) servers "1 2 3 4 5";; edit) servers "1 2 3 4" rr 2;; take) servers "1 3 4";; scheduler) servers "1 2 3 4" wlc;;
    restart) agent_stop $RUN/lvs1; agent_start lvs1 $RUN/lvs1;;
    drain) agent_command lvs1 $RUN/lvs1 drain s1/r2 >/tmp/drain 2>&1 || { cat /tmp/drain >&2; };;
  esac
  case $event in add|edit|take|scheduler) agent_conf lvs1 $RUN/lvs1; agent_reload $RUN/lvs1;; esac
  sleep 4
  kill -TERM $load $watch; wait $load $watch
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' $agent_name $event "$(json /tmp/load.json failed)" "$(json /tmp/load.json worst_gap_ms)" \
    "$(json /tmp/writes.json writes)" "$(grep -o '"kinds":{[^}]*}' /tmp/load.json)" | tee -a $tsv
  [ "$(json /tmp/writes.json writes)" != 0 ] || [ $event = restart ] || say "$event: nothing was written"
  kill_hard $RUN/lvs1; in_ns lvs1 ipvsadm -C; cp $RUN/lvs1/log /out/agent-$event.log; rm -rf $RUN/lvs1
done; done
for event in $events; do
  awk -F'\t' -v e=$event '$2 == e {print $3}' $tsv | figure change "dr, $event: failed requests" requests
  awk -F'\t' -v e=$event '$2 == e {print $5}' $tsv | figure change "dr, $event: writes to the table" writes
done
