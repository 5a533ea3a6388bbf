#!/usr/bin/env bash
# Installs those packages of apt-packages.txt that are missing; calls apt only when one is. Works on Debian 12 and
# Ubuntu 24.04 or newer, as root or with sudo, and never waits for ever for the network or for a lock.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NETWORK_TIMEOUT_S=30     # one connection
readonly LOCK_TIMEOUT_S=120       # another apt at work
readonly UPDATE_TIMEOUT_S=300     # fetching the package lists
readonly INSTALL_TIMEOUT_S=1200   # fetching and installing packages

wanted_packages() {
  sed -e 's/#.*//' -e '/^[[:space:]]*$/d' apt-packages.txt
}

missing_packages() {
  local package
  for package in $(wanted_packages); do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
  done
}

# apt_get TIMEOUT_S ARGUMENTS...: runs apt-get as root. sudo asks for a password only where somebody can give it.
apt_get() {
  local timeout_s=$1 as_root=()
  shift
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    [ -t 0 ] || as_root+=(-n)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive timeout "$timeout_s" apt-get -q -y \
    -o "Acquire::http::Timeout=$NETWORK_TIMEOUT_S" -o "Acquire::https::Timeout=$NETWORK_TIMEOUT_S" \
    -o Acquire::Retries=1 -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT_S" "$@"
}

# Fresh images come without package lists, and old lists name files that are gone: fetch them, then try (again).
install() {
  if compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null &&
    apt_get "$INSTALL_TIMEOUT_S" install --no-install-recommends "$@"; then
    return
  fi
  apt_get "$UPDATE_TIMEOUT_S" update && apt_get "$INSTALL_TIMEOUT_S" install --no-install-recommends "$@"
}

main() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "Not Debian or Ubuntu: nothing is installed. What the build misses has names like these here:" \
      "$(wanted_packages | tr '\n' ' ')" >&2
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} -eq 0 ]; then
    echo "All packages of apt-packages.txt are installed."
    return 0
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "These packages are missing, and installing them takes root or sudo: ${missing[*]}" >&2
    echo "Ask an administrator for: apt-get install --no-install-recommends ${missing[*]}" >&2
    return 1
  fi
  echo "Installing ${#missing[@]} missing packages: ${missing[*]}"
  if ! install "${missing[@]}"; then
    echo "Could not install: ${missing[*]}" >&2
    echo "apt says why above. By hand it is: apt-get install --no-install-recommends ${missing[*]}" >&2
    return 1
  fi
}

main "$@"
