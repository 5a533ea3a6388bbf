#!/usr/bin/env bash
# Packs everything that a build of distmnist needs from Debian into one folder, for machines without these packages and
# without a network. tests/gpu/run.sh --deps FOLDER builds with it; so can any shell after `source FOLDER/env.sh`.
#
#   tests/gpu/bundle.sh [--out FOLDER] [--data DIR]
#
#   --out FOLDER   the output (default: .gpu-deps in the checkout, which git ignores); an existing one is replaced
#   --data DIR     the folder with the four files of MNIST (default: $DISTMNIST_TEST_DATA, ../shared/mnist)
#
# Runs on Debian 12 with package lists (apt-get update), needs no root and installs nothing. FOLDER has
#   root/          the unpacked packages       env.sh     variables for the build and for running the result
#   mnist/         the four files              MANIFEST   the packages with their versions
# It does not contain the C and C++ run-time libraries: the target's are used, which must not be older than Debian's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly LIMIT_MIB=64
# The packages that a build needs, without a compiler, meson and ninja, and without oneDNN, which is optional and large.
readonly WANTED=(libzmq3-dev cppzmq-dev libcli11-dev libcereal-dev libspdlog-dev libfmt-dev nlohmann-json3-dev zlib1g-dev
  libpng-dev libjpeg-dev libmd-dev libsodium-dev catch2 pkgconf-bin)
# Dependencies of these that our build does not use: parts of the C library, and packages for static linking.
readonly UNWANTED='^(libc6|libc6-dev|libc-dev-bin|libcrypt1|libcrypt-dev|libnsl2?|libnsl-dev|libtirpc.*|rpcsvc-proto|
  linux-libc-dev|libgcc-s1|gcc-[0-9]+-base|libstdc[+][+]6|libicu.*|icu-devtools|libxml2.*|liblzma5|rapidjson-dev|
  libkadm5.*|libkdb5.*|libgssrpc.*|krb5-multidev|comerr-dev|(libkrb5|libnorm|libpgm|libbsd)-dev)$'
# The target provides these: the C and C++ run-time libraries and the dynamic linker.
readonly OF_THE_TARGET='^(ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libresolv|libgcc_s|libstdc[+][+])\.so'
readonly MNIST=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)

out=.gpu-deps data=

stop() { echo "tests/gpu/bundle.sh: $1" >&2; exit "${2:-1}"; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      --out | --data) [ $# -ge 2 ] || stop "$1 needs a folder" 2
        if [ "$1" = --out ]; then out=$2; else data=$2; fi
        shift ;;
      *) stop "unknown argument '$1' (see --help)" 2 ;;
    esac
    shift
  done
}

# Checked before anything is downloaded.
find_data() {
  local folder name
  for folder in ${data:+"$data"} ${data:-"${DISTMNIST_TEST_DATA:-}" ../shared/mnist}; do
    if [ -z "$folder" ] || [ ! -e "$folder/${MNIST[0]}.gz" ]; then continue; fi
    for name in "${MNIST[@]}"; do [ -r "$folder/$name.gz" ] || stop "$folder has no $name.gz"; done
    data=$folder
    return
  done
  stop "no MNIST in ${data:-"\$DISTMNIST_TEST_DATA or ../shared/mnist"}: name the folder of its .gz files with --data DIR"
}

# An older bundle is replaced; any other folder is not touched.
make_folder() {
  if [ -e "$out" ] && [ ! -e "$out/MANIFEST" ] && [ -n "$(ls -A "$out")" ]; then
    stop "$out is there and is no bundle: name another folder with --out, or remove it"
  fi
  rm -rf "$out"
  mkdir -p "$out/root" "$out/mnist"
  out=$(cd "$out" && pwd)
}

packages() {
  apt-cache depends --recurse --important "${WANTED[@]}" | grep -v '^[ <|]' |
    grep -vE "${UNWANTED//[[:space:]]/}" | sort -u
}

unpack_packages() {
  local scratch wanted package
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now is meant
  trap "rm -rf '$scratch'" EXIT
  mapfile -t wanted < <(packages)
  [ ${#wanted[@]} -ge ${#WANTED[@]} ] || stop "apt knows no packages: run apt-get update first"
  if ! (cd "$scratch" && apt-get download -q "${wanted[@]}" >apt.log 2>&1); then
    cat "$scratch/apt.log" >&2
    stop "apt-get download failed"
  fi
  for package in "$scratch"/*.deb; do
    dpkg -x "$package" "$out/root"
    # shellcheck disable=SC2016 # dpkg's own variables
    dpkg-deb -W --showformat='${Package} ${Version} ${Architecture}\n' "$package" >>"$out/MANIFEST"
  done
}

# Moves libraries from /lib to those in /usr/lib, as on any current system, and keeps links inside the folder.
make_relocatable() {
  local root=$out/root link target
  if [ -d "$root/lib" ]; then
    cp -a "$root/lib/." "$root/usr/lib/"
    rm -r "${root:?}/lib"
  fi
  while IFS= read -r link; do
    target=$(readlink "$link")
    target=${target/#\/lib\//\/usr\/lib\/}
    [ -e "$root$target" ] && ln -sfn "$(realpath --relative-to="$(dirname "$link")" "$root$target")" "$link"
  done < <(find "$root" -type l -lname '/*')
}

# Removes documentation, static archives with their pkg-config files (nothing is linked statically), and all programs
# except pkgconf.
strip_bundle() {
  local root=$out/root
  (cd "$root" && rm -rf etc sbin usr/sbin usr/lib/x86_64-linux-gnu/{ossl-modules,engines-3} \
    usr/share/{doc,man,info,lintian,bug,gdb,aclocal,et,ss})
  find "$root" -name '*.a' -delete
  find "$root" -name '*.pc' -type f -exec sed -i -E '/^(Requires|Libs)\.private:/d' {} +
  find "$root/usr/bin" "$root/bin" -mindepth 1 ! -name pkgconf -delete 2>/dev/null || true
  ln -s pkgconf "$root/usr/bin/pkg-config"
  find "$root" -xtype l -delete
  find "$root" -type d -empty -delete
}

# Checks that every library needed by one in the bundle is in the bundle or provided by the target.
check_libraries() {
  local file needed missing=
  while IFS= read -r file; do
    for needed in $(objdump -p "$file" 2>/dev/null | awk '$1 == "NEEDED" { print $2 }'); do
      [[ $needed =~ $OF_THE_TARGET ]] || [ -e "$out/root/usr/lib/x86_64-linux-gnu/$needed" ] ||
        missing+=" $needed (of $(basename "$file"))"
    done
  done < <(find "$out/root" -type f \( -name '*.so*' -o -name pkgconf \))
  [ -z "$missing" ] || stop "the bundle lacks$missing"
  file=$(find "$out/root" -name '*.so*' -printf '%f\n' | grep -E "$OF_THE_TARGET" || true)
  [ -z "$file" ] || stop "the bundle has the target's own libraries: $file"
}

write_env() {
  cat >"$out/env.sh" <<'ENV'
# A file to be sourced by bash, after which builds and programs find the libraries of this folder, wherever it is.
DISTMNIST_DEPS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DISTMNIST_DEPS
_root=$DISTMNIST_DEPS/root
_lib=$_root/usr/lib/x86_64-linux-gnu
export PATH="$_root/usr/bin:$PATH"
export PKG_CONFIG="$_root/usr/bin/pkg-config"
export PKG_CONFIG_SYSROOT_DIR="$_root"
export PKG_CONFIG_LIBDIR="$_lib/pkgconfig:$_root/usr/share/pkgconfig:$_root/usr/lib/pkgconfig"
export CMAKE_PREFIX_PATH="$_root/usr${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
# As system headers, in which warnings are ignored.
export C_INCLUDE_PATH="$_root/usr/include${C_INCLUDE_PATH:+:$C_INCLUDE_PATH}"
export CPLUS_INCLUDE_PATH="$_root/usr/include${CPLUS_INCLUDE_PATH:+:$CPLUS_INCLUDE_PATH}"
export LIBRARY_PATH="$_lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
# The target's own libraries come first, so that its programs keep using them.
_own=/usr/local/lib:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$_own:$_lib"
unset _root _lib _own
ENV
}

check_size() {
  local size_kib
  size_kib=$(du -sk --apparent-size "$out" | cut -f1)
  printf '%s: %d packages, %d.%d MiB (%d at most)\n' "$out" "$(wc -l <"$out/MANIFEST")" $((size_kib / 1024)) \
    $((size_kib % 1024 * 10 / 1024)) "$LIMIT_MIB"
  [ "$size_kib" -le $((LIMIT_MIB * 1024)) ] || stop "the bundle is larger than $LIMIT_MIB MiB"
}

parse_arguments "$@"
for tool in apt-get apt-cache dpkg-deb objdump; do
  command -v "$tool" >/dev/null || stop "$tool is missing: this script runs on Debian 12"
done
find_data
make_folder
unpack_packages
make_relocatable
strip_bundle
check_libraries
write_env
for name in "${MNIST[@]}"; do install -m 644 "$data/$name.gz" "$out/mnist/"; done
check_size
