"""`allow`: nobody gets past it, however the path is spelled and whichever way leads there."""
import socket

import pytest

from wire import Client

INSIDE, OUTSIDE = "127.0.0.0/8", "192.0.2.0/24"        # loopback is always inside


@pytest.fixture
def site(www):
    for folder in ("admin", "pub", "admin/sub"):
        (www / folder).mkdir()
        (www / folder / "index.html").write_text(f"home of {folder}")
    (www / "admin/secret.txt").write_text("secret")
    (www / "admin.txt").write_text("beside")
    (www / "open.txt").write_text("open")
    return www


@pytest.fixture
def closed(start, site):
    return start(f"allow /admin/ {OUTSIDE}\n")


@pytest.mark.parametrize("target", [
    "/admin", "/admin/", "/admin/secret.txt", "//admin//secret.txt", "/./admin/secret.txt", "/pub/../admin/secret.txt",
    "/%61dmin/secret.txt", "/admin%2fsecret.txt", "/admin/sub/", "/admin/sub", "/admin/nothing", "/admin/?x",
    "http://test/admin/secret.txt", "/pub/%2e%2e/admin/secret.txt", "/admin/./../admin/secret.txt",
])
def test_no_spelling_gets_past(closed, target):
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = closed.ask(method, target)
        assert answer.status == 403 and b"secret" not in answer.body, (method, target, answer)


@pytest.mark.parametrize("name", ["ADMIN", "Admin", "admin.", "aDmin.."])
def test_no_other_spelling_that_a_file_system_takes_gets_past(start, site, name):
    """vfat knows a folder in any case and with dots behind its name.  Here it is another folder; and nothing opens by that."""
    (site / name).mkdir()
    (site / name / "secret.txt").write_text("secret")
    server = start(f"allow /Admin/pub {OUTSIDE}\nallow /admin/ {OUTSIDE}\nallow / *\n")
    assert server.get(f"/{name}/secret.txt").status == 403
    assert server.get("/admin.txt").body == b"beside"
    server = start(f"allow /{name}/ *\nallow / {OUTSIDE}\n")
    assert server.get(f"/{name}/secret.txt").body == b"secret"
    assert server.get("/admin/secret.txt").status == 403, "a line for one spelling let another one in"


def test_what_is_beside_it_stays_open(closed):
    assert closed.get("/open.txt").body == b"open"
    assert closed.get("/admin.txt").body == b"beside"
    assert closed.get("/adminx").status == 404


@pytest.mark.parametrize("line, target", [
    ("rewrite /way /admin/secret.txt", "/way"),
    ("rewrite /way/ /admin/", "/way/secret.txt"),
    ("fallback / /admin/secret.txt", "/nothing"),
    ("index nothing secret.txt\nrewrite /pub/ /admin/", "/pub/"),
    ("alias /admin/ {www}/admin\nrewrite /way/ /admin/", "/way/secret.txt"),
])
def test_no_way_within_leads_there(start, site, line, target):
    """Guarded by the folder that the client never named."""
    line = line.format(www=site)
    assert b"secret" in start(line).get(target).body
    answer = start(f"{line}\nallow /admin/ {OUTSIDE}\n").get(target)
    assert b"secret" not in answer.body and answer.status in (403, 404)


def test_an_extension_is_guarded_through_the_index_too(start, site, backend):
    (site / "index.php").write_text("")
    peer = backend(lambda call: call.out("Content-Type: text/plain\n\nran"))
    server = start(f"index index.php\nfastcgi *.php {peer.address}\nallow *.php {OUTSIDE}\n")
    for target in ("/", "/index.php", "/index.php/more", "/x.php/../"):
        assert server.get(target).status == 403, target
    assert start(f"allow *.html {OUTSIDE}\n").get("/pub/").status == 403


def test_the_first_line_decides(start, site):
    server = start(f"allow /admin/secret.txt {INSIDE}\nallow /admin/ {OUTSIDE}\nallow / {INSIDE}\n")
    assert server.get("/admin/secret.txt").status == 200
    assert server.get("/admin/").status == 403
    assert server.get("/open.txt").status == 200


def test_the_lines_of_a_host_go_before_those_outside(start, site):
    server = start(f"allow / {OUTSIDE}\nhost open.example {{\nallow /pub/ *\n}}\nhost other.example {{\n}}\n")
    assert server.get("/pub/", host="open.example").status == 200
    assert server.get("/open.txt", host="open.example").status == 403
    for host in ("other.example", "test"):
        assert server.get("/pub/", host=host).status == 403


def test_several_ranges_are_alternatives(start, site):
    server = start(f"allow / {OUTSIDE} ::1 127.0.0.1\n")
    assert server.get("/open.txt").status == 200


def test_every_kind_of_client_is_known_by_its_address(start, site, folder):
    """IPv4 to an IPv6 socket is IPv4; a unix socket is neither."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    for allowed, status in (("127.0.0.1", (200, 403, 403)), ("::1", (403, 200, 403)), ("unix", (403, 403, 200)),
                            ("::ffff:127.0.0.1", (200, 403, 403)), ("::/0", (403, 200, 403)), ("*", (200,) * 3)):
        path = folder / f"{len(list(folder.iterdir()))}.sock"
        server = start(f"listen *:0 unix:{path}\nallow / {allowed}\n")
        clients = Client(("127.0.0.1", server.port)), Client(("::1", server.port)), Client(str(path))
        found = []
        for client in clients:
            with client:
                found.append(client.get("/open.txt").status)
        assert tuple(found) == status, allowed


def test_a_refusal_has_its_page_and_a_line_in_the_log(start, site):
    (site / "no.html").write_text("not for you")
    server = start(f"allow / {OUTSIDE}\nerror 403 /no.html\nlog access stderr\n")
    answer = server.get("/open.txt")
    assert answer.status == 403 and answer.body == b"not for you"
    server.line(r'"GET /open.txt HTTP/1.1" 403 .*"the address is not allowed here"')


def test_a_body_that_is_refused_does_not_become_a_request(start, site):
    """The body of a refused POST looks like a request of its own."""
    server = start(f"allow /admin/ {OUTSIDE}\n")
    hidden = b"GET /open.txt HTTP/1.1\r\nHost: test\r\n\r\n"
    with server.connect() as c:
        assert c.request("POST", "/admin/", body=hidden).answer().status == 403
        assert c.get("/open.txt").body == b"open"
    with server.connect() as c:
        c.request("POST", "/admin/", "Transfer-Encoding: chunked")
        answer = c.answer()
        assert answer.status == 403 and answer["Connection"] == "close"


def test_each_request_of_a_connection_is_asked(start, site):
    server = start(f"allow /admin/ {OUTSIDE}\n")
    with server.connect() as c:
        for _ in range(3):
            assert c.get("/open.txt").status == 200
            assert c.get("/admin/secret.txt").status == 403


def test_a_reload_changes_who_may(start, site):
    server = start(f"allow / {INSIDE}\n")
    assert server.get("/open.txt").status == 200
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace(INSIDE, OUTSIDE))
    server.reload()
    assert server.get("/open.txt").status == 403
