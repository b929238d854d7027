#!/usr/bin/env bash
# The command with every library that it needs and that a bare machine lacks, as a folder that may
# lie anywhere and as one archive. Left to the machine: glibc, libstdc++, and NVIDIA's libraries.
#   tools/bundle.sh BUILD [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 out=${2:-out}
limit=$((30 * 1000 * 1000))
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$build/CMakeCache.txt")
name=tendon-$version-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
folder=$out/$name
glibc='ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv'
machine="^($glibc|libstdc\+\+|libgcc_s|libnv.*|libcu.*)\.so"

rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib"
install -m 755 "$build/bin/tendon" "$folder/bin/tendon"
strip "$folder/bin/tendon"
missing=$(ldd "$folder/bin/tendon" | awk '/not found/ { print $1 }' | grep -vE "$machine" || true)
[[ -z $missing ]] || { echo "the build lacks $missing" >&2; exit 1; }
ldd "$folder/bin/tendon" | awk '$3 ~ /^\// { print $3 }' | while read -r library; do
  [[ $(basename "$library") =~ $machine ]] || install -m 644 "$library" "$folder/lib/"
done
strip --strip-unneeded "$folder"/lib/*.so*
cmake -D file="$folder/bin/tendon" -P cmake/bundle_rpath.cmake
cp LICENSE "$folder/"

# Every library that is not the machine's must come out of the folder.
foreign=$(env -u LD_LIBRARY_PATH ldd "$folder/bin/tendon" | awk '$3 ~ /^\// { print $3 }' |
  grep -v "^$(realpath "$folder")/" | while read -r library; do
    [[ $(basename "$library") =~ $machine ]] || echo "$library"
  done)
[[ -z $foreign ]] || { echo "not found inside of the bundle: $foreign" >&2; exit 1; }
"$folder/bin/tendon" --version >/dev/null

tar -C "$out" --owner=0 --group=0 --sort=name -cf - "$name" | xz -T0 -9 >"$out/$name.tar.xz"
size=$(stat -c %s "$out/$name.tar.xz")
du -sh "$folder"
echo "$out/$name.tar.xz: $size bytes"
(( size <= limit )) || { echo "the archive is over $limit bytes" >&2; exit 1; }
