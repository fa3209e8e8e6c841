#!/bin/sh
# build.sh OUT [FOLDER...]: makes the demo guest from Debian's own packages, as an ordinary user and without
# installing anything on the host:
#
#   OUT/vmlinuz            Debian's kernel, as it is
#   OUT/initrd.img         busybox, the modules of modules.txt, our init: shells on the screen, hvc0, ttyS0
#   OUT/initrd-serial.img  busybox and a shell on ttyS0; no modules
#   OUT/initrd-NAME.img    the same from another folder NAME with modules.txt, init and bin/
#   OUT/busybox            the guests' busybox, for measurements on the host
#
# The packages stay in OUT/pool, so that a second run needs no network. The archives are reproducible: sorted
# names, one date, root as the owner, no device nodes (devtmpfs brings those).
set -eu
export LC_ALL=C
umask 022
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/pool"
out=$(cd "$1" && pwd)
work=$out/work
PATH=$PATH:/usr/sbin:/sbin
. "$here/guest.sh"

say()
{
    echo "demo guest: $*"
}

die()
{
    echo "demo guest: $*" >&2
    exit 1
}

for tool in apt-get dpkg-deb depmod cpio gzip; do
    command -v $tool > /dev/null || die "$tool is missing; 'make deps' installs what is needed"
done

# apt with package lists of our own, for hosts whose lists are old or were removed. It needs no root.
own_apt()
{
    tool=$1
    shift
    "$tool" -o Dir::State::lists="$out/apt/lists" -o Dir::Cache="$out/apt/cache" -o APT::Sandbox::User="" "$@"
}

# The newest kernel package that the metapackage wants.
kernel_package()
{
    "$@" depends linux-image-amd64 2> /dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' |
        head -n 1
}

# Puts the newest version of two packages into pool/; $@ says how to call apt-get.
download()
{
    (cd "$out/pool" && "$@" -qq -o APT::Sandbox::User="" download "$kernel" busybox-static)
}

# The newest file in pool/ whose name starts with $1, or nothing.
pooled()
{
    ls -t "$out/pool/$1"*.deb 2> /dev/null | head -n 1
}

fetch()
{
    kernel=$(kernel_package apt-cache)
    if [ -n "$kernel" ]; then
        say "downloading $kernel and busybox-static (72 MB)"
        if download apt-get 2> "$out/apt.log"; then
            return
        fi
    fi
    say "the package lists of this system are missing or old; fetching own ones"
    mkdir -p "$out/apt/lists/partial" "$out/apt/cache/archives/partial"
    own_apt apt-get -qq update || die "cannot reach the package archive"
    kernel=$(kernel_package own_apt apt-cache)
    [ -n "$kernel" ] || die "apt knows no linux-image-amd64; is this Debian on amd64?"
    download own_apt apt-get || die "cannot download $kernel and busybox-static"
    rm -rf "$out/apt"
}

rm -rf "$work"
mkdir -p "$work"
if [ -z "$(pooled linux-image-)" ] || [ -z "$(pooled busybox-static)" ]; then
    fetch
fi
say "unpacking $(basename "$(pooled linux-image-)")"
dpkg-deb -x "$(pooled busybox-static)" "$work"
# Only what is needed: the modules are 400 MB, so they are unpacked, picked from, and removed again.
dpkg-deb -x "$(pooled linux-image-)" "$work/linux"
version=$(ls "$work/linux/lib/modules")
depmod -b "$work/linux" "$version"

demo=$work/demo
guest "$here" "$demo"
install -m 644 "$here/banner" "$here/profile" "$here/help" "$demo/etc/"
echo "root::0:0:root:/root:/bin/sh" > "$demo/etc/passwd"
echo "root:x:0:" > "$demo/etc/group"
archive "$demo" "$out/initrd.img"

root "$work/serial"
install -m 755 "$here/init-serial" "$work/serial/init"
archive "$work/serial" "$out/initrd-serial.img"

shift
for folder in "$@"; do
    tree=$work/$(basename "$folder")
    guest "$folder" "$tree"
    archive "$tree" "$out/initrd-$(basename "$folder").img"
done

cp "$work/bin/busybox" "$out/busybox"
cp "$work/linux/boot/vmlinuz-$version" "$out/vmlinuz.new"
mv "$out/vmlinuz.new" "$out/vmlinuz" # last: make looks at it
rm -rf "$work"
say "$out has vmlinuz ($version), initrd.img ($(du -k "$out/initrd.img" | cut -f1) KiB), initrd-serial.img"
