# Builds the guest's root file system, an initramfs: busybox, the programs of
# tools.sh with their libraries, the modules the tests need.  Sourced by run.

modules="virtio_pci virtio_blk virtio_console virtio_rng veth bridge dummy macvlan ipvlan vrf ifb ipip sit ip6_tunnel tun fou fou6 ip_gre ip6_gre
  sch_netem sch_tbf sch_prio sch_ingress cls_u32 cls_matchall act_mirred act_gact
  nf_conntrack nf_tables nft_ct nft_nat nft_masq nft_reject_inet nft_limit nft_counter nft_log nft_fib_inet nft_chain_nat nft_dup_ipv4 nft_dup_ipv6 nft_queue nfnetlink_queue
  nf_conntrack_netlink xt_conntrack xt_mark xt_ipvs nft_compat af_packet_diag inet_diag tcp_diag udp_diag
  ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_fo ip_vs_ovf ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh
  ip_vs_mh ip_vs_sed ip_vs_nq ip_vs_twos ip_vs_ftp ip_vs_pe_sip sctp"

# strip_tools PATH: where a file of the cache belongs in the guest.
strip_tools() { echo "${1#"$tools"}"; }

copy_program() { # PATH: the file and its shared libraries
  local lib real
  real=$(readlink -f "$1")
  case $real in
    */busybox|*/kmod) install -D -m 755 "$real" "$img$(strip_tools "$1")";; # one file under many names
    *) install -D -m 755 "$1" "$img$(strip_tools "$1")";;
  esac
  with_ldd "$1" | while read -r lib; do
    [ -e "$img$(strip_tools "$lib")" ] || install -D -m 755 "$lib" "$img$(strip_tools "$lib")"
  done
}
with_ldd() {
  case $1 in "$tools"/*) LD_LIBRARY_PATH=$tools_lib ldd "$1";; *) ldd "$1";; esac 2>/dev/null | grep -oE '/[^ ]+' | grep -v ':$'
}

# pack DIR: the directory as the archive that the kernel unpacks at boot.
pack() { (cd "$1" && find . -mindepth 1 | "$(program busybox)" cpio -o -H newc -R 0:0 2>/dev/null); }

# ensure_image: sets base, the archive.  Its name holds what it was made of,
# so that two checkouts with one cache do not rebuild each other's image.
ensure_image() {
  local names p path key mdir m
  # shellcheck disable=SC2086
  names=$(for p in busybox modprobe $guest_programs $guest_extra; do program "${p%%:*}"; done)
  # shellcheck disable=SC2086
  key=$( { cat "$vmdir/image.sh" "$vmdir/guest-init"; echo "$kver $kimg"; stat -Lc '%n %s %Y' $names; } | sha256sum | cut -c1-16)
  base=$cache/base-$key.cpio
  [ -e "$base" ] && { touch "$base"; return; }
  say "building the guest image"
  img=$(mktemp -d "$cache/img.XXXXXX") || die "cannot write $cache"
  mkdir -p "$img"/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,proc,sys,dev,run,tmp,out,etc,root,src,job,var/run,var/lib,lib,usr/lib}
  path=$(readlink -f "$(program busybox)")
  install -m 755 "$path" "$img/bin/busybox"; copy_program "$path"
  for p in $names; do copy_program "$p"; done
  [ -e "$img/bin/bash" ] || ln -sf "$(strip_tools "$(program bash)")" "$img/bin/bash"
  # The same sh as outside; busybox's own stands in elsewhere.
  path=$(program dash) && ln -sf "$(strip_tools "$path")" "$img/bin/sh"
  mdir=$img/lib/modules/$kver; mkdir -p "$mdir"
  local kroot; kroot=$kdir; [ -d "$kdir/lib/modules" ] || kroot=$kdir/usr
  with_tools "$(program depmod)" -b "$kroot" "$kver" 2>/dev/null
  cp "$kroot/lib/modules/$kver"/modules.{builtin,order,builtin.modinfo} "$mdir/" 2>/dev/null
  for m in $modules; do
    with_tools "$(program modprobe)" -d "$kroot" -S "$kver" --show-depends -a "$m" 2>/dev/null
  done | awk '$1 == "insmod" {print $2}' | sort -u | while read -r path; do
    case $path in
      *.xz) with_tools "$(program xz)" -dc "$path" >"$mdir/$(basename "${path%.xz}")";;
      *.zst) zstd -qdc "$path" >"$mdir/$(basename "${path%.zst}")";;
      *) cp "$path" "$mdir/";;
    esac || die "cannot unpack $path (is zstd there?)"
  done
  ls "$mdir"/ip_vs.ko >/dev/null 2>&1 || die "no ip_vs module found under $kroot/lib/modules/$kver"
  with_tools "$(program depmod)" -b "$img" "$kver" || die "depmod failed"
  printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\ntcpdump:x:100:100::/:/bin/false\n' >"$img/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\ntcpdump:x:100:\n' >"$img/etc/group"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$img/etc/hosts"
  printf 'passwd: files\ngroup: files\nhosts: files\n' >"$img/etc/nsswitch.conf"
  echo lvs-ha-guest >"$img/etc/hostname"
  cp /etc/protocols /etc/services "$img/etc/" 2>/dev/null
  path=$(PATH=$system_path ldconfig -p 2>/dev/null | awk '/libnss_files.so.2 /{print $NF; exit}')
  [ -z "$path" ] || copy_program "$path"
  install -m 755 "$vmdir/guest-init" "$img/init"
  pack "$img" >"$base.new" && [ -s "$base.new" ] || die "cannot pack the guest image"
  mv "$base.new" "$base"; rm -rf "$img"
  # The three used last stay.
  ls -t "$cache"/base-*.cpio | tail -n +4 | xargs -r rm -f
}
