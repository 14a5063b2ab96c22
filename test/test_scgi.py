"""SCGI: what the program is told, when its answer has ended, and the programs that speak it."""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import threading
import xmlrpc.client

import pytest

from peers.fcgi import Gone
from wire import PATIENCE, Cut, eventually, held_port

HEAD = b"Content-Type: text/plain\r\n\r\n"


@pytest.fixture
def app(start, backend):
    """app(script, more, ...): a server with one SCGI application at /app."""
    def go(script=None, more="", **options):
        peer = backend(script, speaks="scgi", **options)
        server = start(f"scgi /app {peer.address}\n{more}")
        server.peer = peer
        return server
    return go


def chunks(c, *pieces):
    c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    c.send(b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")


# -- what it is told

@pytest.mark.parametrize("size", [None, 0, 5, 70_000])
def test_it_is_told_what_fastcgi_is_told(start, backend, www, size):
    """Two dialects, one table of variables; the peer itself refuses a head that is no netstring."""
    body = None if size is None else bytes(size)
    (www / "a.php").write_text("source")
    told = []
    for word, wire in (("scgi", "scgi"), ("fastcgi", "fastcgi")):
        peer = backend(speaks=wire)
        server = start(f"{word} *.php {peer.address}\nheader / X-Own x\n")
        answer = server.ask("POST" if body is not None else "GET", "/a.php/info?q=1", "Cookie: a", "Cookie: b", "Proxy: evil",
                            "Empty:", "X_Own: evil", body=body)
        assert answer.status == 200 and answer.body.endswith(b"\n\n" + (body or b""))
        names = [n for n, _ in peer.call().pairs]
        assert len(names) == len(set(names))
        told.append({n: v for n, v in peer.call().pairs if n not in ("REMOTE_PORT", "SERVER_PORT")})
    scgi, fastcgi = told
    assert scgi.pop("SCGI") == "1" and scgi.pop("CONTENT_LENGTH") == str(len(body or b""))
    fastcgi.pop("CONTENT_LENGTH", None)
    assert scgi == fastcgi and scgi["PATH_INFO"] == "/info" and "evil" not in str(scgi)


def test_a_full_head_still_fits(app):
    server = app()
    fields = [f"X-{i}: {'v' * 60}" for i in range(90)]
    assert server.get("/app", *fields).status == 200
    assert all(server.peer.call().params[f"HTTP_X_{i}"] == "v" * 60 for i in range(90))


def test_a_script_that_is_no_file_never_reaches_it(start, backend, www):
    peer = backend(speaks="scgi")
    server = start(f"scgi *.py {peer.address}\n")
    (www / "a.txt").write_text("text")
    assert server.get("/none.py").status == 404 and server.get("/a.txt/x.py").status == 404
    assert peer.calls == []


# -- where an answer ends

def test_an_answer_ends_with_its_connection(app):
    server = app(lambda call: call.out(HEAD + b"body"))
    with server.connect() as c:
        for _ in range(5):
            assert c.get("/app").body == b"body"
        assert c.request("HEAD", "/app").answer("HEAD").status == 200
        assert c.request("GET", "/app", version="1.0").answer().body == b"body"
    assert server.peer.connections == 7, "no connection is used twice"


def test_a_known_length_ends_it_before_the_program_hangs_up(app):
    gate = threading.Event()

    def script(call):
        call.out(b"Content-Length: 4\r\n\r\nbody")
        gate.wait(PATIENCE)
    server = app(script)
    with server.connect() as c:
        assert c.get("/app").body == b"body"
        assert c.get("/app").body == b"body"
    gate.set()


@pytest.mark.parametrize("length", [5, 100_000])
def test_an_answer_that_falls_short_of_its_length_is_a_cut(app, length):
    server = app(lambda call: call.out(b"Content-Length: %d\n\nbody" % length))
    with pytest.raises(Cut) as e:
        server.get("/app")
    assert not e.value.answer or e.value.answer.body == b"body"


def test_more_than_its_length_is_not_the_next_answer(app):
    server = app(lambda call: call.out(b"Content-Length: 4\n\nbodyHTTP/1.1 200 OK\r\n\r\n"))
    with server.connect() as c:
        assert [c.get("/app").body for _ in range(3)] == [b"body"] * 3


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reset_is_no_end(app, version):
    """On TCP a program that was killed may look like that: the client must not take the half for the whole."""
    server = app(lambda call: (call.out(HEAD + b"half"), seen.wait(PATIENCE), call.die()), tcp=True)
    seen = threading.Event()
    with server.connect() as c:
        answer = c.request("GET", "/app", version=version).answer(body=False)
        seen.set()
        with pytest.raises((Cut, ConnectionResetError)):
            c.body(answer)


def test_a_body_that_was_not_read_breaks_no_answer(app):
    """To close a unix socket with bytes unread is a reset, and yet all that was said has come."""
    def script(call):
        call.out(b"Status: 403 No\r\n" + HEAD + b"no" * 20_000)
        raise Gone
    server = app(script)
    for size in (10, 60_000):
        answer = server.ask("POST", "/app", body=b"x" * size)
        assert answer.status == 403 and answer.body == b"no" * 20_000


@pytest.mark.parametrize("text", [b"", b"Content-Type: a/b\r\nX-", b"no head at all", b"\r\n", b"Status: 7 Seven\r\n\r\n"])
def test_what_is_no_head_is_502(app, text):
    assert app(lambda call: call.out(text)).get("/app").status == 502


def test_a_head_in_pieces(app):
    server = app(lambda call: call.dribble(b"Status: 202 Yes\nX-A: b\n" + HEAD + b"body"))
    answer = server.get("/app")
    assert (answer.status, answer["X-A"], answer.body) == (202, "b", b"body")


def test_a_silent_program_is_504(app):
    server = app(lambda call: call.hang(), "timeout backend 1\n")
    assert server.get("/app").status == 504
    assert server.peer.call().aborted.wait(PATIENCE), "the program was not told"


# -- bodies

def test_bodies_stream_both_ways_at_once(app):
    """What was sent comes back before the next is sent: whoever collects a body first hangs here."""
    def echo(call):
        call.out(HEAD)
        for piece in call.pieces():
            call.out(piece)
    with app(echo).connect() as c:
        c.request("POST", "/app", "Content-Length: 3000000")
        c.send(b"a")
        answer = c.answer(body=False)
        size, piece = 1, b"b" * 99_999
        assert int(c.line(), 16) == 1 and c.exactly(3) == b"a\r\n"
        while size < 3_000_000:
            c.send(piece[:3_000_000 - size])
            got = 0
            while got < min(len(piece), 3_000_000 - size):
                n = int(c.line(), 16)
                assert c.exactly(n + 2) == b"b" * n + b"\r\n"
                got += n
            size += got
        assert answer.status == 200 and c.line() == b"0"


@pytest.mark.parametrize("pieces", [[], [b"hello"], [b"y" * 1000] * 300])
def test_a_chunked_body_is_spooled_and_its_length_comes_first(app, folder, pieces):
    (folder / "spool").mkdir()
    server = app(None, f"spool {folder}/spool 1m\n")
    with server.connect() as c:
        for _ in range(2):
            chunks(c, *pieces)
            whole = b"".join(pieces)
            assert c.answer().body.endswith(b"\n\n" + whole)
            assert server.peer.calls[-1].pairs[0] == ("CONTENT_LENGTH", str(len(whole)))


def test_a_chunked_body_without_a_spool_is_411(app):
    with app().connect() as c:
        chunks(c, b"hello")
        assert c.answer().status == 411


@pytest.mark.parametrize("spooled", [False, True])
def test_the_next_address_is_told_the_whole_request(start, backend, folder, spooled):
    (folder / "spool").mkdir()
    dead, alive = backend(tcp=True, listening=False), backend(speaks="scgi")
    server = start(f"scgi /app {dead.address} {alive.address}\nspool {folder}/spool 1m\n")
    for _ in range(3):
        with server.connect() as c:
            if spooled:
                chunks(c, *[b"p" * 1000] * 100)
            else:
                c.request("POST", "/app", body=b"p" * 100_000)
            assert c.answer().body.endswith(b"p" * 100_000)


def test_a_request_is_never_said_twice_to_one_that_heard_it(app):
    server = app(lambda call: call.die())
    assert server.ask("POST", "/app", body=b"order").status == 502
    assert len(server.peer.calls) == 1


def test_no_address_is_503(start, folder):
    assert start(f"scgi /app unix:{folder}/nothing.sock\n").get("/app").status == 503


def test_a_client_that_leaves_ends_it(app):
    def script(call):
        call.out(HEAD)
        while True:
            call.out(b"x" * 1000)
    server = app(script)
    c = server.connect()
    c.request("GET", "/app")
    c.answer(body=False)
    c.reset()
    assert server.peer.call().done.wait(PATIENCE)


def test_a_file_is_sent_in_place_of_the_answer(start, backend, folder):
    (folder / "private").mkdir()
    (folder / "private/f.txt").write_bytes(b"0123456789")
    peer = backend(lambda call: call.answer(b"own", None, f"X-Sendfile: {folder}/private/f.txt"), speaks="scgi")
    assert start(f"scgi /app {peer.address} sendfile {folder}/private\n").get("/app").body == b"0123456789"


def test_the_access_log_names_the_route(app, folder):
    server = app(None, f"log access {folder}/access.log\n")
    server.get("/app")
    eventually(lambda: re.search(r'"GET /app HTTP/1.1" 200 .* scgi', (folder / "access.log").read_text()), "the line")


# -- real programs

@pytest.fixture
def run():
    """run(args, ...): a program that is ended with the test."""
    processes = []

    def go(*args, **more):
        assert shutil.which(args[0]), f"{args[0]} is missing: test/setup test installs it"
        processes.append(subprocess.Popen(list(map(str, args)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, **more))
        return processes[-1]
    yield go
    for p in processes:
        p.kill()
        p.wait()


WSGI = '''
import hashlib
def application(env, start):
    if env["PATH_INFO"] == "/down":
        start("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 65536 for _ in range(64))
    sum, n, piece = hashlib.sha1(), 0, env["wsgi.input"].read(65536)
    while piece:
        sum.update(piece)
        n += len(piece)
        piece = env["wsgi.input"].read(65536)
    text = "%s %s %s?%s %d %s" % (env["REQUEST_METHOD"], env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"], n,
                                  sum.hexdigest())
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("X-Agent",
          env.get("HTTP_USER_AGENT", "-"))])
    return [text.encode()]
'''


def test_a_python_application_in_uwsgi(start, folder, run):
    (folder / "app.py").write_text(WSGI)
    path = folder / "uwsgi.sock"
    process = run("uwsgi-core", "--plugin", "python3", "--scgi-socket", path, "--chmod-socket=666", "--wsgi-file", "app.py",
                  "--manage-script-name", "--mount", "/app=app.py", "--die-on-term", cwd=folder)
    eventually(lambda: process.poll() is not None or path.exists(), "the socket of uwsgi")
    server = start(f"scgi /app unix:{path}\n")
    with server.connect() as c:
        answer = c.get("/app/x/y?q=1", "User-Agent: bear")
        assert answer.body == b"GET /app /x/y?q=1 0 " + hashlib.sha1().hexdigest().encode()
        assert answer["X-Agent"] == "bear"
        data = os.urandom(3_000_000)
        answer = c.request("POST", "/app/up", body=data).answer()
        assert answer.body == b"POST /app /up? 3000000 " + hashlib.sha1(data).hexdigest().encode()
        assert len(c.get("/app/down").body) == 64 * 65536


@pytest.mark.plain("a client for plain text")
def test_rtorrent_by_xml_rpc(start, folder, run):
    held, port = held_port()
    (folder / "rc").write_text(f"""system.daemon.set = true
directory.default.set = {folder}
network.port_open.set = no
dht.mode.set = disable
trackers.use_udp.set = no
network.scgi.open_port = 127.0.0.1:{port}
""")
    process = run("rtorrent", "-n", "-o", f"import={folder}/rc", env=dict(os.environ, HOME=str(folder)), cwd=folder)
    server = start(f"scgi /RPC2 127.0.0.1:{port}\n")
    eventually(lambda: process.poll() is not None or server.get("/RPC2").status != 503, "the port of rtorrent")
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{server.port}/RPC2") as rtorrent:
        assert rtorrent.system.pid() == process.pid
        assert "system.pid" in rtorrent.system.listMethods()
        for name in ("a bear's name & more", "long " * 50_000):
            rtorrent.session.name.set("", name)
            assert rtorrent.session.name() == name
