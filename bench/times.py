"""Times, worth something only side by side: alternating rounds, one processor for the server, one for its clients."""

import os
import re
import subprocess
import time

import kit
from memory import IDLE, idle_connections, upload
from servers import NICE, WORKS, php_fpm, request, takes_part
from tables import Table, median, percentile

ROUNDS = 3
LOCKSTEP, STEPS = 32, 6000
LOCKSTEP_WORKS = ["ka100", "ka10k", "proxy100", "proxy10k"]
CLIFF = 0.030                           # seconds; Nagle against delayed ACK costs 40 ms


def wrk(port, work, connections, seconds):
    """Requests, requests a second, and a note when something went wrong."""
    path, fields, _, _ = WORKS[work]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    command.append(f"http{'s' if kit.secure else ''}://127.0.0.1:{port}{path}")
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wrong = re.search(r"Socket errors: .*|Non-2xx or 3xx responses: .*", out)
    if wrong and work != "404":
        kit.say(f"  {work}: {wrong[0]}")
    return int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec: +([\d.]+)", out)[1])


def load(child, port, work, connections, seconds):
    """CPU us a request of the server's tree, its share in the kernel, and requests a second."""
    before = kit.cpu_seconds(child.pid)
    requests, rate = wrk(port, work, connections, seconds)
    user, kernel = (b - a for a, b in zip(before, kit.cpu_seconds(child.pid)))
    return (user + kernel) / max(requests, 1) * 1e6, kernel / max(user + kernel, 1e-9), rate


def put_medians(seen, *tables):
    """seen: (row, server) to a list of tuples, one value for each table."""
    for (row, name), values in seen.items():
        for i, table in enumerate(tables):
            table.put(row, name, median([v[i] for v in values]))


def throughput(yard, names, works, seconds):
    cpu = Table("cpu", "CPU time a request, us", f"wrk -t1 -c32, medians of {ROUNDS} alternating rounds.", 2)
    kernel = Table("kernel", "Share of it in the kernel", digits=2)
    rate = Table("rate", "Requests a second", "Often limited by the client.")
    seen = {}
    for work in works:
        for turn in range(ROUNDS):
            for name in names:
                if takes_part(name, work):
                    kit.say(f"times: {work}, {name}, round {turn + 1}")
                    with yard.server(name) as (child, port):
                        wrk(port, work, 32, 1)
                        seen.setdefault((work, name), []).append(load(child, port, work, 32, seconds))
    put_medians(seen, cpu, kernel, rate)
    return [cpu, kernel, rate]


def lockstep(yard, names, works):
    table = Table("lockstep", "CPU time a request in lockstep, us",
                  f"{LOCKSTEP} clients ask at once, and again when all have been answered; medians of {ROUNDS} alternating "
                  "rounds.", 2)
    seen = {}
    for work in [w for w in LOCKSTEP_WORKS if w in works]:
        for turn in range(ROUNDS):
            for name in [n for n in names if takes_part(n, work)]:
                kit.say(f"times: {work} in lockstep, {name}, round {turn + 1}")
                with yard.server(name) as (child, port):
                    seen.setdefault((work, name), []).append((in_step(yard, child, port, WORKS[work][0]),))
    put_medians(seen, table)
    return [table]


def in_step(yard, child, port, path):
    """CPU us a request of the server's tree."""
    command = [os.path.join(yard.work, "lockstep"), str(port), path, str(LOCKSTEP)]
    subprocess.run([*command, "100"], check=True)
    before = sum(kit.cpu_seconds(child.pid))
    subprocess.run([*command, str(STEPS)], check=True)
    return (sum(kit.cpu_seconds(child.pid)) - before) / (STEPS * LOCKSTEP) * 1e6


def beside_idle(yard, names, seconds):
    """One busy client, alone and beside a thousand sleeping connections."""
    table = Table("beside", "One busy client beside idle connections: CPU time a request, us", digits=2)
    for name in names:
        seen = {}
        with yard.server(name) as (child, port):
            for turn in range(ROUNDS):
                kit.say(f"times: idle connections, {name}, round {turn + 1}")
                seen.setdefault(0, []).append(load(child, port, "ka100", 1, seconds)[0])
                with idle_connections(port, IDLE):
                    time.sleep(1.5)     # a server may put connections to sleep by a timer
                    seen.setdefault(IDLE, []).append(load(child, port, "ka100", 1, seconds)[0])
        none, many = median(seen[0]), median(seen[IDLE])
        table.put("none", name, none)
        table.put(f"{IDLE:,}", name, many)
        table.put(f"{IDLE:,} against none", name, many / none)
    return [table]


def beside_upload(yard, names, size):
    """Small requests on a kept connection while a large body goes to php-fpm."""
    table = Table("upload", f"Small requests beside an upload of {size / (1 << 30):g} GiB", digits=2)
    for name in names:
        kit.say(f"times: beside an upload, {name}")
        with yard.server(name) as (_, port), kit.Client(port) as c:
            other = os.fork()
            if not other:
                code = 1
                try:
                    os.nice(NICE)
                    upload(port, size)
                    code = 0
                finally:
                    os._exit(code)
            seen = []
            while not (ended := os.waitpid(other, os.WNOHANG))[0]:
                seen.append(timed(lambda: c.ask(request("ka100"))))
                time.sleep(0.001)
        if ended[1]:
            table.put("p99, ms", name, "failed")
            continue
        table.put("median, ms", name, median(seen) * 1000)
        table.put("p99, ms", name, percentile(seen, 0.99) * 1000)
        table.put("worst, ms", name, max(seen) * 1000)
    return [table]


# -- the cliff ------------------------------------------------------------------------------------------------


def timed(act):
    start = time.monotonic()
    act()
    return time.monotonic() - start


def post(size, *more):
    return "\r\n".join(["POST /fcgi HTTP/1.1", "Host: x", *more, f"Content-Length: {size}", "\r\n"]).encode()


def pieces(c, *parts):
    """Segments of their own (the client's socket does not wait), and one response."""
    for part in parts:
        c.sock.sendall(part)
        time.sleep(0.0005)
    return c.response()


def several(c, data, count):
    c.sock.sendall(data * count)
    for _ in range(count):
        c.response()


def expecting(c):
    c.sock.sendall(post(5, "Expect: 100-continue"))
    c.until(b" 100 Continue\r\n\r\n")
    c.sock.sendall(b"hello")
    return c.response()


def closing(c):
    with kit.Client(c.sock.getpeername()[1]) as other:
        other.ask(request("close100"))


CHUNKED = b"POST /fcgi HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CONVERSATIONS = {
    "GET 100 bytes": lambda c: c.ask(request("ka100")),
    "head in two pieces": lambda c: pieces(c, request("browser100")[:300], request("browser100")[300:]),
    "2 pipelined": lambda c: several(c, request("ka100"), 2),
    "10 pipelined": lambda c: several(c, request("ka100"), 10),
    "10 KB": lambda c: c.ask(request("ka10k")),
    "1 MB": lambda c: c.ask(request("ka1m")),
    "HEAD": lambda c: c.ask(request("ka100").replace(b"GET", b"HEAD"), "HEAD"),
    "304": lambda c: c.ask(request("304")),
    "404": lambda c: c.ask(request("404")),
    "closing": closing,
    "FastCGI": lambda c: c.ask(request("fcgi")),
    "FastCGI, 3 pipelined": lambda c: several(c, request("fcgi"), 3),
    "POST": lambda c: c.ask(post(5) + b"hello"),
    "POST, body apart": lambda c: pieces(c, post(5), b"hello"),
    "POST, 3 pieces": lambda c: pieces(c, post(9)[:20], post(9)[20:] + b"hel", b"lo you"),
    "POST 100 KB": lambda c: c.ask(post(100000) + bytes(100000)),
    "POST, 100-continue": expecting,
    "POST, chunked": lambda c: pieces(c, CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n"),
}


def slow_answers(port, talk, count=100):
    """How many of count conversations on one connection took as long as a delayed ACK."""
    with kit.Client(port) as c:
        return sum(timed(lambda: talk(c)) >= CLIFF for _ in range(count))


def cliffs(yard, names):
    table = Table("cliff", "Latency: answers of 100 that took 30 ms or more",
                  "Nagle's algorithm against delayed ACKs costs 40 ms; the better of two passes.")
    for name in names:
        kit.say(f"times: latency, {name}")
        with yard.server(name) as (_, port):
            for row, talk in CONVERSATIONS.items():
                try:
                    table.put(row, name, min(slow_answers(port, talk) for _ in range(2)))
                except (OSError, ValueError, RuntimeError) as problem:
                    kit.say(f"  {row}: {problem}")
                    table.put(row, name, "failed")
    return [table]


def times(yard, names, works, seconds, size):
    yard.start_responder()
    plain = [n for n in names if n in ("cubhttpd", "lighttpd", "nginx")]
    tables = cliffs(yard, plain) + throughput(yard, names, works, seconds)
    tables += lockstep(yard, names, works) + beside_idle(yard, plain, seconds)
    if php_fpm():
        yard.start_php()
        tables += beside_upload(yard, plain, size)
    return tables
