#!/usr/bin/env bash
# Installs missing packages, builds, runs every test, and ends with a line "N passed, N failed", which counts cases.
#
#   tests/run.sh [--build_dir DIR] [--clean] [--werror] [--no_install] [--instructions] [arguments of meson test]
#
#   tests/run.sh --suite e2e        one suite: unit, structure, scripts, e2e, security, emulated or fuzz
#   tests/run.sh -k idx             the tests whose name contains "idx"
#   tests/run.sh --instructions     also counts instructions (tests/bench/instructions.py); only a report
#
# DISTMNIST_TEST_DATA names the folder with the four files of MNIST; without it ../shared/mnist beside the checkout and
# the program's cache are searched. Tests that need the files are skipped without them. DISTMNIST_TEST_PYTHON names a
# Python with safetensors, numpy, Pillow and bochscpu-python; without it they are downloaded from PyPI, or their tests
# are skipped. FUZZ_SECONDS is the time per fuzz target (default 10; in .ci/run 60).
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$script")/.."

readonly PIP_TIMEOUT_S=300
build=build clean=false werror=false install=true instructions=false
meson_arguments=() name_part=

usage_error() { echo "tests/run.sh: $1" >&2; exit 2; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$script"; exit 0 ;;
      --build_dir=* | --build-dir=*) build=${1#*=} ;;
      --build_dir | --build-dir) [ $# -ge 2 ] || usage_error "$1 needs a folder"; build=$2; shift ;;
      --clean) clean=true ;;
      --werror) werror=true ;;
      --no_install | --no-install) install=false ;;
      --instructions) instructions=true ;;
      -k) [ $# -ge 2 ] || usage_error "$1 needs a part of a name"; name_part=$2; shift ;;
      *) meson_arguments+=("$1") ;;
    esac
    shift
  done
}

find_test_data() {
  local folder cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}
  for folder in "${DISTMNIST_TEST_DATA:-}" ../shared/mnist "$cache/distmnist/mnist"; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then
      DISTMNIST_TEST_DATA=$(cd "$folder" && pwd)
      export DISTMNIST_TEST_DATA
      echo "MNIST for the tests: $DISTMNIST_TEST_DATA"
      return
    fi
  done
  echo "No MNIST was found (DISTMNIST_TEST_DATA): the tests that need it are skipped."
}

# The compiler is installed only if the system has it; without it the fuzz targets are skipped and say so.
install_fuzzer() {
  if grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || apt-cache show clang-16 >/dev/null 2>&1; then
    launch/install_packages.sh fuzz || true
  fi
}

# Third-party packages for tests go into a virtual environment in the build folder: readers for comparison, and a
# processor emulator (the newest version that works on Debian 12), which only exists for x86-64.
find_test_python() {
  [ -z "${DISTMNIST_TEST_PYTHON:-}" ] || return 0
  local folder=$build/test-python packages="safetensors numpy pillow pyzmq"
  if [ "$(uname -m)" = x86_64 ]; then packages+=" bochscpu-python==0.3.1"; fi
  if $install && [ "$(cat "$folder/complete" 2>/dev/null)" != "$packages" ]; then
    # shellcheck disable=SC2086 # several words
    python3 -m venv "$folder" &&
      timeout "$PIP_TIMEOUT_S" "$folder/bin/python" -m pip install -q --disable-pip-version-check $packages &&
      echo "$packages" >"$folder/complete" || echo "Without $packages from PyPI the tests that use them are skipped."
  fi
  if [ -f "$folder/complete" ]; then
    DISTMNIST_TEST_PYTHON=$(cd "$folder" && pwd)/bin/python
    export DISTMNIST_TEST_PYTHON
  fi
}

# A problem that prevents the tests from running counts as the failure.
stop_untested() { printf '%s\n0 passed, 1 failed\n' "$1"; exit "${2:-1}"; }

build_all() {
  local flags=("-Dwerror=$werror" -Dtests=true -Dunity=off) code=0
  if $clean; then flags+=(--clean); fi
  python3 launch/build.py --build_dir "$build" "${flags[@]}" all || code=$?
  [ "$code" -lt 128 ] || exit "$code"
  [ "$code" -eq 0 ] || stop_untested "The build failed, so no test ran; it counts as the failure." "$code"
}

# The test names that contain $name_part, one per line.
matching_tests() {
  meson test -C "$build" --no-rebuild --list 2>/dev/null | awk -F ' / ' 'NF > 1 { print $NF }' | grep -F -- "$name_part"
}

parse_arguments "$@"
if $install && ! launch/install_packages.sh build run test; then
  stop_untested "Packages that the tests need are missing, so no test ran; it counts as the failure."
fi
if $install; then install_fuzzer; fi
export FUZZ_SECONDS="${FUZZ_SECONDS:-10}"
find_test_data
build_all
find_test_python
if [ -n "$name_part" ]; then
  mapfile -t names < <(matching_tests)
  [ ${#names[@]} -gt 0 ] || usage_error "no test has '$name_part' in its name"
  meson_arguments+=("${names[@]}")
fi
log=$build/meson-logs/testlog.json
rm -f "$log"
test_status=0
meson test -C "$build" --no-rebuild --print-errorlogs "${meson_arguments[@]}" || test_status=$?
# Printed before the summary, which is the last line.
if $instructions; then tests/bench/instructions.py --build_dir "$build" || echo "The instruction report is incomplete."; fi
python3 tests/summarize.py "$log" || exit 1
exit "$test_status"
