# Finds a kernel with IPVS in the package manager and unpacks it, without
# installing it.  Sourced by run.
#
# Names carry version and ABI (linux-image-6.12.117+deb12-cloud-amd64), so they
# are found by pattern, newest first: Debian's cloud flavour, Ubuntu's kvm
# flavour, then the plain kernels of both.  The first that really holds ip_vs wins.

kernels=$cache/kernels
kernel_names() { # candidates, best first
  local pattern
  for pattern in 'cloud-amd64' 'kvm' 'virtual' 'generic' 'amd64'; do
    apt-cache ${apt_opts[@]+"${apt_opts[@]}"} search -n "^linux-image-(unsigned-)?[0-9]+\\.[0-9.]+[^ ]*-$pattern\$" 2>/dev/null |
      awk '{print $1}' | grep -vE -- '-(dbg|rt|unsigned)(-|$)' | grep -E -- "^linux-image-(unsigned-)?${series//./\\.}[.0-9]*[-+]" |
      sed 's/^linux-image-\(unsigned-\)\{0,1\}\(.*\)/\2 &/' | sort -rV | awk '{print $2}' | head -3
  done
}

# kernel_dir: sets kdir (unpacked package), kver (version) and kimg (image).
kernel_use() {
  kdir=$1
  kimg=$(find "$kdir" -path '*/boot/vmlinu[xz]-*' | head -1)
  [ -n "$kimg" ] || return 1
  kver=${kimg##*/vmlinu?-}
  find "$kdir" -name 'ip_vs.ko*' | grep -q .
}

unpack_kernel() { # PACKAGE
  local pkg=$1 dir=$kernels/$1 tmp need
  tmp=$(mktemp -d "$kernels/new.XXXXXX") || return 1
  # Ubuntu keeps the modules in packages of their own.
  need=$(apt-cache ${apt_opts[@]+"${apt_opts[@]}"} depends --no-recommends --no-suggests "$pkg" 2>/dev/null | awk '$1 ~ /Depends/ && $2 ~ /^linux-modules-/ {print $2}')
  case $pkg in *-generic) need="$need linux-modules-extra-${pkg#linux-image-}";; esac
  # shellcheck disable=SC2086
  (cd "$tmp" && apt download "$pkg" $need >>"$cache/apt.log" &&
    for f in ./*.deb; do dpkg -x "$f" root || exit 1; done; rm -f ./*.deb)
  if kernel_use "$tmp/root"; then rm -rf "$dir"; mv "$tmp/root" "$dir"; rm -rf "$tmp"; kernel_use "$dir"; return; fi
  rm -rf "$tmp"; return 1
}

ensure_kernel() {
  local pkg names try
  if [ -n "${LVSHA_KERNEL_DIR:-}" ]; then
    kernel_use "$LVSHA_KERNEL_DIR" || die "no kernel with ip_vs in $LVSHA_KERNEL_DIR (boot/vmlinuz-VERSION and lib/modules/VERSION are wanted)."
    return
  fi
  mkdir -p "$kernels"
  # One that is there already is good; a newer one in the archive is no reason to change.
  pkg=$(ls "$kernels" 2>/dev/null | grep -E -- "^linux-image-(unsigned-)?${series//./\\.}[.0-9]*[-+]" | sort -rV | head -1)
  [ -n "$pkg" ] && kernel_use "$kernels/$pkg" && return
  for try in 1 2; do
    names=$(kernel_names)
    # Old lists may know old kernels only; before 6.12 the scheduler twos lacks in cloud kernels.
    if [ $try = 1 ] && ! modern "$(echo "$names" | head -1)"; then
      apt_update; names=$(kernel_names)
    fi
    for pkg in $names; do
      announce "fetching $pkg into $cache (not installed), because this machine's kernel has no IPVS to test with."
      unpack_kernel "$pkg" && return
      say "$pkg cannot be fetched or has no ip_vs, trying the next"
    done
    [ $try = 1 ] && apt_update
  done
  return 1
}

modern() { # PACKAGE: 6.12 or newer
  local v; v=$(grep -oE '[0-9]+\.[0-9]+' <<<"$1" | head -1)
  [ -n "$v" ] && [ "$(printf '%s\n6.12\n' "$v" | sort -V | head -1)" = 6.12 ]
}

# User-Mode Linux: a kernel that is an ordinary program.
ensure_uml() {
  uml=$(program linux.uml || program linux) && file_is_uml "$uml" || uml=
  if [ -z "$uml" ]; then
    if as_root; then
      announce "installing user-mode-linux with apt-get, to have a kernel with IPVS where QEMU is missing."
      apt_install user-mode-linux
    else
      announce "unpacking user-mode-linux into $cache (nothing is installed), to have a kernel with IPVS where QEMU is missing."
      apt_unpack user-mode-linux
    fi || die "neither QEMU nor user-mode-linux can be had here, see $cache/apt.log; run this on a machine whose kernel has IPVS."
    uml=$(program linux.uml || program linux) || die "the package user-mode-linux holds no program linux."
  fi
  kdir=${uml%/usr/bin/*}; kimg=$uml
  # Its modules lie in /usr/lib/uml/modules/VERSION, where modprobe does not look.
  local mods; mods=$(find "$kdir/usr/lib/uml/modules" -maxdepth 1 -mindepth 1 -type d 2>/dev/null | sort -V | tail -1)
  [ -n "$mods" ] || die "no modules beside $uml (expected $kdir/usr/lib/uml/modules)."
  kver=${mods##*/}
  rm -rf "$cache/uml"; mkdir -p "$cache/uml/lib/modules"; cp -r "$mods" "$cache/uml/lib/modules/"
  kdir=$cache/uml
}
file_is_uml() { "$1" --version 2>/dev/null | grep -qE '^[0-9]+\.[0-9]+'; }
