"""CGI: what a script is told, and what it may answer."""
import os
import re
import threading
from pathlib import Path

import pytest

from conftest import SANITIZED
from wire import PATIENCE, Cut, eventually

HEAD = "printf 'Content-Type: text/plain\\r\\n\\r\\n'\n"


@pytest.fixture
def script(www):
    """script(name, text) puts a shell script, or one with a #! line of its own, below www/cgi-bin."""
    def put(name, text, mode=0o755):
        path = www / "cgi-bin" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text if text.startswith("#!") else "#!/bin/sh\n" + text)
        path.chmod(mode)
        return path
    return put


@pytest.fixture
def cgi(start, script):
    """A server whose /cgi-bin/ runs, with a script that shows its variables."""
    script("env", HEAD + "env")
    return start("cgi /cgi-bin/\n")


def variables(answer):
    return dict(line.split("=", 1) for line in answer.body.decode("latin-1").splitlines())


def running(pid):
    """Not gone, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(server):
    """Process ids of all children, zombies too."""
    return [int(p) for p in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def childless(server):
    eventually(lambda: not children(server), "the end of all children")


def number_in(path):
    """The number that a script writes into this file."""
    eventually(lambda: path.exists() and path.read_text().endswith("\n"), f"a number in {path}")
    return int(path.read_text())


# -- which script, and what it is told

@pytest.mark.plain("it looks at the scheme")
def test_variables(cgi, www):
    v = variables(cgi.get("/cgi-bin/env/a%20b/c?x=1&y=%20", "X-Own: own", "Proxy: evil", "X_Under: evil"))
    wanted = {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/cgi-bin/env", "PATH_INFO": "/a b/c",
        "PATH_TRANSLATED": f"{www}/a b/c", "SCRIPT_FILENAME": f"{www}/cgi-bin/env", "DOCUMENT_ROOT": str(www),
        "QUERY_STRING": "x=1&y=%20", "REQUEST_URI": "/cgi-bin/env/a%20b/c?x=1&y=%20", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_ADDR": "127.0.0.1", "SERVER_PORT": str(cgi.port), "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "test",
        "HTTP_HOST": "test", "HTTP_X_OWN": "own", "REDIRECT_STATUS": "200", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert {n: v.get(n) for n in wanted} == wanted
    assert v["REMOTE_PORT"].isdigit() and "cubhttpd" in v["SERVER_SOFTWARE"]
    assert not {"HTTPS", "HTTP_PROXY", "HTTP_X_UNDER", "CONTENT_LENGTH", "CONTENT_TYPE"} & set(v)
    ours = {"PWD", "OLDPWD", "SHLVL", "_"}      # the shell's own
    known = set(wanted) | {"REMOTE_PORT", "SERVER_SOFTWARE", "REQUEST_SCHEME"}
    assert set(v) - known - ours == set(), "nothing of the server's own environment"


def test_variables_of_a_body(cgi):
    v = variables(cgi.ask("POST", "/cgi-bin/env", "Content-Type: text/x", body=b"hello"))
    assert (v["REQUEST_METHOD"], v["CONTENT_LENGTH"], v["CONTENT_TYPE"]) == ("POST", "5", "text/x")
    assert "PATH_INFO" not in variables(cgi.get("/cgi-bin/env")), "unset when there is none"
    assert variables(cgi.get("/cgi-bin/env"))["QUERY_STRING"] == ""


def test_a_client_that_names_no_host_is_told_our_address(start, script):
    """That of IPv6 in brackets, or a URL made of it would end in the middle (RFC 3875 4.1.14)."""
    script("env", HEAD + "env")
    server = start("listen 127.0.0.1:0 [::1]:0\ncgi /cgi-bin/\n")
    for n, address in enumerate(("127.0.0.1", "::1")):
        with server.connect(n) as c:
            v = variables(c.get("/cgi-bin/env", host=None, version="1.0"))
        assert (v["SERVER_NAME"], v["SERVER_ADDR"]) == (f"[{address}]" if n else address, address)


def test_a_full_head_still_fits(cgi):
    v = variables(cgi.get("/cgi-bin/env", *[f"X-{i}: {'v' * 60}" for i in range(90)], "Cookie: " + "c" * 1000))
    assert all(v[f"HTTP_X_{i}"] == "v" * 60 for i in range(90)) and v["HTTP_COOKIE"] == "c" * 1000


def test_variables_of_the_configuration(start, script, www):
    script("env", HEAD + "env")
    server = start(f"cgi /cgi-bin/\nenv A 'x\nenv B \"b c\"\nenv PATH /bin\nenv HTTPS on\nenv SERVER_NAME other\n"
                   f"host named {{\n root {www}\n cgi /cgi-bin/\n env A y\n}}\n")
    for _ in range(2):
        text = server.get("/cgi-bin/env").body.decode()
        names = [line.split("=")[0] for line in text.splitlines()]
        assert len(names) == len(set(names)), "none comes twice"
        v = dict(line.split("=", 1) for line in text.splitlines())
        assert [v[n] for n in ("A", "B", "PATH", "HTTPS", "SERVER_NAME")] == ["'x", "b c", "/bin", "on", "other"]
        v = variables(server.get("/cgi-bin/env", "Host: named", host=None))
        assert (v["A"], v["B"]) == ("y", "b c"), "a host's own, and those of the server"


def test_cookies_of_four_kilobytes(cgi):
    assert variables(cgi.get("/cgi-bin/env", "Cookie: " + "c" * 4096))["HTTP_COOKIE"] == "c" * 4096


@pytest.mark.parametrize("target,name,info", [
    ("/cgi-bin/env", "/cgi-bin/env", None), ("/cgi-bin/env/", "/cgi-bin/env", "/"),
    ("/cgi-bin/deep/er/env/x/y", "/cgi-bin/deep/er/env", "/x/y"), ("/cgi-bin/env/env", "/cgi-bin/env", "/env"),
    ("/cgi-bin/./deep/../env/x", "/cgi-bin/env", "/x"),
])
def test_the_longest_path_that_is_a_script(cgi, script, target, name, info):
    script("deep/er/env", HEAD + "env")
    v = variables(cgi.get(target))
    assert (v["SCRIPT_NAME"], v.get("PATH_INFO")) == (name, info)


@pytest.mark.parametrize("target", ["/cgi-bin/none", "/cgi-bin/deep/none", "/cgi-bin/deep", "/cgi-bin/", "/cgi-bin/.env",
                                    "/cgi-bin/fifo"])
def test_what_is_no_script(cgi, script, www, target):
    script("deep/env", HEAD)
    script(".env", HEAD)
    os.mkfifo(www / "cgi-bin/fifo")
    assert cgi.get(target).status in (301, 403, 404)


def test_an_index_of_a_folder_is_run(start, script):
    script("index.cgi", HEAD + "echo $SCRIPT_NAME")
    server = start("cgi /cgi-bin/\nindex index.html index.cgi\n")
    assert server.get("/cgi-bin/").body == b"/cgi-bin/index.cgi\n"


@pytest.mark.native
def test_the_source_of_what_may_not_run_is_never_shown(cgi, script):
    script("env", "echo secret", mode=0o644)
    answer = cgi.get("/cgi-bin/env")
    assert answer.status == 403 and b"secret" not in answer.body
    cgi.line(r"cgi-bin/env may not be executed")


@pytest.mark.native
def test_what_is_no_program(cgi, www):
    path = www / "cgi-bin/env"
    path.write_text("no first line")
    assert cgi.get("/cgi-bin/env").status == 500
    cgi.line(r"cgi-bin/env is no program")
    path.write_text("#!/nowhere/at/all\n")
    assert cgi.get("/cgi-bin/env").status == 500
    cgi.line(r"cgi-bin/env cannot be started: its interpreter")
    childless(cgi)


def test_an_interpreter_by_extension(start, script, www):
    script("../a.sh", HEAD + "echo $0 $1 $REDIRECT_STATUS $PATH_INFO; pwd", mode=0o644)
    server = start("cgi *.sh /bin/sh\n")
    assert server.get("/a.sh/x").body.decode() == f"{www}/a.sh 200 /x\n{www}\n"
    assert server.get("/b.sh").status == 404


@pytest.mark.native
def test_an_interpreter_that_is_missing(start, script, www):
    script("../a.sh", HEAD, mode=0o644)
    server = start("cgi *.sh /nowhere/sh\n")
    assert server.get("/a.sh").status == 500
    server.line(r"interpreter")


def test_a_single_script(start, script, www):
    script("one", HEAD + "echo $SCRIPT_NAME $PATH_INFO")
    script("two", "secret")
    server = start("cgi /cgi-bin/one\n")
    assert server.get("/cgi-bin/one/x").body == b"/cgi-bin/one /x\n"
    assert b"secret" in server.get("/cgi-bin/two").body, "a file like others: only one script was named"


def test_a_script_below_an_alias(start, folder, script):
    (folder / "lib").mkdir()
    script("../../lib/tool", HEAD + "echo $SCRIPT_FILENAME $PATH_INFO")
    server = start(f"rewrite /git /tools/tool\ncgi /tools/tool\nalias /tools/ {folder}/lib\n")
    assert server.get("/git/repo").body.decode() == f"{folder}/lib/tool /repo\n"


def test_a_link_out_of_the_root_keeps_its_name(start, script, folder, www):
    """LuCI's cgi-upload, cgi-download, cgi-backup and cgi-exec are links to one program that looks at its name."""
    script("../../libexec/cgi-io", HEAD + "echo ${0##*/}; pwd")
    (www / "cgi-bin").mkdir(exist_ok=True)
    for name in ("cgi-upload", "cgi-backup"):
        (www / "cgi-bin" / name).symlink_to("../../libexec/cgi-io")
    server = start("cgi /cgi-bin/\n")
    for name in ("cgi-upload", "cgi-backup"):
        assert server.get("/cgi-bin/" + name).body.decode() == f"{name}\n{www}/cgi-bin\n"
    server = start("cgi /cgi-bin/\nlinks inside\n")
    assert server.get("/cgi-bin/cgi-upload").status == 403


def test_the_working_folder(start, script, www):
    script("pwd", HEAD + "pwd")
    assert start("cgi /cgi-bin/\n").get("/cgi-bin/pwd").body.decode() == f"{www}/cgi-bin\n"
    assert start("cgi /cgi-bin/ folder root\n").get("/cgi-bin/pwd").body.decode() == f"{www}\n"


# -- bodies

ECHO = HEAD + "cat"


def test_a_body_and_its_end(cgi, script):
    script("echo", ECHO)
    with cgi.connect() as c:
        for body in (b"hello", b"", b"x" * 300000):
            assert c.request("POST", "/cgi-bin/echo", body=body).answer().body == body


def test_a_chunked_body_streams_without_a_length(cgi, script):
    script("echo", HEAD + "echo \"len=$CONTENT_LENGTH te=$HTTP_TRANSFER_ENCODING\"; exec cat")
    with cgi.connect() as c:
        c.send("POST /cgi-bin/echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        answer = c.answer(body=False)
        while b"hello" not in c.buffer:
            assert c.fill(), "the script answers before the body has ended"
        c.send("6\r\n world\r\n0\r\n\r\n")
        c.body(answer)
        assert answer.body == b"len= te=\nhello world"


def test_stdin_can_be_opened_by_name(cgi, script):
    script("echo", HEAD + "cat /dev/stdin > /dev/stdout; echo seen >/dev/stderr")
    assert cgi.ask("POST", "/cgi-bin/echo", body=b"hello").body == b"hello"
    cgi.line(r"/cgi-bin/echo: seen")
    assert cgi.get("/cgi-bin/echo").body == b""


def test_a_body_that_nobody_reads(cgi, script):
    script("deaf", HEAD + "echo early")
    with cgi.connect() as c:
        c.send_if_open(b"POST /cgi-bin/deaf HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n\r\n")
        c.send_if_open(b"x" * 3000000)
        assert c.answer().body == b"early\n"
    childless(cgi)


def test_an_early_answer_while_the_body_is_still_coming(cgi, script):
    """LuCI's cgi-upload says what is wrong before it has read all."""
    script("early", "head -c 10 >/dev/null\n" + HEAD + "echo refused\n")
    with cgi.connect() as c:
        c.send("POST /cgi-bin/early HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" + "x" * 1000)
        assert c.answer().body == b"refused\n"


def test_expect_100(cgi, script):
    script("echo", ECHO)
    with cgi.connect() as c:
        c.send("POST /cgi-bin/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert c.answer(interim=True, body=False).status == 100
        assert c.send(b"hello").answer().body == b"hello"


def test_a_body_above_its_limit_ends_the_script(start, script, folder):
    script("echo", f"echo $$ > {folder}/pid\n" + HEAD + "cat")
    server = start("cgi /cgi-bin/\nlimit /cgi-bin/ body 1k\n")
    assert server.ask("POST", "/cgi-bin/echo", body=b"x" * 2000).status == 413
    with server.connect() as c:
        c.send(b"POST /cgi-bin/echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        pid = number_in(folder / "pid")
        c.send_if_open(b"800\r\n" + b"x" * 2048 + b"\r\n")
        c.rest()
    eventually(lambda: not running(pid), "the end of the script")


def test_both_ways_at_once(cgi, script):
    """More than pipes and buffers hold, in both directions: neither may wait for the other."""
    script("echo", ECHO)
    body = os.urandom(1 << 20) * 4
    with cgi.connect() as c:
        c.send(f"POST /cgi-bin/echo HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n")
        c.sock.settimeout(None)
        sender = threading.Thread(target=lambda: c.send(body))
        sender.start()
        assert c.answer().body == body
        sender.join()


def test_memory_stays_flat_during_an_upload(start, script):
    """40 MB of firmware, and no file."""
    script("sink", "n=$(wc -c)\n" + HEAD + "echo $n")
    server = start("cgi /cgi-bin/\n")
    server.ask("POST", "/cgi-bin/sink", body=b"x" * 100000)
    before = server.memory("Rss")
    with server.connect() as c:
        c.send(f"POST /cgi-bin/sink HTTP/1.1\r\nHost: test\r\nContent-Length: {40 << 20}\r\n\r\n")
        for _ in range(40):
            c.send(b"x" * (1 << 20))
        assert not [t for t in server.descriptors().values() if "deleted" in t]
        grown = server.memory("Rss") - before
        assert c.answer().body == b"%d\n" % (40 << 20)
    assert SANITIZED or grown <= 32, f"{grown} KB"


# -- answers

@pytest.mark.parametrize("head,status", [
    ("Status: 404 Nothing\\n", 404), ("status: 201\\n", 201), ("STATUS:503 x\\r\\n", 503), ("X: y\\n", 200),
    ("Location: /there\\n", 302), ("Status: 302 Found\\r\\nLocation: /there\\r\\n", 302),
    ("Status: 301\\nLocation: http://example.org/\\n", 301), ("Location: http://example.org/\\n", 302),
])
def test_statuses(cgi, script, head, status):
    script("head", f"printf '{head}\\n'")
    answer = cgi.get("/cgi-bin/head")
    assert answer.status == status
    if "Location" in head:
        assert answer["Location"] == re.search(r"Location: ([^\\]*)", head)[1], "to the client, not to us"


def test_a_local_redirect_only_when_it_is_configured(start, script, www):
    """RFC 3875 6.2.2: a path and nothing else."""
    (www / "file").write_text("content")
    script("env", HEAD + "env")
    script("here", "printf 'Location: /file\n\n'")
    script("again", "printf 'Location: /cgi-bin/env/i?q=1\n\n'")
    script("more", "printf 'Location: /file\nX: y\n\n'")
    script("gone", "printf 'Location: /none\n\n'")
    script("round", "printf 'Location: /cgi-bin/round\n\n'")
    assert start("cgi /cgi-bin/\n").get("/cgi-bin/here").status == 302
    server = start("cgi /cgi-bin/ location server\nscripts 1\n")
    with server.connect() as c:
        for _ in range(3):
            assert c.get("/cgi-bin/here").body == b"content"
            v = variables(c.get("/cgi-bin/again?old", "X-Own: own"))
            assert (v["PATH_INFO"], v["QUERY_STRING"], v["HTTP_X_OWN"]) == ("/i", "q=1", "own")
            assert c.request("HEAD", "/cgi-bin/here").answer("HEAD")["Content-Length"] == "7"
            assert c.get("/cgi-bin/more")["Location"] == "/file"
            assert c.get("/cgi-bin/gone").status == 404
    assert server.ask("POST", "/cgi-bin/here", body=b"x").status == 302, "a body cannot be said again"
    assert server.get("/cgi-bin/round")["Location"] == "/cgi-bin/round", "a circle ends"
    assert server.get("/cgi-bin/here", version="1.0").body == b"content"
    childless(server)


def test_a_local_redirect_whose_head_has_no_room_is_500(start, script, www):
    """`header` lines may fill it: it must not go out without its end."""
    (www / "a.txt").write_text("hello")
    script("go", "printf 'Location: /a.txt\\n\\n'\n")
    server = start(f"header / X-A {'a' * 7600}\nheader / X-B {'b' * 7600}\ncgi /cgi-bin/ location server\n")
    assert server.get("/cgi-bin/go").status == 500


def test_reloads_on_the_way_of_a_local_redirect(start, script, backend, folder):
    """Whoever answers in the end is of the second configuration, which must not go before he is done."""
    gate = threading.Event()
    peer = backend(lambda c: (gate.wait(PATIENCE), c.answer(b"from there")))
    waits = f"while [ ! -e {folder}/go ]; do sleep 0.05; done; printf "
    script("slow", waits + "'Location: /app\\n\\n'")
    script("wrong", waits + "'Location: /%%zz\\n\\n'")
    server = start(f"cgi /cgi-bin/ location server\nfastcgi /app {peer.address}\nheader /cgi-bin/ X-One 1\n")
    with server.connect() as c, server.connect() as d:
        c.request("GET", "/cgi-bin/slow")
        d.request("GET", "/cgi-bin/wrong")
        eventually(lambda: len(children(server)) == 2, "the scripts")
        server.configuration.write_text(server.configuration.read_text().replace("/cgi-bin/ X-One 1", "/none/ X-One 1"))
        server.reload()
        (folder / "go").touch()
        assert d.answer().status == 502
        peer.call()
        for _ in range(3):
            server.reload()
        gate.set()
        answer = c.answer()
        assert (answer.body, answer["X-One"]) == (b"from there", None)


def test_several_cookies(cgi, script):
    cookie = "c" * 3000
    script("cookies", f"printf 'set-cookie: a=1\\nSet-Cookie: b={cookie}\\nSet-Cookie: c=3\\n\\n'")
    assert cgi.get("/cgi-bin/cookies").all("Set-Cookie") == ["a=1", "b=" + cookie, "c=3"]


def test_an_output_without_a_length(cgi, script):
    script("out", HEAD + "echo one; sleep 0.3; echo two")
    assert cgi.get("/cgi-bin/out").framing == "chunked"
    with cgi.connect() as c:
        old = c.request("GET", "/cgi-bin/out", version="1.0").answer()
        assert old.body == b"one\ntwo\n" and old.framing == "close"
    script("large", HEAD + "head -c 100000 /dev/zero")
    assert cgi.get("/cgi-bin/large").framing == "chunked"


@pytest.mark.native
@pytest.mark.parametrize("version", ("1.1", "1.0"))
def test_what_is_done_at_once_gets_a_length(cgi, script, version):
    """No chunks, and an old client keeps its connection."""
    script("out", HEAD + "echo one; echo two")

    def at_once():      # a machine with much to do may take longer
        with cgi.connect() as c:
            answer = c.request("GET", "/cgi-bin/out", "Connection: keep-alive", version=version).answer()
            assert answer.body == b"one\ntwo\n"
            return answer.framing == "length" and \
                c.request("HEAD", "/cgi-bin/out", "Connection: keep-alive", version=version).answer("HEAD").status == 200
    eventually(at_once, "a length")


def test_the_first_words_are_not_held_back(cgi, script, folder):
    script("slow", HEAD + f"echo one\nwhile ! [ -e {folder}/go ]; do sleep 0.02; done\necho two")
    with cgi.connect() as c:
        answer = c.request("GET", "/cgi-bin/slow").answer(body=False)
        while b"one" not in c.buffer:
            assert c.fill()
        (folder / "go").touch()
        c.body(answer)
        assert answer.body == b"one\ntwo\n"

def test_a_length_ends_the_answer_and_not_the_script(cgi, script, folder):
    os.mkfifo(folder / "go")
    script("out", f"printf 'Content-Length: 3\\n\\nabc'\nread x < {folder}/go\necho $$ > {folder}/pid\n")
    with cgi.connect() as c:
        assert c.get("/cgi-bin/out").body == b"abc"
        assert c.get("/cgi-bin/env").status == 200, "and the connection is kept"
    (folder / "go").write_text("go\n")
    number_in(folder / "pid")
    childless(cgi)


def test_less_than_its_length_is_a_cut(cgi, script):
    script("out", "printf 'Content-Length: 9\\n\\nabc'")
    with pytest.raises(Cut):
        cgi.get("/cgi-bin/out")


def test_head(cgi, script):
    script("out", "printf 'Content-Length: 3\\n\\n'; [ $REQUEST_METHOD = HEAD ] || printf abc")
    with cgi.connect() as c:
        assert c.request("HEAD", "/cgi-bin/out").answer("HEAD")["Content-Length"] == "3"
        assert c.get("/cgi-bin/out").body == b"abc"


def test_nph(cgi, script):
    """Non-parsed headers: what the script writes is what the client gets."""
    script("nph-raw", "printf 'HTTP/1.1 299 Odd\\r\\nX: 1\\r\\n\\r\\nbody'")
    assert cgi.talk(b"GET /cgi-bin/nph-raw HTTP/1.1\r\nHost: test\r\n\r\n") == b"HTTP/1.1 299 Odd\r\nX: 1\r\n\r\nbody"
    childless(cgi)


@pytest.mark.parametrize("text", ["", "exit 3", "echo", "echo no head at all", "printf 'no head\\n\\nbody'",
                                  "printf 'A b: c\\n\\n'", "printf 'Status: 99\\n\\n'",
                                  "printf 'Content-Length: x\\n\\n'", "printf 'A: b'",
                                  "printf 'X: '; head -c 1000000 /dev/zero | tr '\\0' x; printf '\\n\\nbody'",
                                  "i=0; while [ $i -lt 200 ]; do echo X$i: y; i=$((i+1)); done; echo"])
def test_what_is_no_answer(cgi, script, text):
    script("bad", text + "\n")
    assert cgi.get("/cgi-bin/bad").status in (200, 500, 502)
    assert text in ("echo",) or cgi.get("/cgi-bin/bad").status == 502
    assert cgi.get("/cgi-bin/env").status == 200
    childless(cgi)


def test_zero_bytes_in_a_head(cgi, script):
    script("bad", "printf 'X: a\\0b\\nY: 1\\n\\nbody'")
    cgi.get("/cgi-bin/bad")         # the client refuses controls in a head
    assert cgi.get("/cgi-bin/env").status == 200


def test_zero_bytes_in_a_body(cgi, script):
    script("zero", HEAD + "head -c 100000 /dev/zero")
    assert cgi.get("/cgi-bin/zero").body == bytes(100000)


@pytest.mark.slow
def test_a_gigabyte(cgi, script):
    script("big", HEAD + "exec head -c 1073741824 /dev/zero")
    with cgi.connect() as c:
        c.request("GET", "/cgi-bin/big", version="1.0")
        c.head()
        n = len(c.buffer)
        c.buffer = b""
        while got := c.sock.recv(1 << 20):
            n += len(got)
        assert n == 1 << 30


def test_stderr_goes_to_the_log(cgi, script):
    script("err", "echo 'one\x07' >&2\n" + HEAD + "echo two >&2\necho done")
    assert cgi.get("/cgi-bin/err").body == b"done\n"
    cgi.line(r"/cgi-bin/err: one\\x07$")
    cgi.line(r"/cgi-bin/err: two$")


def test_a_long_line_in_another_alphabet_is_told_as_far_as_there_is_room(start, script):
    """Each byte takes four, and so does each of the name."""
    name = "\u0436" * 30
    script(name, "printf '%s\\n' " + "\u0434" * 400 + " >&2\n" + HEAD)
    server = start("cgi /cgi-bin/\n")
    assert server.get("/cgi-bin/" + "%D0%B6" * 30 + "?" + "q" * 300).status == 200
    server.line(r"(\\xd0\\xb6){27,}: (\\xd0\\xb4){60,}(\\xd0)?$")


@pytest.mark.parametrize("endless", ["exec cat /dev/zero", "while echo x; do sleep 0.2; done"])
def test_what_nobody_sees_need_not_end(start, script, endless):
    """HEAD for a camera: its client has all that it gets, and would never be missed."""
    script("camera", HEAD + endless)
    script("none", "printf 'Status: 304\n\n'\n" + endless)
    server = start("cgi /cgi-bin/\ntimeout backend 1\nscripts 1\n")
    with server.connect() as c:
        for _ in range(2):
            assert c.request("HEAD", "/cgi-bin/camera").answer("HEAD").status == 200
            assert c.get("/cgi-bin/none").status == 304
    childless(server)
