#!/bin/bash
# One server of thousands fails: from the failing answer to the kernel's table.
#   verdict.sh AGENT N:DELAY RUNS
# Its port answers RST. Columns: agent n delay write_ms verdict_ms verdict_write_ms,
# from the RST on the director's wire to the write (weight 0 or gone), from the RST
# to the verdict as the agent's metrics tell it (lvs-ha), and from that to the write.
. "$(dirname "$0")/../lib.sh" "$1"
size=${2:-"10000:2"} runs=${3:-5} CHECK=tcp
n=${size%:*} DELAY=${size#*:} address=10.8.200.1
topo_up dr 2; rs_start 1; rs_start 2; farm_up; ip -n lvs1 addr add $VIP/32 dev lo
VRRP=0 VIPS=$VIP ADVERT=1 PRIO=200 TIMEOUT=1 SERVICES=$RUN/services HTTP_LISTEN=127.0.0.1:10112
ip -n rs2 route add local $address dev lo; ip -n lvs1 route add $address via 10.0.0.22
farm_services $n
# Its line replaces one in the middle, so that it is one among N.
awk -v at=$((n / 2)) -v r="$address:80" 'NR == at {$5 = r} {print}' $RUN/services >$RUN/services.new; mv $RUN/services.new $RUN/services
# By its address: with DR keepalived writes the service's port for the server's.
hex=$(hex_of $address:80) hex=${hex%:*}: tsv=/out/verdict.tsv; : >$tsv
agent_conf lvs1 $RUN/lvs1; agent_start lvs1 $RUN/lvs1
wait_table lvs1 $n 120 || { tail -5 $RUN/lvs1/log >&2; exit 1; }
sleep $((2 * DELAY + 3)); say "all $n checked"
for ((r = 1; r <= runs; r++)); do
  ip netns exec lvs1 benchtool tcp -if eth0 -any RST -src $address/32 >/tmp/rst & dump=$!
  witness; watch=$!
  sleep 1; random_nap "$DELAY"
  rs_kill 2
  sleep $((DELAY + 2)); kill -TERM $watch $dump; wait $watch $dump
  rst=$(awk 'NR == 1 {print $1}' /tmp/rst)
  write=$(awk -v h="$hex" 'index($4, h) == 1 && ($6 == "0" || $6 == "-") {print $1; exit}' /tmp/watch)
  verdict=
  [ $agent_name != lvs-ha ] || verdict=$(in_ns lvs1 benchtool scrape http://$HTTP_LISTEN/metrics lvs_ha_server_last_transition_timestamp_seconds |
    awk -v s="server=\"r$((n / 2))\"" 'index($1, s) {printf "%.0f", $2*1e9}')
  # Times of 19 digits are more than awk's numbers hold: without the first four.
  awk -v a=$agent_name -v n=$n -v d="$DELAY" -v r="${rst:4}" -v w="${write:4}" -v v="${verdict:4}" 'BEGIN{
    printf "%s\t%d\t%s\t%s\t%s\t%s\n", a, n, d, r && w ? sprintf("%.3f", (w - r)/1e6) : "-", v && r ? sprintf("%.3f", (v - r)/1e6) : "-", v && w ? sprintf("%.3f", (w - v)/1e6) : "-"}' | tee -a $tsv
  rs_start 2
  sleep $((2 * DELAY + 2))
done
for col in "4 RST on the wire to the write" "5 RST on the wire to the verdict" "6 verdict to the write"; do
  case $col:$agent_name in [56]*:keepalived) continue;; esac
  awk -F'\t' -v c="${col%% *}" '{print $c}' $tsv | figure verdict "one of $n servers, tcp each $DELAY s: ${col#* }" ms
done
