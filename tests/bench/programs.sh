#!/bin/sh
# programs.sh OUT: makes OUT/bench.tar, what tests/bench/bench.py times: Debian's programs with their own loader and
# libraries, sources to compile, the guest's busybox and the script `work` that runs them. Guests unpack it from a disk
# into memory, and so does the host for native speed: all run the same bytes. As an ordinary user.
#
# The packages are those that tests/guest/devices/tools.sh left in OUT/pool-tools.
set -eu
export LC_ALL=C
umask 022
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$1" && pwd)
# The programs: openssl, xz, sha256sum, two C compilers (cpp-12 has gcc's), stress-ng. Then what they load.
packages="openssl xz-utils coreutils tcc cpp-12 libc6-dev linux-libc-dev libcrypt-dev stress-ng \
    libc6 libssl3 liblzma5 libisl23 libmpc3 libmpfr6 libgmp10 zlib1g libzstd1 \
    libegl1 libgles2 libglvnd0 libgbm1 libdrm2 libexpat1 libwayland-server0 libffi8 libipsec-mb1 libjudydebian1 \
    libapparmor1 libbsd0 libmd0 libcrypt1 libjpeg62-turbo libkmod2 libsctp1 libxxhash0"
programs="usr/bin/openssl usr/bin/xz usr/bin/sha256sum usr/bin/tcc usr/bin/stress-ng usr/lib/gcc/x86_64-linux-gnu/12/cc1"
libraries=usr/lib/x86_64-linux-gnu
all=$out/bench-all
tree=$out/bench-tree
trap 'rm -rf "$all" "$tree"' EXIT

die()
{
    echo "bench programs: $*" >&2
    exit 1
}

rm -rf "$all" "$tree"
mkdir -p "$all/usr/bin" "$all/usr/lib" "$all/usr/lib64" "$tree/usr/bin" "$tree/$libraries" "$tree/src"
for folder in bin lib lib64; do
    ln -s usr/$folder "$all/$folder"
done
for package in $packages; do
    file=$(ls -t "$out/pool-tools/${package}"_*.deb 2> /dev/null | head -n 1)
    [ "$file" ] || die "$out/pool-tools has no package $package; remove that folder to have it fetched again"
    dpkg-deb --fsys-tarfile "$file" | tar -x -C "$all" --keep-directory-symlink --no-same-owner
done

# Each program, and each library that it loads: by itself, or through another one.
for program in $programs; do
    cp "$all/$program" "$tree/usr/bin/"
    "$all/lib64/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$all/$libraries" --list "$all/$program" \
        > "$out/bench.log" 2>&1 || die "$program: $(cat "$out/bench.log")"
    for library in $(sed -n 's/.* => \(.*\) (0x.*/\1/p' "$out/bench.log"); do
        case $library in
        "$all"/lib64/*) ;; # the loader
        "$all"/*) cp -L "$library" "$tree/$libraries/" ;;
        # It is in none of the packages, so that the loader took this system's.
        *) die "$program needs $library; the package that has it is to be added" ;;
        esac
    done
done
cp -L "$all/lib64/ld-linux-x86-64.so.2" "$tree/usr/bin/loader"
cp -a "$all/usr/include" "$tree/usr/"
cp -a "$all/$libraries/tcc" "$tree/$libraries/"
cp "$here"/../guest/programs/posix.c "$here"/../guest/programs/posix_lines.h "$here"/../guest/programs/share.c \
    "$here"/../guest/programs/stress.c "$tree/src/"
cp "$out/busybox" "$here/work" "$tree/"
rm "$out/bench.log"
tar -c -C "$tree" --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner -f "$out/bench.tar.new" .
mv "$out/bench.tar.new" "$out/bench.tar"
echo "bench programs: $out/bench.tar: $(du -m "$out/bench.tar" | cut -f 1) MiB"
