#!/bin/sh
# build.sh FOLDER: a cloud image of Debian, made of its packages: FOLDER/cloud.raw.zst, a disk with GRUB and cloud-init.
#
# What publishers offer as a cloud image is this: a GUID partition table, an EFI system partition, a root file system at
# the end, so that it can grow, and cloud-init, which looks for a seed at the first start. mmdebstrap makes the root file
# system from the mirror that apt uses on this computer, which needs root.
set -eu
out=$(realpath "$1")
packages=systemd-sysv,udev,dbus,linux-image-cloud-amd64,cloud-init,locales,keyboard-configuration,console-setup
packages=$packages,openssh-server,sudo,netplan.io,cloud-guest-utils,e2fsprogs,iproute2,initramfs-tools,tzdata,kmod,fdisk
grub=/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi
work=$(mktemp -d "$out/cloud.XXXXXX")
trap 'rm -rf "$work"' EXIT
[ "$(id -u)" = 0 ] || { echo "making a root file system needs root" >&2; exit 3; }
for tool in mmdebstrap zstd mke2fs mkfs.vfat mcopy sfdisk; do
    PATH=$PATH:/sbin:/usr/sbin command -v $tool > /dev/null || { echo "$tool is missing" >&2; exit 3; }
done
PATH=$PATH:/sbin:/usr/sbin

root=$work/root
if [ -n "${CLOUD_ROOT_TAR:-}" ]; then
    mkdir "$root" && tar -C "$root" -xf "$CLOUD_ROOT_TAR"
else
    mmdebstrap --quiet --variant=apt --include=$packages bookworm "$root"
fi
# As publishers leave it: nothing that would be the same in two machines.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id "$root"/var/lib/dbus/machine-id
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
: > "$root/etc/machine-id"
echo 'LABEL=cloud / ext4 defaults 0 1' > "$root/etc/fstab"
echo 'datasource_list: [ NoCloud, None ]' > "$root/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
kernel=$(ls "$root"/boot/vmlinuz-* | tail -n 1)
initrd=$(ls "$root"/boot/initrd.img-* | tail -n 1)

mkdir -p "$work/esp/EFI/BOOT" "$work/esp/boot/grub"
cp "$grub" "$work/esp/EFI/BOOT/BOOTX64.EFI"
cp "$kernel" "$work/esp/vmlinuz"
cp "$initrd" "$work/esp/initrd.img"
cat > "$work/esp/boot/grub/grub.cfg" <<END
set timeout=0
menuentry "Linux" {
    linux /vmlinuz root=LABEL=cloud ro console=tty0 console=ttyS0
    initrd /initrd.img
}
END
truncate -s 120M "$work/esp.fat"
mkfs.vfat -F 32 "$work/esp.fat" > /dev/null
mcopy -s -i "$work/esp.fat" "$work"/esp/EFI "$work"/esp/boot "$work"/esp/vmlinuz "$work"/esp/initrd.img ::/

truncate -s 1400M "$work/root.ext4"
mke2fs -q -t ext4 -L cloud -d "$root" "$work/root.ext4"
truncate -s 1522M "$work/disk"
printf '%s\n' 'label: gpt' 'start=2048, size=245760, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B' \
    'start=247808, size=2867200, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709' | sfdisk -q "$work/disk"
dd if="$work/esp.fat" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/root.ext4" of="$work/disk" bs=1M seek=121 conv=notrunc,sparse status=none
zstd -q -3 -f "$work/disk" -o "$out/cloud.raw.zst.tmp"
mv "$out/cloud.raw.zst.tmp" "$out/cloud.raw.zst"
