# Starts the guest: QEMU in virtual or real time, or User-Mode Linux.  Sourced by run.

# kvm_works: hardware virtualisation, believed only when a guest was seen to
# boot with it (on some nested hosts it hangs).  The verdict holds until the
# machine restarts.
kvm_works() {
  case ${LVSHA_VM_ACCEL:-} in kvm) return 0;; tcg) return 1;; esac
  [ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
  local verdict key; verdict=$cache/kvm-verdict
  key="$(cat /proc/sys/kernel/random/boot_id) $(stat -Lc %Y "$(program qemu-system-x86_64)") $kver"
  if [ -e "$verdict" ] && [ "$(head -1 "$verdict")" = "$key" ]; then [ "$(tail -1 "$verdict")" = yes ]; return; fi
  say "trying hardware virtualisation (15 s at most)"
  local probe answer=no; probe=$(mktemp -d "$work/kvm.XXXXXX")
  mkdir -p "$probe/job"
  printf 'VM_CONSOLE=/dev/hvc0 VM_DISK=/dev/vda VM_LIMIT=10 VM_TTY=\n' >"$probe/job/env"
  echo 'echo kvm-says-hello' >"$probe/job/cmd"
  pack "$probe" >"$probe.cpio"; cat "$base" "$probe.cpio" >"$probe.initrd"; truncate -s 64M "$probe.raw"
  qemu_command "$probe.initrd" "$probe.raw" "$probe.log" stdio,id=h0,signal=off -accel kvm -cpu host -smp 2
  { timeout -s KILL 15 "${qemu[@]}" </dev/null | cat >"$probe.out"; } 2>/dev/null
  grep -q kvm-says-hello "$probe.out" && answer=yes
  printf '%s\n%s\n' "$key" $answer >"$verdict"
  [ $answer = yes ] || say "hardware virtualisation does not work here, emulating"
  [ $answer = yes ]
}

qemu_command() { # INITRD DISK KERNEL-LOG CHARDEV ACCEL-OPTION... -> qemu
  local initrd=$1 disk=$2 log=$3 chardev=$4 q fw=(); shift 4
  q=$(program qemu-system-x86_64)
  case $q in "$tools"/*)
    fw=(-L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios")
    q="env LD_LIBRARY_PATH=$tools_lib QEMU_MODULE_DIR=$tools/usr/lib/x86_64-linux-gnu/qemu $q";;
  esac
  # shellcheck disable=SC2206
  qemu=($q ${fw[@]+"${fw[@]}"} -nodefaults -no-user-config -display none -no-reboot
    -machine q35,usb=off,vmport=off,smbus=off,hpet=off "$@" -m "$mem"
    -kernel "$kimg" -initrd "$initrd"
    -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable clocksource=tsc audit=0 selinux=0 apparmor=0 random.trust_cpu=on nowatchdog raid=noautodetect"
    -serial "file:$log" -chardev "$chardev" -device virtio-serial-pci -device virtconsole,chardev=h0
    -drive "file=$disk,if=none,id=d0,format=raw,cache=unsafe" -device virtio-blk-pci,drive=d0
    -device virtio-rng-pci)
}

# boot: runs $work/initrd to its end; sets hrc.  The guest's output is on stdout.
boot() {
  local chardev=stdio,id=h0,signal=off accel
  if [ "$engine" = uml ]; then boot_uml; return; fi
  if [ -n "$realtime" ]; then
    host_limit=$((limit * 2 + 120))
    if kvm_works; then accel=(-accel kvm -cpu host -smp "${cpus:-2}")
    else accel=(-accel tcg,thread=multi,tb-size=512 -cpu "${LVSHA_VM_CPU:-Nehalem}" -smp "${cpus:-2}"); fi
  else
    # Virtual time: one instruction takes a nanosecond, idle time is skipped.
    # A busy guest second costs about one here, and more on a loaded machine.
    host_limit=$((limit * 6 + 300))
    accel=(-accel tcg,thread=single,tb-size=512 -icount shift=0,sleep=off,align=off -rtc clock=vm
      -cpu "${LVSHA_VM_CPU:-Nehalem}" -smp "${cpus:-1}")
  fi
  qemu_command "$work/initrd" "$work/out.raw" "$work/kernel.log" "$chardev" "${accel[@]}"
  run_guest "${qemu[@]}"
}

boot_uml() {
  host_limit=$((limit * 2 + 120))
  # User-Mode Linux keeps its memory in a deleted file under TMPDIR; in memory
  # it is fast, but containers often have little of it there.
  local dir=$work free
  free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print int($4 / 1024)}')
  [ "${free:-0}" -lt "$mem" ] || dir=/dev/shm
  run_guest env TMPDIR="$dir" "$kimg" mem="${mem}M" initrd="$work/initrd" root=/dev/ram0 rw ubd0="$work/out.raw" \
    con=null con0=fd:0,fd:1 ssl=null quiet loglevel=3 panic=-1 umid="lvsha-$$" uml_dir="$work"
}

run_guest() { # COMMAND...
  if [ -n "$tty" ]; then
    # The guest draws on this terminal itself.
    local saved; saved=$(stty -g 2>/dev/null)
    "$@"; hrc=$?
    [ -z "$saved" ] || stty "$saved"
    return
  fi
  # Through a pipe of its own: QEMU makes its output non-blocking, and whoever shares the
  # pipe behind it would see writes fail.
  mkfifo "$work/console"
  # User-Mode Linux's last word is the kernel's own.
  sed -u '/^reboot: System halted/d' "$work/console" & local cat=$!
  timeout -k 5 "$host_limit" "$@" </dev/null >"$work/console" 2>"$work/engine.log" & guest_pid=$!
  wait "$guest_pid"; hrc=$?; guest_pid=
  wait "$cat"
}
