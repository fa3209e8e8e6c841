#!/bin/sh
# tools.sh OUT: makes OUT/tools.img, an ext4 image with programs of Debian's for the long device tests: unpacked
# packages and all they depend on, not set up, to be used through a chroot. As an ordinary user.
#
# The packages stay in OUT/pool-tools, so that a second run needs no network.
set -eu
export LC_ALL=C
umask 022
packages="coreutils bash util-linux e2fsprogs dosfstools fio iperf3 ethtool iproute2 iputils-ping socat curl attr acl \
    alsa-utils usbutils evtest libinput-tools edid-decode python3-minimal libpython3-stdlib spice-vdagent \
    spice-webdavd dbus xserver-xorg-core xserver-xorg-input-libinput xserver-xorg-video-fbdev xserver-xorg-legacy \
    xclip xsel x11-utils x11-xserver-utils davfs2 tcc libc6-dev stress-ng openssl xz-utils strace procps kmod udev"
mkdir -p "$1/pool-tools/partial"
out=$(cd "$1" && pwd)
PATH=$PATH:/usr/sbin:/sbin
tree=$out/tools-tree
trap 'rm -rf "$tree"' EXIT

say()
{
    echo "tools image: $*"
}

# Nothing is installed, as far as this apt knows, so it fetches everything down to libc.
fetch()
{
    : > "$out/no-status"
    apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o APT::Sandbox::User="" \
        -o Dir::State::status="$out/no-status" -o Dir::Cache::archives="$out/pool-tools" install $packages > "$out/tools.log" 2>&1 ||
        { cat "$out/tools.log" >&2; echo "tools image: cannot fetch the packages" >&2; exit 1; }
    rm "$out/no-status" "$out/tools.log"
    echo "$packages" > "$out/pool-tools/packages"
}

if [ "$(cat "$out/pool-tools/packages" 2> /dev/null)" != "$packages" ]; then
    say "downloading (about 130 MB)"
    fetch
fi
say "unpacking"
rm -rf "$tree"
mkdir -p "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib" "$tree/usr/lib64"
for folder in bin sbin lib lib64; do
    ln -s usr/$folder "$tree/$folder"
done
for package in "$out"/pool-tools/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$tree" --keep-directory-symlink --no-same-owner --exclude='./dev/*'
done
rm -rf "$tree/usr/share/doc" "$tree/usr/share/man" "$tree/usr/share/locale" "$tree/usr/share/info"
mkdir -p "$tree/proc" "$tree/sys" "$tree/dev" "$tree/tmp" "$tree/mnt" "$tree/run" "$tree/root" "$tree/var/tmp"
ln -sf bash "$tree/usr/bin/sh"
cat > "$tree/etc/passwd" << END
root:x:0:0:root:/root:/bin/bash
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
user:x:1000:1000:user:/tmp:/bin/bash
END
cat > "$tree/etc/group" << END
root:x:0:
messagebus:x:100:
user:x:1000:
END
size=$(du -sm "$tree" | cut -f 1)
rm -f "$out/tools.img.new"
mke2fs -q -t ext4 -O ^has_journal -E root_owner=0:0 -d "$tree" "$out/tools.img.new" "$((size + size / 8 + 32))M"
mv "$out/tools.img.new" "$out/tools.img"
say "$out/tools.img: $size MiB"
