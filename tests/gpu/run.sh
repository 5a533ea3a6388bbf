#!/usr/bin/env bash
# Builds the CUDA backend from this checkout on a machine with a GPU, runs all tests that need one, measures, and ends
# with a table and a line "N passed, N failed". Takes at most 8 minutes. Without a GPU it says so and exits with 77.
#
#   tests/gpu/run.sh [--deps FOLDER] [--out DIR] [--build DIR] [--quick] [--build_only]
#
#   --deps FOLDER  the output of tests/gpu/bundle.sh, for machines without Debian's packages (default: .gpu-deps)
#   --out DIR      the folder for gpu-run.log and gpu-benchmarks.md (default: build-gpu)
#   --build DIR    the build folder (default: build-gpu)
#   --quick        only parts that take up to a minute: no race check, short benchmark
#   --build_only   only builds, without a time limit and without looking for a GPU
#
# tests/gpu/README.md says what each part checks.
# shellcheck disable=SC2317 # part() calls most functions
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly LONGEST_S=470       # for everything; parts that would exceed it are shortened or omitted
readonly LONGEST_BUILD_S=240
readonly SKIPPED=77
readonly SANITIZER_CODE=99   # a code that the program does not use
readonly TARGETS=(tools/distmnist lib/libdistmnist_cuda.so tests/bench/gpu/step_bench)
readonly CASES=tests/gpu_backend_test
readonly SANITIZED_CASES=3   # the first ones of these

deps='' out=build-gpu build=build-gpu quick=false build_only=false
meson=() data='' own_library_path=${LD_LIBRARY_PATH:-}
names=() results=() seconds=()
longest_s=$LONGEST_S build_s=$LONGEST_BUILD_S
part_end=0 part_code=0  # of the current or last part; the end in bash's SECONDS

stop() { echo "tests/gpu/run.sh: $1" >&2; exit "${2:-1}"; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      --deps | --out | --build) [ $# -ge 2 ] || stop "$1 needs a folder" 2
        printf -v "${1#--}" '%s' "$2"
        shift ;;
      --quick) quick=true ;;
      --build_only | --build-only) build_only=true longest_s=86400 build_s=86400 ;;
      *) stop "unknown argument '$1' (see --help)" 2 ;;
    esac
    shift
  done
}

# Parts ----------------------------------------------------------------------------------------------------------------

# part NAME LIMIT_S FUNCTION [ARGUMENTS]: runs the function until its first failure and records the result. A command of
# a part is started by `limited`, so that it ends with the part. A failed part does not stop the others.
part() {
  local name=$1 limit_s=$2 begun=$SECONDS result
  shift 2
  printf '\n=== %s\n' "$name"
  part_end=$((SECONDS + limit_s < longest_s ? SECONDS + limit_s : longest_s))
  if [ $((part_end - SECONDS)) -lt 3 ]; then
    echo "Left out: no time is left for it"
    part_code=$SKIPPED
  else
    # Not used as a condition, because bash would ignore -e inside.
    set +e
    (set -e; "$@")
    part_code=$?
    set -e
  fi
  case $part_code in
    0) result=passed ;;
    "$SKIPPED") result=skipped ;;
    124 | 137) result="failed (out of time)" ;;
    *) result="failed ($part_code)" ;;
  esac
  names+=("$name") results+=("$result") seconds+=($((SECONDS - begun)))
  printf -- '--- %s: %s, %d s\n' "$name" "$result" $((SECONDS - begun))
}

limited() { timeout -k 5 $((part_end - SECONDS > 1 ? part_end - SECONDS : 1)) "$@"; }

skip() { echo "Left out: $1"; exit "$SKIPPED"; }

summarize() {
  local i passed=0 failed=0 skipped=0
  printf '\n%-44s %-22s %s\n' part result seconds
  for i in "${!names[@]}"; do
    printf '%-44s %-22s %4d\n' "${names[i]}" "${results[i]}" "${seconds[i]}"
    case ${results[i]} in
      passed) passed=$((passed + 1)) ;;
      skipped) skipped=$((skipped + 1)) ;;
      *) failed=$((failed + 1)) ;;
    esac
  done
  printf '%-44s %-22s %4d\n' "in all" "" "$SECONDS"
  if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
  else
    echo "$passed passed, $failed failed"
  fi
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# Machine and build ----------------------------------------------------------------------------------------------------

has_gpu() { command -v nvidia-smi >/dev/null && timeout 60 nvidia-smi -L 2>/dev/null | grep '^GPU ' >/dev/null; }

# Turns 9.0 into 90; without a GPU all architectures listed in meson_options.txt.
gpu_arch() {
  (timeout 60 nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true) | sed -n 1p | tr -cd 0-9
}

find_data() {
  local folder
  for folder in "${DISTMNIST_TEST_DATA:-}" "${deps:+$deps/mnist}" ../shared/mnist; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then data=$(cd "$folder" && pwd); return; fi
  done
}

# Python packages provide meson and ninja, which may not be on PATH.
find_tools() {
  local scripts found
  scripts=$(python3 -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
  PATH=$PATH:$scripts
  if command -v meson >/dev/null; then meson=(meson); else meson=(python3 -m mesonbuild.mesonmain); fi
  "${meson[@]}" --version >/dev/null 2>&1 || stop "no meson: neither on PATH nor as a module of python3"
  found=$(python3 tests/gpu/find_cuda.py "$build-cuda") || stop "see the line above"
  echo "$found"
  eval "$found"
  export NVCC CUDA_PATH CUDA_HOME=$CUDA_PATH CUDA_ROOT=$CUDA_PATH  # meson requires all three to be equal
  PATH=$(dirname "$NVCC"):$PATH
  # nvcc from a Python package does not find its own run-time library.
  export LIBRARY_PATH="$CUDA_PATH/lib64${LIBRARY_PATH:+:$LIBRARY_PATH}"
  export LD_LIBRARY_PATH="$CUDA_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

print_machine() {
  uname -srm
  nproc
  g++ --version | sed -n 1p
  "$NVCC" --version | grep release
  echo "meson $("${meson[@]}" --version)"
  ! has_gpu || nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv
}

configure() {
  local arch options=(--buildtype=release -Dtests=true -Dcuda=enabled -Dcudnn="$CUDNN_FOLDER")
  arch=$(gpu_arch)
  [ -z "$arch" ] || options+=("-Dgpu_arch=$arch")
  # The folder of dependencies has no oneDNN, and headers of a different oneDNN might be found.
  [ -z "$deps" ] || options+=(-Donednn=disabled)
  [ ! -f "$build/build.ninja" ] || options+=(--reconfigure)
  limited "${meson[@]}" setup "$build" "${options[@]}"
}

has_target() { ninja -C "$build" -t targets all 2>/dev/null | grep "^$1:" >/dev/null; }

compile() {
  local wanted=("${TARGETS[@]}")
  if has_target "$CASES"; then wanted+=("$CASES"); fi
  limited ninja -C "$build" "${wanted[@]}" | tail -n 100
}

# Checks ---------------------------------------------------------------------------------------------------------------

train() { limited "$build/tools/distmnist" --progress=none --device=/gpu:0 "$@"; }

# Reads a run's output, shows it, and fails if the accuracy is below the limit.
accuracy_at_least() {
  tee /dev/stderr | awk -F '[= ]' -v least="$1" '/^test_accuracy=/ { found = $2 }
    END { if (found == "" || found < least) { print "The test accuracy is not " least " or more."; exit 1 } }'
}

data_flags() {
  if [ -n "$data" ]; then echo "--data_dir=$data"; else echo "--dataset=synthetic"; fi
}

backend_cases() {
  [ -x "$build/$CASES" ] || skip "this checkout has no $CASES"
  local code=0
  limited "$build/$CASES" || code=$?
  # Skipping is only for machines without a GPU, and this one has a GPU.
  if [ "$code" -eq "$SKIPPED" ]; then
    echo "The module sees no GPU where nvidia-smi lists one."
    return 1
  fi
  return "$code"
}

devices() {
  limited "$build/tools/distmnist" devices
  limited "$build/tools/distmnist" devices --kernels --device=/gpu:0 --precision=bf16
}

short_local_runs() {
  local precision
  for precision in f32 tf32 bf16; do
    train "$(data_flags)" --train_steps=500 --log_every=250 --precision="$precision" | accuracy_at_least 0.9
  done
}

shared_card() {
  limited python3 launch/launch.py --num_ps 1 --num_workers 2 --gpus 0 --binary "$build/tools/distmnist" -- \
    --progress=none --device=/gpu:0 --per_process_gpu_memory_fraction=0.3 "$(data_flags)" --train_steps=600 \
    --log_every=200 | accuracy_at_least 0.9
}

mnist() {
  [ -n "$data" ] || skip "no MNIST here"
  train --data_dir="$data" --precision=f32 --log_every=1000 | accuracy_at_least 0.985
}

fast_mnist() {
  [ -n "$data" ] || skip "no MNIST here"
  train --data_dir="$data" --precision=bf16 --batch_size=64 --train_steps=1200 --learning_rate=2e-3 \
    --learning_rate_schedule=cosine --log_every=600 | accuracy_at_least 0.99
}

sanitizer() {
  local tool=$1
  shift
  command -v compute-sanitizer >/dev/null || skip "no compute-sanitizer on PATH"
  limited compute-sanitizer --tool "$tool" --error-exitcode "$SANITIZER_CODE" "$@"
}

sanitized_run() {
  local filter=()
  # racecheck does not know how the libraries' kernels synchronize.
  [ "$1" != racecheck ] || filter=(--kernel-name kns=distmnist)
  sanitizer "$1" "${filter[@]}" "$build/tools/distmnist" --progress=none --device=/gpu:0 "$(data_flags)" \
    --train_steps=20 --log_every=10 --precision="$2"
}

sanitized_cases() {
  [ -x "$build/$CASES" ] || skip "this checkout has no $CASES"
  # Catch2 exits with the number of test cases.
  ("$build/$CASES" --list-test-names-only || true) | head -n "$SANITIZED_CASES" >"$build/sanitized-cases.txt"
  [ -s "$build/sanitized-cases.txt" ] || { echo "$CASES lists no case"; return 1; }
  sanitizer "$1" "$build/$CASES" --input-file "$build/sanitized-cases.txt"
}

benchmark() {
  local options=(--build "$build" --torch_library_path "$own_library_path")
  [ -z "$data" ] || options+=(--data_dir "$data")
  if $quick; then options+=(--quick); fi
  limited python3 -u tests/bench/gpu/gpu_bench.py "${options[@]}" | tee "$out/gpu-benchmarks.md"
}

run_parts() {
  find_tools
  part "the machine" 60 print_machine
  part "configure" 90 configure
  [ "$part_code" -eq 0 ] || return 0
  part "build" "$build_s" compile
  if [ "$part_code" -ne 0 ] || $build_only; then return 0; fi
  part "backend cases, next to the reference" 90 backend_cases
  part "devices" 30 devices
  part "local runs: f32, tf32, bf16" 45 short_local_runs
  part "1 ps and 2 workers that share the card" 45 shared_card
  part "MNIST to 98.5 %, f32" 60 mnist
  if ! $quick; then part "MNIST to 99 %, fast, bf16" 30 fast_mnist; fi
  part "memcheck: 20 steps" 45 sanitized_run memcheck f32
  part "benchmark" 220 benchmark
  if $quick; then return 0; fi
  part "memcheck: backend cases" 60 sanitized_cases memcheck
  part "racecheck: 20 steps" 45 sanitized_run racecheck bf16
}

main() {
  if ! $build_only && ! has_gpu; then
    echo "There is no GPU here (nvidia-smi is missing or lists none): nothing is run."
    exit "$SKIPPED"
  fi
  if [ -z "$deps" ] && [ -e .gpu-deps/env.sh ]; then deps=.gpu-deps; fi
  if [ -n "$deps" ]; then
    [ -r "$deps/env.sh" ] || stop "$deps has no env.sh: make it with tests/gpu/bundle.sh --out $deps" 2
    deps=$(cd "$deps" && pwd)
    # shellcheck source=/dev/null
    . "$deps/env.sh"
  fi
  find_data
  run_parts
  summarize
}

parse_arguments "$@"
mkdir -p "$out"
out=$(cd "$out" && pwd)
main 2>&1 | tee "$out/gpu-run.log"
exit "${PIPESTATUS[0]}"
