#!/usr/bin/env bash
# Builds and runs every test on a release other than this machine's: tests/run.sh --werror in a root folder created by
# debootstrap. Needs root. Mounts are visible only to this script and are removed when it ends, however it ends.
#
#   tests/other_release.sh [RELEASE [FOLDER]] [-- arguments of tests/run.sh]
#
#   tests/other_release.sh                            uses trixie; on Debian 13 bookworm
#   tests/other_release.sh trixie -- --suite unit     runs one suite
#
# FOLDER is created, or used again with its packages and build (default: distmnist/releases/RELEASE in the user's
# cache). The tested source is this working tree with its changes. Packages come from the same source as this machine's
# apt packages, or from $DEBIAN_MIRROR. Proxies, certificates and pip's configuration are this machine's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MNIST_INSIDE=/mnt/mnist CHECKOUT_INSIDE=/checkout CERTIFICATES_INSIDE=/etc/ssl/outer-certificates.crt

usage_error() { echo "tests/other_release.sh: $1" >&2; exit 2; }

parse_arguments() {
  release="" folder="" run_arguments=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      --) shift; run_arguments=("$@"); break ;;
      -*) usage_error "no such flag: $1 (those of tests/run.sh stand behind --)" ;;
      *)
        if [ -z "$release" ]; then release=$1
        elif [ -z "$folder" ]; then folder=$1
        else usage_error "one RELEASE and one FOLDER are enough, so what is $1?"; fi ;;
    esac
    shift
  done
  [ -n "$release" ] || release=$(other_release)
  [ -n "$folder" ] || folder=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/distmnist/releases/$release
}

# The one of the two supported Debian releases that this machine does not have.
other_release() {
  if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = trixie ]; then echo bookworm; else echo trixie; fi
}

check_host() {
  [ "$(id -u)" -eq 0 ] || usage_error "only root may make a root folder of $release and mount into it; try it with sudo"
  command -v debootstrap >/dev/null || usage_error "debootstrap is not installed; apt-get install debootstrap"
  git ls-files --error-unmatch tests/other_release.sh >/dev/null 2>&1 || usage_error "only a checkout of git is tested: git says what belongs to it"
}

# The source of this machine's Debian packages.
mirror() {
  local found=${DEBIAN_MIRROR:-}
  if [ -z "$found" ]; then
    # shellcheck disable=SC2016 # apt's own fields
    found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
      sort -u | head -n 1)
  fi
  [ -n "$found" ] || usage_error "apt has no mirror of Debian here; run apt-get update, or name one in DEBIAN_MIRROR"
  echo "$found"
}

# A complete root names its release in a file.
make_root() {
  local made
  made=$(cat "$folder/.made_for_tests" 2>/dev/null || true)
  if [ "$made" = "$release" ]; then return; fi
  [ -z "$(ls -A "$folder" 2>/dev/null)" ] ||
    usage_error "$folder is not empty and no root folder of $release made here${made:+ (but of $made)}; name another one"
  mkdir -p "$folder"
  rm -rf --one-file-system "$folder.partial"
  local from
  from=$(mirror)
  debootstrap --variant=minbase --include=ca-certificates "$release" "$folder.partial" "$from"
  rm -f "$folder.partial/var/cache/apt/archives"/*.deb
  echo "$release" >"$folder.partial/.made_for_tests"
  mv -T "$folder.partial" "$folder"
}

# The root uses this machine's access to the network.
copy_network_settings() {
  cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
  apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-)[^ ]* ".+"' >"$folder/etc/apt/apt.conf.d/90outer" || true
  local file
  for file in /etc/pip.conf "${XDG_CONFIG_HOME:-${HOME:-/root}/.config}/pip/pip.conf"; do
    if [ -f "$file" ]; then cp -L "$file" "$folder/etc/pip.conf"; fi
  done
  local certificates=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
  if [ -f "$certificates" ]; then cp -L "$certificates" "$folder$CERTIFICATES_INSIDE"; fi
}

# The files that git knows or would add, in their current state.
checkout_files() {
  git ls-files -z --cached --others --exclude-standard | sort -zu |
    while IFS= read -r -d '' file; do if [ -f "$file" ]; then printf '%s\0' "$file"; fi; done
}

# Synchronizes into the folder of the last build. Unchanged files keep their time; changed files are newer than any
# build.
copy_checkout() {
  local inside=$folder$CHECKOUT_INSIDE file
  mkdir -p "$inside"
  checkout_files | while IFS= read -r -d '' file; do
    if ! cmp -s "$file" "$inside/$file"; then
      mkdir -p "$inside/$(dirname "$file")"
      cp "$file" "$inside/$file"
    fi
    chmod --reference="$file" "$inside/$file"
  done
  (cd "$inside" && find . -path ./build -prune -o -type f -printf '%P\0') | sort -z |
    comm -z -13 <(checkout_files) - | (cd "$inside" && xargs -0r rm -f)
}

mount_devices() {
  local device
  mount -t tmpfs -o mode=755 devices "$folder/dev"
  for device in null zero full random urandom tty; do
    touch "$folder/dev/$device"
    mount --bind "/dev/$device" "$folder/dev/$device"
  done
  mkdir "$folder/dev/shm" "$folder/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$folder/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 pts "$folder/dev/pts"
  ln -s pts/ptmx "$folder/dev/ptmx"
  ln -s /proc/self/fd "$folder/dev/fd"
}

mount_all() {
  mount -t proc proc "$folder/proc"
  mount --rbind -o ro /sys "$folder/sys"
  mount_devices
  mount -t tmpfs -o mode=1777 tmp "$folder/tmp"
  local data=${DISTMNIST_TEST_DATA:-}
  if [ -z "$data" ] && [ -d ../shared/mnist ]; then data=../shared/mnist; fi
  if [ -n "$data" ]; then
    mkdir -p "$folder$MNIST_INSIDE"
    mount --bind "$data" "$folder$MNIST_INSIDE"
    mount -o remount,bind,ro "$folder$MNIST_INSIDE"
    variables+=("DISTMNIST_TEST_DATA=$MNIST_INSIDE")
  fi
}

# A clean environment, except for network access and test settings.
collect_variables() {
  variables=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "TERM=${TERM:-dumb}" CI=true)
  if [ -f "$folder$CERTIFICATES_INSIDE" ]; then
    variables+=("SSL_CERT_FILE=$CERTIFICATES_INSIDE" "PIP_CERT=$CERTIFICATES_INSIDE")
  fi
  local name
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL \
    PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT DISTMNIST_TEST_INSTRUCTION_SET; do
    if [ -n "${!name:-}" ]; then variables+=("$name=${!name}"); fi
  done
}

parse_arguments "$@"
check_host
# Mounts in a separate namespace: other processes do not see them, and they end with its last process.
if [ "${DISTMNIST_OTHER_RELEASE_MOUNTS:-}" != own ]; then
  DISTMNIST_OTHER_RELEASE_MOUNTS=own exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi
make_root
folder=$(cd "$folder" && pwd)
copy_network_settings
copy_checkout
collect_variables
mount_all
echo "Testing on $(. "$folder/etc/os-release" && echo "$PRETTY_NAME") in $folder"
# shellcheck disable=SC2016 # It is the inner shell that expands.
exec chroot "$folder" /usr/bin/env -i "${variables[@]}" \
  /bin/bash -c 'cd "$0" && exec tests/run.sh --werror "$@"' "$CHECKOUT_INSIDE" ${run_arguments[@]+"${run_arguments[@]}"}
