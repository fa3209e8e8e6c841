#!/bin/sh
# The KVM backend on a real kvm-amd, wherever this runs: QEMU's TCG emulates a processor with SVM and nested paging,
# Debian's kernel with its own kvm-amd.ko runs on that, and on it our bare-metal guests and a stock Debian kernel.
# Slow (minutes), but everything below ioctl(KVM_RUN) is the code of a real host. `make test-kvm` starts it.
#
# QEMU's processor itself fails checks of our guests (no segment limits, no #AC, other error codes). So the guests are
# made to name every check that fails and go on, and run twice: on QEMU alone, and on our KVM backend inside it. What
# fails on the second only is our fault, unless the source line says what QEMU does there ("QEMU: ...").
#
#     run.sh [bare [GUEST]] [gdb] [linux]      default: all three
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
for program in "$build/tests/test_bare" "$build/tests/test_gdb" "$build/espalierctl"; do
    strip -o "$root/build/$(basename "$program")" "$program"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done
done
cp -r "$work/bare" "$root/build/bare"
rm -f "$root"/build/bare/*.o
cp "$build/guest/vmlinuz" "$build/guest/initrd-serial.img" "$root/build/guest/"
echo "${*:-bare gdb linux}" > "$root/what"
# Not compressed: unpacking it on an emulated processor takes longer than reading it.
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd.img"
rm -rf "$root"

log=$work/host.log
timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg -cpu max,+svm,+npt -smp "$cpus" -m "$memory" -nodefaults \
    -display none -no-reboot -serial stdio -kernel "$build/guest/vmlinuz" -initrd "$work/initrd.img" \
    -append "console=ttyS0 quiet panic=-1" < /dev/null 2>&1 | tr -d '\r' | tee "$log" || true

# plain GUEST: the lines that fail without any KVM. A BIOS of one jump starts it at 8000h as test_bare does.
plain()
{
    timeout 5 qemu-system-x86_64 -accel tcg -cpu max,+svm -m 16 -display none -no-reboot -bios "$work/bios" \
        -device isa-debug-exit,iobase=0xf4,iosize=4 -debugcon "file:$work/plain.log" \
        -device "loader,file=$work/bare/$1.bin,addr=0x8000,force-raw=on" < /dev/null > /dev/null 2>&1 || true
    cat "$work/plain.log"
}

# Compares what the guests said: log lines "log GUEST: 0012 0034".
compare()
{
    head -c 65520 /dev/zero > "$work/bios"
    printf '\352\000\200\000\000\000\000\000\000\000\000\000\000\000\000\000' >> "$work/bios"
    excused=0
    sed -n 's/^log \([a-z]*\): /\1 /p' "$log" > "$work/said"
    while read -r guest lines; do
        known=" $(plain "$guest") "
        for line in $lines; do
            case $line in [0-9][0-9][0-9][0-9]) ;; *) continue ;; esac
            number=$(echo "$line" | sed 's/^0*//')
            source=$(sed -n "${number}p" "$here/../bare/$guest.S")
            case $known in
            *" $line "*) excused=$((excused + 1)) ;;
            *) case $source in
                *QEMU:*) excused=$((excused + 1)) ;;
                *) echo "not ok $guest.S:$number:$source"
                    bad=$((bad + 1)) ;;
                esac ;;
            esac
        done
    done < "$work/said"
    echo "$excused checks fail on QEMU's processor itself, $bad on KVM only"
}

bad=0
compare
[ "$bad" -eq 0 ] || exit 1

# The host's init ends with one line of its own: "kvm-host: N wrong".
grep -q '^kvm-host: 0 wrong$' "$log" && exit 0
grep -q '^kvm-host: [0-9]* wrong$' "$log" || echo "the emulated host did not get to its end in $seconds seconds"
exit 1
