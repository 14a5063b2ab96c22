"""FastCGI: what the backend is told, what it may say, and what happens when it misbehaves."""
import os
import time

import pytest

from peers import fcgi
from wire import PATIENCE, Cut, eventually


def variables(answer):
    head = answer.body.split(b"\n\n")[0].decode("latin-1")
    return dict(line.split("=", 1) for line in head.split("\n"))


@pytest.fixture
def scripts(www):
    for name in ("index.php", "a.php", "dir/index.php", "dir/b.php"):
        (www / name).parent.mkdir(exist_ok=True)
        (www / name).write_text("source")
    (www / "a.txt").write_text("hello")
    return www


@pytest.fixture
def php(start, scripts, backend):
    """A server whose scripts are run by a peer that shows its variables."""
    peer = backend()
    server = start(f"index index.html index.php\nfastcgi *.php {peer.address}\nfastcgi /app {peer.address}\n")
    server.peer = peer
    return server


def app(start, backend, script=None, more="", **options):
    """A server with one application at /app."""
    peer = backend(script, **options)
    server = start(f"fastcgi /app {peer.address}\n{more}")
    server.peer = peer
    return server


# -- the variables

@pytest.mark.plain("it looks at the scheme")
def test_variables(php, scripts):
    v = variables(php.get("/a.php?x=1&y=%20", "User-Agent: tester", "Accept: */*", "X-Own: own"))
    wanted = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/a.php", "SCRIPT_FILENAME": f"{scripts}/a.php",
        "DOCUMENT_ROOT": str(scripts), "QUERY_STRING": "x=1&y=%20", "REQUEST_URI": "/a.php?x=1&y=%20",
        "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_ADDR": "127.0.0.1", "SERVER_PORT": str(php.port), "SERVER_NAME": "test", "HTTP_HOST": "test",
        "HTTP_USER_AGENT": "tester", "HTTP_ACCEPT": "*/*", "HTTP_X_OWN": "own", "REDIRECT_STATUS": "200",
    }
    assert {n: v.get(n) for n in wanted} == wanted
    assert v["REMOTE_PORT"].isdigit() and "cubhttpd" in v["SERVER_SOFTWARE"]
    assert not {"HTTPS", "HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} & set(v)
    assert v.get("CONTENT_LENGTH", "") in ("", "0")


def test_variables_of_a_post(php):
    v = variables(php.ask("POST", "/a.php", "Content-Type: text/x", body=b"hello"))
    assert (v["REQUEST_METHOD"], v["CONTENT_LENGTH"], v["CONTENT_TYPE"]) == ("POST", "5", "text/x")


def test_no_variable_comes_twice(php):
    php.get("/a.php", "X-Twice: 1", "X-Twice: 2", "Cookie: a", "Cookie: b")
    names = [n for n, _ in php.peer.call().pairs]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_fields_sent_twice_are_joined(php):
    v = variables(php.get("/a.php", "X-Twice: 1", "X-Twice: 2", "Cookie: a=1", "Cookie: b=2"))
    assert v["HTTP_X_TWICE"] == "1, 2" and v["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize("field", ["Proxy: evil", "proxy: evil", "PROXY: evil", "X_Forwarded_For: evil",
                                   "Content_Length: evil", "Content_Type: evil", "Pro_xy: evil", "X.Own: evil",
                                   "Auth-User: evil", "AUTH-PASS: evil", "Authorization: evil"])
def test_no_field_passes_for_another(php, field):
    """httpoxy, and the underscore that becomes a hyphen's."""
    v = variables(php.get("/a.php", field))
    assert "evil" not in "".join(x for n, x in v.items() if n not in ("HTTP_X_OWN",)), v


def test_an_underscore_does_not_override_a_hyphen(php):
    assert variables(php.get("/a.php", "X-Own: good", "X_Own: evil"))["HTTP_X_OWN"] == "good"
    assert variables(php.get("/a.php", "X_Own: evil", "X-Own: good"))["HTTP_X_OWN"] == "good"


@pytest.mark.plain("it looks at the scheme")
def test_a_client_names_no_variable_of_ours(php):
    v = variables(php.get("/a.php", "Remote-Addr: 6.6.6.6", "Script-Filename: /etc/passwd", "Https: on"))
    assert v["REMOTE_ADDR"] == "127.0.0.1" and "HTTPS" not in v


def test_credentials_reach_the_application_where_a_line_says_so(start, backend, php):
    assert "HTTP_AUTHORIZATION" not in variables(php.get("/a.php", "Authorization: Basic eDp5"))
    server = app(start, backend, more="authorization /app/in\n")
    for target, seen in (("/app/in", "Basic eDp5"), ("/app/out", None)):
        assert variables(server.get(target, "Authorization: Basic eDp5")).get("HTTP_AUTHORIZATION") == seen


def test_long_variables(php):
    """Lengths above 127 are written in four bytes."""
    for size in (126, 127, 128, 129, 255, 256, 4000):
        v = variables(php.get("/a.php?" + "q" * size, "X-Long: " + "v" * (size // 2)))
        assert len(v["QUERY_STRING"]) == size and v["HTTP_X_LONG"] == "v" * (size // 2)
    name = "X-" + "n" * 118
    assert variables(php.get("/a.php", f"{name}: v"))["HTTP_" + name.upper().replace("-", "_")] == "v"
    assert php.get("/a.php", f"X-{'n' * 4000}: v").status == 200, "a name that is no variable's harms nothing"


def test_a_full_head_still_fits(php):
    """A request of the largest head we take, as variables, with a hundred names."""
    fields = [f"X-{i}: {'v' * 60}" for i in range(90)]
    v = variables(php.get("/a.php", *fields))
    assert all(v[f"HTTP_X_{i}"] == "v" * 60 for i in range(90))


# -- which script

@pytest.mark.parametrize("target,name,info", [
    ("/a.php", "/a.php", None), ("/a.php/", "/a.php", "/"), ("/a.php/x/y", "/a.php", "/x/y"),
    ("/a.php/x.php", "/a.php", "/x.php"), ("/a.php/dir/b.php", "/a.php", "/dir/b.php"), ("/dir/b.php/i", "/dir/b.php", "/i"),
    ("/a.php/a%20b%2Fc", "/a.php", "/a b/c"), ("/dir/", "/dir/index.php", None), ("/", "/index.php", None),
    ("/%61.php", "/a.php", None), ("/x/../a.php", "/a.php", None), ("/a.php?x.php/y", "/a.php", None),
])
def test_script_and_path_info(php, scripts, target, name, info):
    v = variables(php.get(target))
    assert v["SCRIPT_NAME"] == name and v["SCRIPT_FILENAME"] == f"{scripts}{name}"
    assert v.get("PATH_INFO") == info
    assert v["REQUEST_URI"] == target


@pytest.mark.parametrize("target", ["/none.php", "/none.php/x", "/dir/none.php", "/a.txt/x.php", "/a.php.bak",
                                    "/.hidden.php", "/a.txt/.php", "/../a.php/../../none.php", "/uploads/evil.jpg/x.php",
                                    "/dir.php", "/link.php", "/fifo.php"])
def test_what_is_no_script_never_reaches_the_backend(php, scripts, target):
    """Else php with cgi.fix_pathinfo runs a picture."""
    (scripts / "uploads").mkdir()
    (scripts / "uploads/evil.jpg").write_text("<?php evil();")
    (scripts / ".hidden.php").write_text("x")
    (scripts / "dir.php").mkdir()
    (scripts / "a.php.bak").write_text("source of a")
    (scripts / "link.php").symlink_to("/nowhere.php")
    os.mkfifo(scripts / "fifo.php")
    answer = php.get(target)
    assert answer.status in (404, 403) or target == "/a.php.bak" or answer.status in (301, 308)
    assert php.peer.calls == []


def test_the_source_of_a_script_is_never_sent(php):
    php.peer.deaf()
    php.peer.drop()
    for target in ("/a.php", "/a.php/", "/a%2ephp", "/%61.php", "//a.php", "/./a.php", "/A.php", "/a.php%20", "/a.php."):
        answer = php.get(target, "Range: bytes=0-3")
        assert b"source" not in answer.body and answer.status in (404, 502, 503)


@pytest.mark.parametrize("target,name,info", [("/app", "/app", ""), ("/app/", "/app", "/"), ("/app/x/y", "/app", "/x/y"),
                                              ("/app?q", "/app", "")])
def test_a_mounted_application(php, target, name, info):
    v = variables(php.get(target))
    assert v["SCRIPT_NAME"] == name and v.get("PATH_INFO", "") == info


def test_a_folder_pattern_is_a_mount_too(start, backend, www):
    server = start(f"fastcgi /svc/ {backend().address}\n")
    v = variables(server.get("/svc/x"))
    assert v["SCRIPT_NAME"] == "/svc" and v["PATH_INFO"] == "/x"
    assert server.get("/svcx").status == 404


def test_remote_scripts_are_not_looked_for_here(start, backend, www):
    server = start(f"fastcgi *.php {backend().address} remote /srv/other\n")
    v = variables(server.get("/none.php/info"))
    assert v["SCRIPT_FILENAME"] == "/srv/other/none.php" and v["PATH_INFO"] == "/info"
    assert v["DOCUMENT_ROOT"] == "/srv/other"


def test_fallback_to_a_script_keeps_the_address_asked_for(start, backend, scripts):
    """Permalinks: REQUEST_URI is what the client sent."""
    server = start(f"fastcgi *.php {backend().address}\nfallback / /index.php\n")
    v = variables(server.get("/2024/a-post/?page=2"))
    assert v["SCRIPT_NAME"] == "/index.php" and v["REQUEST_URI"] == "/2024/a-post/?page=2"
    assert v["QUERY_STRING"] == "page=2" and v.get("PATH_INFO", "") == ""
    assert server.get("/a.txt").body == b"hello"


def test_fallback_takes_a_post_with_its_body(start, backend, scripts):
    server = start(f"fastcgi *.php {backend().address}\nfallback / /index.php\n")
    answer = server.ask("POST", "/rest/x", body=b"payload")
    assert answer.body.endswith(b"\n\npayload")


def test_alias_tells_its_own_root(start, backend, www, folder):
    (folder / "else").mkdir()
    (folder / "else/e.php").write_text("x")
    server = start(f"fastcgi *.php {backend().address}\nalias /other/ {folder}/else\n")
    answer = server.get("/other/e.php")
    if answer.status == 200:
        assert variables(answer)["SCRIPT_FILENAME"] == f"{folder}/else/e.php"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "QUERY"])
def test_every_method_reaches_the_application(php, method):
    assert php.ask(method, "/app").status == 200
    assert php.peer.call().params["REQUEST_METHOD"] == method


# -- what the backend may answer

def test_status_reason_and_fields(start, backend):
    server = app(start, backend, lambda c: c.answer(b"made", "201 Made It", "Content-Type: text/x", "X-A: 1", "X-B:2"))
    answer = server.get("/app")
    assert (answer.status, answer.body, answer["Content-Type"]) == (201, b"made", "text/x")
    assert answer["X-A"] == "1" and answer["X-B"] == "2" and answer["Status"] is None


def test_several_cookies(start, backend):
    server = app(start, backend, lambda c: c.answer(b"", None, "Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Type: a/b"))
    assert server.get("/app").all("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("location,status", [("/there", 302), ("https://example.org/", 302)])
def test_location_without_status_is_a_redirect(start, backend, location, status):
    server = app(start, backend, lambda c: c.answer(b"", None, f"Location: {location}"))
    answer = server.get("/app")
    assert (answer.status, answer["Location"]) == (status, location)


def test_location_with_status_keeps_it(start, backend):
    server = app(start, backend, lambda c: c.answer(b"", "201 Created", "Location: /made"))
    answer = server.get("/app")
    assert (answer.status, answer["Location"]) == (201, "/made")


@pytest.mark.parametrize("status", [200, 204, 206, 301, 302, 303, 304, 307, 400, 401, 403, 404, 410, 418, 422, 429, 500, 503, 599])
def test_every_status_passes(start, backend, status):
    def script(call):
        call.answer(b"" if status in (204, 304) else b"body", f"{status} Word", "Location: /x", "X-Own: y")
    with app(start, backend, script).connect() as c:
        answer = c.get("/app")
        assert answer.status == status and answer["X-Own"] == "y"
        assert answer.body == (b"" if status in (204, 304) else b"body")
        assert c.get("/app").status == status


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_where_none_may_be_is_dropped(start, backend, status):
    """Passed on, it would be the next answer on the connection."""
    with app(start, backend, lambda c: c.answer(b"HTTP/1.1 200 OK\r\n\r\n", status)).connect() as c:
        for _ in range(3):
            answer = c.get("/app")
            assert answer.status == int(status[:3]) and not answer.body
        assert c.silent(0.05)


def test_head_gets_no_body_from_a_backend_that_sends_one(start, backend):
    with app(start, backend, lambda c: c.answer(b"body")).connect() as c:
        for _ in range(3):
            assert c.request("HEAD", "/app").answer("HEAD").status == 200
        assert c.get("/app").body == b"body"


def test_content_length_of_the_backend_is_kept(start, backend):
    server = app(start, backend, lambda c: c.answer(b"12345", None, "Content-Length: 5", "Content-Type: a/b"))
    answer = server.get("/app")
    assert answer.framing == "length" and answer.body == b"12345"


def test_a_backend_that_sends_less_than_it_said_is_cut(start, backend):
    server = app(start, backend, lambda c: c.answer(b"12345", None, "Content-Length: 10", "Content-Type: a/b"))
    with pytest.raises(Cut):
        server.get("/app")


def test_a_backend_that_sends_more_than_it_said_adds_nothing(start, backend):
    """What is too much would be the next answer."""
    def script(call):
        call.answer(b"12345HTTP/1.1 200 OK\r\n\r\n", None, "Content-Length: 5", "Content-Type: a/b")
    with app(start, backend, script).connect() as c:
        answer = c.get("/app")
        assert answer.body == b"12345"
        try:
            assert c.get("/app").body == b"12345"
        except (Cut, ConnectionResetError, BrokenPipeError):
            pass                        # to close is as good


@pytest.mark.parametrize("ending", [fcgi.end_record(), fcgi.record(fcgi.STDOUT) + fcgi.end_record()])
@pytest.mark.parametrize("padding", [0, 5])
def test_an_answer_that_has_come_whole_gets_its_length(start, backend, ending, padding):
    """And so keeps the connection of a client that knows no chunks."""
    def script(call):
        call.finished = True
        call.raw(fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\n\r\n" + b"x" * 1000, padding=padding) + ending)
    with app(start, backend, script).connect() as c:
        for version in ("1.0", "1.1", "1.0"):
            answer = c.request("GET", "/app", "Connection: keep-alive", version=version).answer()
            assert answer["Content-Length"] == "1000" and answer.body == b"x" * 1000
        assert c.request("HEAD", "/app").answer("HEAD").status == 200


@pytest.mark.parametrize("ending", [
    fcgi.end_record()[:-1], fcgi.end_record() + b"x", fcgi.record(fcgi.STDOUT, b"y") + fcgi.end_record(),
    fcgi.record(fcgi.STDERR, b"y") + fcgi.end_record(),
])
def test_what_only_looks_whole_gets_none(start, backend, ending):
    def script(call):
        call.finished = True
        call.raw(fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\n\r\n" + b"x" * 1000) + ending)
        call.hang(1)
    with app(start, backend, script, "timeout backend 1\n").connect() as c:
        c.request("GET", "/app")
        assert c.answer(body=False)["Content-Length"] is None


def test_unknown_length_is_chunked_or_ends_with_the_connection(start, backend):
    server = app(start, backend, lambda c: (c.out(b"Content-Type: a/b\r\n\r\n"), c.out(b"body")) and None)
    with server.connect() as c:
        assert c.get("/app").framing in ("chunked", "length")
        assert c.get("/app").body == b"body"
    with server.connect() as c:
        answer = c.request("GET", "/app", version="1.0").answer()
        assert answer.framing in ("close", "length") and answer.body == b"body"


@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive",
                                   "Keep-Alive: timeout=5", "Trailer: X", "Upgrade: h2c", "Content-Length: 4\r\nContent-Length: 9",
                                   "Content-Length: 9, 4", "Content-Length: -4", "Content-Length: x"])
def test_a_backend_does_not_rule_our_framing(start, backend, field):
    """Whatever it says of hop-by-hop matters, the answer is one that can be read."""
    server = app(start, backend, lambda c: c.answer(b"body", None, field, "Content-Type: a/b"))
    with server.connect() as c:
        try:
            answer = c.get("/app")
        except Cut:
            return
        assert answer.status == 502 or answer.body == b"body"
        assert answer["Upgrade"] is None and answer["Keep-Alive"] is None


def test_the_backends_date_and_server_do_not_come_twice(start, backend):
    server = app(start, backend, lambda c: c.answer(b"x", None, "Date: Sun, 09 Sep 2001 01:46:40 GMT", "Server: other",
                                                    "Content-Type: a/b"))
    answer = server.get("/app")
    assert len(answer.all("Date")) == 1 and len(answer.all("Server")) == 1


def test_header_lines_apply_to_the_backends_answer(start, backend):
    server = app(start, backend, lambda c: c.answer(b"x", None, "X-Powered-By: old", "Content-Type: a/b"),
                 "header / X-Powered-By bear\nheader / X-More yes\n")
    answer = server.get("/app")
    assert answer["X-Powered-By"] == "bear" and answer["X-More"] == "yes"


@pytest.mark.parametrize("name,head", {
    "split response": "X-A: 1\rSet-Cookie: evil=1", "nul": "X-A: a\0b", "fold": "X-A: 1\r\n folded", "no colon": "nonsense",
    "space before colon": "X-A : 1", "control": "X-A: \x01",
}.items())
def test_a_backends_head_that_can_be_read_two_ways(start, backend, name, head):
    """The client's parser (wire.py) takes no doubtful line: it comes clean, or 502."""
    server = app(start, backend, lambda c: c.answer(b"body", None, "Content-Type: a/b", head))
    answer = server.get("/app")
    assert answer.status in (200, 502)
    assert answer["Set-Cookie"] is None


def test_lines_of_the_backend_may_end_in_lf(start, backend):
    server = app(start, backend, lambda c: c.out(b"Status: 202 Fine\nContent-Type: text/x\n\nbody"))
    answer = server.get("/app")
    assert (answer.status, answer.body, answer["Content-Type"]) == (202, b"body", "text/x")


def test_stderr_goes_to_the_error_log_escaped(start, backend):
    def script(call):
        call.err("PHP Warning: first\nsecond \x1b[31mred\x00 \"quoted\"\n")
        call.answer(b"body")
        call.err("after")
    server = app(start, backend, script)
    assert server.get("/app").body == b"body"
    server.line("PHP Warning: first")
    server.line("second")
    server.line("after")
    assert "\x1b" not in server.text() and "\\x1b" in server.text().lower()


def test_much_stderr_blocks_nothing(start, backend):
    def script(call):
        for _ in range(50):
            call.err("x" * 30000)
        call.answer(b"body")
    assert app(start, backend, script).get("/app").body == b"body"


@pytest.mark.parametrize("how", ["bytewise", "padded", "empty records", "tiny records", "head in pieces", "one write"])
def test_records_cut_anyhow(start, backend, how):
    text = b"Content-Type: text/plain\r\nX-A: b\r\n\r\n" + b"body" * 10

    def script(call):
        call.read_body()
        if how == "bytewise":
            call.dribble(fcgi.record(fcgi.STDOUT, text, padding=3) + fcgi.end_record())
            call.finished = True
        elif how == "padded":
            for i in range(0, len(text), 7):
                call.out(text[i:i + 7], padding=i % 256)
        elif how == "empty records":
            for i in range(0, len(text), 9):
                call.raw(fcgi.record(fcgi.STDERR))
                call.out(text[i:i + 9])
            call.raw(fcgi.record(fcgi.STDOUT))
        elif how == "tiny records":
            for i in range(len(text)):
                call.out(text[i:i + 1])
        elif how == "head in pieces":
            call.out(text[:5])
            call.err("between")
            call.out(text[5:])
        else:
            call.raw(fcgi.record(fcgi.STDOUT, text) + fcgi.record(fcgi.STDOUT) + fcgi.end_record())
            call.finished = True
    with app(start, backend, script).connect() as c:
        for _ in range(3):
            answer = c.get("/app")
            assert answer["X-A"] == "b" and answer.body == b"body" * 10


# -- when it misbehaves

def test_a_dead_backend_is_503(start, backend, folder):
    server = start(f"fastcgi /app unix:{folder}/nothing.sock\n")
    with server.connect() as c:
        for _ in range(3):
            assert c.get("/app").status == 503
        assert c.request("POST", "/app", body=b"x" * 1000).answer().status == 503


def test_a_dead_backend_on_a_port_is_503(start, backend):
    peer = backend(tcp=True, listening=False)
    assert start(f"fastcgi /app {peer.address}\n").get("/app").status == 503


def test_a_backend_that_comes_back_is_used_again(start, backend, folder):
    server = start(f"fastcgi /app unix:{folder}/backend0.sock\n")
    assert server.get("/app").status == 503
    backend()
    eventually(lambda: server.get("/app").status == 200, "the backend's return")


def test_a_silent_backend_is_504(start, backend):
    server = app(start, backend, fcgi.Call.hang, "timeout backend 1\n")
    began = time.monotonic()
    assert server.get("/app").status == 504
    assert 0.9 < time.monotonic() - began < 40
    assert server.peer.call().aborted.wait(PATIENCE), "the backend was not told"


def test_a_backend_that_stops_in_the_middle_is_cut(start, backend):
    def script(call):
        call.answer(b"some")
        call.hang()
    server = app(start, backend, script, "timeout backend 1\n")
    with pytest.raises(Cut) as e:
        server.get("/app")
    assert e.value.answer.body == b"some"


def script_of(data, more=None):
    def script(call):
        call.raw(data)
        if more:
            more(call)
        call.die()
    return script


HEAD = fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\n\r\nbody")

BROKEN = {
    "garbage": script_of(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"),
    "wrong version": script_of(fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\n\r\nbody", version=2) + fcgi.end_record()),
    "unknown type": script_of(fcgi.record(200, b"xxxx") + HEAD),
    "another request's": script_of(fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\n\r\nbody", number=7)),
    "death at once": fcgi.Call.die,
    "death in a record": script_of(HEAD[:10]),
    "death in the head": script_of(fcgi.record(fcgi.STDOUT, b"Content-Type: a/b\r\nX-")),
    "end without head": lambda c: c.end(),
    "end with app status": lambda c: c.end(app=1),
    "overloaded": lambda c: c.end(protocol=2),
    "cannot multiplex": lambda c: c.end(protocol=1),
    "unknown role": lambda c: c.end(protocol=3),
    "no head": lambda c: c.out(b"just text, without any field\n\nmore"),
    "bad status": lambda c: c.answer(b"x", "abc"),
    "status out of range": lambda c: c.answer(b"x", "999999 x"),
    "status 1xx": lambda c: c.answer(b"x", "100 Continue"),
    "status 99": lambda c: c.answer(b"x", "99 x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_backend_is_502(start, backend, name):
    server = app(start, backend, BROKEN[name], "timeout backend 2\n")
    with server.connect() as c:
        answer = c.get("/app")
        assert answer.status == (503 if name == "overloaded" and answer.status == 503 else 502)
        assert not answer.body.startswith(b"body")
    assert server.get("/none").status == 404, "the server is well"


def test_an_endless_head_is_502(start, backend):
    def script(call):
        for i in range(2000):
            call.out(f"X-{i}: {'y' * 100}\r\n")
    server = app(start, backend, script)
    assert server.get("/app").status == 502


@pytest.mark.parametrize("name,script", {
    "death": script_of(HEAD), "garbage": script_of(HEAD + b"garbage!" * 4), "a cut record": script_of(HEAD + HEAD[:9]),
    "app status": lambda c: (c.answer(b"body"), c.end(app=255)) and None,
    "a clean close without END_REQUEST": lambda c: (c.answer(b"body"), c.sock.shutdown(2), c.hang()) and None,
}.items())
def test_what_breaks_after_the_head_is_seen_as_a_cut(start, backend, name, script):
    """No last chunk: the client must not take the half for the whole."""
    server = app(start, backend, script)
    if name == "app status":            # its output is whole; the status is for the log (FastCGI 5.5)
        assert server.get("/app").body == b"body"
        return
    with pytest.raises((Cut, ConnectionResetError)):
        server.get("/app")


def test_a_cut_answer_closes_for_1_0(start, backend):
    """Without chunks the end of the connection is the end: only a RST tells a cut; a length would."""
    server = app(start, backend, script_of(HEAD))
    with server.connect() as c:
        try:
            assert c.request("GET", "/app", version="1.0").answer().body in (b"body", b"")
        except (ConnectionResetError, Cut):
            pass
