#!/bin/sh
# The KVM backend on a real kvm-amd, wherever this runs: QEMU's TCG emulates a processor with SVM and nested paging,
# Debian's kernel with its own kvm-amd.ko runs on that, and on it our bare-metal guests and a stock Debian kernel.
# Slow (minutes), but everything below ioctl(KVM_RUN) is the code of a real host. `make test-kvm` starts it.
#
#     run.sh [bare [GUEST]] [linux]      default: bare linux
#
# CPUS, MEMORY (MiB) of the emulated host; SECONDS_MAX until it is given up. Exit status 0: all passed; 77: this
# computer lacks something that is needed.
set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${ESPALIER_BUILD:-build}" && pwd)
cpus=${CPUS:-2}
memory=${MEMORY:-1536}
seconds=${SECONDS_MAX:-900}
work=$build/kvm-host
root=$work/root

lacking()
{
    echo "$*"
    exit 77
}

command -v qemu-system-x86_64 > /dev/null || lacking "qemu-system-x86_64 is missing"
package=$(ls -t "$build"/guest/pool/linux-image-*.deb 2> /dev/null | head -n 1)
[ -n "$package" ] || lacking "no kernel package in $build/guest/pool; 'make guest' fetches it"

# The kernel's modules, the deepest first.
modules="irqbypass kvm ccp kvm-amd"
mkdir -p "$work"
if [ ! -e "$work/modules/kvm-amd.ko" ] || [ "$package" -nt "$work/modules/kvm-amd.ko" ]; then
    mkdir -p "$work/modules"
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/modules" --transform 's|.*/||' --touch --wildcards \
        '*/irqbypass.ko' '*/kvm.ko' '*/ccp.ko' '*/kvm-amd.ko'
fi

rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/modules" "$root/build/guest"
cp "$build/guest/busybox" "$root/bin/"
cp "$here/init" "$root/init"
for module in $modules; do
    cp "$work/modules/$module.ko" "$root/modules/"
    echo "$module" >> "$root/modules/order"
done
for program in "$build/tests/test_bare" "$build/espalierctl"; do
    strip -o "$root/build/$(basename "$program")" "$program"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done
done
cp -r "$work/bare" "$root/build/bare"
rm -f "$root"/build/bare/*.o
cp "$build/guest/vmlinuz" "$build/guest/initrd-serial.img" "$root/build/guest/"
echo "${*:-bare linux}" > "$root/what"
# Not compressed: unpacking it on an emulated processor takes longer than reading it.
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd.img"
rm -rf "$root"

log=$work/host.log
timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg -cpu max,+svm,+npt -smp "$cpus" -m "$memory" -nodefaults \
    -display none -no-reboot -serial stdio -kernel "$build/guest/vmlinuz" -initrd "$work/initrd.img" \
    -append "console=ttyS0 quiet panic=-1" < /dev/null 2>&1 | tr -d '\r' | tee "$log" || true

# The host's init ends with one line of its own: "kvm-host: N wrong".
grep -q '^kvm-host: 0 wrong$' "$log" && exit 0
grep -q '^kvm-host: [0-9]* wrong$' "$log" || echo "the emulated host did not get to its end in $seconds seconds"
exit 1
