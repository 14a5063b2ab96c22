"""Memory: after start, with sleeping connections, and while large bodies pass."""

import contextlib
import os
import threading
import time

import kit
from servers import FORWARD, SERVERS, WORKS, php_fpm, request, takes_part
from tables import Table

IDLE = 1000
PIECE = bytes(262144)


@contextlib.contextmanager
def idle_connections(port, count):
    """Kept connections that have each had one answer."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(kit.Client(port))
            status, _ = client.ask(request("ka100"))
            assert status == WORKS["ka100"][2]
        yield


class Peak:
    """The largest resident size, and the largest files in the scratch folder, while the block lasts."""

    def __init__(self, child):
        self.child, self.rss, self.spool = child, 0, 0
        self.family = kit.tree(child.pid)       # the server's own: a script of CGI that comes later is none
        self.before = self.resident()
        self.files = kit.spooled(child.pid, child.work)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def resident(self):
        return kit.memory(self.child.pid, self.family)["Rss"]

    def look(self):
        self.rss = max(self.rss, self.resident())
        self.spool = max(self.spool, kit.spooled(self.child.pid, self.child.work) - self.files)

    def watch(self):
        while not self.over.wait(0.02):
            self.look()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.look()


def upload(port, size, path="/count.php"):
    """POST size bytes; the answer must say that all have come."""
    with kit.Client(port) as c:
        c.sock.settimeout(180)
        c.sock.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                       f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode())
        left = size
        while left:
            left -= c.sock.send(PIECE[:left])
        while c.more():
            pass
        if str(size).encode() not in c.data:
            raise RuntimeError("upload: " + repr(c.data[:200]))


def download(port, size, path="/send.php?n={size}", *fields):
    """GET size bytes; after an eighth the reader rests for a second, as a slow one would."""
    with kit.Client(port) as c:
        c.sock.settimeout(180)
        lines = [f"GET {path.format(size=size)} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *fields, "\r\n"]
        c.sock.sendall("\r\n".join(lines).encode())
        got, rested = 0, False
        room = bytearray(262144)
        while n := c.sock.recv_into(room):
            got += n
            if not rested and got > size / 8:
                rested = True
                time.sleep(1)
        if got < size:
            raise RuntimeError(f"download: {got} of {size}")


def up_to_cgi(port, size):
    upload(port, size, "/cgi-bin/count")


def up_by_proxy(port, size):
    upload(port, size, "/p/cgi-bin/count")


def down_by_proxy(port, size):
    download(port, size, "/p/large.bin", f"Range: bytes=0-{size - 1}")


def bodies(yard, name, table, size, ways):
    """ways: what stands before the rows, and how a body is moved; what the code itself takes is not counted."""
    for way, move in ways.items():
        with yard.server(name) as (child, port):
            for other in ways.values():
                other(port, 100)
            with Peak(child) as peak:
                move(port, size)
            table.put(f"{way}resident moved, KiB", name, peak.rss - peak.before)
            table.put(f"{way}temporary files, MiB", name, peak.spool / 1048576)


def by_url(yard, size):
    """The same through our forward proxy, by URL; the others have none."""
    table = Table("forwarded", f"{size / (1 << 30):g} GiB through the forward proxy, by URL", "Peaks as above.")
    program, arguments, template, words = SERVERS["cubhttpd"]
    url = f"http://127.0.0.1:{yard.origin_port}"
    ways = {"up: ": lambda port, n: upload(port, n, url + "/p/cgi-bin/count"),
            "down: ": lambda port, n: download(port, n, url + "/p/large.bin", f"Range: bytes=0-{n - 1}")}
    SERVERS["cubhttpd"] = (program, arguments, template + FORWARD, words)
    bodies(yard, "cubhttpd", table, size, ways)
    SERVERS["cubhttpd"] = (program, arguments, template, words)
    return table


def memory(yard, names, _, size):
    resident = Table("resident", "Memory after start, KiB",
                     "smaps_rollup, all processes of a server, before the first connection; RSS counts shared "
                     "libraries in full.")
    idle = Table("idle", f"{IDLE:,} idle kept connections",
                 "Each has had one answer of 100 bytes; Private_Dirty against that after start.")
    passing = Table("bodies", f"{size / (1 << 30):g} GiB through php-fpm",
                    "Peaks against the values before, once small requests have gone the same way; the reader of the "
                    "answer rests for a second on the way.")
    note = "Peaks as above."
    script = Table("cgi body", "100 MiB to a CGI program", note)
    proxied = Table("proxied", f"{size / (1 << 30):g} GiB through the proxy", note)
    names = [n for n in names if n in ("cubhttpd", "lighttpd", "nginx")]
    for name in names:
        kit.say(f"memory: idle, {name}")
        with yard.server(name, fresh=True) as (child, port):
            for kind, value in child.fresh.items():
                resident.put(kind, name, value)
            start = kit.settled(lambda: kit.memory(child.pid))
            with idle_connections(port, IDLE):
                full = kit.settled(lambda: kit.memory(child.pid))
            grown = full["Private_Dirty"] - start["Private_Dirty"]
            idle.put("private bytes a connection", name, grown * 1024 / IDLE)
            idle.put("private of all, KiB", name, full["Private_Dirty"])
    if php_fpm():
        yard.start_php()
        for name in names:
            kit.say(f"memory: bodies, {name}")
            bodies(yard, name, passing, size, {"up: ": upload, "down: ": download})
    yard.start_origin()
    for name in names:
        kit.say(f"memory: CGI and proxy, {name}")
        if takes_part(name, "cgi"):
            bodies(yard, name, script, 100 << 20, {"": up_to_cgi})
        bodies(yard, name, proxied, size, {"up: ": up_by_proxy, "down: ": down_by_proxy})
    return [resident, idle, passing, script, proxied, *([by_url(yard, size)] if "cubhttpd" in names else [])]
