"""`auth`: no password, no page; and nobody pays for the wrong passwords of others."""
import base64
import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess

import pytest

from conftest import BINARY, SANITIZED
from peers.http import Peer
from wire import PATIENCE, eventually

HASHED = r"a password was hashed"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can put other accounts in place of the system's")


def openssl(kind, password, salt="saltsalt"):
    return subprocess.run(["openssl", "passwd", kind, "-salt", salt, "-stdin"], input=password + "\n", text=True,
                          capture_output=True, check=True).stdout.strip()


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


BOB = basic("bob", "secret")
QUICK = openssl("-5", "secret")


@pytest.fixture
def site(www, folder):
    for name in ("admin", "pub"):
        (www / name).mkdir()
        (www / name / "index.html").write_text(f"home of {name}")
    (www / "admin/secret.txt").write_text("secret page")
    (www / "open.txt").write_text("open")
    (folder / "users").write_text(f"# users\nann:!\nbob:{QUICK}\n")
    return www


@pytest.fixture
def locked(start, site, folder):
    """With few places nobody waits for the answer to a wrong password, so tests with many of them are quick."""
    return start(f"auth /admin/ {folder}/users \"the realm\"\nclients 3\nlog errors stderr debug\n")


def ask_from(server, source, target, *fields, **more):
    with server.connect(source=source) as c:
        return c.get(target, *fields, **more)


def hashes(server):
    return len(re.findall(HASHED, server.text()))


# -- who gets in

def test_without_a_password_there_is_a_challenge_and_no_page(locked):
    answer = locked.get("/admin/secret.txt")
    assert answer.status == 401 and b"secret page" not in answer.body
    assert answer["WWW-Authenticate"] == 'Basic realm="the realm", charset="UTF-8"'
    assert hashes(locked) == 0
    assert locked.get("/open.txt").status == 200


def test_the_right_password_opens(locked):
    answer = locked.get("/admin/secret.txt", BOB)
    assert answer.status == 200 and answer.body == b"secret page" and answer["WWW-Authenticate"] is None


@pytest.mark.parametrize("target", [
    "/admin", "/admin/", "/admin/secret.txt", "//admin//secret.txt", "/pub/../admin/secret.txt",
    "/%61dmin/secret.txt", "/admin%2fsecret.txt", "/admin/nothing", "http://test/admin/secret.txt",
])
def test_no_spelling_gets_past(locked, target):
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = locked.ask(method, target)
        assert answer.status == 401 and b"secret page" not in answer.body, (method, target, answer)
    assert locked.get(target, BOB).status != 401


def test_no_other_spelling_that_a_file_system_takes_gets_past(locked, site):
    """As vfat would have them: the password is that of the line for all spellings, and the line for one lets no other in."""
    (site / "ADMIN").mkdir()
    (site / "ADMIN/secret.txt").write_text("secret page")
    for target in ("/ADMIN/secret.txt", "/Admin/secret.txt", "/admin./secret.txt", "/aDMIN.../"):
        assert locked.get(target).status == 401
    assert locked.get("/ADMIN/secret.txt", BOB).body == b"secret page"
    locked.stop()
    assert hashes(locked) == 1


@pytest.mark.parametrize("line, target", [
    ("rewrite /way /admin/secret.txt", "/way"),
    ("fallback / /admin/secret.txt", "/nothing"),
    ("index secret.txt\nrewrite /pub/ /admin/", "/pub/"),
])
def test_no_way_within_leads_there(start, site, folder, line, target):
    server = start(f"{line}\nauth /admin/ {folder}/users\n")
    assert server.get(target).status == 401
    assert server.get(target, BOB).body == b"secret page"


def test_no_script_leads_there_either(start, site, folder):
    """A local redirect is answered as if the client had asked for it, and it would have been asked for a password."""
    (site / "go").write_text("#!/bin/sh\nprintf 'Location: /admin/secret.txt\\n\\n'\n")
    (site / "go").chmod(0o755)
    server = start(f"cgi /go location server\nauth /admin/ {folder}/users\n")
    assert server.get("/admin/", BOB).status == 200
    with server.connect() as c:
        assert c.get("/go").status == 401
        answer = c.get("/go", basic("bob", "wrong"))
        assert answer.status == 401 and answer["WWW-Authenticate"]
        assert c.get("/go", BOB).body == b"secret page", "the same connection, and the penalty is over"
    with server.connect(source="127.0.0.2") as c:
        assert c.get("/go", BOB).body == b"secret page"


def test_a_wrong_password_behind_a_local_redirect_is_answered_late_too(start, site, folder):
    """The path waits, not the script, and nobody else does."""
    (site / "go").write_text("#!/bin/sh\necho ran >&2\nprintf 'Location: /admin/secret.txt\\n\\n'\n")
    (site / "go").chmod(0o755)
    server = start(f"cgi /go location server\nscripts 1\nauth /admin/ {folder}/users\nlog errors stderr debug\n"
                   "log access stderr\n")
    with server.connect(source="127.0.0.2") as bad:
        bad.request("GET", "/go", basic("bob", "wrong"))
        server.line("wrong password for 'bob'")
        with server.connect(source="127.0.0.3") as c:
            assert c.get("/go", BOB).body == b"secret page"
            assert c.get("/open.txt").status == 200
        answer = bad.answer()
        assert answer.status == 401 and answer["WWW-Authenticate"]
        assert bad.get("/go", BOB).body == b"secret page"
    late = server.line(r'"GET /go HTTP/1.1" 401 .*"a wrong password"')
    assert int(re.search(r'"-" (\d+) ', late)[1]) >= 1000, "milliseconds"
    eventually(lambda: len(re.findall(r"/go: ran", server.text())) == 3, "it ran once for each request")


@pytest.mark.parametrize("kind", ["-1", "-5", "-6", "-apr1"])
def test_every_kind_of_hash(start, site, folder, kind):
    (folder / "users").write_bytes(b"eve:x\nbob:" + openssl(kind, "s\u00e4cret").encode() + b":more\r\nlast:x")
    server = start(f"auth / {folder}/users\nclients 3\n")
    assert ask_from(server, "127.0.0.2", "/open.txt", basic("bob", "s\u00e4cret")).status == 200
    assert ask_from(server, "127.0.0.3", "/open.txt", basic("bob", "sacret")).status == 401


def bcrypt(password, cost=4):
    return subprocess.run(["htpasswd", "-niBC", str(cost), "bob"], input=password, text=True, capture_output=True,
                          check=True).stdout.strip()


needs_htpasswd = pytest.mark.skipif(not shutil.which("htpasswd"), reason="htpasswd is not installed (test/setup test)")


@needs_htpasswd
@pytest.mark.parametrize("password, cost", [("secret", 5), ("secret", 10), ("s\u00e4cret", 4), ("x" * 71, 4), ("x" * 72, 4)])
@pytest.mark.parametrize("kind", "yab")
def test_a_file_of_htpasswd_with_bcrypt_opens(start, site, folder, kind, password, cost):
    """Its own letter, and those of others for the same."""
    (folder / "users").write_text(bcrypt(password, cost).replace("$2y$", f"$2{kind}$") + "\n")
    server = start(f"auth / {folder}/users\nclients 3\n")
    assert ask_from(server, "127.0.0.2", "/open.txt", basic("bob", password)).status == 200
    for i, wrong in enumerate((password[:-1], password[1:] + "y", "")):
        assert ask_from(server, f"127.0.0.{i + 3}", "/open.txt", basic("bob", wrong)).status == 401


@pytest.mark.native
@needs_htpasswd
def test_others_are_served_while_a_hash_is_worked_out(start, site, folder):
    """It took all of its time in one turn of the loop: 0.1 s on a desktop for the least that htpasswd is asked for."""
    (folder / "users").write_text(bcrypt("secret", 13) + "\n")
    server = start(f"auth /admin/ {folder}/users\nlog errors stderr debug\n")
    with server.connect(source="127.0.0.2") as c, server.connect() as other:
        c.request("GET", "/admin/", BOB)
        served = 0
        while c.silent(0):
            assert other.get("/open.txt").body == b"open"
            served += 1
        assert c.answer().status == 200
        assert served > 9
    server.stop()
    assert hashes(server) == 1


@pytest.mark.native
@needs_htpasswd
def test_a_hash_whose_place_nobody_took_over_is_given_up(start, site, folder):
    """Who waits for it is there already, so the place of who left stays empty, and looked as if he still dozed."""
    (folder / "users").write_text(bcrypt("secret", 13) + "\nann:" + QUICK + "\n")
    server = start(f"auth /admin/ {folder}/users\nlog errors stderr debug\n")
    with server.connect(source="127.0.0.2") as bob, server.connect(source="127.0.0.3") as ann:
        bob.request("GET", "/admin/", basic("bob", "guess"))
        ticks = server.cpu()
        eventually(lambda: server.cpu() > ticks, "work on it")
        ann.request("GET", "/admin/", basic("ann", "secret"))
        eventually(lambda: server.connections() == 2, "both connections")
        bob.reset()
        assert ann.answer().status == 200


@pytest.mark.native
@needs_htpasswd
def test_who_leaves_before_the_hash_is_there_had_a_guess(start, site, folder):
    """And does not keep others from theirs."""
    (folder / "users").write_text(bcrypt("secret", 13) + "\nann:" + QUICK + "\n")
    server = start(f"auth /admin/ {folder}/users\nlog errors stderr debug\n")
    with server.connect(source="127.0.0.2") as c:
        c.request("GET", "/admin/", basic("bob", "guess"))
        ticks = server.cpu()
        eventually(lambda: server.cpu() > ticks, "work on it")
        c.reset()
    assert ask_from(server, "127.0.0.3", "/admin/", basic("ann", "secret")).status == 200
    with server.connect(source="127.0.0.2") as c:
        c.request("GET", "/admin/", basic("bob", "another"))
        ticks = server.cpu()
        eventually(lambda: server.cpu() > ticks + 5 or not c.silent(0), "work on it, or none")
        assert not c.silent(0) and c.answer().status == 429


@pytest.mark.once
@pytest.mark.skipif(SANITIZED, reason="the sanitizer has a crypt() of its own")
def test_what_crypt_knows_is_asked_there(start, site, folder):
    """Debian's own $y$; libcrypt stands in for a libc that has crypt()."""
    made = subprocess.run(["perl", "-e", "print crypt('secret', '$y$j75$abcdefghijklmnop')"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "users").write_text(f"bob:{made}\n")
    words = f"auth / {folder}/users\n"
    assert start(words, env={"LD_PRELOAD": "libcrypt.so.1"}).get("/open.txt", BOB).status == 200
    server = start(words + "clients 3\n")
    assert server.get("/open.txt", BOB).status == 401
    server.line("the password of 'bob' is kept in a way that this build does not know")


def test_a_plain_password_only_where_it_is_marked(start, site, folder):
    (folder / "users").write_text("bob:{PLAIN}se:cret\nann:secret\neve:{PLAIN}\nzoe:{plain}secret\n")
    server = start(f"auth / {folder}/users\nclients 3\n")
    assert server.get("/open.txt", basic("bob", "se:cret")).status == 200
    for i, (user, password) in enumerate([("bob", "se"), ("bob", "se:cret2"), ("bob", "{PLAIN}se:cret"), ("ann", "secret"),
                                          ("eve", ""), ("zoe", "secret")]):
        assert ask_from(server, f"127.0.0.{i + 2}", "/open.txt", basic(user, password)).status == 401, (user, password)


LOCKED = {
    "an exclamation mark": "bob:!{hash}", "a star": "bob:*", "empty": "bob:", "no colon": "bob", "a comment": "#bob:{hash}",
    "another name": "bobby:{hash}", "a name that ends so": "xbob:{hash}", "cut": "bob:{cut}", "in capitals": "BOB:{hash}",
    "of another password": "bob:{other}", "too long a line": "bob:{hash}" + 2000 * "x", "nothing": "", "blank": " bob:{hash}",
    "a second line": "bob:!\nbob:{hash}", "a NUL": "bob:{hash}\0",
}


@pytest.mark.parametrize("line", LOCKED.values(), ids=LOCKED)
def test_no_account_but_a_whole_one_opens(start, site, folder, line):
    (folder / "users").write_text(line.format(hash=QUICK, cut=QUICK[:-1], other=openssl("-5", "other")) + "\n")
    server = start(f"auth / {folder}/users\nclients 3\n")
    assert server.get("/open.txt", BOB).status == 401
    for i, (user, password) in enumerate([("", ""), ("bob", ""), ("#bob", "secret"), ("", "secret")]):
        assert ask_from(server, f"127.0.0.{i + 2}", "/open.txt", basic(user, password)).status == 401, user


@pytest.mark.parametrize("value", [
    "", "Basic", "Basic ", "Basic Ym9i", "Basic ====", "Basic Ym9iOnNlY3JldA===", "Basic Ym9iOnNlY3JldA=", "Basic !", "Bearer x",
    "Basic Ym9iOnNlY3JldA==x", "Basic Ym9iOnNlY3Jl dA==", "Basic " + "A" * 4000, "Basic" + "Ym9iOnNlY3JldA==",
    "Basic " + base64.b64encode(b"bob:secret\0").decode(), "Basic " + base64.b64encode(b"bob\0:secret").decode(),
    "Basic " + base64.b64encode(b"bob:secret\n").decode(), "Basic " + base64.b64encode(b"bob:" + b"s" * 129).decode(),
    "Basic " + base64.b64encode(b"b" * 65 + b":secret").decode(), "Digest username=bob",
])
def test_what_is_no_password_costs_nothing(locked, value):
    answer = locked.get("/admin/", f"Authorization: {value}")
    assert answer.status == 401 and answer["WWW-Authenticate"]
    locked.stop()
    assert hashes(locked) == 0


@pytest.mark.parametrize("value", ["basic Ym9iOnNlY3JldA==", "BASIC Ym9iOnNlY3JldA", "Basic   Ym9iOnNlY3JldA=="])
def test_the_scheme_in_any_case_and_padding_or_none(locked, value):
    assert locked.get("/admin/", f"Authorization: {value}").status == 200


def test_two_of_them_are_refused(locked):
    answer = locked.get("/admin/", BOB, basic("eve", "x"))
    assert answer.status == 400 and answer["Connection"] == "close"


def test_allow_is_asked_first_and_off_asks_nobody(start, site, folder):
    server = start(f"allow /admin/ 192.0.2.1\nauth /pub/ off\nauth / {folder}/users\n")
    answer = server.get("/admin/")
    assert answer.status == 403 and answer["WWW-Authenticate"] is None
    assert server.get("/pub/").status == 200
    assert server.get("/open.txt").status == 401


def test_a_file_that_cannot_be_read_opens_nothing(start, site, folder):
    server = start(f"auth / {folder}/gone\n")
    assert server.get("/open.txt").status == 401
    assert server.get("/open.txt", BOB).status == 500
    server.line("cannot read .*/gone: No such file")
    (folder / "gone").write_text(f"bob:{QUICK}\n")
    eventually(lambda: server.get("/open.txt", BOB).status == 200, "the file is there now")


# -- once for all pictures

def test_forty_pictures_cost_one_hash(locked):
    with locked.connect() as c:
        for _ in range(20):
            assert c.get("/admin/secret.txt", BOB).status == 200
    for _ in range(20):
        assert locked.get("/admin/secret.txt", BOB).status == 200
    locked.stop()
    assert hashes(locked) == 1


def test_what_is_remembered_is_the_whole_password_for_this_file(start, site, folder):
    (folder / "others").write_text("bob:" + openssl("-5", "other") + "\n")
    server = start(f"auth /admin/ {folder}/users\nauth / {folder}/others\nclients 3\n")
    assert ask_from(server, "127.0.0.2", "/admin/", BOB).status == 200
    assert ask_from(server, "127.0.0.2", "/open.txt", BOB).status == 401
    assert ask_from(server, "127.0.0.3", "/admin/", basic("bob", "secreT")).status == 401
    assert ask_from(server, "127.0.0.4", "/admin/", basic("bobs", "ecret")).status == 401
    assert ask_from(server, "127.0.0.2", "/admin/", BOB).status == 200


def test_a_changed_file_is_read_again(start, site, folder):
    server = start(f"auth / {folder}/users\nclients 3\n")
    assert server.get("/open.txt", BOB).status == 200
    (folder / "new").write_text("bob:" + openssl("-5", "new") + "\n")
    (folder / "new").rename(folder / "users")
    eventually(lambda: server.get("/open.txt", BOB).status != 200, "the old password is forgotten")
    assert ask_from(server, "127.0.0.2", "/open.txt", basic("bob", "new")).status == 200


def test_a_reload_forgets(locked):
    locked.get("/admin/", BOB)
    locked.reload()
    assert locked.get("/admin/", BOB).status == 200
    locked.stop()
    assert hashes(locked) == 2


def test_unknown_users_cost_the_same(locked):
    for i, user in enumerate(("bob", "ann", "nobody")):
        assert ask_from(locked, f"127.0.0.{i + 2}", "/admin/", basic(user, "wrong")).status == 401
        eventually(lambda n=i + 1: hashes(locked) == n, "a hash for each")
    assert "nobody" not in locked.text(), "what was typed as a name may be a password"
    locked.line("wrong password for 'bob'")


# -- wrong ones

@pytest.fixture
def slow(start, site, folder):
    return start(f"auth /admin/ {folder}/users\nlog errors stderr debug\nlog access stderr\n")


def rounds(server, bad):
    """A wrong password is under way for a second; for two, four, eight on a machine that is too slow to see that."""
    for _ in range(4):
        seen = len(server.lines)
        bad.request("GET", "/admin/", basic("bob", "wrong"))
        server.line("wrong password for 'bob'", after=seen)
        yield
        answer = bad.answer()
        assert answer.status == 401 and answer["WWW-Authenticate"]


def test_a_wrong_password_is_answered_late_and_others_do_not_wait(slow):
    with slow.connect(source="127.0.0.2") as bad:
        late = []
        for _ in rounds(slow, bad):
            assert ask_from(slow, "127.0.0.3", "/admin/", BOB).status == 200
            assert slow.get("/open.txt").status == 200
            late.append(bad.silent(0))
            if late[-1]:
                assert bad.answer().status == 401
                break
        assert late[-1], "answered at once"
        assert bad.get("/admin/", BOB).status == 200, "the same connection, and the penalty is over"
    slow.line(r'"GET /admin/ HTTP/1.1" 401 .*"a wrong password"')


def test_until_then_no_other_password_of_that_address_is_looked_at(slow):
    assert ask_from(slow, "127.0.0.2", "/admin/", basic("bob", "secret")).status == 200
    with slow.connect(source="127.0.0.2") as bad:
        held = 0
        for _ in rounds(slow, bad):
            before = hashes(slow)
            for held in range(10):
                answer = ask_from(slow, "127.0.0.2", "/admin/", basic("bob", f"wrong{held}"))
                if not bad.silent(0):
                    break
                assert answer.status == 429 and answer["Retry-After"]
            assert ask_from(slow, "127.0.0.2", "/admin/", BOB).status == 200, "what is known to be right goes on"
            assert ask_from(slow, "127.0.0.2", "/open.txt").status == 200
            if bad.silent(0):
                assert hashes(slow) == before
                break
        assert held == 9
        assert bad.answer().status == 401


def test_it_takes_longer_each_time(start, site, folder):
    """Nobody waits here, but the address is not listened to: for one second, then for two."""
    server = start(f"auth / {folder}/users\nclients 3\nlog errors stderr debug\n")
    for n in (1, 2, 3):
        eventually(lambda: server.get("/open.txt", basic("bob", "wrong")).status == 401, "it is listened to again")
        eventually(lambda n=n: hashes(server) == n, "one hash each time")
    assert server.get("/open.txt", BOB).status == 429


def test_those_who_wait_take_a_quarter_of_the_places_at_most(start, site, folder):
    server = start(f"auth /admin/ {folder}/users\nclients 8\nlog errors stderr debug\n")
    waiting = [server.connect(source=f"127.0.0.{i + 2}") for i in range(12)]
    for c in waiting:
        c.request("GET", "/admin/", basic("bob", "wrong"))
    for _ in range(20):
        assert server.get("/open.txt").status == 200
    statuses = [c.answer().status for c in waiting]
    assert statuses.count(401) > 3 and set(statuses) <= {401, 503}
    for c in waiting:
        c.close()


def test_one_who_leaves_while_waiting_is_let_go(slow):
    with slow.connect(source="127.0.0.2") as bad:
        bad.request("GET", "/admin/", basic("bob", "wrong"))
        slow.line("wrong password")
        bad.reset()
    eventually(lambda: slow.connections() == 0, "the connection is closed")


def test_a_stop_answers_those_who_wait(slow):
    with slow.connect(source="127.0.0.2") as bad:
        bad.request("GET", "/admin/", basic("bob", "wrong"))
        slow.line("wrong password")
        slow.signal(signal.SIGTERM)
        slow.line("stops: ")
        assert bad.answer().status == 401
    slow.wait()


def test_a_reload_while_one_waits(slow):
    with slow.connect(source="127.0.0.2") as bad:
        bad.request("GET", "/admin/", basic("bob", "wrong"))
        slow.line("wrong password")
        slow.reload()
        assert bad.answer().status == 401
        assert bad.get("/admin/", BOB).status == 200


def test_what_was_sent_behind_a_wrong_password_is_a_request_of_its_own(slow):
    with slow.connect(source="127.0.0.2") as bad:
        bad.request("POST", "/admin/", basic("bob", "wrong"), body=b"GET /admin/ HTTP/1.1\r\n\r\n")
        bad.request("GET", "/open.txt")
        assert bad.answer().status == 401
        assert bad.answer().body == b"open"


# -- what comes of it

def test_programs_are_told_who_but_not_the_password(start, site, folder, backend):
    peer = backend(lambda call: call.out("Content-Type: text/plain\n\n" + "\n".join(f"{n}={v}" for n, v in call.pairs)))
    server = start(f"fastcgi /app {peer.address}\nfastcgi /open {peer.address}\nfastcgi /told {peer.address}\n"
                   f"auth /app {folder}/users\nauth /told {folder}/users\nauthorization /told\n")

    def variables(target, *fields):
        answer = server.get(target, *fields)
        assert answer.status == 200
        return dict(line.split("=", 1) for line in answer.body.decode().splitlines() if "=" in line)

    v = variables("/app", BOB)
    assert v["REMOTE_USER"] == "bob" and v["AUTH_TYPE"] == "Basic"
    assert not {"HTTP_AUTHORIZATION", "HTTP_AUTH_USER", "HTTP_AUTH_PASS"} & set(v) and "secret" not in str(v)
    v = variables("/open", BOB, "Auth-User: root", "Remote-User: root")
    assert not {"REMOTE_USER", "AUTH_TYPE", "HTTP_AUTHORIZATION", "HTTP_AUTH_USER"} & set(v)
    v = variables("/told", BOB, "Auth-User: root", "Auth-Pass: x")
    assert (v["HTTP_AUTH_USER"], v["HTTP_AUTH_PASS"], v["HTTP_AUTHORIZATION"]) == ("bob", "secret", BOB.split(" ", 1)[1])


def test_a_server_behind_does_not_see_a_password_for_this_one(start, site, folder):
    with contextlib.closing(Peer()) as peer:
        server = start(f"proxy / http://{peer.address}\nauth /in {folder}/users\nauth /told {folder}/users\n"
                       f"authorization /told\n")
        for target, seen in (("/in", False), ("/told", True), ("/out", True)):
            assert (b"Authorization" in server.get(target, BOB).body) == seen, target


def test_one_connection_does_not_stay_logged_in(start, site, folder, backend):
    peer = backend(lambda call: call.out("Content-Type: text/plain\n\n" + str([v for n, v in call.pairs if n == "REMOTE_USER"])))
    server = start(f"fastcgi /app {peer.address}\nauth /app/in {folder}/users\nlog access stderr\n")
    with server.connect() as c:
        assert c.get("/app/in", BOB).body == b"['bob']"
        assert c.get("/app/out").body == b"[]"
        assert c.get("/app/in").status == 401
    server.line(r'127.0.0.1 - bob \[.* "GET /app/in ')
    server.line(r'127.0.0.1 - - \[.* "GET /app/out ')


def test_a_page_of_ones_own_goes_out_with_the_challenge(start, site, folder, backend):
    peer = backend(lambda call: call.out("Content-Type: text/plain\n\nplease log in"))
    (site / "no.html").write_text("no")
    for error, body in (("/no.html", b"no"), ("/app", b"please log in"), ("/admin/index.html", b"home of admin")):
        server = start(f"fastcgi /app {peer.address}\nauth /admin/ {folder}/users\nerror 401 {error}\n")
        answer = server.get("/admin/")
        assert answer.status == 401 and answer.body == body and answer["WWW-Authenticate"]


def test_a_backends_own_401_is_left_alone(start, site, folder, backend):
    peer = backend(lambda call: call.out("Status: 401 No\nWWW-Authenticate: Bearer\n\n"))
    server = start(f"fastcgi /app {peer.address}\nauth / {folder}/users\n")
    assert server.get("/app", BOB)["WWW-Authenticate"] == "Bearer"


def test_a_body_that_is_refused_does_not_become_a_request(locked):
    with locked.connect() as c:
        assert c.request("POST", "/admin/", body=b"GET /open.txt HTTP/1.1\r\nHost: x\r\n\r\n").answer().status == 401
        assert c.get("/open.txt").body == b"open"
        assert c.request("POST", "/admin/", "Expect: 100-continue", body=b"").answer().status == 401


@pytest.mark.once
def test_curl_finds_its_way(locked):
    assert shutil.which("curl"), "curl is missing: test/setup test installs it"
    url = f"http://127.0.0.1:{locked.port}/admin/secret.txt"
    done = subprocess.run(["curl", "-s", "--anyauth", "--user", "bob:secret", url], capture_output=True, timeout=PATIENCE)
    assert done.stdout == b"secret page"


# -- accounts of the system

PASSWD = """root:x:0:0:root:/root:/bin/ash
bob:x:1000:1000:Bob:/home/bob:/bin/sh
old:{hash}:1001:1001::/:/bin/sh
none:x:1002:1002::/:
daemon:x:1:1::/:/usr/sbin/nologin
false:x:2:2::/:/bin/false
locked:x:3:3::/:/bin/sh
empty:x:4:4::/:/bin/sh
star:x:5:5::/:/bin/sh
gone:x:6:6::/:/bin/sh
late:x:7:7::/:/bin/sh
stale:x:8:8::/:/bin/sh
noshadow:x:9:9::/:/bin/sh
open::10:10::/:/bin/sh
"""
SHADOW = """root:{hash}:0:0:99999:7:::
bob:{hash}:19000:0:99999:7:::
none:{hash}:::::::
daemon:{hash}:19000:0:99999:7:::
false:{hash}:19000:0:99999:7:::
locked:!{hash}:19000:0:99999:7:::
empty::19000:0:99999:7:::
star:*:19000:0:99999:7:::
gone:{hash}:19000:0:99999:7::19001:
late:{hash}:19000:0:99999:7::30000:
stale:{hash}:10000:0:30:7:::
onlyshadow:{hash}:19000:0:99999:7:::
"""


@pytest.fixture
def system(start, site, folder, namespaces):
    """A server that sees other accounts than the machine has, by a mount that nobody else sees."""
    def go(words="", shadow=SHADOW):
        (folder / "passwd").write_text(PASSWD.format(hash=QUICK))
        (folder / "shadow").write_text(shadow.format(hash=QUICK))
        wrapper = folder / "other-accounts"
        wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c 'mount --bind {folder}/passwd /etc/passwd && "
                           f"mount --bind {folder}/shadow /etc/shadow && exec \"$@\"' sh {BINARY} \"$@\"\n")
        wrapper.chmod(0o755)
        return start(f"auth / system\nclients 3\n{words}", binary=wrapper)
    return go


@root_only
def test_accounts_of_the_system(system):
    server = system()
    for user, status in dict(root=200, bob=200, old=200, none=200, late=200, daemon=401, false=401, locked=401, empty=401,
                             star=401, gone=401, stale=401, noshadow=401, open=401, onlyshadow=401, nobody=401).items():
        assert ask_from(server, f"127.{len(user)}.{ord(user[0])}.{ord(user[-1])}", "/open.txt", basic(user, "secret")).status == status, user
    assert ask_from(server, "127.0.2.1", "/open.txt", basic("empty", "")).status == 401
    assert ask_from(server, "127.0.2.2", "/open.txt", basic("open", "")).status == 401
    assert ask_from(server, "127.0.2.3", "/open.txt", basic("bob", "wrong")).status == 401


@root_only
def test_a_shadow_that_may_not_be_read_opens_nothing(system, folder):
    server = system("user 65534\n")
    (folder / "shadow").chmod(0o600)
    assert server.get("/open.txt", BOB).status == 401
    server.line("cannot read /etc/shadow: Permission denied")


# -- --hash

def test_hash_makes_a_line_that_opens(start, site, folder):
    def line(text):
        return subprocess.run([BINARY, "--hash", "bob"], input=text, capture_output=True, timeout=PATIENCE)
    first, second = line(b"secret\n"), line(b"secret")
    assert first.returncode == 0 and first.stdout.startswith(b"bob:$6$") and first.stdout != second.stdout
    (folder / "users").write_bytes(second.stdout)
    assert start(f"auth / {folder}/users\n").get("/open.txt", BOB).status == 200


@pytest.mark.parametrize("user, password", [
    ("", b"x"), ("a:b", b"x"), ("#a", b"x"), ("a" * 65, b"x"), ("a\n", b"x"), ("bob", b""), ("bob", b"\n"), ("bob", b"x" * 129),
    ("bob", b"a\0b"), ("bob", b"a\tb\n"), (None, b"x"),
])
def test_hash_refuses_what_would_never_open(user, password):
    done = subprocess.run([BINARY, "--hash", *([] if user is None else [user])], input=password, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1 and not done.stdout and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("again, status", [(b"secret\n", 0), (b"secrets\n", 1)])
def test_hash_asks_twice_and_does_not_show_it(again, status):
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, "--hash", "bob"], stdin=slave, stdout=subprocess.PIPE, stderr=slave)
    shown = b""

    def until(text):
        nonlocal shown
        while text not in shown:
            assert select.select([master], [], [], 20)[0]
            shown += os.read(master, 1000)
    try:
        until(b"password: ")
        os.write(master, b"secret\n")
        until(b"again: ")
        os.write(master, again)
        made = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == status and made.startswith(b"bob:$6$") == (not status)
        assert b"secret" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
