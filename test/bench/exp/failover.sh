#!/bin/bash
# Failover: what a client sees when the master goes, and when it comes back.
#   failover.sh AGENT RUNS "ADVERT..." "EVENT..." [dr|nat|tun]
# Events: kill (kill -9 of all processes; the kernel keeps forwarding), cut
# (carrier lost), mute (silent switch port), term (graceful stop), back (the
# preferred director is started again while the other one serves).
# One line a run on stdout and in /out/failover.tsv:
#   agent mode event advert outage_ms takeover_ms failed kinds silence_ms beyond_ms arp_ms garp_ms
# takeover is the first advertisement of the new master after the event; silence
# the time between the last advertisement of the old one and that; beyond what of
# it is more than three intervals and the skew, which the protocol asks for; arp
# and garp the new master's first ARP reply to one who asks every millisecond, and
# its first gratuitous ARP, both after its first advertisement.
. "$(dirname "$0")/../lib.sh" "$1"
runs=${2:-5} adverts=${3:-"1 0.1 0.01"} events=${4:-"kill cut mute term back"} mode=${5:-dr}
topo_up "$mode" 2; rs_start 1; rs_start 2; services 2
_ns asker; _join asker front eth0 10.0.0.250/24
mac() { ip -n "$1" -o link show eth0 | grep -oE 'ether [0-9a-f:]+' | sed 's/.* //'; }
VIPS=$VIP; [ "$mode" = nat ] && NAT_GW=$GWVIP
CHECK=tcp DELAY=1 TIMEOUT=1
tsv=/out/failover.tsv; : >$tsv
for ADVERT in $adverts; do
  every=$(awk -v a="$ADVERT" 'BEGIN{print (a >= 1) ? "5ms" : (a >= 0.1) ? "2ms" : "1ms"}')
  after=$(awk -v a="$ADVERT" 'BEGIN{printf "%.2f", 4.2*a + 1}')
  for event in $events; do
    for ((r = 1; r <= runs; r++)); do
      pair_start 4 || { say "no start: $ADVERT $event $r"; tail -20 $RUN/lvs*/log >&2; pair_stop; continue; }
      sleep "$(awk -v a="$ADVERT" 'BEGIN{printf "%.2f", a + 0.3}')"
      new=10.0.0.2
      if [ $event = back ]; then
        new=10.0.0.1; kill_hard $RUN/lvs1; ns_clean lvs1
        sleep "$(awk -v a="$ADVERT" 'BEGIN{printf "%.2f", 4.2*a + 0.2}')"
      fi
      ip netns exec client benchtool load -src $CLIENTS -target $VIP:80 -every $every -for 60s >/tmp/load.json & load=$!
      benchtool sniff -if front >/tmp/sniff.json & sniff=$!
      asker=
      case $event in kill|cut|mute) ip netns exec asker benchtool arp -for $VIP -src 10.0.0.250 -after "$(awk -v a="$ADVERT" 'BEGIN{print 2*a + 0.2}')s" >/tmp/arp & asker=$!;; esac
      # Long enough that the old master has been heard.
      sleep "$(awk -v a="$ADVERT" 'BEGIN{printf "%.2f", a + 0.3}')"; random_nap "$ADVERT"
      t0=$(now)
      case $event in
        kill) kill_hard $RUN/lvs1;;
        cut) cut lvs1;;
        mute) mute lvs1;;
        term) kill -TERM "$(cat $RUN/lvs1/pid)";;
        back) PRIO=200 agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1;;
      esac
      sleep "$after"; kill -TERM $load $sniff $asker; wait $load $sniff $asker
      # Words: first advertisement of the new master, from, to, silence before it.
      read -r first _ _ silence <<<"$(grep -o '{"at_ns":[0-9]*,"from":"[0-9.]*","to":"[0-9.]*","ms":[0-9.]*}' /tmp/sniff.json | tr -c '0-9.\n' ' ' |
        awk -v t="$t0" -v new=$new '$1 > t && $3 == new { print; exit }')"
      took=$(awk -v t="$t0" -v f="${first:-0}" 'BEGIN{if (f) printf "%.1f", (f - t)/1e6}')
      beyond=$(awk -v a="$ADVERT" -v s="${silence:--}" 'BEGIN{if (s != "-") printf "%.2f", s - 1000*a*(3 + (256 - 100)/256)}')
      case $event in kill|cut|mute) ;; *) beyond=;; esac
      m=$(mac lvs$([ $new = 10.0.0.1 ] && echo 1 || echo 2))
      arp=$(awk -v t="$t0" -v f="${first:-0}" -v m="$m" 'f && $1 > t && $2 == m && $3 == "reply" {printf "%.2f", ($1 - f)/1e6; exit}' /tmp/arp)
      garp=$(awk -v t="$t0" -v f="${first:-0}" -v m="$m" 'f && $1 > t && $2 == m && $3 == "gratuitous" {printf "%.2f", ($1 - f)/1e6; exit}' /tmp/arp)
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$agent_name" "$mode" $event "$ADVERT" "$(json /tmp/load.json worst_gap_ms)" \
        "${took:--}" "$(json /tmp/load.json failed)" "$(grep -o '"kinds":{[^}]*}' /tmp/load.json)" \
        "${silence:--}" "${beyond:--}" "${arp:--}" "${garp:--}" | tee -a $tsv
      [ "$(json /tmp/load.json skipped)" = 0 ] || say "client fell behind: $(grep -o '"skipped":[0-9]*' /tmp/load.json)"
      case $event in cut) mend lvs1;; mute) unmute lvs1;; term) wait "$(cat $RUN/lvs1/pid)" 2>/dev/null;; esac
      pair_stop
    done
  done
done
for ADVERT in $adverts; do for event in $events; do for col in "5 outage;ms" "7 failed requests;requests" "6 takeover;ms" "10 beyond 3 intervals and skew;ms" \
    "11 ARP answered after the first advertisement;ms" "12 gratuitous ARP after it;ms"; do
  case $event:$col in term:1*|back:1*) continue;; esac
  name=${col#* }
  awk -F'\t' -v a="$ADVERT" -v e=$event -v c="${col%% *}" '$4==a && $3==e{print $c}' $tsv | figure failover "$mode $event, advert $ADVERT s: ${name%;*}" "${col#*;}"
done; done; done
