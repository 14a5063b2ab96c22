"""What may take over a minute as long as something moves, in real time and under the default time limits.

The clock of a script is one of silence: bytes in either direction wind it up.  All this goes on side by side, and
beside the other tests: it begins first (conftest.py) and waits nearly all of its time."""
import threading
import time

import pytest

from peers.http import Peer

pytestmark = [pytest.mark.once, pytest.mark.early]
PACE, TURNS = 3, 21                     # seconds, and so many: 63 in all, and `timeout backend` is 60
PIECE = b"x" * 1000
LARGE = 20000000
TICKS = "".join(f"{i}\n" for i in range(TURNS)).encode()

TELLS = f"""#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
i=0
while [ $i -lt {TURNS} ]; do
	echo $i
	i=$((i + 1))
	sleep {PACE}
done
"""
COUNTS = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nwc -c\n"
ECHOES = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat\n"
SILENT = f"#!/bin/sh\nexec sleep {2 * PACE * TURNS}\n"
FAST = f"#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec head -c {LARGE} /dev/zero\n"


def every(pace=PACE, turns=TURNS):
    """A turn now, and then one each so many seconds."""
    began = time.monotonic()
    for i in range(turns):
        time.sleep(max(0, began + i * pace - time.monotonic()))
        yield i


def tell(call):
    """A FastCGI or SCGI program that writes every few seconds."""
    call.out("Content-Type: text/plain\r\n\r\n")
    for i in every():
        call.out(f"{i}\n")


def count(call):
    call.answer(str(len(call.read_body())))


def events(call):
    """A server behind the proxy that does so in chunks."""
    call.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in every():
        line = f"{i}\n"
        call.raw(f"{len(line):x}\r\n{line}\r\n")
    call.raw("0\r\n\r\n")


def echo(call):
    """One that switches protocols and says each thing back."""
    call.raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    call.raw(call.buffer)
    while True:
        call.buffer = b""
        call.fill()
        call.raw(call.buffer)


def listens(server, target):
    with server.connect() as c:
        c.request("GET", target)
        return c.answer().body == TICKS


def uploads(server, target):
    """A body that trickles, with nothing of an answer until its end."""
    with server.connect() as c:
        c.request("POST", target, f"Content-Length: {TURNS * len(PIECE)}")
        for _ in every():
            c.send(PIECE)
        return int(c.answer().body) == TURNS * len(PIECE)


def uploads_chunks(server, target):
    with server.connect() as c:
        c.request("POST", target, "Transfer-Encoding: chunked")
        for _ in every():
            c.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        c.send(b"0\r\n\r\n")
        return int(c.answer().body) == TURNS * len(PIECE)


def converses(server, target):
    """Each piece comes back before the next one is sent."""
    with server.connect() as c:
        c.request("POST", target, f"Content-Length: {TURNS * len(PIECE)}")
        answer = None
        for _ in every():
            c.send(PIECE)
            answer = answer or c.answer(body=False)
            if c.exactly(int(c.line(), 16)) + c.line() != PIECE:
                return False
        return c.line() == b"0" and c.line() == b""


def reads_slowly(server, target):
    """The client is the slow one: the kernel takes up a megabyte or two for it, and then it is waited for."""
    with server.connect(rcvbuf=65536) as c:
        c.request("GET", target, "Connection: close")
        for _ in every():
            c.fill()
        return len(c.buffer) + len(c.rest()) > LARGE


def upgrades(server, target):
    """A minute in which neither side of a WebSocket says anything is nothing unusual."""
    with server.connect() as c:
        c.request("GET", target, "Connection: Upgrade", "Upgrade: echo").send(b"before")
        return c.answer(interim=True).status == 101 and c.exactly(6) == b"before" and \
            c.silent(PACE * TURNS) and c.send(b"after").exactly(5) == b"after"


def is_given_up(server, target):
    """Who is really silent for that minute is not waited for, and it is not much more than a minute."""
    began = time.monotonic()
    with server.connect(patience=2 * PACE * TURNS) as c:
        status = c.get(target).status
    return status == 504 and PACE * TURNS - 5 < time.monotonic() - began


FLOWS = {
    "a CGI script that writes": (listens, "/cgi-bin/tells"),
    "a FastCGI program that writes": (listens, "/fastcgi-tells"),
    "an SCGI program that writes": (listens, "/scgi-tells"),
    "events through the proxy": (listens, "/proxy/events"),
    "an upload to CGI": (uploads, "/cgi-bin/counts"),
    "an upload in chunks to CGI": (uploads_chunks, "/cgi-bin/counts"),
    "an upload to FastCGI": (uploads, "/fastcgi-counts"),
    "an upload to SCGI": (uploads, "/scgi-counts"),
    "an upload in chunks through the spool": (uploads_chunks, "/fastcgi-counts"),
    "an upload through the proxy": (uploads, "/proxy/counts"),
    "a script that answers while it is asked": (converses, "/cgi-bin/echoes"),
    "a slow reader of a script": (reads_slowly, "/cgi-bin/fast"),
    "a slow reader of a file": (reads_slowly, "/large"),
    "an upgrade that sleeps": (upgrades, "/proxy/echo"),
    "a silent script": (is_given_up, "/cgi-bin/silent"),
}


@pytest.fixture
def server(start, backend, www, folder):
    (www / "cgi-bin").mkdir()
    for name, text in {"tells": TELLS, "counts": COUNTS, "echoes": ECHOES, "silent": SILENT, "fast": FAST}.items():
        (www / "cgi-bin" / name).write_text(text)
        (www / "cgi-bin" / name).chmod(0o755)
    (www / "large").write_bytes(bytes(LARGE))
    peer = Peer(lambda call: {"/proxy/events": events, "/proxy/echo": echo}.get(call.target, count)(call))
    lines = [f"{kind} /{kind}-{name} {backend(script, speaks=kind).address}"
             for kind in ("fastcgi", "scgi") for name, script in (("tells", tell), ("counts", count))]
    yield start("\n".join([*lines, "cgi /cgi-bin/", f"proxy /proxy/ {peer.address}", "scripts 32",
                           f"spool {folder} 1m", "log access stderr", ""]))
    peer.close()


def test_what_moves_is_not_cut_off_after_a_minute(server):
    wrong = {}

    def go(name, flow, target):
        try:
            if not flow(server, target):
                wrong[name] = "is not what it should be"
        except Exception as e:          # told below, with its name
            wrong[name] = repr(e)

    threads = [threading.Thread(target=go, args=(name, *row)) for name, row in FLOWS.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == {}, server.text()
