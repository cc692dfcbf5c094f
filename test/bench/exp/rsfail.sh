#!/bin/bash
# A real server fails and comes back, seen in the IPVS table and by a client.
#   rsfail.sh AGENT RUNS "DELAY:TIMEOUT..." "EVENT..." [CHECK] [dr|nat|tun]
# Events: rst (the server process is killed, its port answers RST), drop (its
# switch port goes silent).  One of four real servers fails, retries are off.
# A line a run, also in /out/rsfail.tsv:
#   agent mode check event delay timeout out_ms failed last_error_ms in_ms failed_again failed_out false
# out_ms: event -> gone from the table or weight 0; last_error_ms: event -> start
# of the last failed request before the repair; in_ms: repair -> back in the
# table; failed_again: requests that failed after the repair; failed_out: those
# that began after the server was out of the table, and before the repair;
# false: writes to the table before anything had failed.
# LABEL in the environment is added to the names of the figures.
. "$(dirname "$0")/../lib.sh" "$1"
runs=${2:-5} settings=${3:-"1:1"} events=${4:-"rst drop"} CHECK=${5:-tcp} mode=${6:-dr}
topo_up "$mode" 4; for i in 1 2 3 4; do rs_start $i; done
# SRC=-every=2ms leaves the source ports to the client's kernel, which reuses
# them within seconds; LVS_SYSCTL sets net.ipv4.vs.* on the director.
[ -z "${LVS_SYSCTL:-}" ] || in_ns lvs1 sysctl -w $LVS_SYSCTL >&2
: >$RUN/services; for i in 1 2 3 4; do echo "TCP $VIP:80 rr $(fwd_flag) $(rs_addr $i):80 1"; done >$RUN/services
SERVICES=$RUN/services VIPS=$VIP ADVERT=0.1 PRIO=200; [ "$mode" = nat ] && NAT_GW=$GWVIP
hex=$(printf '%02X%02X%02X%02X:0050' $(rs_addr 2 | tr . ' '))
tsv=/out/rsfail.tsv; : >$tsv
for set in $settings; do
  DELAY=${set%:*} TIMEOUT=${set#*:} RETRY=${RETRY:-0} RETRY_DELAY=${RETRY_DELAY:-$DELAY}
  agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
  wait_vip lvs1 20 && wait_table lvs1 4 || { tail -20 $RUN/lvs1/log >&2; exit 1; }
  sleep "$(awk -v d="$DELAY" 'BEGIN{print 2*d + 1}')"
  wait_s=$(awk -v d="$DELAY" -v t="$TIMEOUT" 'BEGIN{print 2*(d + t) + 1.5}')
  for event in $events; do
    for ((r = 1; r <= runs; r++)); do
      witness; watch=$!
      ip netns exec client benchtool load ${SRC:--src $CLIENTS} -target $VIP:80 -every 2ms -for 120s -log /tmp/load.err >/tmp/load.json & load=$!
      # What their start disturbs is over by then: self-doubt looks back 2 s.
      sleep 2.5; random_nap "$DELAY"
      if [ $event = rst ]; then t0=$(benchtool kill "${RS_PID[2]}"); rs_kill 2; else t0=$(benchtool unplug p-rs2-eth0); fi
      sleep "$wait_s"
      t1=$(now)
      if [ $event = rst ]; then rs_start 2; else unmute rs2; fi
      sleep "$wait_s"
      kill -TERM $load $watch; wait $load $watch
      out=$(awk -v t="$t0" -v h="$hex" '$1 > t && $4 == h && ($6 == "-" || $6 == "0") {printf "%.1f", ($1 - t)/1e6; exit}' /tmp/watch)
      in=$(awk -v t="$t1" -v h="$hex" '$1 > t && $4 == h && $6 != "-" && $6 != "0" {printf "%.1f", ($1 - t)/1e6; exit}' /tmp/watch)
      last=$(awk -v t="$t0" -v u="$t1" '$1 > t && $1 < u && ($1 - t)/1e6 > m {m = ($1 - t)/1e6} END{printf "%.1f", m}' /tmp/load.err)
      failed=$(awk -v t="$t0" -v u="$t1" '$1 > t - 2e8 && $1 < u {n++} END{print n+0}' /tmp/load.err)
      again=$(awk -v u="$t1" '$1 >= u {n++} END{print n+0}' /tmp/load.err)
      after=$(awk -v t="$t0" -v o="${out:-999999}" -v u="$t1" '$1 > t + o*1e6 && $1 < u {n++} END{print n+0}' /tmp/load.err)
      false=$(awk -v t="$t0" '$1 < t {n++} END{print n+0}' /tmp/watch)
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $agent_name "$mode" "$CHECK" $event "$DELAY" "$TIMEOUT" \
        "${out:--}" "$failed" "$last" "${in:--}" "$again" "$after" "$false" | tee -a $tsv
      cp /tmp/watch /out/watch.$event.$r; [ -n "$out" ] && [ -n "$in" ] || say "no change seen"
    done
  done
  kill_hard $RUN/lvs1; ns_clean lvs1; cp $RUN/lvs1/log /out/$agent_name-$DELAY.log
done
for set in $settings; do for event in $events; do for col in "7 out of the table;ms" "8 failed requests;requests" "12 failed, begun when it was out;requests" "10 back in the table;ms" "11 failed after repair;requests" "13 writes without a cause;writes"; do
  name=${col#* } unit=${col#*;}
  awk -F'\t' -v d="${set%:*}" -v e=$event -v c="${col%% *}" '$5==d && $4==e{print $c}' $tsv |
    figure rsfail "$mode $CHECK ${set%:*} s, $event${LABEL:+, $LABEL}: ${name%;*}" "$unit"
done
awk -F'\t' -v d="${set%:*}" -v e=$event '$5==d && $4==e && $7 == "-"{n++} END{print n+0}' $tsv |
  figure rsfail "$mode $CHECK ${set%:*} s, $event${LABEL:+, $LABEL}: never noticed, of $runs" runs
done; done
