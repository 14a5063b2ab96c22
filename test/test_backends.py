"""Backends of FastCGI: several addresses, kept connections, places, and the files that they name."""
import re
import threading
import time

import pytest

from peers import fcgi
from test_conf import check
from test_fastcgi import app
from wire import PATIENCE, eventually


# -- several addresses

def test_the_next_address_when_one_is_dead(start, backend):
    dead, alive = backend(tcp=True, listening=False), backend()
    server = start(f"fastcgi /app {dead.address} {alive.address}\n")
    for _ in range(10):
        assert server.get("/app").status == 200
    assert len(alive.calls) == 10


def test_all_addresses_dead_is_503(start, backend):
    a, b = (backend(tcp=True, listening=False) for _ in range(2))
    assert start(f"fastcgi /app {a.address} {b.address}\n").get("/app").status == 503


def test_more_addresses_than_can_be_told_apart_are_a_mistake(folder):
    """Which were tried is a bit for each: the 65th would be taken for the first."""
    assert "64 addresses at the most" in check(folder, f"fastcgi /app{' a.example:1' * 17}\n").stderr
    assert "64 addresses" not in check(folder, f"fastcgi /app{' a.example:1' * 16}\n").stderr


def test_a_post_moves_on_to_the_next_address_whole(start, backend):
    dead, alive = backend(tcp=True, listening=False), backend()
    server = start(f"fastcgi /app {dead.address} {alive.address}\n")
    assert server.ask("POST", "/app", body=b"p" * 100_000).body.endswith(b"p" * 100_000)


def test_a_dead_address_is_rested(start, backend, folder):
    """Else each request pays for the connect that fails; a bound peer that listens late would be asked at once."""
    late, alive = backend(tcp=True, listening=False), backend(keep=False)
    server = start(f"fastcgi /app {late.address} {alive.address}\n")
    assert server.get("/app").status == 200
    late.sock.listen(5)
    threading.Thread(target=late.accept, daemon=True).start()
    assert server.get("/app").status == 200
    assert late.connections == 0
    eventually(lambda: server.get("/app").status == 200 and late.calls, "the end of its rest", 20)


# -- kept connections

def test_connections_are_kept_and_used_again(start, backend):
    server = app(start, backend)
    with server.connect() as c:
        for _ in range(20):
            assert c.get("/app").status == 200
    for _ in range(20):
        assert server.get("/app").status == 200
    assert server.peer.connections == 1


def test_a_backend_that_closes_each_time(start, backend):
    server = app(start, backend, keep=False)
    for _ in range(10):
        assert server.get("/app").status == 200
    assert server.peer.connections == 10


@pytest.mark.parametrize("body", [None, b"payload"])
def test_a_kept_connection_that_went_stale_is_replaced(start, backend, body):
    """The backend closed it while it was idle: nobody may see that."""
    server = app(start, backend)
    for i in range(5):
        answer = server.ask("POST" if body else "GET", "/app", body=body)
        assert answer.status == 200 and answer.body.endswith(body or b"")
        server.peer.drop()


def test_a_kept_connection_that_dies_as_it_is_used(start, backend):
    """The request was sent and no byte came back: it is asked again, once, on a new connection."""
    def script(call):
        if len(call.peer.calls) == 2:
            call.die()
        call.read_body()
        call.answer(b"ok")
    server = app(start, backend, script)
    assert server.get("/app").body == b"ok"
    assert server.get("/app").body == b"ok"
    assert server.peer.connections == 2


def test_a_request_is_never_repeated_on_a_fresh_connection(start, backend):
    """A backend that dies of this request shall not be killed twice."""
    server = app(start, backend, fcgi.Call.die)
    assert server.ask("POST", "/app", body=b"order").status == 502
    assert len(server.peer.calls) == 1


def test_an_idle_connection_to_the_backend_is_closed_after_a_while(start, backend):
    server = app(start, backend, None, "timeout keep 1\n")
    server.get("/app")
    server.peer.wait(lambda: not server.peer.open, 5)


def test_requests_on_a_kept_connection_do_not_mix(start, backend):
    def script(call):
        call.read_body()
        call.answer(call.params["QUERY_STRING"] * 500)
    server = app(start, backend, script)
    faults = []

    def one(n):
        try:
            with server.connect() as c:
                for i in range(30):
                    assert c.get(f"/app?{n}-{i}.").body == f"{n}-{i}.".encode() * 500
        except BaseException as e:
            faults.append(e)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, faults[0]


# -- places

def test_requests_wait_their_turn_when_all_places_are_taken(start, backend):
    gate = threading.Event()

    def script(call):
        gate.wait(PATIENCE)
        call.answer(call.params["QUERY_STRING"])
    server = app(start, backend, script, "scripts 2\n")
    clients = [server.connect(source=f"127.0.0.{2 + i % 2}") for i in range(6)]     # one alone may not hold both places
    for i, c in enumerate(clients):
        c.request("GET", f"/app?{i}")
    server.peer.wait(lambda: len(server.peer.calls) == 2)
    assert server.get("/a.txt").status == 404, "files do not wait behind scripts"
    assert len(server.peer.calls) == 2
    gate.set()
    assert [c.answer().body for c in clients] == [b"%d" % i for i in range(6)]


def test_a_wait_that_is_too_long_is_503(start, backend):
    gate = threading.Event()

    def script(call):
        gate.wait(PATIENCE)
        call.answer("x")
    server = app(start, backend, script, "scripts 1\ntimeout queue 1\n")
    with server.connect() as first, server.connect() as second:
        first.request("GET", "/app")
        server.peer.call()
        began = time.monotonic()
        assert second.get("/app").status == 503
        assert 0.9 < time.monotonic() - began < 25
        gate.set()
        assert first.answer().status == 200


def test_a_client_that_leaves_the_queue_gives_its_turn(start, backend):
    gate = threading.Event()

    def script(call):
        gate.wait(PATIENCE)
        call.answer(call.params["QUERY_STRING"])
    server = app(start, backend, script, "scripts 1\n")
    with server.connect() as first, server.connect() as third:
        first.request("GET", "/app?1")
        server.peer.call()
        second = server.connect()
        second.request("GET", "/app?2")
        second.silent(0.1)
        second.reset()
        third.request("GET", "/app?3")
        third.silent(0.1)
        gate.set()
        assert first.answer().body == b"1" and third.answer().body == b"3"


# -- X-Sendfile

@pytest.fixture
def sender(start, backend, folder):
    (folder / "private").mkdir()
    (folder / "private/f.txt").write_bytes(b"0123456789" * 1000)
    (folder / "secret").write_text("secret")
    (folder / "private/.dot").write_text("dot")
    peer = backend(lambda c: c.answer(b"own body", None, f"X-Sendfile: {c.params['QUERY_STRING'].replace('%20', ' ')}",
                                      "Content-Type: text/x", "X-More: yes"))
    return start(f"fastcgi /app {peer.address} sendfile {folder}/private\n")


def test_sendfile_of_a_named_root(sender, folder):
    with sender.connect() as c:
        answer = c.get(f"/app?{folder}/private/f.txt")
        assert answer.status == 200 and answer.body == b"0123456789" * 1000
        assert answer["X-Sendfile"] is None and answer["Content-Type"] == "text/x"
        assert c.get(f"/app?{folder}/private/f.txt", "Range: bytes=0-4").body in (b"01234", b"0123456789" * 1000)
        assert c.request("HEAD", f"/app?{folder}/private/f.txt").answer("HEAD").status == 200
        assert c.get(f"/app?{folder}/private/f.txt").body == b"0123456789" * 1000


@pytest.mark.parametrize("name", ["{}/secret", "{}/private/../secret", "/etc/passwd", "{}/privatex", "{}/private/none", "{}/private/",
                                  "secret", "../secret", ""])
def test_sendfile_of_anything_else_is_refused(sender, folder, name):
    answer = sender.get("/app?" + name.format(folder))
    assert b"secret" not in answer.body and b"root:" not in answer.body and b"own body" not in answer.body
    assert answer["X-Sendfile"] is None
    assert answer.status in (403, 404, 500, 502) or name == ""


def test_sendfile_of_what_was_written_this_very_moment(start, backend, folder):
    """It is kept open, and is not as long as it was."""
    (folder / "private").mkdir()
    (folder / "private/index.html").write_text("index")

    def script(c):
        (folder / "private/f").write_text("x" * int(c.params["QUERY_STRING"]))
        c.out(f"X-More: yes\nX-Sendfile: {folder}/private/f\n\n")

    server = start(f"fastcgi /app {backend(script).address} sendfile {folder}/private\n"
                   f"scgi /scgi {backend(script, speaks='scgi').address} sendfile {folder}/private\n")
    for n in (5, 6, 3, 7):
        for path in ("/app", "/scgi"):
            answer = server.get(f"{path}?{n}{n}")
            assert (answer.status, answer.body, answer["X-More"]) == (200, b"x" * (11 * n), "yes")


def test_sendfile_without_any_root_is_nothing(start, backend, folder):
    (folder / "f").write_text("secret")
    server = app(start, backend, lambda c: c.answer(b"own", None, f"X-Sendfile: {folder}/f", "Content-Type: a/b"))
    answer = server.get("/app")
    assert b"secret" not in answer.body


@pytest.mark.parametrize("size", [5000, 7500, 12_000, 13_000, 13_300])
def test_the_head_of_an_answer_goes_whole_or_is_502(start, backend, folder, size):
    """One that our fields make too large must not go out without its end, nor as a page that says 200."""
    (folder / "private").mkdir()
    (folder / "private/f").write_text("file")
    big = f"X-Big: {'b' * size}"
    server = start(f"header /file X-Ours {'o' * 7600}\n"
                   f"fastcgi /own {backend(lambda c: c.answer(b'own', None, big)).address}\n"
                   f"fastcgi /file {backend(lambda c: c.answer(b'', None, big, f'X-Sendfile: {folder}/private/f')).address}"
                   f" sendfile {folder}/private\n")
    for path, limit, body in (("/own", 13_000, b"own"), ("/file", 5000, b"file")):
        answer = server.get(path)
        if answer.status == 502:
            assert size > limit and answer["X-Big"] is None
        else:
            assert (answer.status, answer.body, len(answer["X-Big"])) == (200, body, size)


def test_header_lines_that_leave_no_room_are_told_as_500(start, backend):
    """Of a backend's answer as of a file: the page that says so would have no room either, but for being without them."""
    server = start(f"header / X-A {'a' * 7600}\nheader / X-B {'b' * 7600}\nfastcgi /app {backend().address}\n"
                   f"fastcgi /dead {backend(lambda c: c.raw(b'?')).address}\ntimeout backend 1\n")
    for path in ("/app", "/dead", "/none"):
        for version in ("1.1", "1.0"):
            answer = server.ask("GET", path, version=version)
            assert answer.status == 500 and answer["X-A"] is None


def test_the_access_log_names_the_route(start, backend, folder):
    server = app(start, backend, None, f"log access {folder}/access.log\n")
    server.get("/app")
    eventually(lambda: re.search(r'"GET /app HTTP/1.1" 200 .* fastcgi', (folder / "access.log").read_text()), "the line")
