"""What does not depend on the machine's mood: system calls, instructions and bytes a request."""

import glob
import os
import re
import subprocess

import kit
from memory import down_by_proxy, up_by_proxy
from servers import WORKS, ask, takes_part
from tables import Table

CALLS = (100, 600)                      # requests of the two runs; the difference is divided
INSTRUCTIONS = (50, 250)
PAUSE = 0.002                           # so that the server goes back to its wait


def calls_of(path):
    """All calls of an `strace -c` table."""
    total = 0
    for line in kit.read(path).splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
            total += int(words[3])
    return total


def system_calls(yard, name, work, count):
    out = os.path.join(yard.work, "strace")
    with yard.server(name, before=["strace", "-f", "-c", "-o", out]) as (_, port):
        ask(port, work, count, PAUSE)
    return calls_of(out)


def callgrind(yard, name, work, count, act=None):
    """The files that callgrind wrote, one a process."""
    for old in glob.glob(os.path.join(yard.work, "callgrind.*")):
        os.unlink(old)
    out = os.path.join(yard.work, "callgrind.%p")
    before = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out]
    with yard.server(name, before=before, seconds=60) as (_, port):
        act(port) if act else ask(port, work, count)
    return glob.glob(os.path.join(yard.work, "callgrind.*"))


def instructions(yard, name, work, count):
    files = callgrind(yard, name, work, count)
    return sum(int(n) for path in files for n in re.findall(r"^totals: (\d+)", kit.read(path), re.M))


def a_request(measure, yard, name, work, counts):
    few, many = (measure(yard, name, work, n) for n in counts)
    return (many - few) / (counts[1] - counts[0])


def answer_size(yard, name, work):
    seen = []
    with yard.server(name) as (_, port):
        ask(port, work, 1, bytes_seen=seen)
    return seen[0]


def body_calls(yard, name, move):
    """System calls a MiB of a body that passes, (48 - 16) / 32."""
    seen = []
    for mib in (16, 48):
        out = os.path.join(yard.work, "strace")
        with yard.server(name, before=["strace", "-f", "-c", "-o", out]) as (_, port):
            move(port, mib << 20)
        seen.append(calls_of(out))
    return (seen[1] - seen[0]) / 32


def counts(yard, names, works):
    yard.start_responder()
    passing = Table("passing", "System calls a MiB through the proxy", "strace -f -c, (48 - 16) / 32; one call in and one out "
                    "is one copy in and one out.", 1)
    if "proxy10k" in works:
        for name in names:
            if takes_part(name, "proxy10k"):
                kit.say(f"counts: bodies through the proxy, {name}")
                passing.put("up", name, body_calls(yard, name, up_by_proxy))
                passing.put("down", name, body_calls(yard, name, down_by_proxy))
    calls = Table("calls", "System calls a request", "strace -f -c, 2 ms between requests, (600 - 100) / 500.", 1)
    instr = Table("instructions", "Instructions a request", "User space, callgrind, (250 - 50) / 200.")
    sizes = Table("bytes", "Bytes of the answer on the wire")
    for work in works:
        for name in names:
            if takes_part(name, work):
                kit.say(f"counts: {work}, {name}")
                instr.put(work, name, a_request(instructions, yard, name, work, INSTRUCTIONS))
                calls.put(work, name, a_request(system_calls, yard, name, work, CALLS))
                sizes.put(work, name, answer_size(yard, name, work))
    return [instr, calls, sizes, passing]


# -- where the instructions go ----------------------------------------------------------------------------------


def by_function(files):
    costs = {}
    for path in files:
        text = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", path], check=True,
                              capture_output=True, text=True).stdout
        for cost, function in re.findall(r"^ *([\d,]+) \([^)]*\) +\S*?:(\S+)", text, re.M):
            costs[function] = costs.get(function, 0) + int(cost.replace(",", ""))
    return costs


def profile(yard, name, works, lines=45):
    """Instructions a request and function; the program has to have its symbols."""
    yard.start_responder()
    text = ""
    for work in works:
        kit.say(f"profile: {work}, {name}")
        few, many = (by_function(callgrind(yard, name, work, n)) for n in INSTRUCTIONS)
        span = INSTRUCTIONS[1] - INSTRUCTIONS[0]
        each = sorted(((n - few.get(f, 0)) / span, f) for f, n in many.items())[::-1]
        text += f"\n{work}: {sum(n for n, _ in each):,.0f} ({WORKS[work][3]})\n"
        text += "".join(f"{n:10,.1f}  {f}\n" for n, f in each[:lines] if n >= 0.5)
    return text
