"""HTTPS to backends: whose certificate is taken for whom, and that no byte of a request goes to anybody else."""
import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from wire import PATIENCE, eventually, held_port


class Backend:
    """A server at https that answers with what was asked; `said` has every request, `names` what SNI asked for."""

    def __init__(self, it, chain=None, respond=None, ciphers=None, close=True):
        self.said, self.names, self.failed, self.connections = [], [], 0, 0
        self.respond, self.close_notify = respond or self.echo, close
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain or it.pem, it.key)
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        if ciphers:
            self.context.set_ciphers(ciphers)
        self.context.sni_callback = lambda s, name, c: self.names.append(name)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        sock.settimeout(PATIENCE)
        try:
            tls = self.context.wrap_socket(sock, server_side=True)
        except (ssl.SSLError, OSError):
            self.failed += 1
            return sock.close()
        with contextlib.suppress(OSError), tls:
            while head := self.head(tls):
                self.said.append(head)
                if not self.respond(tls, head):
                    break
            if self.close_notify:
                tls.unwrap()

    def head(self, tls):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            more = tls.recv(1)
            if not more:
                return b""
            data += more
        return data

    def echo(self, tls, head):
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        return True

    def close(self):
        self.listener.close()


@pytest.fixture
def at_https():
    backends = []

    def go(*args, **more):
        backends.append(Backend(*args, **more))
        return backends[-1]
    yield go
    for b in backends:
        b.close()


def proxy(ca, backend, more="", host="localhost"):
    return f"ca {ca.root.pem}\nproxy /x/ https://{host}:{backend.port} {more}\n"


@pytest.mark.parametrize("kind", ["P-256", "P-384", "rsa"])
def test_a_certificate_in_order_is_believed(start, ca, at_https, kind):
    b = at_https(ca.issue(f"good-{kind}", ["localhost"], kind))
    server = start(proxy(ca, b))
    for _ in range(3):
        assert server.get("/x/a?b").body == b"hello"
    assert b.connections == 1 and b.said[0].startswith(b"GET /x/a?b HTTP/1.1\r\n") and b.names == ["localhost"]


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_both_ciphers_are_spoken(start, ca, at_https, cipher):
    assert start(proxy(ca, at_https(ca.issue("cipher", ["localhost"]), ciphers=cipher))).get("/x/").body == b"hello"


def test_a_chain_through_an_intermediate_is_followed(start, ca, at_https):
    between, leaf = ca.issue("between", ca=True), ca.issue("chained", ["localhost"], by="between")
    chain = ca.folder / "chained-chain.pem"
    chain.write_text(leaf.pem.read_text() + between.pem.read_text())
    assert start(proxy(ca, at_https(leaf, chain))).get("/x/").body == b"hello"


def test_an_address_is_a_name_too_and_is_not_asked_for_by_sni(start, ca, at_https):
    b = at_https(ca.issue("by-address", ["IP:127.0.0.1"]))
    assert start(proxy(ca, b, host="127.0.0.1")).get("/x/").body == b"hello"
    assert b.names == [None]


WRONG = {
    "wrong name": (lambda ca, other: ca.issue("wrong", ["example.org"]), "for another name"),
    "only the common name": (lambda ca, other: ca.issue("localhost", ["example.org"]), "for another name"),
    "expired": (lambda ca, other: ca.issue("old", ["localhost"], days=(-9, -1)), "expired"),
    "not yet valid": (lambda ca, other: ca.issue("early", ["localhost"], days=(2, 9)), "not valid yet"),
    "unknown issuer": (lambda ca, other: other.issue("foreign", ["localhost"]), "nobody we know"),
    "self-signed": (lambda ca, other: ca.issue("alone", ["localhost"], by=None), "nobody we know"),
    "issued by a server": (lambda ca, other: issued_by_leaf(ca), "cannot be accepted|nobody we know"),
}


def issued_by_leaf(ca):
    leaf = ca.issue("leaf", ["leaf.example"])
    it = ca.issue("leafs-child", ["localhost"], by="leaf")
    it.pem.write_text(it.pem.read_text() + leaf.pem.read_text())
    return it


@pytest.mark.parametrize("how", WRONG)
def test_a_certificate_that_is_not_in_order_gets_no_byte_of_the_request(start, ca, other, at_https, how):
    make, why = WRONG[how]
    b = at_https(make(ca, other))
    server = start(proxy(ca, b))
    assert server.ask("GET", "/x/secret").status == 503
    assert server.line(rf"TLS: .*{why}")
    assert not b.said
    eventually(lambda: b.failed, "the end of the handshake")
    assert server.get("/").status in (403, 404)     # and the server goes on


def test_another_name_can_be_asked_for(start, ca, at_https):
    b = at_https(ca.issue("named", ["api.example.org"]))
    assert start(proxy(ca, b, "name api.example.org", host="127.0.0.1")).get("/x/").body == b"hello"
    assert b.names == ["api.example.org"]
    assert start(proxy(ca, b, "name other.example.org", host="127.0.0.1")).get("/x/").status == 503


def test_a_pin_takes_this_certificate_and_no_other(start, ca, other, at_https):
    it = other.issue("pinned", ["whatever.example"], days=(-9, -1))
    b = at_https(it)
    colons = ":".join(it.fingerprint[i:i + 2] for i in range(0, 64, 2)).upper()
    for pin in it.fingerprint, colons:
        assert start(f"proxy /x/ https://127.0.0.1:{b.port} check {pin}\n").get("/x/").body == b"hello"
    wrong = hashlib.sha256(b"x").hexdigest()
    server = start(f"ca {other.root.pem}\nproxy /x/ https://127.0.0.1:{b.port} check {wrong}\n")
    assert server.get("/x/").status == 503 and len(b.said) == 2


def test_nothing_is_checked_where_that_is_said(start, other, at_https):
    b = at_https(other.issue("unchecked", ["whatever.example"], days=(-9, -1)))
    assert start(f"proxy /x/ https://127.0.0.1:{b.port} check nothing\n").get("/x/").body == b"hello"


@pytest.mark.parametrize("line, says", [
    ("proxy / https://127.0.0.1", "whom to believe"),
    ("proxy / https://127.0.0.1 check 1234", "neither 'nothing' nor a SHA-256"),
    ("proxy / https://127.0.0.1 check " + "0" * 63 + "g", "neither 'nothing' nor a SHA-256"),
    ("proxy / https://127.0.0.1 check " + "0" * 65, "neither 'nothing' nor a SHA-256"),
    ("proxy / http://127.0.0.1 check nothing", "it needs https://"),
    ("proxy / http://127.0.0.1 name x", "it needs https://"),
    ("proxy / https://127.0.0.1 http://127.0.0.1 check nothing", "one scheme and one path"),
    ("proxy / http://127.0.0.1 https://127.0.0.1", "one scheme and one path"),
    ("ca /nonexistent", "/nonexistent: "),
])
def test_mistakes(binary, folder, line, says):
    conf = folder / "x.conf"
    conf.write_text(f"root /\n{line}\n")
    done = subprocess.run([binary, "-t", "-f", conf], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and done.stderr.startswith(f"{conf}:2: ") and says in done.stderr, done.stderr


def test_a_mistake_outside_of_hosts_is_told_once(binary, folder):
    """Hosts have its line, too."""
    conf = folder / "x.conf"
    conf.write_text("proxy / https://127.0.0.1\nhost a.example {\n}\nhost b.example {\n}\n")
    done = subprocess.run([binary, "-t", "-f", conf], capture_output=True, text=True, timeout=PATIENCE)
    assert [line.split()[0] for line in done.stderr.splitlines()] == [f"{conf}:1:"]


def test_a_plain_line_without_authorities_is_no_mistake_and_shows_itself(binary, folder):
    conf = folder / "x.conf"
    conf.write_text("proxy /a/ https://127.0.0.1:1/b/ check nothing name x.example sticky\n")
    done = subprocess.run([binary, "-t", "-f", conf], capture_output=True, text=True, timeout=PATIENCE)
    assert "proxy /a/ https://127.0.0.1:1/b/ check nothing name x.example sticky\n" in done.stdout, done.stderr


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 100_000, 3_000_000])
def test_bodies_go_both_ways_whole(start, ca, at_https, size):
    data = os.urandom(size)

    def respond(tls, head):
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = b""
        while len(body) < length and (more := tls.recv(65536)):
            body += more
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True
    server = start(proxy(ca, at_https(ca.issue("bodies", ["localhost"]), respond=respond)))
    for _ in range(2):
        assert server.ask("POST", "/x/", body=data).body == data


def test_an_answer_without_length_that_is_cut_is_not_taken_for_whole(start, ca, at_https):
    def respond(tls, head):
        tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nthe first half")
        return False
    whole = start(proxy(ca, at_https(ca.issue("whole", ["localhost"]), respond=respond)))
    assert whole.get("/x/").body == b"the first half"
    cut = at_https(ca.issue("cut", ["localhost"]), respond=respond, close=False)
    data = start(proxy(ca, cut)).talk(b"GET /x/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"the first half" in data and not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("there, here", [("https://localhost:{}/v1/x", "/x/x"), ("http://localhost:{}/v1/x", None),
                                         ("https://localhost/v1/x", None), ("/v1/y", "/x/y")])
def test_places_over_there_are_mapped_back(start, ca, at_https, there, here):
    def respond(tls, head):
        tls.sendall(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {place}\r\n\r\n".encode())
        return True
    b = at_https(ca.issue("mapped", ["localhost"]), respond=respond)
    place = there.format(b.port)
    server = start(f"ca {ca.root.pem}\nproxy /x/ https://localhost:{b.port}/v1/\n")
    assert server.get("/x/").all("Location") == [here or place]


def test_a_kept_connection_that_has_gone_stale_is_passed_over(start, ca, at_https):
    def once(tls, head):
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False
    b = at_https(ca.issue("stale", ["localhost"]), respond=once)
    server = start(proxy(ca, b))
    for i in range(5):
        assert server.get("/x/").body == b"ok"
    assert len(b.said) == 5


def test_the_next_backend_is_asked_when_one_is_not_who_it_should_be(start, ca, other, at_https):
    bad, good = at_https(other.issue("bad", ["localhost"])), at_https(ca.issue("good", ["localhost"]))
    server = start(f"ca {ca.root.pem}\nproxy /x/ https://localhost:{bad.port} https://localhost:{good.port}\n")
    for _ in range(3):
        assert server.ask("POST", "/x/", body=b"").body == b"hello"
    assert not bad.said and len(good.said) == 3


def test_a_backend_that_speaks_no_tls_is_an_error_and_not_a_hang(start, ca):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        server = start(f"proxy /x/ https://127.0.0.1:{plain.getsockname()[1]} check nothing\n")
        with server.connect() as c:
            c.request("GET", "/x/")
            sock = plain.accept()[0]
            assert sock.recv(1) == b"\x16"
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert c.answer("GET").status in (502, 503)
            sock.close()


def test_a_backend_that_is_silent_in_the_handshake_is_given_up(start, ca):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = start(f"timeout backend 0.3\nproxy /x/ https://127.0.0.1:{silent.getsockname()[1]} check nothing\n")
        assert server.get("/x/").status == 504


def test_our_own_certificate_is_taken_by_us(start, ca, folder, www):
    (www / "x").mkdir()
    (www / "x/hello").write_text("hello")
    back = start(f"listen 127.0.0.1:0 tls\nstate {folder}/state\n")
    server = start(f"ca {folder}/state/certificate.pem\nproxy /x/ https://localhost:{back.port}\n")
    assert server.get("/x/hello").body == b"hello"


def test_many_at_once(start, ca, at_https):
    b = at_https(ca.issue("many", ["localhost"]))
    server = start(proxy(ca, b))
    clients = [server.connect() for _ in range(30)]
    for c in clients:
        c.request("GET", "/x/")
    for c in clients:
        assert c.answer("GET").body == b"hello", server.text()


@pytest.mark.parametrize("kind", ["P-256", "rsa"])
def test_nginx_is_reached(start, ca, folder, kind):
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    it = ca.issue(f"nginx-{kind}", ["localhost"], kind)
    held, port = held_port()
    (folder / "big").write_bytes(os.urandom(2_000_000))
    (folder / "nginx.conf").write_text(f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
http {{ access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {it.pem}; ssl_certificate_key {it.key};
root {folder}; }} }}""")
    nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", "stderr"],
                             stderr=subprocess.DEVNULL)
    try:
        def listening():
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), PATIENCE).close() is None
        eventually(listening, "nginx")
        server = start(f"ca {ca.root.pem}\nproxy / https://localhost:{port}\n")
        for _ in range(3):
            assert server.get("/big").body == (folder / "big").read_bytes()
    finally:
        nginx.terminate()
        nginx.wait()
        held.close()
