#!/usr/bin/env bash
# Attacks a job from every possible position, shows what an allowed peer without a key can and cannot do, and ends with
# a table and a line "N passed, N failed". Uses the program of the build folder.
#
#   tests/security.sh [--build_dir DIR] [--connections N | --long] [--only NAME] [--seed N]
#
#   --build_dir DIR    where the program was built (default: build); $DISTMNIST names a different program
#   --connections N    total number (default: 2000, about four minutes); more if a rate has to be measured again
#   --long             100,000 connections, one to two hours; the job must keep 95 % of its rate in each position, and
#                      80 % under each attack alone (shorter runs: 80 % in both cases)
#   --only NAME        only positions, attacks and statements with NAME in their name
#   --seed N           seed of the attackers' random numbers; the first line of the output shows it
#
# Only root can attack as other users and from other hosts; otherwise those parts are skipped. Needs no packages.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
root=$(dirname "$(dirname "$script")")

build=build arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$script"; exit 0 ;;
    --build_dir=* | --build-dir=*) build=${1#*=} ;;
    --build_dir | --build-dir) [ $# -ge 2 ] || { echo "tests/security.sh: $1 needs a folder" >&2; exit 2; }; build=$2; shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
case $build in /*) ;; *) build=$root/$build ;; esac
program=${DISTMNIST:-$build/tools/distmnist}
[ -x "$program" ] || { echo "tests/security.sh: $program is not there; launch/build.py makes it" >&2; exit 2; }
export DISTMNIST=$program CUDA_VISIBLE_DEVICES='' PYTHONDONTWRITEBYTECODE=1
exec python3 "$root/tests/security/run.py" "${arguments[@]}"
