"""The way out: who may, where to, and what must not pass."""
import base64
import hashlib
import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import SANITIZED
from wire import PATIENCE, Cut, eventually


class Site:
    """A server that remembers the heads it gets, and answers as told, by default with 200 and a few bytes."""

    def __init__(self, script=None, port=0, address="127.0.0.1"):
        self.script, self.heads = script or answer, []
        self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.bind((address, port))
        self.sock.listen(50)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        try:
            with sock:
                self.script(self, sock)
        except OSError:
            pass

    def head(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(1)
            if not more:
                return data
            data += more
        self.heads.append(data)
        return data

    def close(self):
        self.sock.close()


def answer(site, sock):
    while site.head(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nVia: 1.1 x\r\n\r\nsite")


def echo(site, sock):
    while data := sock.recv(65536):
        sock.sendall(data)


@pytest.fixture
def site():
    made = []

    def go(*args, **more):
        made.append(Site(*args, **more))
        return made[-1]

    yield go
    for one in made:
        one.close()


def out(start, line="127.0.0.0/8 to 127.0.0.0/8", more=""):
    return start(f"forward {line}\n{more}")


def connect(c, target, *fields):
    return c.request("CONNECT", target, *fields, host=target).head()


# -- by URL

def test_a_request_for_an_url_goes_there_as_it_is(start, site):
    s = site()
    server = out(start)
    for _ in range(2):
        with server.connect() as c:
            for _ in range(3):
                a = c.get(f"http://127.0.0.1:{s.port}/a%20b//../c?d=%2f", "Proxy-Connection: keep-alive", "X-Mine: 1",
                          "Proxy-Authorization: Basic eDp5", "Connection: X-Hop", "X-Hop: 1", "X-Forwarded-For: 10.0.0.1",
                          "Forwarded: for=10.0.0.1", host=f"127.0.0.1:{s.port}")
                assert (a.status, a.body) == (200, b"site")
    head = s.heads[0].decode()
    assert head.startswith(f"GET /a%20b//../c?d=%2f HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\n")
    assert re.search(r"\r\nVia: 1\.1 cubhttpd-[0-9a-f]+\r\n", head) and "X-Mine: 1" in head
    assert not re.search("proxy|x-hop|forwarded", head, re.I)
    assert len(s.heads) == 6


def test_a_query_behind_the_host_alone_is_not_lost(start, site):
    """http://host?query (RFC 9112 3.2.1: the path that is missing is said as /)."""
    s = site()
    with out(start).connect() as c:
        for target, asked in (("?a=b", "/?a=b"), ("?", "/?"), ("", "/"), ("/?c", "/?c")):
            assert c.get(f"http://127.0.0.1:{s.port}{target}").status == 200
            assert s.heads[-1].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


def test_the_host_of_the_url_goes_before_the_field(start, site):
    s = site()
    assert out(start).get(f"http://127.0.0.1:{s.port}/", host="evil.test").status == 200
    assert b"evil" not in s.heads[0] and f"Host: 127.0.0.1:{s.port}".encode() in s.heads[0]


def test_bodies_go_both_ways(start, site):
    def digest(s, sock):
        head = s.head(sock)
        n = int(re.search(rb"Content-Length: (\d+)", head)[1])
        sum_ = hashlib.sha1()
        while n:
            data = sock.recv(min(n, 65536))
            n -= len(data)
            sum_.update(data)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + sum_.hexdigest().encode())
    s = site(digest)
    data = os.urandom(3_000_000)
    a = out(start).ask("POST", f"http://127.0.0.1:{s.port}/", body=data)
    assert a.body.decode() == hashlib.sha1(data).hexdigest()


def test_https_by_url_is_not_done(start, site):
    assert out(start).get("https://127.0.0.1/").status == 501


def test_paths_and_our_own_urls_are_served_here(start, www, site):
    (www / "x").write_text("mine")
    server = out(start, more=f"root {www}\nhost example.org {{\n}}\n")
    assert server.get("/x").body == b"mine"
    assert server.get(f"http://127.0.0.1:{server.port}/x").body == b"mine"
    assert server.get("http://example.org/x").body == b"mine"


# -- tunnels

def test_a_tunnel_carries_bytes_both_ways_and_each_end_by_itself(start, site):
    done = threading.Event()

    def until_end(s, sock):
        data = b""
        while more := sock.recv(1000):
            data += more
        sock.sendall(b"got " + data)
        sock.shutdown(socket.SHUT_WR)
        done.set()
    s = site(until_end)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}").status == 200
        c.send(b"one ")
        c.send(b"two").half_close()
        assert c.rest() == b"got one two"
    assert done.wait(PATIENCE)


def test_what_follows_a_connect_at_once_goes_first(start, site):
    s = site(echo)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    with server.connect() as c:
        c.send(f"CONNECT 127.0.0.1:{s.port} HTTP/1.1\r\nHost: a\r\n\r\nearly".encode())
        a = c.head()
        assert a.status == 200 and not a["Content-Length"] and not a["Transfer-Encoding"]
        assert c.exactly(5) == b"early"
        c.send(b"late")
        assert c.exactly(4) == b"late"


def test_the_other_side_ends_the_tunnel(start, site):
    s = site(lambda s, sock: sock.sendall(b"bye"))
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}").status == 200
        assert c.rest() == b"bye"


def test_an_idle_tunnel_ends(start, site):
    s = site(echo)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1", "timeout tunnel 0.2\n")
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}").status == 200
        assert c.ends()


@pytest.mark.slow
def test_a_gigabyte_through_a_tunnel_in_bounded_memory(start, site):
    s = site(echo)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    piece, total = os.urandom(1 << 20), 1 << 30
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}").status == 200

        def send():
            for _ in range(total // len(piece)):
                c.send(piece)
            c.half_close()
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        got, most = 0, 0
        while data := c.sock.recv(1 << 20):
            got += len(data)
            if got % (64 << 20) < len(data):
                most = max(most, server.memory())
        assert got == total
        assert most < 1500 or "asan" in str(server.process.args[0])
        sender.join(20)


@pytest.mark.slow
def test_large_bodies_by_url_in_bounded_memory(start, site):
    """Answers and requests; bench/ has a gigabyte of them."""
    total, piece = 256 << 20, bytes(1 << 18)

    def script(site, sock):
        while head := site.head(sock):
            left = total
            if head.startswith(b"PUT"):
                while left:
                    left -= sock.recv_into(bytearray(min(left, 1 << 18)))
                sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
                for _ in range(total // len(piece)):
                    sock.sendall(piece)
    s = site(script)
    server = out(start)
    with server.connect() as c:
        url = f"http://127.0.0.1:{s.port}/x"
        c.request("PUT", url, f"Content-Length: {total}")
        for _ in range(total // len(piece)):
            c.send(piece)
        assert c.answer().status == 204
        before, most = server.memory(), 0
        answer = c.request("GET", url).answer(body=False)
        left = int(answer["Content-Length"]) - len(c.buffer)
        while left:
            left -= (got := len(c.sock.recv(min(left, 1 << 20))))
            if left % (16 << 20) < got:
                most = max(most, server.memory())
        assert 0 < most <= before + 64 or SANITIZED


# -- who, and where to

def test_it_is_off_for_all_others(start, site):
    s = site()
    for server in (start(""), start("forward 192.0.2.0/24 to 127.0.0.1\n")):
        assert server.get(f"http://127.0.0.9:{s.port}/").status == 403
        with server.connect() as c:
            assert connect(c, "127.0.0.1:443").status == 405
    assert not s.heads


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.127.255.255", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.0.1", "[::]", "[::1]",
    "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]",
    "[2001::1]", "[fe80::1]", "[fec0::1]", "[fd00::1]", "[fc00::1]", "[ff02::1]", "[100::1]",
])
def test_what_is_not_of_the_world_is_refused(start, address):
    server = out(start, "127.0.0.1")
    with server.connect() as c:
        assert connect(c, f"{address}:443").status == 403
    if address != "127.0.0.1":
        assert server.get(f"http://{address}/").status == 403


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["192.168.1.1", "10.1.1.1"], ["::1"], ["fd00::1"]])
def test_the_address_counts_and_not_the_name(start, resolver, addresses):
    r = resolver({"public.example": addresses})
    server = out(start, "127.0.0.1", f"resolver {r.address}\nlog access /dev/stderr\n")
    with server.connect() as c:
        assert connect(c, "public.example:443").status == 403
    a = server.get("http://public.example/")
    assert a.status == 403 and b"may not be reached" in a.body
    server.line('GET http://public.example/ .* 403 .*this address may not be reached')


def test_a_name_that_changes_its_mind_is_asked_where_it_leads_when_it_is_dialled(start, resolver, site):
    """Rebinding: allowed at first, private a moment later; each dial looks at the address that is dialled."""
    s = site()
    r = resolver({"rebind.test": ["127.0.0.1"]}, ttl=0)
    server = out(start, f"127.0.0.1 to 127.0.0.1", f"resolver {r.address}\n")
    assert server.get(f"http://rebind.test:{s.port}/").status == 200
    r.names["rebind.test"] = ["127.0.0.2"]
    eventually(lambda: server.get(f"http://rebind.test:{s.port}/").status == 403, "the new address")


def test_the_good_one_of_several_addresses_is_taken(start, resolver, site):
    s = site()
    r = resolver({"mixed.test": ["10.0.0.1", "127.0.0.1"]})
    server = out(start, "127.0.0.1 to 127.0.0.1", f"resolver {r.address}\n")
    assert server.get(f"http://mixed.test:{s.port}/").status == 200


def test_an_address_of_this_machine_is_not_of_the_world(start):
    """Whatever it looks like: the firewall of a router does not ask who comes from the router itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no way out, and no address for it")
    with out(start, "127.0.0.1").connect() as c:
        assert connect(c, f"{address}:443").status == 403


def test_ports(start, site):
    s = site()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))           # and does not listen
        other = nobody.getsockname()[1]
        server = out(start, f"127.0.0.1 port {s.port} port {other} to 127.0.0.1")
        for port, status in ((s.port, 200), (other, 502), (443, 403), (25, 403), (22, 403)):
            with server.connect() as c:
                assert connect(c, f"127.0.0.1:{port}").status == status
    for port, status in (("25", 403), ("22", 403), ("443", 403), ("0", 403), ("65536", 403)):
        assert server.get(f"http://127.0.0.9:{port}/").status == status
    server = out(start, "127.0.0.1 to 127.0.0.1")
    for port, allowed in ((443, True), (80, False), (s.port, False)):
        with server.connect() as c:
            assert (connect(c, f"127.0.0.1:{port}").status != 403) == allowed


@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.1:", "/x", "http://a/", "a b:443", ":443", "2130706433:443",
                                    "0x7f.1:443x",
                                    "[::1:443", "user@127.0.0.1:443", "*", "..:443"])
def test_targets_that_are_none(start, target):
    server = out(start)
    with server.connect() as c:
        c.send(f"CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert c.answer().status == 400


@pytest.mark.parametrize("line,target,status", [("forward 127.0.0.1 port 443", "127.0.0.1:22", 403), ("", "127.0.0.1:443", 405),
                                                ("forward 127.0.0.1", "a b:443", 400)])
def test_what_follows_a_connect_that_is_refused_is_no_request(start, line, target, status):
    """A client may send what is meant for the tunnel at once, whoever wrote it (RFC 9931 8)."""
    with start(line + "\n").connect() as c:
        c.send(f"CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = c.answer()
        assert (answer.status, answer["Connection"]) == (status, "close")
        assert c.rest() == b""


def test_a_connect_with_a_body_is_none(start, site):
    s = site(echo)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    for more in ("Content-Length: 3", "Transfer-Encoding: chunked"):
        with server.connect() as c:
            assert connect(c, f"127.0.0.1:{s.port}", more).status == 400


def users(folder, binary):
    line = subprocess.run([binary, "--hash", "ann"], input=b"secret\n", capture_output=True, timeout=PATIENCE,
                          check=True).stdout
    (folder / "users").write_bytes(line)
    return folder / "users"


def basic(text):
    return "Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode()


def test_a_password_is_asked_for_and_goes_no_further(start, site, folder, binary):
    s = site()
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1 auth {users(folder, binary)}")
    url = f"http://127.0.0.1:{s.port}/"
    for fields in ((), (basic("ann:wrong"),), ("Authorization: Basic YW5uOnNlY3JldA==",), (basic("bob:secret"),)):
        refused = server.get(url, *fields)
        assert refused.status in (407,
                                  429) and (refused.status == 429 or "Basic realm" in refused["Proxy-Authenticate"])
        with server.connect() as c:
            assert connect(c, f"127.0.0.1:{s.port}", *fields).status in (407, 429)
    assert not s.heads
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1 auth {users(folder, binary)}")
    assert server.get(url, basic("ann:secret"), "Authorization: Basic c2l0ZTpvbmU=").body == b"site"
    assert b"Authorization: Basic c2l0ZTpvbmU=" in s.heads[0] and b"Proxy-A" not in s.heads[0]
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}", basic("ann:secret")).status == 200


def test_a_reload_changes_who_may_and_leaves_tunnels_alone(start, site):
    s = site(echo)
    server = out(start, f"127.0.0.1 port {s.port} to 127.0.0.1")
    with server.connect() as c:
        assert connect(c, f"127.0.0.1:{s.port}").status == 200
        text = server.configuration.read_text()
        server.configuration.write_text(text.replace("forward 127.0.0.1", "forward 192.0.2.1"))
        server.reload()
        with server.connect() as other:
            assert connect(other, f"127.0.0.1:{s.port}").status == 405
        server.configuration.write_text(text)
        server.reload()
        with server.connect() as other:
            assert connect(other, f"127.0.0.1:{s.port}").status == 200
            for one in (c, other):
                assert one.send(b"still here").exactly(10) == b"still here"


def test_a_proxy_that_has_no_memory_yet_begins_with_the_next_start(start, site):
    server = start("")
    server.configuration.write_text(server.configuration.read_text() + "forward 127.0.0.1\n")
    server.reload()
    server.line("`forward` begins with the next start")
    with server.connect() as c:
        assert connect(c, "127.0.0.1:443").status == 405


# -- what may fail

def test_a_name_that_is_not_there_is_502(start, resolver):
    r = resolver()
    server = out(start, more=f"resolver {r.address}\n")
    assert server.get("http://nowhere.test/").status == 502
    with server.connect() as c:
        assert connect(c, "nowhere.test:443").status == 502


def test_nobody_listens_there(start):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        server = out(start, f"127.0.0.1 port {port} to 127.0.0.1")
        with server.connect() as c:
            assert connect(c, f"127.0.0.1:{port}").status == 502
        assert server.get(f"http://127.0.0.1:{port}/").status == 502


def test_a_resolver_that_is_silent_is_504(start, resolver):
    r = resolver({"slow.test": lambda q: None})
    server = out(start, more=f"resolver {r.address}\ntimeout connect 0.2\n")
    assert server.get("http://slow.test/").status == 504
    with server.connect() as c:
        assert connect(c, "slow.test:443").status == 504


def test_garbage_from_there_is_502_and_a_cut_is_a_cut(start, site):
    s = site(lambda s, sock: (s.head(sock), sock.sendall(b"what?\r\n\r\n")))
    assert out(start).get(f"http://127.0.0.1:{s.port}/").status == 502
    s = site(lambda s, sock: (s.head(sock), sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")))
    with pytest.raises(Cut):
        out(start).get(f"http://127.0.0.1:{s.port}/x", host="a")


def test_a_request_that_comes_round_is_stopped(start, site):
    """Our name in Via is one of our own: the same for each request, and another one for another server."""
    s = site()
    one, two = out(start), out(start)
    for server in (one, one, two):
        server.get(f"http://127.0.0.1:{s.port}/", "Via: 1.1 cubhttpd")
    names = [re.search(rb"Via: (1\.1 cubhttpd-[0-9a-f]+)\r", head)[1].decode() for head in s.heads]
    assert names[0] == names[1] != names[2]
    answer = one.get(f"http://127.0.0.1:{s.port}/", f"Via: 1.0 x, {names[0]}, 1.1 y")
    assert answer.status == 508 and len(s.heads) == 3


@pytest.mark.parametrize("n", [100])
def test_many_targets_one_after_the_other(start, resolver, site, n):
    s = site()
    r = resolver({f"h{i}.test": ["127.0.0.1"] for i in range(n)})
    server = out(start, more=f"proxied 4\nresolver {r.address}\n")
    for i in range(n):
        assert server.get(f"http://h{i}.test:{s.port}/").status == 200


def test_more_at_once_than_there_are_places_wait_in_the_queue(start, site):
    go = threading.Event()

    def late(s, sock):
        s.head(sock)
        go.wait(PATIENCE)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    s = site(late)
    server = out(start, more="proxied 2\n")
    clients = [server.connect() for _ in range(5)]
    for c in clients:
        c.request("GET", f"http://127.0.0.1:{s.port}/")
    assert clients[4].silent()
    go.set()
    for c in clients:
        assert c.answer().body == b"ok"


# -- real ones

@pytest.fixture
def tls_site(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-out",
                    folder / "pem",
                    "-days", "2", "-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test"], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem", folder / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, folder / "pem"
    server.shutdown()
    server.server_close()


@pytest.mark.plain("curl speaks for itself")
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed (test/setup test)")
def test_curl_through_it(start, resolver, site, tls_site, folder, binary):
    s = site()
    port, pem = tls_site
    r = resolver({"site.test": ["127.0.0.1"]})
    server = out(start, f"127.0.0.1 port {port} port {s.port} to 127.0.0.1", f"resolver {r.address}\n")

    def curl(*args):
        done = subprocess.run(["curl", "-sS", "-m", "20", "-x", f"http://127.0.0.1:{server.port}", "--noproxy", "",
                               *args],
                              capture_output=True, timeout=30, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert curl(f"http://site.test:{s.port}/x") == b"site"
    assert curl("-p", f"http://site.test:{s.port}/x") == b"site"
    assert b"Directory listing" in curl("--cacert", pem, f"https://site.test:{port}/")
    server = out(start, f"127.0.0.1 port {port} to 127.0.0.1 auth {users(folder, binary)}", f"resolver {r.address}\n")
    assert b"Directory" in curl("--proxy-user", "ann:secret", "--proxy-anyauth", "--cacert", pem,
                                f"https://site.test:{port}/")
    server = out(start, f"127.0.0.1 port {port} to 127.0.0.1", f"resolver {r.address}\n")
    assert curl("-o", "/dev/null", "-w", "%{http_connect}", "--cacert", pem, f"https://site.test:{port}/") == b"200"
