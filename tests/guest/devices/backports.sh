#!/bin/sh
# backports.sh OUT: makes a second guest for the device tests from Debian's backported kernel, for drivers that the
# stable kernel comes without (virtio_snd):
#
#   OUT/vmlinuz-backports       that kernel, as it is
#   OUT/initrd-backports.img    busybox, the modules of modules-backports.txt, aplay and arecord
#
# As an ordinary user; the packages stay in OUT/pool-backports, so that a second run needs no network. Status 3: the
# packages cannot be had.
set -eu
export LC_ALL=C
umask 022
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/pool-backports"
out=$(cd "$1" && pwd)
work=$out/work-backports
PATH=$PATH:/usr/sbin:/sbin
. "$here/../../../data/demo/guest.sh"

say()
{
    echo "backports guest: $*"
}

die()
{
    say "$*" >&2
    exit 1
}

# apt with lists of our own: this system's, and beside its first Debian archive the backports.
own_apt()
{
    tool=$1
    shift
    "$tool" -o Dir::Etc::SourceList="$out/apt-bp/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::lists="$out/apt-bp/lists" -o Dir::Cache="$out/apt-bp/cache" -o APT::Sandbox::User="" "$@"
}

fetch()
{
    mkdir -p "$out/apt-bp/lists/partial" "$out/apt-bp/cache/archives/partial"
    archive_url=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 2> /dev/null |
        awk '$2 == "bookworm" { print $1; exit }')
    [ "$archive_url" ] || { say "this system has no Debian 12 archive in its sources"; exit 3; }
    for suite in bookworm bookworm-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive_url $suite main"
    done > "$out/apt-bp/sources.list"
    own_apt apt-get -qq update > "$out/apt.log" 2>&1 || { say "the backports cannot be reached"; exit 3; }
    kernel=$(own_apt apt-cache search --names-only '^linux-image-6\.12\.[0-9]+\+deb12-amd64$' | awk '{ print $1 }' |
        sort -V | tail -n 1)
    [ "$kernel" ] || { say "the backports have no Linux 6.12"; exit 3; }
    say "downloading $kernel and alsa-utils (about 110 MB)"
    (cd "$out/pool-backports" && own_apt apt-get -qq download "$kernel" alsa-utils libasound2 libasound2-data libc6) \
        > "$out/apt.log" 2>&1 || { say "the packages cannot be downloaded"; exit 3; }
    rm -rf "$out/apt-bp" "$out/apt.log"
}

ls "$out"/pool-backports/linux-image-*.deb > /dev/null 2>&1 || fetch
rm -rf "$work"
mkdir -p "$work/bin" "$work/alsa"
trap 'rm -rf "$work"' EXIT
cp "$out/busybox" "$work/bin/busybox"
say "unpacking"
dpkg-deb -x "$out"/pool-backports/linux-image-*.deb "$work/linux"
version=$(ls "$work/linux/lib/modules")
depmod -b "$work/linux" "$version"

mkdir "$work/folder"
cp -r "$here/init" "$here/bin" "$work/folder/"
cp "$here/modules-backports.txt" "$work/folder/modules.txt"
guest "$work/folder" "$work/tree"
for package in alsa-utils libasound2_ libasound2-data libc6; do
    dpkg-deb -x "$out"/pool-backports/$package*.deb "$work/alsa"
done
lib=lib/x86_64-linux-gnu
mkdir -p "$work/tree/$lib" "$work/tree/lib64" "$work/tree/usr/share"
for file in $lib/libc.so.6 $lib/libm.so.6 usr/$lib/libasound.so.2; do
    cp -L "$work/alsa/$file" "$work/tree/$lib/"
done
cp -L "$work/alsa/$lib/ld-linux-x86-64.so.2" "$work/tree/lib64/"
cp "$work/alsa/usr/bin/aplay" "$work/alsa/usr/bin/amixer" "$work/tree/usr/bin/"
ln -s aplay "$work/tree/usr/bin/arecord"
cp -r "$work/alsa/usr/share/alsa" "$work/tree/usr/share/alsa"
archive "$work/tree" "$out/initrd-backports.img"
cp "$work/linux/boot/vmlinuz-$version" "$out/vmlinuz-backports.new"
mv "$out/vmlinuz-backports.new" "$out/vmlinuz-backports"
say "$out has vmlinuz-backports ($version), initrd-backports.img"
