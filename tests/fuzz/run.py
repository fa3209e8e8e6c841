#!/usr/bin/env python3
"""What `make fuzz`, `make fuzz-corpus` and `make fuzz-seeded` do once everything is built.

    tests/fuzz/run.py fuzz [--seconds N] [--jobs N] [TARGET]...
    tests/fuzz/run.py corpus [TARGET]...
    tests/fuzz/run.py seeded [--seconds N] [BUG]...

fuzz: runs each target and prints a table: executions, findings, and line coverage of the files that a line
"covers: FILE..." in the target's source names, measured with the merged corpus. Below 75 % is flagged. A finding's
input is kept as build-fuzz/TARGET-crash-...; the exit status is 1 if there is one.

corpus: makes tests/fuzz/corpus/TARGET anew from itself and build-fuzz/corpus/TARGET: a small set that reaches as much.
Files with names of their own (found-...: what was a finding once) stay.

seeded: builds the files that hold a seeded bug (vmcore/base/seeded.h) with that bug, links the target that
tests/fuzz/seeded.txt names with them, and lets it search; or runs the unit test that it names. The exit status is 1 if
one is not found.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = "build-fuzz"
COMMITTED = "tests/fuzz/corpus"
COVERAGE = os.path.join(BUILD, "coverage")
ENOUGH = 75.0  # percent of lines
INPUT_MAX = 2048
CORPUS_MAX = 128 * 1024  # bytes of committed corpus for a target
# Nothing between a time-out, which is a finding, and an input that took its time because the machine was busy.
LIMITS = [f"-max_len={INPUT_MAX}", "-len_control=20", "-timeout=20", "-report_slow_units=20", "-rss_limit_mb=2048"]


def source_of(target):
    with open(f"tests/fuzz/{target}.c", encoding="utf-8") as file:
        return file.read()


def covered_files(target):
    """The files behind "covers:", which may go on in further lines of the comment."""
    match = re.search(r"covers:((?:[ \t*\n]+[\w/.-]+\.[ch])+)", source_of(target))
    return re.findall(r"[\w/.-]+\.[ch]\b", match.group(1)) if match else []


def own_corpus(target):
    path = os.path.join(BUILD, "corpus", target)
    os.makedirs(path, exist_ok=True)
    return path


def corpora(target):
    """Where inputs are, the folder that may be written to first."""
    committed = os.path.join(COMMITTED, target)
    return [own_corpus(target)] + ([committed] if os.path.isdir(committed) else [])


def libfuzzer(program, arguments, log, limit):
    """Runs it with its output in a file; (status, output)."""
    with open(log, "wb") as file:
        try:
            status = subprocess.run([program] + arguments, stdin=subprocess.DEVNULL, stdout=file,
                                    stderr=subprocess.STDOUT, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            status = None
    with open(log, "rb") as file:
        return status, file.read().decode("utf-8", "replace")


def statistic(output, name):
    match = re.search(rf"^stat::{name}: *(\d+)", output, re.M)
    return int(match.group(1)) if match else 0


# ---- fuzz ----


def fuzz_one(target, seconds):
    """(executions, executions for each second, [finding])"""
    log = os.path.join(BUILD, target + ".log")
    start = time.monotonic()
    status, output = libfuzzer(f"{BUILD}/fuzz/{target}",
                               [f"-max_total_time={seconds}", "-print_final_stats=1",
                                f"-artifact_prefix={BUILD}/{target}-"] + LIMITS + corpora(target),
                               log, seconds + 600)
    took = time.monotonic() - start
    findings = re.findall(r"Test unit written to (\S+)", output)
    if status != 0 and not findings:
        findings = [log]
    runs = statistic(output, "number_of_executed_units")
    return runs, runs / max(took, 1), findings


def line_coverage(target):
    """{file: percent} with all inputs there are; inputs one by one where one of them ends the program."""
    files = covered_files(target)
    if not files:
        return {}
    program = os.path.join(COVERAGE, "fuzz-replay", target)
    raw = os.path.join(COVERAGE, target + ".profraw")
    merged = os.path.join(COVERAGE, target + ".profdata")
    environment = dict(os.environ, LLVM_PROFILE_FILE=raw)
    subprocess.run([program] + corpora(target), env=environment, check=False, timeout=1200,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.exists(raw):
        return {}
    subprocess.run(["llvm-profdata", "merge", "-sparse", raw, "-o", merged], check=True)
    os.remove(raw)
    text = subprocess.run(["llvm-cov", "export", "-summary-only", program, f"-instr-profile={merged}"] + files,
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return {os.path.relpath(entry["filename"], ROOT): entry["summary"]["lines"]["percent"]
            for entry in json.loads(text)["data"][0]["files"]}


def fuzz(options):
    targets = options.names
    results = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(fuzz_one, target, options.seconds): target for target in targets}
        for done in concurrent.futures.as_completed(running):
            results[running[done]] = done.result()
            print(f"fuzz: {running[done]} is done", file=sys.stderr)

    bad = False
    print(f"| {'target':<20} | {'executions':>10} | {'exec/s':>6} | {'findings':>8} | lines covered |")
    print("|---|---:|---:|---:|---|")
    for target in targets:
        runs, speed, findings = results[target]
        cover = line_coverage(target)
        text = ", ".join(f"{os.path.basename(name)} {percent:.0f} %" + (" (LOW)" if percent < ENOUGH else "")
                         for name, percent in cover.items()) or "names no file"
        print(f"| {target:<20} | {runs:>10} | {speed:>6.0f} | {len(findings):>8} | {text} |")
        for finding in findings:
            bad = True
            print(f"  finding in {target}: {finding}; see {BUILD}/{target}.log")
    return 1 if bad else 0


# ---- corpus ----


def corpus(options):
    for target in options.names:
        merged = os.path.join(BUILD, "merged", target)
        shutil.rmtree(merged, ignore_errors=True)
        os.makedirs(merged)
        # The smallest set that reaches all that is reached; how often a line is reached does not count.
        arguments = ["-set_cover_merge=1", "-use_counters=0", f"-artifact_prefix={BUILD}/{target}-"] + LIMITS
        status, output = libfuzzer(f"{BUILD}/fuzz/{target}", arguments + [merged] + corpora(target),
                                   os.path.join(BUILD, target + "-merge.log"), 3600)
        if status != 0:
            print(f"fuzz-corpus: {target}: the merge failed:\n{output[-2000:]}", file=sys.stderr)
            return 1
        home = os.path.join(COMMITTED, target)
        os.makedirs(home, exist_ok=True)
        for path in glob.glob(os.path.join(home, "*")):
            if re.fullmatch(r"[0-9a-f]{16}", os.path.basename(path)):
                os.remove(path)
        kept = size = 0
        for path in sorted(glob.glob(os.path.join(merged, "*")), key=lambda path: (os.path.getsize(path), path)):
            size += os.path.getsize(path)
            if size > CORPUS_MAX:
                print(f"fuzz-corpus: {target}: the largest inputs are left out", file=sys.stderr)
                break
            shutil.copy(path, os.path.join(home, os.path.basename(path)[:16]))
            kept += 1
        print(f"{target}: {kept} inputs, {min(size, CORPUS_MAX)} bytes")
    return 0


# ---- seeded bugs ----


def seeded_table():
    """[(bug, target, mistake)] of seeded.txt."""
    with open("tests/fuzz/seeded.txt", encoding="utf-8") as file:
        return [line.split(None, 2) for line in file.read().splitlines() if line and not line.startswith("#")]


def files_with(bug):
    found = subprocess.run(["grep", "-rlw", "--include=*.c", f"VMC_SEEDED({bug})", "vmcore", "app"], check=False,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    if not found:
        sys.exit(f"fuzz-seeded: no file has VMC_SEEDED({bug})")
    return sorted(found)


def build_seeded(bug, finder):
    """Links the target, or the unit test, with the files that hold the bug, before the library that has them without."""
    folder = os.path.join(BUILD, "seeded", bug)
    os.makedirs(folder, exist_ok=True)
    compiler = shlex.split(os.environ["FUZZ_COMPILE"])
    objects = []
    for name in files_with(bug):
        objects.append(os.path.join(folder, name.replace("/", "-")[:-2] + ".o"))
        subprocess.run(compiler + [f"-DVMC_SEEDED_BUG=VMC_BUG_{bug}", "-c", name, "-o", objects[-1]], check=True)
    if is_unit_test(finder):
        main = [f"{BUILD}/obj/tests/unit/{finder}.o"]
        libraries = ["-lcmocka"]
    else:
        main = ["-fsanitize=fuzzer", f"{BUILD}/obj/tests/fuzz/{finder}.o", f"{BUILD}/obj/tests/fuzz/device.o"]
        libraries = []
    program = os.path.join(folder, finder)
    subprocess.run(compiler + main + objects + [f"{BUILD}/libespalier.a", f"{BUILD}/libvmcore.a", "-o", program] +
                   libraries + shlex.split(os.environ.get(f"FUZZ_LIBS_{finder}", "")) +
                   shlex.split(os.environ["FUZZ_LIBS"]), check=True)
    return program


def is_unit_test(finder):
    return finder.startswith("test_")


def how_it_ended(output):
    """What a fuzzer found, or the case of the unit test that failed (or that was the last to run)."""
    failed = re.findall(r"^\[  FAILED  \] ([a-z]\w*)$", output, re.M) or re.findall(r"^\[ RUN      \] (\w+)$", output, re.M)[-1:]
    match = re.search(r"^finding: (.*)$", output, re.M) or re.search(r"^SUMMARY: (.*)$", output, re.M)
    text = failed[0] if failed else match.group(1) if match else "?"
    return text.replace(ROOT + "/", "")[:90]


def is_clean(target, path):
    """Whether the target without a seeded bug has nothing against that input."""
    status, _ = libfuzzer(f"{BUILD}/fuzz/{target}", ["-timeout=20", f"-artifact_prefix={path}-", path],
                          f"{path}.log", 60)
    return status == 0


def search(program, target, seconds):
    """Lets a fuzzer search from the committed corpus: what became of it, and whether the bug was found."""
    folder = os.path.dirname(program)
    inputs = os.path.join(folder, "corpus")
    shutil.rmtree(inputs, ignore_errors=True)
    os.makedirs(inputs)
    status, output = libfuzzer(program, [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", "-timeout=5",
                                         "-rss_limit_mb=2048", f"-max_len={INPUT_MAX}", inputs] + corpora(target)[1:],
                               os.path.join(folder, "log"), seconds + 120)
    kept = re.findall(r"Test unit written to (\S+)", output)
    if status in (0, None) or not kept:
        return "missed", False
    if not is_clean(target, kept[0]):
        return f"another bug: {kept[0]} is a finding without the seeded bug, too", False
    return how_it_ended(output), True


def run_unit_test(program, test, seconds):
    """The unit test has to fail with the bug, and to pass without."""
    status, output = libfuzzer(program, [], os.path.join(os.path.dirname(program), "log"), seconds)
    if status == 0:
        return "missed", False
    clean, _ = libfuzzer(f"{BUILD}/tests/{test}", [], f"{BUILD}/{test}.log", 120)
    if clean != 0:
        return "another bug: the test fails without the seeded bug, too", False
    return how_it_ended(output), True


def seeded(options):
    table = [row for row in seeded_table() if not options.names or row[0] in options.names]
    found = 0
    print(f"| {'seeded bug':<14} | {'found by':<18} | {'after':>7} | what was seen |")
    print("|---|---|---:|---|")
    for bug, finder, _ in table:
        if not os.path.exists(f"tests/{'unit' if is_unit_test(finder) else 'fuzz'}/{finder}.c"):
            print(f"| {bug:<14} | {finder:<18} | {'':>7} | missed: there is no such test |", flush=True)
            continue
        program = build_seeded(bug, finder)
        start = time.monotonic()
        seen, good = (run_unit_test if is_unit_test(finder) else search)(program, finder, options.seconds)
        found += good
        print(f"| {bug:<14} | {finder:<18} | {time.monotonic() - start:>5.1f} s | {seen} |", flush=True)
    print(f"{found} of {len(table)} found")
    return 0 if found == len(table) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fuzz", "corpus", "seeded"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_intermixed_args()
    os.chdir(ROOT)
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
    os.environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    return {"fuzz": fuzz, "corpus": corpus, "seeded": seeded}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
