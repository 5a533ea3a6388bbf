#!/usr/bin/env bash
# Installs the missing packages of apt-packages.txt; calls apt only if one is missing. Works on Debian 12 and 13 and
# Ubuntu 24.04 or newer, as root or with sudo, and never waits forever for the network or for a lock.
#
#   launch/install_packages.sh [build] [run] [test] [fuzz] [reliability] [style]  sets; by default the first 3
#
# If everything is already installed, as a package or otherwise, root is not needed. Ends with 0 if everything is
# installed that the sets require, and reports what the missing optional packages would be used for.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

readonly NETWORK_TIMEOUT_S=30     # one connection
readonly LOCK_TIMEOUT_S=120       # another apt is running
readonly UPDATE_TIMEOUT_S=300     # downloading the package lists
readonly INSTALL_TIMEOUT_S=1200   # downloading and installing packages
readonly REPORT_EVERY_S=30
NO_NETWORK='Temporary failure resolving|Could not resolve|Could not connect|Unable to connect'
NO_NETWORK+='|[Cc]onnection (failed|timed out|refused)|Network is unreachable|No route to host'
readonly NO_NETWORK
readonly EXIT_FULL=7

log=

say() { printf '%s\n' "$*" >&2; }
stop() { say "install_packages: $1"; exit "$2"; }

parse_arguments() {
  local set
  for set in "$@"; do
    case $set in
      -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      build | run | test | fuzz | reliability | style) ;;
      *) stop "'$set' is not a set of packages: choose from build, run, test, fuzz, reliability and style" 2 ;;
    esac
  done
}

# wanted_packages SET...
wanted_packages() {
  awk -v sets=" $* " '/^# [a-z]+:/ { set = $2; sub(":", "", set); next }
    { sub("#.*", "") } NF && index(sets, " " set " ") { print $1 }' apt-packages.txt
}

is_there() { is_installed "$1" || is_provided "$1"; }

is_installed() {
  command -v dpkg-query >/dev/null && dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# True if a package's content was installed in a different way: a compiler, meson from PyPI, libraries in /usr/local.
is_provided() {
  case $1 in
    g++) has_command g++ || has_command c++ || has_command "${CXX:-}" ;;
    ninja-build) has_command ninja ;;
    qemu-user) has_command qemu-x86_64 ;;
    iproute2) has_command ip && has_command bridge ;;
    e2fsprogs) has_command mkfs.ext4 ;;
    util-linux) has_command unshare && has_command nsenter && has_command fsfreeze ;;
    meson | mount | pkg-config | python3 | strace | valgrind | clang-format-14 | shellcheck) has_command "$1" ;;
    python3-venv) python3 -c 'import ensurepip, venv' ;;
    ca-certificates) [ -e "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] ;;
    libcli11-dev) pkg-config --exists CLI11 ;;
    libzmq3-dev) pkg-config --exists libzmq ;;
    cppzmq-dev) pkg-config --exists cppzmq ;;
    libsodium-dev) pkg-config --exists libsodium ;;
    libcereal-dev) has_header cereal/cereal.hpp ;;
    libdnnl-dev) has_header oneapi/dnnl/dnnl.hpp ;;
    libspdlog-dev) pkg-config --exists spdlog ;;
    libfmt-dev) pkg-config --exists fmt ;;
    nlohmann-json3-dev) pkg-config --exists nlohmann_json ;;
    zlib1g-dev) pkg-config --exists zlib ;;
    libpng-dev) pkg-config --exists libpng ;;
    libjpeg-dev) pkg-config --exists libjpeg ;;
    libmd-dev) pkg-config --exists libmd ;;
    catch2) pkg-config --exists catch2 || pkg-config --exists catch2-with-main ;;
    clang-16 | libclang-rt-16-dev) can_fuzz ;;
    *) false ;;
  esac >/dev/null 2>&1
}

has_command() { [ -n "$1" ] && command -v "$1"; }
# The same search as in tests/fuzz/run.sh.
can_fuzz() {
  local compiler
  for compiler in ${FUZZ_CXX:-clang++-16 clang++-19 clang++-18 clang++-17}; do
    ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
      "$compiler" -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null || return 0
  done
  return 1
}
has_header() { ${CXX:-c++} -std=c++20 -E -x c++ - <<<"#include <$1>"; }

# Prints what does not work without an optional package. Fails for required packages.
lost_without() {
  case $1 in
    libdnnl-dev) echo "the program computes without oneDNN, many times slower" ;;
    ca-certificates) echo "MNIST cannot be downloaded" ;;
    python3-venv) echo "tests that read our files with other programs, or emulate a processor, are skipped" ;;
    valgrind) echo "instructions are not counted" ;;
    clang-16 | libclang-rt-16-dev) echo "nothing is fuzzed" ;;
    strace | iproute2 | e2fsprogs | util-linux | mount) echo "parts of tests/reliability.sh are skipped" ;;
    qemu-user) echo "tests on an older processor are skipped" ;;
    *) return 1 ;;
  esac
}

# missing_packages SET...
missing_packages() {
  local package
  for package in $(wanted_packages "$@"); do
    is_there "$package" || echo "$package"
  done
}

# True if none of the missing packages is required; reports what does not work without them.
go_without() {
  local package lost needed=()
  for package in "$@"; do
    if lost=$(lost_without "$package"); then say "Without $package $lost."; else needed+=("$package"); fi
  done
  [ ${#needed[@]} -eq 0 ]
}

# Does not ask for a password if there is no terminal to enter it.
find_root() {
  as_root=()
  [ "$(id -u)" -ne 0 ] || return 0
  has_command sudo >/dev/null || return 1
  if [ -t 0 ]; then sudo -v || return 1; else sudo -n true 2>/dev/null || return 1; fi
  as_root=(sudo)
}

# In the first writable folder.
make_log() {
  local folder
  for folder in "${TMPDIR:-/tmp}" "${XDG_CACHE_HOME:-${HOME:-}/.cache}" /var/tmp; do
    if log=$(mktemp "$folder/distmnist-apt-XXXXXX.log" 2>/dev/null); then return; fi
  done
  stop "there is no room for apt's log in ${TMPDIR:-/tmp} or in /var/tmp: free some space, or set TMPDIR" "$EXIT_FULL"
}

# apt_get TIMEOUT_S ARGUMENTS...: runs apt-get as root, with its output in the log.
apt_get() {
  local timeout_s=$1
  shift
  # In the foreground, so that Ctrl-C reaches it.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 timeout --foreground "$timeout_s" apt-get -q -y \
    -o "Acquire::http::Timeout=$NETWORK_TIMEOUT_S" -o "Acquire::https::Timeout=$NETWORK_TIMEOUT_S" \
    -o Acquire::Retries=1 -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT_S" "$@" >>"$log" 2>&1 </dev/null
}

# New images have no package lists, and old lists name files that no longer exist: downloads them and tries (again).
install() {
  if compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null &&
    apt_get "$INSTALL_TIMEOUT_S" install --no-install-recommends "$@"; then
    return
  fi
  apt_get "$UPDATE_TIMEOUT_S" update && apt_get "$INSTALL_TIMEOUT_S" install --no-install-recommends "$@"
}

# Prints a line at intervals while apt runs, with its last message.
report() {
  local second=0
  while sleep 1 >/dev/null 2>&1; do  # short, and without our output, because it can outlive this script
    second=$((second + 1))
    [ $((second % REPORT_EVERY_S)) -eq 0 ] || continue
    say "  apt has been running for $second s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-80)"
  done
}

install_reporting() {
  local code=0
  report &
  reporter=$!
  trap 'kill "$reporter" 2>/dev/null || true' EXIT
  trap 'interrupted 130' INT
  trap 'interrupted 143' TERM
  install "$@" || code=$?
  kill "$reporter" 2>/dev/null || true
  return "$code"
}

interrupted() { say ""; stop "interrupted; the same command continues where it stopped (apt's output: $log)" "$1"; }

# Reports in one sentence why apt failed.
explain_failure() {
  if grep -qE 'No space left on device|enough free space' "$log"; then
    stop "the disk is full, so the packages could not be installed: make room, and run the same command again ($log)" "$EXIT_FULL"
  fi
  if grep -qE "$NO_NETWORK" "$log"; then
    say "install_packages: no network: apt reached no package server. Connect to a network (or set http_proxy) and run the same command again."
  elif grep -qE 'Could not get lock|Unable to acquire the dpkg' "$log"; then
    say "install_packages: another apt has been running for $LOCK_TIMEOUT_S s: wait for it to end, and run the same command again."
  else
    say "install_packages: apt could not install the packages:"
  fi
  grep -E '^E: ' "$log" | tail -n 3 | sed 's/^/  /' >&2 || tail -n 3 "$log" >&2
  say "Could not install: $*"
  say "apt's output is in $log. To install by hand: apt-get install --no-install-recommends $*"
}

# Installs only the required packages, if an optional package that this system does not have prevented the installation.
install_needed() {
  local package needed=()
  ! grep -qE "$NO_NETWORK" "$log" || return 1
  for package in "$@"; do
    lost_without "$package" >/dev/null || needed+=("$package")
  done
  [ ${#needed[@]} -gt 0 ] && [ ${#needed[@]} -lt $# ] && install_reporting "${needed[@]}"
}

# Ends the script when packages could not be installed.
end_without() { if go_without "$@"; then exit 0; else exit 1; fi; }

main() {
  local sets=("$@") missing left
  [ $# -gt 0 ] || sets=(build run test)
  mapfile -t missing < <(missing_packages "${sets[@]}")
  if [ ${#missing[@]} -eq 0 ]; then
    echo "All packages of apt-packages.txt (${sets[*]}) are installed."
    return 0
  fi
  if ! has_command dpkg-query >/dev/null || ! has_command apt-get >/dev/null; then
    say "Not Debian or Ubuntu: nothing is installed. The build still needs what these packages contain: ${missing[*]}"
    return 0
  fi
  if ! find_root; then
    say "These packages are missing, and installing them takes root or sudo: ${missing[*]}"
    say "Ask an administrator for: apt-get install --no-install-recommends ${missing[*]}"
    end_without "${missing[@]}"
  fi
  make_log
  say "Installing ${#missing[@]} missing packages and what they need (about 100 on a fresh system; 1 to 5 minutes): ${missing[*]}"
  say "apt's output goes to $log"
  if install_reporting "${missing[@]}"; then
    say "Installed."
    return 0
  fi
  install_needed "${missing[@]}" || explain_failure "${missing[@]}"
  mapfile -t left < <(missing_packages "${sets[@]}")
  end_without "${left[@]}"
}

parse_arguments "$@"
main "$@"
