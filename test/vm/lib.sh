# What the scripts of this directory share: messages, the cache, the lock.
# Sourced, never run.  Expects $me (the name in front of messages).

say() { [ -n "${quiet:-}" ] || echo "${me}: $*" >&2; }
die() { echo "${me}: $*" >&2; exit 125; }

vmdir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$vmdir/../.." && pwd)

# git may refuse to tell another user (root under sudo) about the checkout.  All
# is built in the same way, so that what is compiled for one thing serves the others.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"

# The cache holds downloads and the guest image; deleting it costs half a
# minute.  A home that cannot be written (su nobody) falls back to /tmp.
cache_dir() {
  local d=${LVSHA_CACHE:-}
  if [ -z "$d" ]; then
    d=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/lvs-ha
    mkdir -p "$d" 2>/dev/null && [ -w "$d" ] || d=${TMPDIR:-/tmp}/lvs-ha-$(id -u)
  fi
  mkdir -p "$d" 2>/dev/null && [ -w "$d" ] || die "cannot write the cache directory $d; name another one in LVSHA_CACHE."
  (cd "$d" && pwd)
}

# One run prepares, the others wait for it.
lock_cache() {
  exec 9>"$cache/lock"
  flock -n 9 || { say "waiting for another run that prepares the guest"; flock 9; }
}
unlock_cache() { flock -u 9; exec 9>&-; }

# Does a person look?  Not in CI and not where YES=1 answered already.
person_present() { [ -z "${YES:-}" ] && [ -z "${CI:-}" ] && [ -t 0 ] && [ -t 2 ]; }

# announce TEXT: one line that says what is fetched and why; with LVSHA_ASK=1
# and a person at the terminal it waits for a yes.
announce() {
  echo "${me}: $*" >&2
  [ -n "${LVSHA_ASK:-}" ] && person_present || return 0
  local answer
  read -r -p "Go on? [Y/n] " answer
  case $answer in ''|y|Y|yes|Yes) YES=1;; *) echo "${me}: nothing was changed." >&2; exit 125;; esac
}
