#!/bin/bash
# What the election alone costs: many instances and virtual addresses, no services.
#   speaker.sh AGENT INSTANCES VIPS ADVERT [SECONDS]
# Master and backup: CPU and memory of the process that speaks VRRP, and memory of all.
. "$(dirname "$0")/../lib.sh" "$1"
INSTANCES=${2:-20} vips=${3:-200} ADVERT=${4:-1} secs=${5:-60} RTPRIO=50
# keepalived limits a real-time process to 10 ms without a pause, which so many
# addresses exceed on this slow CPU.
GLOBAL_EXTRA='vrrp_rlimit_rttime 1000000'
topo_up dr 1; : >$RUN/services; SERVICES=$RUN/services
VIPS=; for ((i = 0; i < vips; i++)); do VIPS="$VIPS 10.0.0.$((50 + i))"; done
held() { ip -n lvs1 -o addr show dev eth0 | grep -c '/32'; }
for i in 1 2; do PRIO=$((300 - 100*i)) agent_conf lvs$i $RUN/lvs$i; agent_start lvs$i $RUN/lvs$i; done
for ((i = 0; i < 300; i++)); do [ "$(held)" = "$vips" ] && break; sleep 0.1; done
[ "$(held)" = "$vips" ] || { say "$(held) of $vips addresses"; tail -20 $RUN/lvs1/log >&2; }
sleep 20
name="$INSTANCES instances, $vips addresses, advert $ADVERT s"
for i in 1 2; do benchtool proc $(agent_speaker $RUN/lvs$i) >/tmp/p1.$i; done
benchtool sniff -if front -for ${secs}s >/tmp/sniff.json
for i in 1 2; do
  what=$([ $i = 1 ] && echo master || echo backup)
  benchtool proc $(agent_speaker $RUN/lvs$i) >/tmp/p2.$i; benchtool proc $(agent_pids $RUN/lvs$i) >/tmp/all.$i
  awk -v a="$(json /tmp/p1.$i cpu_ns)" -v b="$(json /tmp/p2.$i cpu_ns)" -v t="$(json /tmp/p1.$i at_ns)" -v u="$(json /tmp/p2.$i at_ns)" \
    'BEGIN{print (b - a)/(u - t)*100}' | figure speaker "$name, $what: CPU of the speaker" %
  json /tmp/p2.$i rss_kb | figure speaker "$name, $what: RSS of the speaker" kB
  json /tmp/p2.$i pss_kb | figure speaker "$name, $what: PSS of the speaker" kB
  json /tmp/all.$i rss_kb | figure speaker "$name, $what: RSS of all processes" kB
done
grep -o '"adverts":[0-9]*' /tmp/sniff.json | sed 's/.*://' | awk -v s=$secs '{print $1/s}' | figure speaker "$name: advertisements" 1/s
cat /tmp/sniff.json >&2
for i in 1 2; do kill_hard $RUN/lvs$i; cp $RUN/lvs$i/log /out/agent-lvs$i.log; done
