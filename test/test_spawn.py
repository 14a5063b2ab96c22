"""Programs that the server starts, keeps and ends: `fastcgi` and `scgi` with `spawn`."""
import math
import os
import pwd
import re
import signal
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wire import PATIENCE, eventually

RESIDENT = Path(__file__).resolve().parent / "peers/resident.py"


def command(*words, program=RESIDENT):
    return " ".join(["/usr/bin/python3 -B", str(program), *words])


@pytest.fixture
def spawning(start):
    """spawning(words, more): a server whose /app is answered by resident.py, which speaks what the first word says."""
    def go(words="fastcgi", more="", lines="", **how):
        return start(f'{words.split()[0]} /app spawn "{command(words, **how)}" {more}\n{lines}')
    return go


def children(server):
    """The server's processes."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1]) == server.pid:
                found.append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def process_of(answer):
    assert answer.status == 200, answer
    return int(answer.body.split()[0])


@pytest.mark.parametrize("wire", ["fastcgi", "scgi"])
def test_nothing_runs_until_somebody_asks(spawning, wire):
    server = spawning(wire)
    assert children(server) == []
    pid = process_of(server.get("/app"))
    assert children(server) == [pid]
    assert {process_of(server.get("/app")) for _ in range(10)} == {pid}


def test_those_that_are_to_be_ready_are(spawning):
    server = spawning("fastcgi", "children 4 ready 2")
    eventually(lambda: len(children(server)) == 2, "two processes")
    assert process_of(server.get("/app")) in children(server)
    assert len(children(server)) == 2


def test_its_environment_is_not_ours(start, binary):
    server = start(f'fastcgi /app spawn "{command("fastcgi")}"\n', env={"SECRET_OF_ROOT": "hidden"})
    names = {line.split(b"=")[0] for line in server.get("/app").body.split(b"\n")[1:] if line}
    assert names <= {b"PATH", b"LC_CTYPE"}, names


def test_its_environment_is_what_env_says(start, www):
    server = start(f'env A "of all"\nenv B "of all"\nhost b.test {{\nroot {www}\nenv B "its own"\nenv PATH /x\n'
                   f'fastcgi /app spawn "{command("fastcgi")}"\n}}\n')
    with server.connect() as c:
        lines = c.get("/app", host="b.test").body.split(b"\n")[1:]
    assert {b"A=of all", b"B=its own", b"PATH=/x"} <= set(lines)


def test_nothing_of_ours_leaks_into_it(spawning):
    server = spawning()
    pid = process_of(server.get("/app"))
    held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in ("1", "2")}
    assert len(held) == 1 and held.pop().startswith("pipe:")
    open_now = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    assert open_now - {0, 1, 2} <= {3, 4}, open_now      # its own: the connection
    assert os.getpgid(pid) == pid


def test_its_socket_is_nobody_elses(spawning, folder):
    server = spawning("fastcgi", "children 2 ready 2")
    server.get("/app")
    eventually(lambda: len(children(server)) == 2, "two processes")
    left = [p for d in ("/tmp", "/run", "/dev/shm") for p in Path(d).glob(f".cubhttpd.{server.pid * 64}*")]
    assert left == []


@pytest.mark.parametrize("wire", ["fastcgi", "scgi"])
def test_as_many_at_once_as_there_are_children(spawning, wire):
    """Each has one connection: a request that came third waits for one that is free, and for no other."""
    server = spawning(wire, "children 2", "timeout keep 60\n")
    clients = [server.connect() for _ in range(6)]
    for c in clients:
        c.request("GET", "/app?sleep=0.2")
    pids = [process_of(c.answer()) for c in clients]
    assert len(set(pids)) == 2 and sorted(pids.count(p) for p in set(pids)) in ([3, 3], [2, 4])
    for _ in range(4):          # connections that are kept pin no process
        for c in clients:
            assert process_of(c.get("/app")) in pids
    assert len(children(server)) == 2


def test_a_wait_for_one_program_holds_up_no_other(start, backend):
    other = backend()
    server = start(f'fastcgi /slow spawn "{command("fastcgi")}"\nfastcgi /app {other.address}\n')
    with server.connect() as first, server.connect() as second:
        first.request("GET", "/slow?sleep=2")
        eventually(lambda: children(server), "the process")
        second.request("GET", "/slow?x")
        assert server.get("/app").status == 200 and server.get("/none").status == 404
        assert process_of(first.answer()) == process_of(second.answer())


def test_one_that_nobody_asks_ends(spawning):
    server = spawning("fastcgi", "children 3 ready 1 idle 1")
    clients = [server.connect() for _ in range(3)]
    for c in clients:
        c.request("GET", "/app?sleep=0.3")
    pids = {process_of(c.answer()) for c in clients}
    assert len(pids) == 3
    eventually(lambda: len(children(server)) == 1, "the end of two of them")
    assert process_of(server.get("/app")) in pids


@pytest.mark.parametrize("query", ["die", "fail"])
def test_one_that_dies_of_a_request_is_started_again(spawning, query):
    server = spawning()
    before = process_of(server.get("/app"))
    assert server.get(f"/app?{query}").status == 502
    server.line("signal 9 ended it" if query == "die" else "it ended with status 3")
    assert process_of(server.get("/app")) != before


def test_one_that_was_killed_while_idle_is_missed_by_nobody(spawning):
    server = spawning()
    with server.connect() as c:
        for _ in range(5):
            os.kill(process_of(c.get("/app")), signal.SIGKILL)
            assert c.get("/app").status == 200


def test_killed_under_load(spawning):
    """What was under way is lost, and nothing else; nobody waits for ever."""
    server = spawning("fastcgi", "children 3")
    statuses, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            statuses.append(server.get("/app?sleep=0.01").status)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for t in threads:
        t.start()
    for _ in range(10):
        pids = eventually(lambda: children(server), "a process")
        seen = len(statuses)
        try:
            os.kill(pids[0], signal.SIGKILL)
        except ProcessLookupError:
            pass
        eventually(lambda: len(statuses) > seen + 10, "more answers")
    stop.set()
    for t in threads:
        t.join(PATIENCE)
    assert set(statuses) <= {200, 502, 503} and statuses.count(200) > 80
    assert len(statuses) - statuses.count(200) <= 20


def test_one_that_ends_at_once_is_not_started_in_a_circle(spawning):
    """Each of both is started twice at once, and then after one second, two more, four more; requests change nothing."""
    began = time.monotonic()
    server = spawning("fastcgi quits", "children 2 ready 2")
    server.line("it ended with status 7")
    assert server.get("/app").status in (502, 503)
    statuses = [server.get("/app").status for _ in range(20)]
    assert set(statuses) <= {502, 503}
    starts = sum("it ended with status 7" in x for x in server.lines if x)
    assert starts <= 2 * (2 + math.log2(time.monotonic() - began + 1)), server.text()
    server.line("it ended with status 7", after=len(server.lines))         # and yet it is tried again, by itself
    assert server.get("/none").status == 404


@pytest.mark.native
def test_a_program_that_is_not_there_is_503(start, folder):
    server = start(f"fastcgi /app spawn {folder}/none\n")
    assert server.get("/app").status == 503
    server.line("cannot be started: ")
    assert server.get("/app").status == 503


def test_what_it_says_on_its_own_goes_to_the_log_escaped(spawning):
    server = spawning("fastcgi mutters")
    server.get("/app")
    server.line("on stdout")
    assert "\\x1b" in server.line("on stderr")


@pytest.mark.parametrize("words", ["fastcgi", "fastcgi deaf"])
def test_it_ends_with_the_server(spawning, words):
    """One that ignores SIGTERM too."""
    server = spawning(words, "children 2 ready 2")
    server.get("/app")
    pids = eventually(lambda: len(children(server)) == 2 and children(server), "two processes")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert all(gone(p) for p in pids)


def test_it_ends_with_a_server_that_is_killed(start, folder):
    server = start(f'fastcgi /app spawn "{command("fastcgi")}"\n')
    pid = process_of(server.get("/app"))
    server.process.kill()
    server.process.wait()
    server.process.returncode = 0       # as was asked for
    eventually(lambda: gone(pid), "the end of the program")


def test_a_reload_ends_those_of_before_and_no_request(spawning):
    server = spawning("fastcgi", "children 2")
    with server.connect() as c:
        old = process_of(c.get("/app"))
        c.request("GET", "/app?sleep=1")
        eventually(lambda: "sleep" not in "" and children(server) == [old], "the request")
        c.silent(0.1)
        server.reload()
        new = process_of(server.get("/app"))
        assert process_of(c.answer()) == old != new
        eventually(lambda: children(server) == [new], "the end of the old one")
    server.configuration.write_text("listen 127.0.0.1:0\nroot /\n")
    server.reload()
    eventually(lambda: children(server) == [], "the end of all")


def test_a_chunked_body_reaches_it(spawning, folder):
    (folder / "spool").mkdir()
    server = spawning("scgi", "", f"spool {folder}/spool 1m\n")
    with server.connect() as c:
        for _ in range(2):
            c.send(b"POST /app?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            assert c.answer().body.split()[3] == b"5"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start programs as somebody else")
def test_it_runs_as_another(spawning, folder):
    nobody = pwd.getpwnam("nobody")
    shutil.copytree(RESIDENT.parent, folder / "test/peers")       # where we are may be closed to others
    shutil.copy(RESIDENT.parent.parent / "wire.py", folder / "test")
    server = spawning("fastcgi", "user nobody", program=folder / "test/peers" / RESIDENT.name)
    answer = server.get("/app")
    assert process_of(answer) in children(server)
    assert answer.body.split()[1] == str(nobody.pw_uid).encode()


# -- php, for real

@pytest.fixture
def php(start, www):
    assert shutil.which("php-cgi"), "php-cgi is missing: test/setup test installs it"
    (www / "a.php").write_text('<?php usleep((int)($_GET["ms"] ?? 0) * 1000); echo getmypid(), " ", php_sapi_name(), " ", '
                               'strlen(file_get_contents("php://input"));')
    (www / "e.php").write_text('<?php error_log("told by php"); no_such_function();')
    return lambda more="": start(f"fastcgi *.php spawn {shutil.which('php-cgi')} {more}\n")


def test_php_cgi_as_a_pool(php):
    server = php("children 2 idle 3")       # longer than a machine with much to do keeps one waiting
    assert server.get("/a.php").body.split()[1] == b"cgi-fcgi"
    clients = [server.connect() for _ in range(8)]
    for _ in range(3):
        for c in clients:
            c.request("POST", "/a.php?ms=30", body=b"x" * 20_000)
        answers = [c.answer().body.split() for c in clients]
        assert {a[2] for a in answers} == {b"20000"} and len({a[0] for a in answers}) == 2
    assert server.get("/e.php").status == 500
    server.line("told by php")
    eventually(lambda: children(server) == [], "the end of both")
    assert server.get("/a.php").status == 200


def test_php_cgi_ends_after_its_number_of_requests(php):
    """PHP_FCGI_MAX_REQUESTS is 500: the end comes when nobody expects it, and nobody sees it."""
    server = php()
    with server.connect() as c:
        pids = [c.get("/a.php").body.split()[0] for _ in range(1050)]
    assert len(set(pids)) >= 2
