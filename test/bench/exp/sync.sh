#!/bin/bash
# Connection sync: do open connections survive, and what stays behind.
#   sync.sh AGENT RUNS "SYNC(0|1)..." "EVENT..." [CONNS] [LINES-EVERY] [dr|nat|tun]
# Open connections speak a line every LINES-EVERY; the master goes (cut, mute,
# term), 4 s later the survivors are counted; then the old master comes back
# from a reboot (a fresh namespace), takes over again, and they are counted once
# more.  AFTER_BACK is a command run on lvs2 a second after the old master's
# return, before it takes over (VRRP_EXTRA='preempt_delay 5').  One line a run, also in /out/sync.tsv.
. "$(dirname "$0")/../lib.sh" "$1"
runs=${2:-3} syncs=${3:-"0 1"} events=${4:-"cut term"} conns=${5:-50} pace=${6:-100ms} mode=${7:-dr}
topo_up "$mode" 2; rs_start 1; rs_start 2; services 2
VIPS=$VIP ADVERT=${ADVERT:-0.1} CHECK=tcp DELAY=1 TIMEOUT=1; [ "$mode" = nat ] && NAT_GW=$GWVIP
field() { grep -oE "\"$2\":[0-9]+" "$1" | sed 's/.*://'; }
kept() { in_ns "$1" ipvsadm -Lnc | awk -v v=$VIP:80 '$1=="TCP" && $5==v {s[$3]++} END{for (k in s) printf "%s=%d,", k, s[k]}'; }
tsv=/out/sync.tsv; : >$tsv
for SYNC in $syncs; do for event in $events; do for ((r = 1; r <= runs; r++)); do
  pair_start 4 || { tail -20 $RUN/lvs*/log >&2; pair_stop; continue; }
  sleep 1
  # Two sets: one is stopped after the failover, the other after the failback.
  ip netns exec client benchtool conns -target $VIP:80 -n $conns -every $pace -for 120s >/tmp/c1.json 2>/dev/null & a=$!
  ip netns exec client benchtool conns -target $VIP:80 -n $conns -every $pace -for 120s >/tmp/c2.json 2>/dev/null & b=$!
  sleep 2; random_nap 0.5
  before=$(kept lvs2)
  case $event in cut) cut lvs1;; mute) mute lvs1;; term) kill -TERM "$(cat $RUN/lvs1/pid)"; wait "$(cat $RUN/lvs1/pid)" 2>/dev/null;; esac
  sleep 4
  kill -TERM $a; wait $a; mid=$(kept lvs2)
  # The old master comes back empty.
  kill_hard $RUN/lvs1; ip netns del lvs1; ip link del p-lvs1-eth0 2>/dev/null; ip link del p-lvs1-eth1 2>/dev/null
  director_up 1
  PRIO=200 agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
  [ -z "${AFTER_BACK:-}" ] || { sleep 1; in_ns lvs2 $AFTER_BACK; }
  wait_vip lvs1 20
  sleep 4
  kill -TERM $b; wait $b
  printf '%s\t%s\tsync=%s\t%s\t%s of %s after failover\t%s of %s after failback\tbackup before: %s\tnew master: %s\tback on lvs1: %s\tleft on lvs2: %s\n' \
    $agent_name "$mode" $SYNC $event "$(field /tmp/c1.json alive)" $conns "$(field /tmp/c2.json alive)" $conns "$before" "$mid" "$(kept lvs1)" "$(kept lvs2)" | tee -a $tsv
  printf '\t%s | %s\n' "$(grep -o '"dead":{[^}]*}.*' /tmp/c1.json)" "$(grep -o '"dead":{[^}]*}.*' /tmp/c2.json)" | tee -a $tsv
  pair_stop
  # Nothing of this run may be left in the next one's connection tables.
  for i in 1 2; do ip netns del lvs$i; ip link del p-lvs$i-eth0 2>/dev/null; ip link del p-lvs$i-eth1 2>/dev/null; director_up $i; done
done; done; done
for SYNC in $syncs; do for event in $events; do for col in failover failback; do
  awk -F'\t' -v s="sync=$SYNC" -v e=$event -v w=$col '$3==s && $4==e{split($(w == "failover" ? 5 : 6), a, " "); print a[1]}' $tsv |
    figure sync "$mode $event, sync $([ $SYNC = 1 ] && echo on || echo off): alive after $col" "of $conns"
done; done; done
