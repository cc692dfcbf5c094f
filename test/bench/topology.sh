# The bench's network, for sourcing inside the guest: one bridge per LAN in the
# first namespace, and the namespaces client, lvs1, lvs2, rs1..rsN on it.
#
#   front 10.0.0.0/24   client .10 to .19, lvs1 .1, lvs2 .2, rsN .(20+N), VIP .100
#   back  10.0.1.0/24   lvs1 .1, lvs2 .2, rsN .(20+N), gateway VIP .100 (NAT only)
#   farm  10.8.0.0/16   every address answers on rs1, via 10.0.0.21 (scale runs)
#
# topo_up dr|nat|tun N    builds it        topo_down     removes it
# cut NS / mend NS        pull the cable (carrier goes) / put it back
# mute NS / unmute NS     the switch port goes silent, carrier stays / undo
CLIENTS=10.0.0.10,10.0.0.11,10.0.0.12,10.0.0.13,10.0.0.14,10.0.0.15,10.0.0.16,10.0.0.17,10.0.0.18,10.0.0.19
VIP=10.0.0.100 GWVIP=10.0.1.100

# For the foreground: in the background $! would be a shell's, so write
# "ip netns exec NS COMMAND &" there.
in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }

_join() { # NS BRIDGE IFNAME ADDRESS
  ip link add "p-$1-$3" type veth peer name "$3" netns "$1" || { echo "bench: cannot connect $1" >&2; exit 1; }
  ip link set "p-$1-$3" master "$2" up
  ip -n "$1" addr add "$4" dev "$3"
  ip -n "$1" link set "$3" up
}

_ns() {
  ip netns add "$1"; ip -n "$1" link set lo up
  in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

director_up() { # I; deleting the namespace first makes it a rebooted machine
  local ns=lvs$1
  _ns $ns; _join $ns front eth0 10.0.0.$1/24
  [ "$TOPO_MODE" = nat ] && _join $ns back eth1 10.0.1.$1/24
  in_ns $ns sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
  in_ns $ns ip route add 10.8.0.0/16 via 10.0.0.21
}

topo_up() {
  local mode=$1 n=$2 i ns
  TOPO_MODE=$mode TOPO_N=$n
  for i in front back; do
    ip link add $i type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    ip link set $i up
  done
  sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  _ns client; _join client front eth0 10.0.0.10/24
  for i in 11 12 13 14 15 16 17 18 19; do ip -n client addr add 10.0.0.$i/24 dev eth0; done
  director_up 1; director_up 2
  for ((i = 1; i <= n; i++)); do
    ns=rs$i; _ns $ns
    case $mode in
      nat)
        _join $ns back eth0 10.0.1.$((20 + i))/24
        ip -n $ns route add default via $GWVIP;;
      dr)
        _join $ns front eth0 10.0.0.$((20 + i))/24
        # The VIP is here too, but nobody may hear of it through ARP.
        in_ns $ns sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
          net.ipv4.conf.lo.arp_ignore=1 net.ipv4.conf.lo.arp_announce=2
        ip -n $ns addr add $VIP/32 dev lo;;
      tun)
        _join $ns front eth0 10.0.0.$((20 + i))/24
        in_ns $ns sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
        in_ns $ns modprobe ipip
        # Loading ipip (fb_tunnels_only_for_init_net=0) makes tunl0 in each namespace.
        ip -n $ns link set tunl0 up; ip -n $ns addr add $VIP/32 dev tunl0
        in_ns $ns sysctl -qw net.ipv4.conf.tunl0.rp_filter=0 net.ipv4.conf.all.rp_filter=0;;
      *) echo "topo_up: unknown mode $mode" >&2; return 2;;
    esac
  done
}

# rs_addr I: where the directors reach real server I.
rs_addr() { if [ "$TOPO_MODE" = nat ]; then echo 10.0.1.$((20 + $1)); else echo 10.0.0.$((20 + $1)); fi; }
fwd_flag() { case $TOPO_MODE in nat) echo NAT;; dr) echo DR;; tun) echo TUN;; esac; }

farm_up() { # many addresses on rs1 without adding each of them
  ip -n rs1 route add local 10.8.0.0/16 dev lo
  in_ns rs1 sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535
  in_ns lvs1 sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
  in_ns lvs2 sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
}
# farm_addr K: the K-th of up to 65000 farm addresses.
farm_addr() { echo "10.8.$(($1 / 250)).$(($1 % 250 + 1))"; }

RS_PID=()
rs_start() { # I [benchtool serve options]: HTTP on :80 and UDP echo on :81
  local i=$1; shift
  ip netns exec rs$i benchtool serve -listen 0.0.0.0:80 -udp 0.0.0.0:81 -name rs$i "$@" >/dev/null 2>&1 &
  RS_PID[i]=$!
}
rs_kill() { kill -9 "${RS_PID[$1]}" 2>/dev/null; wait "${RS_PID[$1]}" 2>/dev/null; } # its port now answers RST

cut()    { ip link set "p-$1-eth0" down; }
mend()   { ip link set "p-$1-eth0" up; }
mute()   { ip link set "p-$1-eth0" nomaster; }
unmute() { ip link set "p-$1-eth0" master "$([ "$TOPO_MODE" = nat ] && [ "${1#rs}" != "$1" ] && echo back || echo front)"; }

topo_down() {
  local ns port
  # The kernel takes namespaces away in the background; the ports have to be
  # gone before the next topology makes ports of the same name.
  for port in $(ip -o link show type veth | grep -oE ' p-[a-z0-9]+-eth[0-9]+'); do ip link del "$port"; done
  for ns in $(ip netns list | awk '{print $1}'); do
    ip netns pids "$ns" | xargs -r kill -9 2>/dev/null # it lives as long as one of them
    ip netns del "$ns"
  done
  ip link del front 2>/dev/null; ip link del back 2>/dev/null; :
}
