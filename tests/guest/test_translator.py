#!/usr/bin/env python3
"""The translator of the software CPU boots the stock Debian kernel to its prompt on one, two and four CPUs: by itself, and
in lockstep, where the interpreter runs every block as well and the first difference ends the machine.

time-limit: 600
"""
from guest import CPU, PEER, Skip, boot, check, equal, main

import re

LOCKSTEP_SECONDS = 200
BAD = ("BUG:", "Oops", "Call Trace", "WARNING:", "rcu_sched self-detected", "soft lockup", "segfault", "general protection",
       "invalid opcode", "traps:")


def figure(guest, name):
    """What --cpu-stats says of each CPU; its table goes on below when it is too wide."""
    rows = re.findall(rf"^ +{name} +([\d, ]+)$", guest.seen, re.M)
    check(rows, f"no figures of {name!r}:\n{guest.tail()}")
    total, *each = [int(number.replace(",", "")) for row in rows for number in row.split()]
    equal(sum(each), total, f"sum of {name}")
    return each


def boots(engine, cpus, seconds):
    """To the prompt and off again; returns the guest that was, for its figures."""
    if PEER or CPU != "soft":
        raise Skip("only for the software CPU")
    with boot(cpu=f"soft:{engine}", cpus=cpus, extra=["--cpu-stats"]) as guest:
        guest.expect(r"^espalier-serial: ready in [\d.]+ s$", seconds)
        guest.expect(r"^serial# ", seconds)
        equal(guest.run("nproc", seconds).strip(), str(cpus), "nproc")
        # Some work on every CPU, with processes that come and go.
        guest.run(f"for c in $(seq 0 {cpus - 1}); do taskset -c $c sh -c 'i=0; while [ $i -lt 100 ]; do "
                  "i=$((i+1)); echo $i | wc -c > /dev/null; done' & done; wait", seconds)
        log = guest.run("dmesg", seconds)
        for bad in BAD:
            line = re.search(f"^.*{re.escape(bad)}.*$", log, re.M)
            check(not line, f"the kernel says: {line.group(0) if line else ''}")
        guest.send("poweroff -f\n")
        equal(guest.wait(seconds), 0, "exit status after the guest's poweroff")
        guest.expect(r"espalierctl: CPU figures \(soft, translator\):$", 5)
        return guest


def by_itself(cpus):
    guest = boots("translator", cpus, 100)
    translated = figure(guest, "blocks translated")
    check(min(translated) > 1000, f"blocks translated by each CPU: {translated}")


def in_lockstep(cpus):
    guest = boots("translator,lockstep", cpus, LOCKSTEP_SECONDS)
    compared = figure(guest, "blocks compared in lockstep")
    check(sum(compared) > 10_000_000 and min(compared) > 100_000, f"blocks compared by each CPU: {compared}")
    check("disagree" not in guest.seen, f"the engines disagree:\n{guest.tail()}")


def translator_boots_one_cpu():
    by_itself(1)


def translator_boots_two_cpus():
    by_itself(2)


def translator_boots_four_cpus():
    by_itself(4)


def lockstep_boots_one_cpu():
    in_lockstep(1)


def lockstep_boots_two_cpus():
    in_lockstep(2)


def lockstep_boots_four_cpus():
    in_lockstep(4)


main(translator_boots_one_cpu, translator_boots_two_cpus, translator_boots_four_cpus, lockstep_boots_one_cpu,
     lockstep_boots_two_cpus, lockstep_boots_four_cpus)
