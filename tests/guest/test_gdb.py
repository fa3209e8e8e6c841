#!/usr/bin/env python3
"""A stock Debian kernel under the real GDB, on the software CPU: from its first instruction, and while it runs.

time-limit: 400
"""
from guest import CPU, PEER, Failure, Process, Skip, boot, boot_serial, check, equal, main, need, scratch

import os
import re
import signal
import socket
import time


class Gdb(Process):
    """GDB on its standard input and output, connected to a machine's socket."""

    def __init__(self, path):
        super().__init__(["gdb", "-q", "-nx", "-iex", "set pagination off", "-iex", "set confirm off", "-iex",
                          "set debuginfod enabled off"])
        self.marks = 0
        self.command(f"target remote {path}")

    def start(self, command):
        """For one that does not end by itself; finish() waits for its end."""
        self.marks += 1
        self.send(f"{command}\necho end-mark-{self.marks}-\\n\n")

    def finish(self, seconds=60):
        start = self.mark
        end = self.expect(rf"end-mark-{self.marks}-\n", seconds)
        return self.seen[start:end.start()]

    def command(self, command, seconds=60):
        self.start(command)
        return self.finish(seconds)

    def value(self, expression):
        """What GDB makes of it, as a number."""
        text = self.command(f"printf \"value %lu\\n\", (unsigned long)({expression})")
        match = re.search(r"value (\d+)", text)
        check(match, f"{expression}:\n{text}")
        return int(match.group(1))


def needs():
    if PEER:
        raise Skip("only for espalierctl")
    if CPU != "soft":
        raise Skip(f"on --cpu {CPU} it is not tried: the kernel of this test boots on the software CPU")
    need("gdb")


def from_the_first_instruction():
    needs()
    with scratch() as folder:
        path = os.path.join(folder, "gdb")
        with boot(cmdline="console=ttyS0 nokaslr", extra=("--gdb", f"unix:{path}", "--gdb-wait")) as guest:
            guest.expect(r"waits for a debugger")
            guest.expect(r"$")
            does_not_say(guest, r".")
            with Gdb(path) as gdb:
                check(" [ PE ET NE PG ]" in gdb.command("info registers cr0"), f"cr0:\n{gdb.tail()}")
                entry = gdb.value("$rip")
                equal(gdb.value("*(unsigned char *)$rip"), 0xfc, "the first byte of a Linux kernel's entry (cld)")
                gdb.command("stepi")
                equal(gdb.value("$rip") - entry, 1, "bytes that one step went")
                # Where the kernel unpacks itself to: there is no code at all yet.
                gdb.command("break *0x1000000")
                text = gdb.command("continue")
                check(re.search(r"Breakpoint 1, 0x0*1000000 in", text), f"the breakpoint:\n{text}")
                check(gdb.value("*(unsigned long *)0x1000000"), "memory at the breakpoint is empty")
                # It will run at high addresses, that are not mapped yet.
                text = gdb.command("hbreak *0xffffffff81000000")
                check("Hardware assisted breakpoint 2" in text, f"the second breakpoint:\n{text}")
                gdb.command("delete")
                text = gdb.command("detach")
                check("detached" in text, f"detach:\n{text}")
            guest.expect(r"^espalier-serial: ready in [\d.]+ s$")
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status after the guest's poweroff")
            check(not os.path.exists(path), "the socket is still there")


def symbols(guest, *names):
    """Addresses in the guest's kernel."""
    listed = guest.run("grep -E ' (" + "|".join(names) + ")$' /proc/kallsyms")
    found = {name: int(address, 16) for address, name in re.findall(r"^([0-9a-f]+) \S (\S+)$", listed, re.M)}
    check(set(found) == set(names), f"the guest's kernel has not all of {names}:\n{listed}")
    return [found[name] for name in names]


def while_it_runs():
    needs()
    with scratch() as folder:
        path = os.path.join(folder, "gdb")
        with boot_serial(cpus=2, cmdline="console=ttyS0 nokaslr", extra=("--gdb", f"unix:{path}")) as guest:
            function, names = symbols(guest, "__x64_sys_sethostname", "init_uts_ns")
            nodename = names + 65  # behind sysname
            with Gdb(path) as gdb:
                equal(len(re.findall(r"^[* ] +\d+ +Thread", gdb.command("info threads"), re.M)), 2, "threads")
                breaks_in_a_system_call(guest, gdb, function)
                watches_the_name_change(gdb, nodename)
                steps(gdb)
                stops_on_ctrl_c(guest, gdb)
                gdb.command("detach")
            equal(guest.run("hostname").strip(), "frob", "the guest's name")
            with Gdb(path) as gdb:  # another one
                check(gdb.value(f"*(char *){nodename}") == ord("f"), "the name, as memory has it")
            # That one left without a word.
            equal(guest.run("nproc").strip(), "2", "nproc")
            log = guest.run("dmesg")
            for bad in ("BUG:", "Oops", "Call Trace", "soft lockup", "hard LOCKUP"):
                check(bad not in log, f"the kernel says {bad}:\n{log[-3000:]}")
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")


def breaks_in_a_system_call(guest, gdb, function):
    gdb.command(f"break *{function}")
    gdb.start("continue")
    guest.send("hostname frob\n")
    text = gdb.finish(120)
    check(re.search(rf"hit Breakpoint 1, {function:#x} in", text), f"the breakpoint:\n{text}")
    equal(gdb.value("$rip"), function, "rip at the breakpoint")
    equal(gdb.value("$cs"), 0x10, "cs in the kernel")
    # struct pt_regs; its di is the program's first argument.
    argument = gdb.value("*(unsigned long *)($rdi + 112)")
    check('"frob"' in gdb.command(f"x/s {argument}"), f"the program's memory:\n{gdb.tail()}")
    gdb.command("delete")


def watches_the_name_change(gdb, nodename):
    text = gdb.command(f"watch *(char *){nodename}")
    check("Hardware watchpoint" in text, f"watch:\n{text}")
    text = gdb.command("continue", 120)
    check("New value = 102 'f'" in text, f"the watchpoint:\n{text}")
    gdb.command("delete")


def steps(gdb):
    before = gdb.value("$rip")
    places = set()
    for _ in range(20):
        gdb.command("stepi")
        places.add(gdb.value("$rip"))
    # Without an interrupt in between: it stays where it was.
    check(len(places) > 5 and all(abs(place - before) < 0x100000 for place in places),
          f"steps from {before:#x}: {sorted(map(hex, places))}")


def does_not_say(guest, pattern):
    try:
        guest.expect(pattern, 1)
    except Failure:
        return
    raise Failure(f"the guest runs while it shall not:\n{guest.tail()}")


def stops_on_ctrl_c(guest, gdb):
    gdb.start("continue")
    equal(guest.run("echo lives").strip(), "lives", "the guest's shell")
    time.sleep(0.5)
    gdb.signal(signal.SIGINT)
    text = gdb.finish()
    check("SIGINT" in text, f"Ctrl-C:\n{text}")
    guest.send("echo not-yet\n")
    does_not_say(guest, "not-yet")


def a_port_of_this_computer():
    needs()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with boot(extra=("--gdb", f"tcp:{port},wait")) as guest:
        guest.expect(rf"target remote localhost:{port}'")
        with Gdb(f"localhost:{port}") as gdb:
            check(gdb.value("$rip"), "rip is 0")
            gdb.start("kill")
            equal(guest.wait(), 0, "exit status after the debugger's kill")


main(from_the_first_instruction, while_it_runs, a_port_of_this_computer)
