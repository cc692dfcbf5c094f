# Finds the programs that build and fill the guest, and gets those that lack.
# Root: apt-get install.  Anybody else: apt-get download, unpacked under
# $cache/tools, so that nothing on the machine changes.  Sourced by run.

# program:package.  The first list runs here, the second goes into the guest.
host_programs="busybox:busybox-static depmod:kmod modprobe:kmod xz:xz-utils"
guest_programs="bash:bash ip:iproute2 tc:iproute2 ss:iproute2 bridge:iproute2 ipvsadm:ipvsadm nft:nftables
  conntrack:conntrack tcpdump:tcpdump keepalived:keepalived sysctl:procps"
# Taken along where they happen to be.
guest_extra="dash strace ethtool genhash less"
tools=$cache/tools
system_path=$PATH:/usr/local/sbin:/usr/sbin:/sbin
tools_path=$tools/usr/local/bin:$tools/usr/bin:$tools/usr/sbin:$tools/bin:$tools/sbin
tools_lib=$tools/usr/lib/x86_64-linux-gnu:$tools/lib/x86_64-linux-gnu:$tools/usr/lib:$tools/lib

# program NAME: its path, the machine's own before an unpacked one.
program() { PATH=$system_path:$tools_path command -v "$1"; }

# with_tools COMMAND...: an unpacked program finds its unpacked libraries; the
# machine's own programs never see them.
with_tools() {
  case $1 in
    "$tools"/*) LD_LIBRARY_PATH=$tools_lib QEMU_MODULE_DIR=$tools/usr/lib/x86_64-linux-gnu/qemu "$@";;
    *) "$@";;
  esac
}

missing_packages() { # PROGRAM:PACKAGE... -> packages, one a line
  local p
  for p in "$@"; do program "${p%%:*}" >/dev/null || echo "${p##*:}"; done | sort -u
}

as_root() { [ "$(id -u)" = 0 ] && [ -z "${LVSHA_UNPACK:-}" ]; }

# apt as whoever runs this: without root, or with no package lists on the
# machine, the lists live in the cache.
apt_opts=()
apt_private() {
  [ ${#apt_opts[@]} -eq 0 ] || return 0
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  apt_opts=(-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt" -o "Dir::State::Status=/var/lib/dpkg/status"
    -o Debug::NoLocking=1 -o APT::Sandbox::User=)
}
# apt ARG...: what cannot be fetched is asked for again, three times.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 ${apt_opts[@]+"${apt_opts[@]}"} -q "$@" </dev/null 2>>"$cache/apt.log"; }

# apt_update: a mirror that hiccups has three tries to give all lists; the last
# time what could be had is enough.
apt_update() {
  as_root || apt_private
  say "updating the package lists"
  local mode
  for mode in any any persistent-failure; do
    apt -o APT::Update::Error-Mode=$mode update >>"$cache/apt.log" && return
    [ $mode = any ] && say "they could not all be had, trying again" && sleep 5
  done
  return 1
}
# The lists in the cache serve again next time; the machine's own are used
# as long as they are enough.
[ -n "$(ls -A "$cache/apt/lists" 2>/dev/null | grep -v partial)" ] && ! as_root && apt_private

apt_install() { # PACKAGE... (root)
  # A policy that refuses keeps the package scripts from starting daemons here.
  local policy=/usr/sbin/policy-rc.d made= rc=0
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1; fi
  local install=(apt install -y --no-install-recommends "$@")
  # Old lists name packages that are gone.
  "${install[@]}" >>"$cache/apt.log" || { apt_update && "${install[@]}" >>"$cache/apt.log"; } ||
    { sleep 5; "${install[@]}" >>"$cache/apt.log"; } || rc=1
  [ -z "$made" ] || rm -f $policy
  return $rc
}

# What apt would install for the packages: they and what they need.
apt_closure() { LC_ALL=C apt -s --no-install-recommends install "$@" | awk '$1 == "Inst" {print $2}'; }

apt_unpack() { # PACKAGE... (anybody)
  local all tmp
  all=$(apt_closure "$@")
  [ -n "$all" ] || { apt_update && all=$(apt_closure "$@"); }
  [ -n "$all" ] || return 1
  tmp=$(mktemp -d "$cache/deb.XXXXXX") || return 1
  # shellcheck disable=SC2086
  (cd "$tmp" && { apt download $all >>"$cache/apt.log" || { apt_update && apt download $all >>"$cache/apt.log"; } ||
      { sleep 5; apt download $all >>"$cache/apt.log"; }; } &&
    for f in ./*.deb; do dpkg -x "$f" "$tools" || exit 1; done)
  local rc=$? link to
  rm -rf "$tmp"
  # Absolute links mean the machine's root; here they mean the unpacked one.
  find "$tools" -type l -lname '/*' | while read -r link; do
    to=$(readlink "$link"); case $to in "$tools"/*) ;; *) [ ! -e "$tools$to" ] || ln -sfn "$tools$to" "$link";; esac
  done
  return $rc
}

# ensure_tools: afterwards every listed program is there.  QEMU that cannot be
# had is no error: User-Mode Linux takes its place.
ensure_tools() {
  local miss
  # shellcheck disable=SC2086
  miss=$(missing_packages qemu-system-x86_64:qemu-system-x86 $host_programs $guest_programs)
  if [ "$engine" = uml ]; then miss=$(echo "$miss" | grep -vx qemu-system-x86); fi
  [ -n "$miss" ] || return 0
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    die "this machine lacks $(echo $miss) and has no apt-get; install them by hand and try again."
  mkdir -p "$tools"
  if as_root; then
    announce "installing $(echo $miss) with apt-get, to boot a kernel that has IPVS and to have programs to test with in it."
    # shellcheck disable=SC2086
    apt_install $miss && return 0
  else
    announce "unpacking $(echo $miss) into $cache (nothing is installed), to boot a kernel that has IPVS and to have programs to test with in it."
    # shellcheck disable=SC2086
    apt_unpack $miss && return 0
  fi
  # shellcheck disable=SC2086
  miss=$(missing_packages $host_programs $guest_programs)
  [ -z "$miss" ] && program qemu-system-x86_64 >/dev/null && return 0
  if [ "$engine" = auto ]; then
    # QEMU may be what apt does not have; the rest is needed in any case.
    # shellcheck disable=SC2086
    { [ -z "$miss" ] || { as_root && apt_install $miss; } || { ! as_root && apt_unpack $miss; }; } && return 0
  fi
  die "cannot get $(echo $miss), see $cache/apt.log."
}
