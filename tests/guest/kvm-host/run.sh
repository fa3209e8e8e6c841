#!/bin/sh
# The KVM backend on a real kvm-amd, wherever this runs: QEMU's TCG emulates a processor with SVM and nested paging,
# Debian's kernel with its own kvm-amd.ko runs on that, and on it our bare-metal guests and a stock Debian kernel.
# Slow (minutes), but everything below ioctl(KVM_RUN) is the code of a real host. `make test-kvm` starts it.
#
# QEMU's processor itself fails checks of our guests (no segment limits, no #AC, other error codes). So the guests are
# made to name every check that fails and go on, and run twice: on QEMU alone, and on our KVM backend inside it. What
# fails on the second only is our fault, unless the source line says what QEMU does there ("QEMU: ...").
#
#     run.sh [unit] [bare [GUEST]] [gdb] [linux] [reboot] [devices] [saved] [sleep] [efi] [io]  default: all of them
#     run.sh sleep-soft | sleep-tsc | sleep-clock | sleep-on  one of the hosts that sleep
#
# io is fio and iperf3 in a Linux guest on our KVM backend and on QEMU's, in one table of ratios (tests/bench/guest_io.py).
# It is run from this computer's own files, which the emulated host has as a read-only 9P share, for QEMU and Python are
# too much for an initrd.
#
# The emulated host has one processor: with two, its kernel now and then locks up when it patches its own code, which KVM
# has it do each time a guest switches a local APIC on or off, and with two that QEMU runs by turns, guests of two CPUs
# stop for ever. Guests of several CPUs run all the same.
#
# CPUS, MEMORY (MiB) of the emulated host; SECONDS_MAX until it is given up. UEFI firmware has a host of its own, which
# counts instructions for time: QEMU 7.2 ends with an assertion in tcg_handle_interrupt, it seems when a guest of a guest
# writes CR8 while an interrupt waits for it, which firmware does at the end of each timer interrupt. Where time goes by
# the instruction, the next one is far away then. It is tried again when that happens.
#
# Exit status 0: all passed; 77: this computer lacks something that is needed.
set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${ESPALIER_BUILD:-build}" && pwd)
cpus=${CPUS:-1}
memory=${MEMORY:-3072}
seconds=${SECONDS_MAX:-900}
work=$build/kvm-host
root=$work/root

lacking()
{
    echo "$*"
    exit 77
}

command -v qemu-system-x86_64 > /dev/null || lacking "qemu-system-x86_64 is missing"
case " ${*:-io} " in *" io "*)
    command -v iperf3 > /dev/null || lacking "iperf3 is missing; 'make bench' installs it" ;;
esac
package=$(ls -t "$build"/guest/pool/linux-image-*.deb 2> /dev/null | head -n 1)
[ -n "$package" ] || lacking "no kernel package in $build/guest/pool; 'make guest' fetches it"

# The kernel's modules, the deepest first; and those that the share needs.
modules="irqbypass kvm ccp kvm-amd"
share="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p"
mkdir -p "$work"
if [ ! -e "$work/modules/9p.ko" ] || [ "$package" -nt "$work/modules/9p.ko" ]; then
    mkdir -p "$work/modules"
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/modules" --transform 's|.*/||' --touch --wildcards \
        $(printf '*/%s.ko ' $modules $share)
fi

rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/modules" "$root/build/guest"
cp "$build/guest/busybox" "$root/bin/"
cp "$here/init" "$root/init"
for module in $modules; do
    cp "$work/modules/$module.ko" "$root/modules/"
    echo "$module" >> "$root/modules/order"
done
for module in $share; do
    cp "$work/modules/$module.ko" "$root/modules/"
    echo "$module" >> "$root/modules/share"
done
for program in "$build/tests/test_bare" "$build/tests/test_gdb" "$build/tests/test_kvm" "$build/tests/test_slots" \
    "$build/tests/test_host_sleep" "$build/espalierctl"; do
    strip -o "$root/build/$(basename "$program")" "$program"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done
done
cp -r "$work/bare" "$root/build/bare"
rm -f "$root"/build/bare/*.o
cp "$build/guest/vmlinuz" "$build/guest/initrd-serial.img" "$build/guest/initrd-devices.img" "$root/build/guest/"
for firmware in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_VARS_4M.fd; do
    [ ! -e $firmware ] || install -D -t "$root/build/ovmf" $firmware
done
# Not compressed: unpacking it on an emulated processor takes longer than reading it.
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd.img"
rm -rf "$root"

log=$work/host.log
: > "$log"

# boot LOG WORDS QEMU-OPTION...: an emulated host that does what the words say, with commas between. On a busy computer
# it would find that its timer does not tick, and give up.
boot()
{
    out=$1
    words=$2
    shift 2
    timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg -cpu max,+svm,+npt -m "$memory" "$@" ${QEMU_OPTIONS:-} -nodefaults \
        -display none -no-reboot -serial stdio -kernel "$build/guest/vmlinuz" -initrd "$work/initrd.img" \
        -append "console=ttyS0 quiet no_timer_check panic=-1 what=$words where=$here build=$build ${append:-}" < /dev/null 2>&1 | stdbuf -oL tr -d '\r' | tee "$out" || true
}

# ended LOG: its init ends with one line of its own, "kvm-host: N wrong".
ended()
{
    grep -q '^kvm-host: 0 wrong$' "$1" && return
    grep -q '^kvm-host: [0-9]* wrong$' "$1" || echo "the emulated host did not get to its end in $seconds seconds"
    return 1
}

firmware=
io=
sleeps=
rest=
for word in ${*:-unit bare gdb linux reboot devices saved sleep efi io}; do
    case $word in
    efi) firmware=yes ;;
    io) io=yes ;;
    sleep) sleeps="sleep-soft sleep-tsc sleep-clock sleep-on" ;;
    sleep-*) sleeps="$sleeps $word" ;;
    *) rest=$rest,$word ;;
    esac
done
failed=
bad=0
if [ -n "$rest" ]; then
    boot "$log" "${rest#,}" -smp "$cpus"
    ended "$log" || failed=yes
fi
if [ -n "$io" ]; then
    boot "$work/io.log" io -smp 1 -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=host,mount_tag=host
    ended "$work/io.log" || failed=yes
fi
# Hosts that sleep once, suspended to RAM (a second time they wake up at once). QEMU's TSC goes on meanwhile, and stands
# still where time goes by the instruction. To have its kernel tell the time by it takes an option.
append=tsc=reliable
for word in $sleeps; do
    [ "$word" = sleep-on ] && counter= || counter="-icount shift=0"
    boot "$work/$word.log" "$word" -smp 1 -machine q35,hpet=off $counter
    ended "$work/$word.log" || failed=yes
done
append=
tries=3
while [ -n "$firmware" ]; do
    tries=$((tries - 1))
    boot "$work/firmware.log" efi -smp 1 -icount shift=0
    ended "$work/firmware.log" && break
    if [ $tries -eq 0 ] || ! grep -q 'tcg_handle_interrupt: assertion failed' "$work/firmware.log"; then
        failed=yes
        break
    fi
    echo "QEMU failed, not we; once more"
done

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

compare
[ "$bad" -eq 0 ] && [ -z "$failed" ]
