#!/usr/bin/env bash
# Shows with real processes, sockets, files, disks and networks that distmnist never hangs and loses nothing: kills,
# stops, power cuts, broken disks and links. Ends with a table, and with exit code 1 if a promise was broken.
#
#   tests/reliability.sh [--part NAME ...] [--list] [--ci] [--resume DIR] [--count N] [--seed N] [--build_dir DIR]
#
#   --part NAME        only this part; can be repeated. --list prints the parts
#   --ci               a bounded selection of all parts, within 10 minutes on 2 cores
#   --resume DIR       where the results are: finished trials are not repeated (default: a new folder in $TMPDIR)
#   --count N          so many events (kills, cuts, ...) of each part
#   --seed N           repeats one trial of the part
#   --build_dir DIR    where the program was built (default: build); $DISTMNIST names a different program
#
# Several parts need root, loop devices, network namespaces or strace, and are skipped without them. The packages are
# those of the set "reliability": launch/install_packages.sh reliability.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
root=$(dirname "$(dirname "$script")")

build=build arguments=() list=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,16s/^# \{0,1\}//p' "$script"; exit 0 ;;
    --build_dir=* | --build-dir=*) build=${1#*=} ;;
    --build_dir | --build-dir)
      [ $# -ge 2 ] || { echo "tests/reliability.sh: $1 needs a folder" >&2; exit 2; }
      build=$2
      shift
      ;;
    --list) list=1; arguments+=("$1") ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
case $build in /*) ;; *) build=$root/$build ;; esac
program=${DISTMNIST:-$build/tools/distmnist}
if [ -z "$list" ] && [ ! -x "$program" ]; then
  echo "tests/reliability.sh: $program is not there; launch/build.py makes it" >&2
  exit 2
fi
export DISTMNIST=$program CUDA_VISIBLE_DEVICES='' PYTHONDONTWRITEBYTECODE=1
exec python3 "$root/tests/reliability/run.py" "${arguments[@]}"
