#!/bin/bash
# The kernel's table against ipvsadm: repair after ipvsadm -C, and a look that
# finds nothing to do.  No checks, so that nothing else is measured.
#   repair.sh AGENT N RUNS      an agent that repairs: lvs-ha
# repair: the agent's pass (its own histogram: it reads the table, compares,
# writes), beside ipvsadm -R of the same rules, both into a table that was filled
# and emptied before.  The first to the last write of either is the kernel's trace's.
. "$(dirname "$0")/../lib.sh" "$1"
n=${2:-10000} runs=${3:-3} CHECK=none every=1
[ $agent_name = lvs-ha ] || { say "$agent_name does not repair"; exit 0; }
topo_up dr 1; rs_start 1; ip -n lvs1 addr add $VIP/32 dev lo
VRRP=0 VIPS=$VIP ADVERT=1 PRIO=200 SERVICES=$RUN/services HTTP_LISTEN=127.0.0.1:10112 RECONCILE=$every ON_STOP=keep
farm_services $n
passes() { in_ns lvs1 benchtool scrape http://$HTTP_LISTEN/metrics lvs_ha_ipvs_reconcile_duration_seconds_ | awk '/_sum/{s = $2} /_count/{c = $2} END{print s, c}'; }
span() { awk -v a="$(json /tmp/writes.json first_ns)" -v b="$(json /tmp/writes.json last_ns)" 'BEGIN{print (b - a)/1e6}'; }
begin() { agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1; wait_table lvs1 $n 120 || { tail -5 $RUN/lvs1/log >&2; exit 1; }; sleep 3; }
begin
# Nothing to do: CPU of everything the agent does in WINDOW seconds, a pass each second.
window=20
benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p1; sleep $window; benchtool proc $(agent_pids $RUN/lvs1) >/tmp/p2
read -r s0 c0 <<<"$(passes)"; sleep 10; read -r s1 c1 <<<"$(passes)"
awk -v a="$(json /tmp/p1 cpu_ns)" -v b="$(json /tmp/p2 cpu_ns)" -v w=$window -v e=$every 'BEGIN{print (b - a)/1e6/(w/e)}' >/tmp/noop
noop=$(awk -v s="$(awk -v a="$s0" -v b="$s1" 'BEGIN{print b - a}')" -v c=$((c1 - c0)) 'BEGIN{print s/c}')
say "a pass takes $noop s, $((c1 - c0)) in 10 s"
figure repair "$n servers: a pass with nothing to do, CPU (the agent's whole)" ms </tmp/noop
for ((r = 1; r <= runs; r++)); do in_ns lvs1 benchtool spend ipvsadm -Ln | tee /tmp/spend >&2; awk -v a="$(json /tmp/spend cpu_ns)" 'BEGIN{print a/1e6}'; done >/tmp/adm
agent_name=ipvsadm figure repair "$n servers: a pass with nothing to do, CPU (the agent's whole)" ms </tmp/adm
# Repair.  The third of one object within a minute would be contention.
in_ns lvs1 ipvsadm -Sn >/tmp/rules; : >/tmp/ours; : >/tmp/ours-writes; : >/tmp/theirs; : >/tmp/theirs-writes
for ((r = 1; r <= runs; r++)); do
  sleep 60
  read -r s0 c0 <<<"$(passes)"; witness; watch=$!
  in_ns lvs1 ipvsadm -C; kill -TERM $watch; wait $watch
  witness -want $n -quiet 1s -timeout 60s; watch=$!; wait $watch
  read -r s1 c1 <<<"$(passes)"
  # Of the passes since, one repaired and the others found nothing to do.
  awk -v a="$s0" -v b="$s1" -v c=$((c1 - c0)) -v o="$noop" 'BEGIN{printf "%.2f\n", (b - a - (c - 1)*o)*1000}' | tee -a /tmp/ours >&2; span >>/tmp/ours-writes
  say "$((c1 - c0)) passes, $(cat /tmp/writes.json)"
done
kill_hard $RUN/lvs1
for ((r = 1; r <= runs; r++)); do
  in_ns lvs1 ipvsadm -C; sleep 1
  witness; watch=$!
  in_ns lvs1 benchtool spend ipvsadm -R </tmp/rules >/tmp/spend; kill -TERM $watch; wait $watch
  awk -v a="$(json /tmp/spend wall_ns)" 'BEGIN{print a/1e6}' | tee -a /tmp/theirs >&2; span >>/tmp/theirs-writes
done
figure repair "$n servers: repair after ipvsadm -C, and ipvsadm -R, wall" ms </tmp/ours
agent_name=ipvsadm figure repair "$n servers: repair after ipvsadm -C, and ipvsadm -R, wall" ms </tmp/theirs
figure repair "$n servers: first to last write of it" ms </tmp/ours-writes
agent_name=ipvsadm figure repair "$n servers: first to last write of it" ms </tmp/theirs-writes
ns_clean lvs1
