#!/usr/bin/env bash
# Runs the fuzz targets and ends with a line "N passed, N failed"; exits with 77 if there is no clang with libFuzzer.
#
#   tests/fuzz/run.sh [--seconds N] [--long] [--jobs N] [--build_dir DIR] [--findings DIR] [--merge] [--seeds] [TARGET ...]
#
#   --seconds N      each target for N seconds (default 60, or $FUZZ_SECONDS); --long: an hour each
#   --jobs N         run N targets at a time (default 2)
#   --build_dir DIR  the folder for the build with sanitizers (default build/fuzz)
#   --findings DIR   the folder for inputs that make a target fail and for logs (default BUILD_DIR/findings)
#   --merge          afterwards add inputs that reach more code to tests/fuzz/corpus
#   --seeds          do not fuzz, but write the seeds of tests/fuzz/corpus again after a format or a harness has changed
#
# To reproduce a finding, run BUILD_DIR/tests/fuzz/TARGET_fuzz FILE. FUZZ_CXX names the compiler.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$script")/../.."

ALL_TARGETS="ps_core exchange zmtp_curve zmtp_plain control_records checkpoint cluster_file key_file"
readonly ALL_TARGETS
readonly LONG_S=3600
readonly SKIPPED=77
readonly MAX_INPUT_BYTES=4096  # also in the corpus
readonly MAX_FILES=48          # of one target in the corpus
# A single allocation above the limit is a finding, and so is an input that takes this long. Entropic scheduling costs
# more time than our targets.
readonly FUZZ_FLAGS="-max_len=$MAX_INPUT_BYTES -malloc_limit_mb=64 -rss_limit_mb=1024 -timeout=20 -entropic=0 -print_final_stats=1"
# clang warns about loops that are vectorized at -O3 but not at -O1.
readonly FLAGS="-fsanitize=fuzzer-no-link,float-cast-overflow -fno-sanitize-recover=all -Wno-pass-failed"

seconds=${FUZZ_SECONDS:-60} jobs=2 build=build/fuzz findings='' merge=false seeds=false
targets=()

usage_error() { echo "tests/fuzz/run.sh: $1" >&2; exit 2; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$script"; exit 0 ;;
      --seconds | --jobs | --build_dir | --findings)
        [ $# -ge 2 ] || usage_error "$1 needs a value"
        case $1 in
          --seconds) seconds=$2 ;;
          --jobs) jobs=$2 ;;
          --build_dir) build=$2 ;;
          --findings) findings=$2 ;;
        esac
        shift ;;
      --long) seconds=$LONG_S ;;
      --merge) merge=true ;;
      --seeds) seeds=true ;;
      -*) usage_error "there is no flag $1" ;;
      *) [[ " $ALL_TARGETS " == *" $1 "* ]] || usage_error "'$1' is no target: there are $ALL_TARGETS"
         targets+=("$1") ;;
    esac
    shift
  done
  [[ $seconds =~ ^[1-9][0-9]*$ && $jobs =~ ^[1-9][0-9]*$ ]] || usage_error "--seconds and --jobs take a number above 0"
  [ ${#targets[@]} -gt 0 ] || read -ra targets <<<"$ALL_TARGETS"
}

# A clang++ that can link a fuzz target with the sanitizers.
find_compiler() {
  local candidate test
  test=$(mktemp -d)
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$test/x.cc"
  for candidate in ${FUZZ_CXX:-clang++-16 clang++-19 clang++-18 clang++-17}; do
    if "$candidate" -fsanitize=fuzzer,address,undefined "$test/x.cc" -o "$test/x" >/dev/null 2>&1; then
      compiler=$candidate
      break
    fi
  done
  rm -rf "$test"
  [ -n "${compiler:-}" ] && return
  echo "Without clang++ with libFuzzer nothing is fuzzed: launch/install_packages.sh fuzz installs it on Debian 12."
  exit "$SKIPPED"
}

build_targets() {
  local target files=() cache=
  if command -v ccache >/dev/null; then cache="ccache "; fi
  if [ ! -f "$build/build.ninja" ]; then
    CXX=$cache$compiler meson setup "$build" --buildtype=debugoptimized -Doptimization=1 -Dfuzzers=true -Dcuda=disabled \
      -Donednn=disabled -Db_sanitize=address,undefined -Db_lundef=false "-Dcpp_args=$FLAGS" >/dev/null
  fi
  for target in "$@"; do files+=("tests/fuzz/$target"); done
  ninja -C "$build" -j "$jobs" --quiet "${files[@]}"
}

# Used, if found, to print names instead of addresses in the stack of a finding.
find_symbolizer() {
  local candidate
  for candidate in llvm-symbolizer-16 llvm-symbolizer $(compgen -c llvm-symbolizer- | sort -u); do
    if ASAN_SYMBOLIZER_PATH=$(command -v "$candidate"); then export ASAN_SYMBOLIZER_PATH; return; fi
  done
}

# Delays the reuse of freed memory. ASan's default amount costs too much time.
export ASAN_OPTIONS="quarantine_size_mb=16:${ASAN_OPTIONS:-}"

# fuzz TARGET runs in a separate process: its log is FINDINGS/TARGET.log, and its findings are FINDINGS/TARGET-*.
fuzz() {
  local target=$1
  mkdir -p "$build/corpus/$target"
  rm -f "$findings/$target"-*
  # shellcheck disable=SC2086 # several flags
  exec "$build/tests/fuzz/${target}_fuzz" $FUZZ_FLAGS -max_total_time="$seconds" -artifact_prefix="$findings/$target-" \
    "$build/corpus/$target" "tests/fuzz/corpus/$target" >"$findings/$target.log" 2>&1
}

# Ending this script ends all targets.
fuzz_all() {
  local target
  trap 'kill $(jobs -rp) 2>/dev/null || true' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    fuzz "$target" &
  done
  wait
}

# Adds a minimal set of inputs to the corpus that together reach all code that was reached.
merge_found() {
  local target file
  for target in "${targets[@]}"; do
    local kept=$build/kept/$target
    rm -rf "$kept" && mkdir -p "$kept"
    # shellcheck disable=SC2086 # several flags
    "$build/tests/fuzz/${target}_fuzz" $FUZZ_FLAGS -set_cover_merge=1 "$kept" "tests/fuzz/corpus/$target" \
      "$build/corpus/$target" >"$findings/$target-merge.log" 2>&1 || { echo "$target: not merged, see $findings"; continue; }
    # The oldest input was found to reach the most code.
    # shellcheck disable=SC2045 # names are checksums
    for file in $(ls -rt "$kept"); do
      [ "$(find "tests/fuzz/corpus/$target" -type f | wc -l)" -lt "$MAX_FILES" ] || break
      cp "$kept/$file" "tests/fuzz/corpus/$target/"
    done
  done
}

# Prints the table and the closing line; fails if a target failed.
summarize() {
  python3 - "$findings" "${targets[@]}" <<'PYTHON'
import pathlib, re, sys

folder, targets = pathlib.Path(sys.argv[1]), sys.argv[2:]
row = "{:<16} {:>10} {:>7} {:>9} {:>6} {:>8}".format
print(row("target", "runs", "edges", "features", "new", "crashes"))
failed = []
for target in targets:
    log = (folder / f"{target}.log").read_text(errors="replace")
    covered = re.findall(r"cov: (\d+) ft: (\d+)", log) or [("0", "0")]
    stats = dict(re.findall(r"^stat::(\w+): +(\d+)", log, re.MULTILINE))
    found = sorted(path.name for path in folder.glob(f"{target}-*") if path.suffix != ".log")
    # A complete run prints a final line. The corpus must have been read first.
    complete = re.search(r"^Done \d+ runs", log, re.MULTILINE) is not None
    print(row(target, stats.get("number_of_executed_units", "0"), *covered[-1], stats.get("new_units_added", "0"), len(found)))
    if found or not complete:
        failed.append(target)
        why = re.findall(r"^(?:broken: .*|.*runtime error: .*|SUMMARY: .*|==\d+== ERROR: .*)$", log, re.MULTILINE)
        print(f"  {target}: " + (" | ".join(why[:3]) or "it did not run to its end") + f" (see {folder / target}.log)")
        print("".join(f"    {folder / name}\n" for name in found), end="")
print(f"{len(targets) - len(failed)} passed, {len(failed)} failed")
sys.exit(1 if failed or not targets else 0)
PYTHON
}

parse_arguments "$@"
find_compiler
if $seeds; then
  build_targets seeds
  "$build/tests/fuzz/seeds" tests/fuzz/corpus
  exit 0
fi
findings=${findings:-$build/findings}
mkdir -p "$findings"
if ! build_targets "${targets[@]/%/_fuzz}"; then
  printf 'The fuzz targets do not build.\n0 passed, 1 failed\n'
  exit 1
fi
find_symbolizer
echo "Fuzzing ${#targets[@]} targets, $jobs at a time, $seconds s each; what they find is left in $findings"
fuzz_all
if $merge; then merge_found; fi
summarize
