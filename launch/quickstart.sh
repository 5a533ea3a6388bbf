#!/usr/bin/env bash
# From a fresh checkout to a trained network: packages, a release build, MNIST, then 1 ps + 3 workers on this host.
#
#   launch/quickstart.sh [DATA_DIR | --data_dir DATA_DIR] [--build_dir DIR] [-- flags of the program]
#
# DATA_DIR holds the four files of MNIST (plain or .gz). Without it they are taken from the cache or downloaded; where
# there is no network the run trains on synthetic digits and says so. DIR is where to build, if not in build/ of the
# checkout. Paths are relative to where you stand.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

[ -e /dev/fd/0 ] || exec </dev/null
script=$(readlink -f "${BASH_SOURCE[0]}")
checkout=$(cd "$(dirname "$script")/.." && pwd)
home=~  # also where HOME is not set
readonly script checkout home
readonly DOWNLOAD_TIMEOUT_S=300

step() { printf '\n== %s\n' "$*" >&2; }
stop() { printf 'quickstart: %s\n' "$1" >&2; exit "$2"; }

data_dir=
build=$checkout/build
program_flags=()

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift; program_flags=("$@"); return ;;
      -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$script"; exit 0 ;;
      --data_dir=* | --data-dir=*) data_dir=${1#*=} ;;
      --data_dir | --data-dir) [ $# -ge 2 ] || stop "$1 needs a folder" 2; data_dir=$2; shift ;;
      --build_dir=* | --build-dir=*) build=${1#*=} ;;
      --build_dir | --build-dir) [ $# -ge 2 ] || stop "$1 needs a folder" 2; build=$2; shift ;;
      -*) stop "unknown flag $1: the program's flags go after a --, as in launch/quickstart.sh -- --train_steps 1000" 2 ;;
      *) [ -z "$data_dir" ] || stop "two data folders: $data_dir and $1" 2; data_dir=$1 ;;
    esac
    shift
  done
}

# A ~ that no shell has seen to, as in --data_dir=~/mnist, and paths relative to where the user stands.
absolute() {
  case $1 in
    /*) echo "$1" ;;
    \~ | \~/*) echo "$home${1#\~}" ;;
    *) echo "$PWD/$1" ;;
  esac
}

resolve_folders() {
  [ -n "$build" ] || stop "--build_dir needs a folder" 2
  build=$(absolute "$build")
  [ -n "$data_dir" ] || return 0
  data_dir=$(absolute "$data_dir")
  [ -d "$data_dir" ] || [ ! -e "$data_dir" ] || stop "$data_dir is a file: name the folder that it is in" 3
  [ -d "$data_dir" ] || stop "the data folder $data_dir does not exist, or cannot be seen from here" 3
}

# As one would type it here.
shown() { printf '%q' "${1#"$PWD"/}"; }

# Signals --------------------------------------------------------------------------------------------------------------

child=

# Runs a command and waits for it; a signal that ends this script ends the command first, even one that came to this
# script alone. A shell ignores Ctrl-C in what it runs beside itself.
attend() {
  local code=0
  (trap - INT; exec "$@") <&0 &
  child=$!
  wait "$child" || code=$?
  child=
  return "$code"
}

# Whatever comes from the keyboard has reached the command, too, so it gets a moment to leave by itself, with its own words.
end_by() {
  local tenths
  trap '' INT TERM HUP
  [ -n "$child" ] || stop "interrupted; the same command continues where it stopped" "$2"
  for tenths in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 "$child" 2>/dev/null || break
    [ "$tenths" -lt 10 ] || kill -s "$1" "$child" 2>/dev/null || true
    sleep 0.1
  done
  wait "$child" || true
  exit "$2"
}

# Data -----------------------------------------------------------------------------------------------------------------

has_flag() {
  local flag
  for flag in "${program_flags[@]}"; do
    case ${flag//-/_} in "__$1" | "__$1="*) return 0 ;; esac
  done
  return 1
}

has_mnist() {
  local file
  for file in train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do
    [ -f "$1/$file" ] || [ -f "$1/$file.gz" ] || return 1
  done
}

# Leaves the choice in data_flags.
choose_data() {
  local cache code=0
  data_flags=()
  cache=$(python3 "$checkout/tools/download_mnist.py" --print_dir 2>/dev/null) || cache=  # no home
  if [ -n "$data_dir" ]; then
    echo "Training on the data in $data_dir." >&2
    data_flags=(--data_dir "$data_dir")
    return
  elif has_flag data_dir || has_flag dataset; then
    echo "The flags after -- name the data." >&2
    return
  elif [ -n "$cache" ] && has_mnist "$cache"; then
    echo "MNIST is in $cache already." >&2
  elif [ -n "$cache" ]; then
    attend timeout --foreground "$DOWNLOAD_TIMEOUT_S" python3 "$checkout/tools/download_mnist.py" --dir "$cache" >&2 || code=$?
    [ "$code" -ne 7 ] || stop "the disk of $cache is full: make room, and run the same command again" 7
  fi
  if [ "$code" -eq 0 ] && [ -n "$cache" ] && has_mnist "$cache"; then
    data_flags=(--data_dir "$cache")
  else
    say_synthetic
    data_flags=(--dataset synthetic)
  fi
}

say_synthetic() {
  cat >&2 <<TEXT
MNIST could not be downloaded. The run trains on SYNTHETIC DIGITS, drawn by the program itself. THIS IS NOT MNIST: the
accuracy below cannot be compared with MNIST results. With the files of MNIST at hand: launch/quickstart.sh DATA_DIR
TEXT
}

# Logs -----------------------------------------------------------------------------------------------------------------

# Leaves a new folder in log_dir, one that no other quickstart takes: in the checkout or, where that is read-only, in the
# build folder.
make_log_dir() {
  local root number name
  name=quickstart-$(date +%Y%m%d-%H%M%S)
  for root in "$checkout/logs" "$build/logs"; do
    mkdir -p "$root" 2>/dev/null || continue
    for number in "" -{2..99}; do
      log_dir=$root/$name$number
      ! mkdir "$log_dir" 2>/dev/null || return 0
    done
  done
  stop "neither $checkout/logs nor $build/logs can be written to: name a different folder with -- --log_dir DIR" 2
}

parse_arguments "$@"
resolve_folders
trap 'end_by INT 130' INT
trap 'end_by TERM 143' TERM
trap 'end_by HUP 129' HUP

step "1/4 Packages (apt-packages.txt)"
attend "$checkout/launch/install_packages.sh" build run >&2
command -v python3 >/dev/null || stop "there is no python3: install it, and run the same command again" 1

step "2/4 Release build in $(shown "$build")/"
attend python3 "$checkout/launch/build.py" --build_dir "$build" >&2

step "3/4 Data"
choose_data

step "4/4 Training: 1 ps and 3 workers on this host, until Test-Accuracy (Ctrl-C saves and stops)"
log_flags=()
program=$build/tools/distmnist
if ! has_flag log_dir; then
  make_log_dir
  log_flags=(--log_dir "$log_dir")
  echo "Logs and checkpoints go to $(shown "$log_dir"); afterwards: $(shown "$program") evaluate --log_dir $(shown "$log_dir")" >&2
fi
exec python3 "$checkout/launch/launch.py" --binary "$program" --num_ps 1 --num_workers 3 -- \
  "${data_flags[@]}" "${log_flags[@]}" "${program_flags[@]}"
