"""The proxy: what other servers are asked, what they may answer, and what happens when they misbehave."""
import contextlib
import socket
import threading

import pytest

from peers.http import Peer
from wire import PATIENCE, Cut, eventually


@pytest.fixture
def peer(folder):
    """peer(script, ...) starts an HTTP server that does as the script says; unix=True for a socket in the folder."""
    peers = []

    def go(script=None, **more):
        p = Peer(script, path=folder / f"http{len(peers)}.sock" if more.pop("unix", False) else None, **more)
        peers.append(p)
        return p

    yield go
    for p in peers:
        p.close()


def front(start, *peers, more="", path="", line=""):
    """A server with these behind it, at /."""
    url = "http://%s" + path if path else "%s"
    server = start("proxy / " + " ".join(url % p.address for p in peers) + f" {line}\n{more}")
    server.peer = peers[0]
    return server


def seen(answer):
    """What the default script saw: the request line, its fields, and the body."""
    head, _, body = answer.body.partition(b"\n\n")
    line, *fields = head.decode("latin-1").split("\n")
    return line, [tuple(f.split(": ", 1)) for f in fields], body


# -- requests

def test_a_request_passes(start, peer):
    server = front(start, peer())
    answer = server.get("/a/b?c=d%20e", "User-Agent: tester", "Cookie: a=b")
    line, fields, body = seen(answer)
    assert line == "GET /a/b?c=d%20e" and not body
    assert dict(fields).items() >= {"Host": "test", "User-Agent": "tester", "Cookie": "a=b"}.items()


def test_a_body_passes_with_its_length(start, peer):
    server = front(start, peer())
    data = bytes(range(256)) * 1000
    line, fields, body = seen(server.ask("POST", "/", body=data))
    assert line == "POST /" and body == data and ("Content-Length", str(len(data))) in fields


def test_an_empty_body_keeps_its_length(start, peer):
    _, fields, _ = seen(front(start, peer()).ask("POST", "/", body=b""))
    assert ("Content-Length", "0") in fields


def test_a_chunked_body_streams_in_chunks(start, peer):
    """While it is still coming the backend has its beginning: nothing is collected."""
    server = front(start, peer())
    with server.connect() as c:
        c.request("POST", "/", "Transfer-Encoding: chunked").send("5\r\nhello\r\n")
        call = server.peer.call()
        pieces = call.pieces()
        c.send("6\r\n world\r\n0\r\n\r\n")
        _, fields, body = seen(c.answer())
    del pieces
    assert body == b"hello world"
    assert ("Transfer-Encoding", "chunked") in fields and "Content-Length" not in dict(fields)


def test_over_a_unix_socket(start, peer):
    assert seen(front(start, peer(unix=True)).get("/x"))[0] == "GET /x"


def test_the_connection_is_kept(start, peer):
    server = front(start, peer())
    for i in range(20):
        assert server.get(f"/{i}").status == 200
    assert server.peer.connections == 1


# -- answers

def say(*pieces, close=True):
    """A script that answers with these bytes, whatever was asked."""
    def script(call):
        call.read_body()
        for piece in pieces:
            call.raw(piece)
        if close:
            call.end()
    return script


OK = "HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("text, body, framing", [
    (OK + "Content-Length: 5\r\n\r\nhello", b"hello", "length"),
    (OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello", "chunked"),
    (OK + "\r\nhello", b"hello", "chunked"),
    ("HTTP/1.0 200 OK\r\n\r\nhello", b"hello", "chunked"),
    ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", "length"),
    ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", "length"),
    ("HTTP/1.1 204 No Content\r\n\r\n", b"", "none"),
    ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", b"", "none"),
])
def test_where_a_body_ends(start, peer, text, body, framing):
    with front(start, peer(say(text))).connect() as c:
        for _ in range(2):
            answer = c.get("/")
            assert answer.body == body and answer.framing == framing


def test_head_has_no_body_though_it_has_a_length(start, peer):
    server = front(start, peer(say(OK + "Content-Length: 5\r\n\r\n", close=False)))
    with server.connect() as c:
        for _ in range(3):
            assert c.request("HEAD", "/").answer("HEAD")["Content-Length"] == "5"
    assert server.peer.connections == 1


@pytest.mark.parametrize("text", [
    "", "garbage", "garbage\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 99 No\r\n\r\n", "HTTP/1.1 600 No\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1\r\n\r\n", "ICY 200 OK\r\n\r\n", OK, OK + "A: b\r\n", OK + "no field\r\n\r\n",
    OK + "A: b\r\n folded\r\n\r\n", OK + "A : b\r\nContent-Length: 0\r\n\r\n", OK + "A: b\0c\r\n\r\n",
    OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", OK + "Content-Length: 5, 5\r\n\r\nhello",
    OK + "Content-Length: -5\r\n\r\nhello", OK + "Content-Length: 99999999999999999999\r\n\r\nhello",
    OK + "Content-Length:\r\n\r\n", OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", OK + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    OK + "A: " + 40000 * "b" + "\r\n\r\n", 5000 * "A: b\r\n",
])
def test_what_is_no_answer_is_502(start, peer, text):
    server = front(start, peer(say(text)))
    with server.connect() as c:
        answer = c.get("/")
        assert answer.status == 502 and b"hello" not in answer.body
    assert server.get("/").status == 502


@pytest.mark.parametrize("text", [
    OK + "Content-Length: 5\r\n\r\nhel", OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n",
    OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nffffffffffffffffff\r\nlo",
    OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhelxx\r\n0\r\n\r\n", OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n-2\r\nlo",
])
def test_a_body_that_breaks_off_is_a_cut(start, peer, text):
    server = front(start, peer(say(text)))
    with pytest.raises((Cut, ConnectionResetError)):
        server.get("/")


def test_what_follows_an_answer_is_in_no_other(start, peer):
    """A length that is too short, and a second answer that nobody asked for: both end with the connection."""
    server = front(start, peer(say(OK + "Content-Length: 5\r\n\r\nhelloEVIL" + OK + "Content-Length: 4\r\n\r\nEVIL", close=False)))
    with server.connect() as c:
        for _ in range(5):
            assert c.get("/").body == b"hello"
    assert server.peer.connections == 5


def test_interim_responses_pass(start, peer):
    def script(call):
        call.raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        call.raw("HTTP/1.1 102 Processing\r\n\r\n")
        call.answer("hello")
    server = front(start, peer(script))
    with server.connect() as c:
        early = c.request("GET", "/").answer(interim=True, body=False)
        assert early.status == 103 and early["Link"] == "</a.css>"
        assert c.answer(interim=True, body=False).status == 102
        assert c.answer().body == b"hello"
        c.request("GET", "/", version="1.0")
        assert c.answer(interim=True).body == b"hello"


def test_interim_responses_for_ever_hold_no_place_for_who_has_left(start, peer):
    """A client of HTTP/1.0 is told of none of them, so no write ever failed, and the backend held a place for good."""
    def script(call):
        with contextlib.suppress(OSError):
            while True:
                call.raw("HTTP/1.1 102 Processing\r\n\r\n" * 100)
    server = front(start, peer(script))
    with server.connect() as c:
        c.request("GET", "/", version="1.0").half_close()
        assert c.answer().status == 502


def test_expect_passes_and_the_backend_decides(start, peer):
    def script(call):
        if call.target == "/no":
            call.raw("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
            return call.end()
        call.raw("HTTP/1.1 100 Continue\r\n\r\n")
        return call.answer(call.read_body())
    server = front(start, peer(script))
    with server.connect() as c:
        c.request("POST", "/", "Expect: 100-continue", "Content-Length: 5")
        assert c.answer(interim=True, body=False).status == 100
        assert server.peer.call()["Expect"] == "100-continue"
        assert c.send("hello").answer().body == b"hello"
        c.request("POST", "/no", "Expect: 100-continue", "Content-Length: 5")
        assert c.answer(interim=True).status == 417


def test_trailers_pass_both_ways_but_not_those_that_frame(start, peer):
    def script(call):
        call.read_body()
        call.raw(OK + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nContent-Length: 5\r\nSet-Cookie: a\r\n\r\n")
    server = front(start, peer(script))
    text = ("POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            "0\r\nX-Own: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 6\r\nX-Two: 2\r\n\r\n")
    with server.connect() as c:
        for i in range(2):
            c.send(text)
            answer = c.answer()
            assert answer.body == b"a" and answer.trailers == [("X-Sum", "7")]
            call = server.peer.call(i)
            assert call.trailers == [("X-Own", "1"), ("X-Two", "2")] and call["TE"] == "trailers"
        assert server.get("/", "TE: gzip").body == b"a" and server.peer.call(2)["TE"] is None
        with server.connect() as old:
            assert old.request("GET", "/", version="1.0").answer().body == b"a"
    assert server.peer.connections == 1


def test_a_flood_of_trailers_is_no_answer(start, peer):
    text = OK + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + 1000 * "X-Long: trailer\r\n" + "\r\n"
    with pytest.raises((Cut, ConnectionResetError)):
        front(start, peer(say(text))).get("/")


# -- several, and those that are away

def test_all_down_is_503(start, peer):
    server = front(start, peer(listening=False), peer(listening=False))
    assert server.get("/").status == 503


def test_a_slow_one_is_504(start, peer):
    server = front(start, peer(lambda call: call.hang()), more="timeout backend 0.2\n")
    assert server.get("/").status == 504


def test_each_in_turn(start, peer):
    peers = [peer(say(OK + f"Content-Length: 1\r\n\r\n{i}", close=False)) for i in range(3)]
    server = front(start, *peers)
    got = [server.get("/").body for _ in range(9)]
    assert sorted(got[:3]) == sorted(got[3:6]) == [b"0", b"1", b"2"]
    assert [p.connections for p in peers] == [1, 1, 1]


def test_the_least_busy_is_asked(start, peer):
    go = threading.Event()

    def script(name):
        def answer(call):
            assert call.target != "/slow" or go.wait(PATIENCE)
            call.answer(name)
        return answer
    peers = [peer(script(name)) for name in ("a", "b", "c")]
    server = front(start, *peers, line="least-busy")
    with server.connect() as one, server.connect() as two:
        one.request("GET", "/slow")
        two.request("GET", "/slow")
        eventually(lambda: sum(len(p.calls) for p in peers) == 2)
        free = {server.get("/").body for _ in range(6)}
        go.set()
        assert {one.answer().body, two.answer().body} | free == {b"a", b"b", b"c"} and len(free) == 1


def test_a_client_sticks_to_its_server(start, peer):
    peers = [peer(say(OK + f"Content-Length: 1\r\n\r\n{i}", close=False)) for i in range(5)]
    server = front(start, *peers, line="sticky")
    assert len({server.get("/").body for _ in range(10)}) == 1


def test_one_that_is_away_is_passed_over(start, peer):
    server = front(start, peer(listening=False), peer())
    for _ in range(10):
        assert server.get("/").status == 200
        assert server.ask("POST", "/", body=b"x").status == 200


@pytest.mark.parametrize("method, status", [("GET", 200), ("PUT", 200), ("POST", 502)])
def test_what_may_not_be_said_twice_is_not(start, peer, method, status):
    """The connection is closed when the request is there: it may have been acted upon."""
    def script(call):
        call.read_body()
        if call.target == "/first" or call.peer.calls.index(call) > 1:
            call.answer("hello")
        else:
            call.end()
    server = front(start, peer(script))
    assert server.get("/first").status == 200
    assert server.ask(method, "/second", body=b"x").status == status
    assert len(server.peer.calls) == (3 if status == 200 else 2)


def test_proxied_requests_do_not_wait_behind_scripts(start, peer, backend):
    go = threading.Event()
    script = backend(lambda call: go.wait(PATIENCE) and call.answer("script"))
    other = peer()
    server = start(f"scripts 1\nproxied 1\nfastcgi /app {script.address}\nproxy /p {other.address}\n")
    with server.connect() as a, server.connect() as b:
        a.request("GET", "/app")
        script.call()
        b.request("GET", "/app")
        for _ in range(3):
            assert server.get("/p").status == 200
        go.set()
        assert a.answer().body == b.answer().body == b"script"


def test_requests_wait_for_a_place(start, peer):
    server = front(start, peer(), more="proxied 1\n")
    clients = [server.connect().request("GET", f"/{i}") for i in range(8)]
    assert [seen(c.answer())[0] for c in clients] == [f"GET /{i}" for i in range(8)]


# -- fields

def test_what_is_about_the_connection_stays(start, peer):
    server = front(start, peer())
    _, fields, _ = seen(server.get("/", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "TE: gzip",
                                   "Proxy-Connection: close", "Proxy: evil", "X-End: 2", "Connection: x-too", "X-Too: 3"))
    names = {n.lower() for n, _ in fields}
    assert not names & {"connection", "x-hop", "keep-alive", "te", "proxy-connection", "proxy", "x-too"}
    assert ("X-End", "2") in fields


def test_what_is_about_the_backends_connection_stays(start, peer):
    text = (OK + "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nX-End: 2\r\n"
            "Upgrade: h2c\r\nContent-Length: 5\r\n\r\nhello")
    answer = front(start, peer(say(text, close=False))).get("/")
    assert answer.body == b"hello" and answer["X-End"] == "2"
    assert not (answer["X-Hop"] or answer["Keep-Alive"] or answer["Upgrade"] or answer["Connection"])


def test_host_and_length_are_not_the_connections_whatever_it_names(start, peer):
    text = OK + "Connection: Content-Length, X-Hop\r\nX-Hop: 1\r\nContent-Length: 5\r\nX-End: 2\r\n\r\nhello"
    server = front(start, peer(say(text, close=False)))
    answer = server.get("/", "Connection: Host, X-Hop", "X-Hop: 1")
    call = server.peer.call()
    assert call["Host"] == "test" and not call["X-Hop"]
    assert answer.body == b"hello" and answer["Content-Length"] == "5" and answer["X-End"] == "2" and not answer["X-Hop"]


def test_the_version_is_ours(start, peer):
    """The peer reads no other than HTTP/1.1."""
    with front(start, peer()).connect() as c:
        for version in "1.1", "1.9":
            assert seen(c.request("GET", "/a?b", version=version).answer())[0] == "GET /a?b"


@pytest.mark.plain("it looks at the scheme")
def test_who_the_client_is_is_for_us_to_say(start, peer):
    server = front(start, peer())
    _, fields, _ = seen(server.get("/", "X-Forwarded-For: 6.6.6.6", "x-forwarded-proto: https", "Forwarded: for=6.6.6.6",
                                   "X-FORWARDED-HOST: evil", "X-Forwarded-Port: 6", "X-Real-IP: 6.6.6.6",
                                   "X_Forwarded_For: 6.6.6.6", "x-forwarded_proto: https", "X_Real-IP: 6.6.6.6"))
    got = {n.lower(): v for n, v in fields}
    assert len(got) == len(fields)
    assert got["x-forwarded-for"] == "127.0.0.1" and got["x-forwarded-proto"] == "http"
    assert got["x-forwarded-host"] == "test" and got["via"] == "1.1 cubhttpd"
    assert got["forwarded"] == 'proto=http;for=127.0.0.1;host="test"'
    assert not {"x-real-ip", "x-forwarded-port"} & set(got) and not any("_" in n for n in got)


@pytest.mark.plain("it looks at the scheme")
def test_an_address_of_ipv6_is_quoted(start, peer):
    p = peer()
    server = start(f"listen [::1]:0\nproxy / {p.address}\n")
    got = dict(seen(server.get("/"))[1])
    assert got["Forwarded"] == 'proto=http;for="[::1]";host="test"' and got["X-Forwarded-For"] == "::1"


# -- paths

@pytest.mark.parametrize("pattern, url, asked, got", [
    ("/api/", "", "/api/x?y", "/api/x?y"), ("/api/", "/", "/api/x?y", "/x?y"), ("/api/", "/v1/", "/api/x", "/v1/x"),
    ("/api/", "/v1", "/api/x", "/v1/x"), ("/api", "/v1/", "/api/x", "/v1/x"), ("/api", "/v1", "/api", "/v1"),
    ("/api", "/v1/", "/api", "/v1/"), ("/api/", "/v1/", "/api/", "/v1/"), ("/", "/v1/", "/a", "/v1/a"),
    ("/api/", "", "/api/a%2Fb%20c", "/api/a%2Fb%20c"), ("/api/", "/v1/", "/%61pi%2fa%2Fb%20c", "/v1/a%2Fb%20c"),
    ("/api/", "/v1/", "/api/../api/./x//y", "/v1/x/y"), ("/", "", "/a/%2e%2e/b%20c", "/b%20c"),
    ("*.cgi", "/v1/", "/a/b.cgi", "/v1/a/b.cgi"), ("/api/", "/v 1/", "/api/x", "/v%201/x"),
    ("/api/", "", "http://other/api/x?y", "/api/x?y"),
])
def test_the_path_over_there(start, peer, pattern, url, asked, got):
    p = peer()
    server = start(f'proxy {pattern} "http://{p.address}{url}"\n')
    assert seen(server.get(asked))[0] == f"GET {got}"


def test_a_rewritten_path_is_the_one_that_is_asked_for(start, peer):
    p = peer()
    server = start(f"rewrite /old/ /new/\nproxy /new/ {p.address}\n")
    assert seen(server.get("/old/a%20b?c"))[0] == "GET /new/a%20b?c"


# -- places over there

def says(peer, *fields):
    return peer(say(OK + "".join(f + "\r\n" for f in fields) + "Content-Length: 0\r\n\r\n", close=False))


@pytest.mark.parametrize("pattern, path, said, told", [
    ("/api/", "/v1/", "/v1/x?y#z", "/api/x?y#z"), ("/api/", "/v1/", "http://{address}/v1/x", "/api/x"),
    ("/api/", "/v1/", "http://test/v1/", "/api/"), ("/api/", "/v1/", "/v1", "/api/"), ("/api/", "/v1", "/v1?x", "/api/?x"),
    ("/api/", "/v1/", "/v10/x", "/v10/x"), ("/api/", "/v1/", "/other", "/other"), ("/api/", "/", "/x", "/api/x"),
    ("/api/", "/", "http://{address}", "/api/"), ("/api", "/", "/x", "/api/x"), ("/api/", "/v1/", "x/y", "x/y"),
    ("/api/", "/v1/", "?x", "?x"), ("/api/", "/v1/", "//{address}/v1/x", "//{address}/v1/x"),
    ("/api/", "/v1/", "https://test/v1/x", "https://test/v1/x"), ("/api/", "/v1/", "http://else/v1/x", "http://else/v1/x"),
    ("/api/", "", "http://{address}/api/x", "/api/x"), ("/api/", "", "/x", "/x"),
    ("/api/", "/v1/", "http://{address}.evil/v1/x", "http://{address}.evil/v1/x"), ("/a b/", "/", "/x", "/a%20b/x"),
])
@pytest.mark.parametrize("name, before", [("Location", ""), ("Content-Location", ""), ("Refresh", "5; url=")])
def test_where_an_answer_points(start, peer, pattern, path, said, told, name, before):
    p = peer(lambda call: call.answer("", "201 Created", f"{name}: {before}{said.format(address=p.address)}"))
    server = start(f'proxy "{pattern}" http://{p.address}{path}\n')
    answer = server.get(pattern.rstrip("/").replace(" ", "%20") + "/x")
    assert answer[name] == before + told.format(address=p.address)


@pytest.mark.parametrize("said, told", [
    ("a=b; Path=/v1; HttpOnly", "a=b; Path=/api/; HttpOnly"), ("a=b;path=/v1/x;Secure", "a=b; Path=/api/x; Secure"),
    ("a=/v1/; Path=/", "a=/v1/; Path=/"), ("a=b; Domain=127.0.0.1; Path=/v1/", "a=b; Path=/api/"), ("a=b", "a=b"),
    ("a=b; Domain=example.org", "a=b; Domain=example.org"), ("a=b;  Max-Age=5", "a=b;  Max-Age=5"),
    ('a="path=/v1/"; Path=/v1/', 'a="path=/v1/"; Path=/api/'),
])
def test_where_a_cookie_belongs(start, peer, said, told):
    p = says(peer, f"Set-Cookie: {said}", "Set-Cookie: second=1")
    answer = start(f"proxy /api/ http://{p.address}/v1/\n").get("/api/x")
    assert answer.all("Set-Cookie") == [told, "second=1"]


# -- time, places and the end

def test_an_answer_before_the_request_has_ended(start, peer):
    def early(call):
        call.raw(OK + "Content-Length: 5\r\n\r\nearly")
        call.end()
    server = front(start, peer(early), more="proxied 1\n")
    for _ in range(3):
        with server.connect() as c:
            c.request("POST", "/", "Content-Length: 100000000").send(b"x" * 100000)
            assert c.answer().body == b"early"
    with server.connect() as c:
        c.request("POST", "/", "Transfer-Encoding: chunked").send("5\r\nhello\r\n")
        assert c.answer().body == b"early"


def test_a_reset_in_the_middle_is_a_cut(start, peer):
    def script(call):
        call.raw(OK + "Content-Length: 100000\r\n\r\n" + 1000 * "x")
        eventually(lambda: go.is_set())
        call.die()
    go = threading.Event()
    server = front(start, peer(script))
    with server.connect() as c:
        c.request("GET", "/")
        c.fill()
        go.set()
        with pytest.raises((Cut, ConnectionResetError)):
            c.answer()


def test_a_client_that_leaves_frees_its_place(start, peer):
    server = front(start, peer(lambda call: call.hang() if call.target == "/hang" else call.answer("x")), more="proxied 1\n")
    for i in range(3):
        with server.connect() as c:
            c.request("GET", "/hang")
            server.peer.call(2 * i)
            c.reset()
        assert server.get("/").body == b"x"


def test_events_are_not_delayed(start, peer):
    """Each is there before the next is written, in chunks or until the end."""
    more = threading.Semaphore(0)

    def script(call):
        call.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for i in range(20):
            assert more.acquire(timeout=PATIENCE)
            call.raw(f"data: {i}\n\n")
        call.end()
    server = front(start, peer(script))
    for version in ("1.1", "1.0"):
        with server.connect() as c:
            c.request("GET", "/", version=version).answer(body=False)
            for i in range(20):
                more.release()
                while b"data: %d\n\n" % i not in c.buffer:
                    assert c.fill()


def test_an_idle_connection_that_the_backend_closed_is_not_used(start, peer):
    server = front(start, peer())
    for i in range(5):
        assert server.ask("POST", "/", body=b"x").status == 200
        server.peer.drop()
        eventually(lambda: not server.peer.open, "the end of the connection")
        eventually(lambda: len([t for t in server.descriptors().values() if t.startswith("socket")]) <= 1, "and of ours")
    assert server.peer.connections == 5


def test_a_backend_killed_and_started_again_under_load(start, peer):
    """Another one is alive: no request fails."""
    peers = [peer(), peer()]
    server = front(start, *peers)
    failed, done, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            with server.connect() as c:
                for _ in range(20):
                    status = c.get("/").status
                    done.append(status)
                    if status != 200:
                        failed.append(status)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    victim = peers[0]
    for _ in range(6):
        seen_so_far = len(done)
        eventually(lambda: len(done) > seen_so_far + 50 and victim.calls, "requests")
        port = victim.sock.getsockname()[1]
        victim.deaf()
        for sock in list(victim.open):
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        seen_so_far = len(done)
        eventually(lambda: len(done) > seen_so_far + 50, "requests while it is away")
        victim = peer(port=port)
    stop.set()
    for t in threads:
        t.join()
    assert not failed and len(done) > 300


@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_gigabyte_and_flat_memory(start, peer, way):
    size, piece = 1 << 30, b"z" * (1 << 20)

    def script(call):
        if way == "down":
            call.raw(OK + f"Content-Length: {size}\r\n\r\n")
            for _ in range(size >> 20):
                call.raw(piece)
        else:
            call.answer(str(sum(len(p) for p in call.pieces())))
    server = front(start, peer(script))
    server.get("/nothing") if way == "up" else None
    before = server.memory()
    most = [before]
    with server.connect() as c:
        if way == "down":
            c.request("GET", "/").answer(body=False)
            left = size - len(c.buffer)
            while left:
                got = len(c.sock.recv(1 << 20))
                left -= got
                if left >> 24 != (left + got) >> 24:
                    most.append(server.memory())
        else:
            c.request("POST", "/", f"Content-Length: {size}")
            for i in range(size >> 20):
                c.send(piece)
                if i % 64 == 0:
                    most.append(server.memory())
            assert c.answer().body == str(size).encode()
    assert max(most) - before < 128 and len(most) > 4
