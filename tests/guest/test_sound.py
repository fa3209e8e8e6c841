#!/usr/bin/env python3
"""virtio-snd with Linux's own driver (Debian's backported kernel has it): tones played in the guest arrive unbroken in
a file and in a sound server, and what the host records arrives in the guest. time-limit: 500 alone: yes"""

import array
import math
import os
import shutil
import subprocess
import time
import wave

import guest as g
from guest import CTL, PEER, Failure, Skip, check, equal, main, need, scratch

KERNEL = os.path.join(g.GUEST, "vmlinuz-backports")
INITRD = os.path.join(g.GUEST, "initrd-backports.img")
RATE = 48000
HZ = 1000
SECONDS = 3


def tone(frames, hz=HZ, rate=RATE):
    """Both channels: the left one a sine, the right one its inverse."""
    samples = array.array("h")
    for n in range(frames):
        value = round(20000 * math.sin(2 * math.pi * hz * n / rate))
        samples.extend((value, -value))
    return samples


def boot(*devices):
    if PEER:
        raise Skip("only for espalierctl")
    if not os.path.exists(KERNEL):
        raise Skip("the guest with the backported kernel is not built (its packages could not be had)")
    g.KERNEL = KERNEL
    # The largest buffer Linux's driver can be asked for: other tests keep this computer busy.
    cmdline = "console=ttyS0 virtio_snd.pcm_buffer_ms=1000 virtio_snd.pcm_period_ms_max=200"
    return g.boot_serial(initrd=INITRD, cmdline=cmdline, devices=("uart,stdio", *devices), memory=768)


def find(samples, wanted, what):
    """Where `wanted` (one channel) begins in `samples`, sample by sample, whatever stands before it."""
    key = wanted[:200].tobytes()
    data = samples.tobytes()
    at = data.find(key)
    while at >= 0 and at % 2:
        at = data.find(key, at + 1)
    check(at >= 0, f"{what}: the tone is not there; {len(samples)} samples, loudest {max(samples, default=0)}")
    return at // 2


def tone_disk(folder, samples):
    """Raw samples as a disk of the guest's, padded to whole sectors."""
    path = os.path.join(folder, "tone.raw")
    data = samples.tobytes()
    with open(path, "wb") as file:
        file.write(data + bytes(-len(data) % 512))
    return path


def played_in_the_guest_it_is_in_the_file_to_the_last_sample():
    with scratch() as folder:
        samples = tone(RATE * SECONDS)
        path, out = tone_disk(folder, samples), os.path.join(folder, "out.wav")
        with boot(f"virtio-sound,backend=file,playFile={out}", f"virtio-blk,path={path},readonly") as guest:
            text = guest.run("cat /proc/asound/cards /proc/asound/pcm; amixer controls | sort")
            check("VirtIO SoundCard" in text, f"sound cards in the guest: {text}")
            check("playback 1" in text and "capture 1" in text, f"streams in the guest: {text}")
            check("Playback Channel Map" in text, f"channel maps in the guest: {text}")
            start = time.monotonic()
            guest.run(f"aplay -q -D hw:0,0 -t raw -f S16_LE -c 2 -r {RATE} /dev/vda", seconds=120)
            seconds = time.monotonic() - start
            check(seconds > SECONDS * 0.8, f"{SECONDS} s of sound were played in {seconds:.1f} s")
        with wave.open(out) as wav:
            equal((wav.getnchannels(), wav.getsampwidth(), wav.getframerate()), (2, 2, RATE), "format of the file")
            heard = array.array("h", wav.readframes(wav.getnframes()))
        at = find(heard[0::2], samples[0::2], "left")
        check(heard[2 * at:2 * at + len(samples)] == samples, "the tone is not whole in the file")


def every_format_of_the_backend_is_offered():
    with boot("virtio-sound,output,backend=silent") as guest:
        text = guest.run("aplay -D hw:0,0 --dump-hw-params -t raw -d 1 /dev/zero 2>&1; cat /proc/asound/pcm")
        for name in ("U8", "S16_LE", "S24_LE", "S32_LE", "FLOAT_LE", "MU_LAW", "A_LAW", "S24_3LE"):
            check(name in text, f"the format {name} is not offered: {text}")
        check("RATE: [5512 192000]" in text and "CHANNELS: [1 2]" in text, f"rates and channels: {text}")
        check("capture" not in text, f"a capture stream though only output was asked for: {text}")


def a_tone_arrives_unbroken_in_a_sound_servers_null_sink():
    need("pulseaudio", "pactl", "parec")
    with scratch() as folder:
        environment = {**os.environ, "XDG_RUNTIME_DIR": folder, "HOME": folder, "PULSE_RUNTIME_PATH": folder + "/pulse"}
        server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
             "-L", f"module-null-sink sink_name=null rate={RATE} format=s16le", "-L",
             f"module-native-protocol-unix socket={folder}/socket auth-anonymous=1"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.environ["PULSE_SERVER"] = f"unix:{folder}/socket"
        recorder = None
        try:
            wait_for_server(server)
            record = os.path.join(folder, "record.raw")
            with open(record, "wb") as file:
                recorder = subprocess.Popen(["parec", "-d", "null.monitor", "--format=s16le", f"--rate={RATE}",
                                             "--channels=2", "--latency-msec=50"], stdout=file)
            # Silence first: whoever begins to play, a null sink's monitor loses some of the beginning.
            samples = array.array("h", bytes(2 * RATE)) + tone(RATE * SECONDS)
            with boot("virtio-sound,output", f"virtio-blk,path={tone_disk(folder, samples)},readonly") as guest:
                guest.run(f"aplay -q -D hw:0,0 -t raw -f S16_LE -c 2 -r {RATE} /dev/vda", seconds=120)
                whole_tone(record, RATE * SECONDS)
        finally:
            os.environ.pop("PULSE_SERVER")
            for process in (recorder, server):
                if process:
                    process.kill()
                    process.wait()


def wait_for_server(server):
    end = time.monotonic() + 30 * g.PATIENCE
    while subprocess.run(["pactl", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise Skip(f"pulseaudio does not come up here (status {server.poll()})")
        time.sleep(0.2)


def whole_tone(record, frames):
    """Waits until the last of the tone has been recorded; then all of it has to be there without a gap."""
    end = time.monotonic() + 20 * g.PATIENCE
    while True:
        with open(record, "rb") as file:
            data = file.read()
        heard = array.array("h", data[:len(data) // 4 * 4])[0::2]
        loud = [n for n in range(0, len(heard), 50) if any(abs(value) > 1000 for value in heard[n:n + 50])]
        if loud and len(heard) - loud[-1] > RATE // 2:
            break
        if time.monotonic() > end:
            raise Failure(f"{len(heard)} samples recorded, {len(loud) * 50} of them loud, and no end of it")
        time.sleep(0.3)
    length = loud[-1] + 50 - loud[0]
    check(abs(length - frames) < 100, f"the tone has {frames} samples, its recording {length}")
    gaps = [n for n in range(loud[0] + 50, loud[-1], 50) if max(abs(value) for value in heard[n:n + 50]) < 15000]
    equal(gaps, [], "places without the tone in the middle of it")


def what_the_host_records_arrives_in_the_guest():
    with scratch() as folder:
        source, disk = os.path.join(folder, "in.wav"), os.path.join(folder, "disk.img")
        samples = tone(RATE * 2, hz=440)
        with wave.open(source, "wb") as wav:
            wav.setparams((2, 2, RATE, 0, "NONE", ""))
            wav.writeframes(samples.tobytes())
        with open(disk, "wb") as file:
            file.truncate(4 << 20)
        with boot(f"virtio-sound,input,backend=file,recordFile={source}", f"virtio-blk,path={disk}") as guest:
            guest.run(f"arecord -q -D hw:0,0 -t raw -f S16_LE -c 2 -r {RATE} -d 3 /tmp/in.raw; "
                      "dd if=/tmp/in.raw of=/dev/vda bs=64k conv=fsync 2>&1", seconds=120)
        with open(disk, "rb") as file:
            heard = array.array("h", file.read())
        at = find(heard[0::2], samples[0::2], "left")
        check(heard[2 * at:2 * at + len(samples)] == samples, "the recording is not whole in the guest")


main(played_in_the_guest_it_is_in_the_file_to_the_last_sample, every_format_of_the_backend_is_offered,
     a_tone_arrives_unbroken_in_a_sound_servers_null_sink, what_the_host_records_arrives_in_the_guest)
