#!/usr/bin/env bash
# From a fresh checkout to a trained network: packages, a release build, MNIST, then 1 ps + 3 workers on this host.
#
#   launch/quickstart.sh [DATA_DIR | --data_dir DATA_DIR] [-- flags of the program]
#
# DATA_DIR holds the four files of MNIST (plain or .gz). Without it they are taken from the cache or downloaded; where
# there is no network the run trains on synthetic digits and says so. Paths after -- are relative to the checkout.
set -euo pipefail
start_folder=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly BUILD=build
readonly DOWNLOAD_TIMEOUT_S=300

step() { printf '\n== %s\n' "$*" >&2; }
stop() { printf 'quickstart: %s\n' "$1" >&2; exit "$2"; }

data_dir=
program_flags=()

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift; program_flags=("$@"); return ;;
      -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      --data_dir=* | --data-dir=*) data_dir=${1#*=} ;;
      --data_dir | --data-dir) [ $# -ge 2 ] || stop "$1 needs a folder" 2; data_dir=$2; shift ;;
      -*) stop "unknown flag $1: the program's flags go after a --, as in launch/quickstart.sh -- --train_steps 1000" 2 ;;
      *) [ -z "$data_dir" ] || stop "two data folders: $data_dir and $1" 2; data_dir=$1 ;;
    esac
    shift
  done
}

# Relative to where the user stands, not to the checkout.
resolve_data_dir() {
  [ -n "$data_dir" ] || return 0
  case $data_dir in /*) ;; *) data_dir=$start_folder/$data_dir ;; esac
  [ -d "$data_dir" ] || stop "the data folder $data_dir does not exist" 3
}

has_flag() {
  local flag
  for flag in "${program_flags[@]}"; do
    case ${flag//-/_} in "__$1" | "__$1="*) return 0 ;; esac
  done
  return 1
}

build() {
  [ -f "$BUILD/build.ninja" ] || meson setup "$BUILD" --buildtype=release
  meson compile -C "$BUILD" distmnist
}

has_mnist() {
  local file
  for file in train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do
    [ -f "$1/$file" ] || [ -f "$1/$file.gz" ] || return 1
  done
}

# Leaves the choice in data_flags.
choose_data() {
  data_flags=()
  local cache
  cache=$(python3 tools/download_mnist.py --print_dir 2>/dev/null) || cache=  # no home
  if [ -n "$data_dir" ]; then
    echo "Training on the data in $data_dir." >&2
    data_flags=(--data_dir "$data_dir")
  elif has_flag data_dir || has_flag dataset; then
    echo "The flags after -- name the data." >&2
  elif [ -n "$cache" ] && has_mnist "$cache"; then
    echo "MNIST is in $cache already." >&2
    data_flags=(--data_dir "$cache")
  elif [ -n "$cache" ] && timeout "$DOWNLOAD_TIMEOUT_S" python3 tools/download_mnist.py --dir "$cache"; then
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

parse_arguments "$@"
resolve_data_dir

step "1/4 Packages (apt-packages.txt)"
launch/install_packages.sh >&2

step "2/4 Release build in $BUILD/"
build >&2

step "3/4 Data"
choose_data

step "4/4 Training: 1 ps and 3 workers on this host, until Test-Accuracy (Ctrl-C saves and stops)"
log_flags=()
if ! has_flag log_dir; then
  log_dir=logs/quickstart-$(date +%Y%m%d-%H%M%S)
  log_flags=(--log_dir "$log_dir")
  echo "Logs and checkpoints go to $log_dir; afterwards: $BUILD/tools/distmnist evaluate --log_dir $log_dir" >&2
fi
exec python3 launch/launch.py --binary "$BUILD/tools/distmnist" --num_ps 1 --num_workers 3 -- \
  "${data_flags[@]}" "${log_flags[@]}" "${program_flags[@]}"
