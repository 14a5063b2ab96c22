"""client-ca: who is let in, what programs are told of them, and that nothing is believed that was not proved."""
import re
import socket
import ssl
import subprocess

import pytest

from peers.ca import openssl
from wire import PATIENCE

NAMES = ("SSL_CLIENT_VERIFY", "SSL_CLIENT_S_DN", "SSL_CLIENT_FINGERPRINT")


def joe(ca, name="joe", **more):
    return ca.issue(name, usage="clientAuth", **more)


@pytest.fixture
def serve(start, ca, folder, backend):
    """A server that asks for certificates; its program tells what it was told."""
    def go(how="required", file=None):
        peer = backend(lambda call: call.answer(
            "\n".join(f"{x}={call.params[x]}" for x in NAMES if x in call.params).encode()))
        return start(f"listen 127.0.0.1:0 tls\nstate {folder}/state\nclient-ca {file or ca.root.pem} {how}\n"
                     f"fastcgi /app {peer.address}\n")
    return go


def context(own=None, chain=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    if own:
        c.load_cert_chain(chain or own.pem, own.key)
    return c


def told(server, own=None, chain=None, fields=b""):
    """What the program was told of this client: a dictionary; a handshake that fails raises."""
    with context(own, chain).wrap_socket(socket.create_connection(server.address(), PATIENCE)) as s:
        s.sendall(b"GET /app HTTP/1.0\r\nHost: x\r\n" + fields + b"\r\n")
        data = b""
        while more := s.recv(4096):
            data += more
    head, body = data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return dict(line.split("=", 1) for line in body.decode().split("\n") if "=" in line)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "rsa"])
def test_programs_are_told_who_it_is(serve, ca, kind):
    it = joe(ca, f"joe-{kind}", kind=kind)
    assert told(serve(), it) == {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": f"CN=joe-{kind}",
                                 "SSL_CLIENT_FINGERPRINT": it.fingerprint}


@pytest.mark.parametrize("digest", ["sha384", "sha512"])
def test_signatures_of_longer_digests_are_understood(serve, ca, digest):
    """Of texts that end at the edges of the digest's blocks, too: names of all lengths."""
    server = serve()
    for n in range(1, 64, 9):
        it = joe(ca, f"{digest}-" + "x" * n, digest=digest)
        assert told(server, it)["SSL_CLIENT_VERIFY"] == "SUCCESS"


def test_whoever_has_none_is_refused_or_let_in_as_nobody(serve):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        told(serve("required"))
    assert told(serve("optional")) == {"SSL_CLIENT_VERIFY": "NONE"}


def test_required_is_what_is_meant_when_nothing_is_said(serve, ca):
    server = serve("")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        told(server)
    assert told(server, joe(ca))["SSL_CLIENT_VERIFY"] == "SUCCESS"


@pytest.mark.parametrize("how, why, alert", [("stranger", "unknown authority", "unknown_ca"),
                                             ("expired", "expired or not yet valid", "certificate_expired"),
                                             ("early", "expired or not yet valid", "certificate_expired"),
                                             ("forged", "unknown authority", "unknown_ca")])
def test_what_is_not_in_order_proves_nothing(serve, ca, other, how, why, alert):
    it = {"stranger": lambda: joe(other), "expired": lambda: joe(ca, "expired", days=(-9, -1)),
          "early": lambda: joe(ca, "early", days=(2, 9)), "forged": lambda: forged(ca)}[how]()
    server = serve("required")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        told(server, it)
    assert server.line(rf"the client's certificate was refused; the client was told {alert}")
    assert told(serve("optional"), it) == {"SSL_CLIENT_VERIFY": f"FAILED:{why}"}


def forged(ca):
    """A certificate of the authority's with another name written into it."""
    it = joe(ca, "forger")
    der = bytearray(it.der)
    at = bytes(der).rindex(b"forger")
    der[at:at + 6] = b"master"
    it.pem.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))
    return it


@pytest.mark.parametrize("names, verdict", [(80, "SUCCESS"), (150, "FAILED:not acceptable")])
def test_a_certificate_that_is_longer_than_is_kept_of_it_proves_nothing(serve, ca, names, verdict):
    """Its fingerprint would be that of a part of it."""
    it = joe(ca, f"long-{names}", names=[f"{n:020}.example" for n in range(names)])
    said = told(serve("optional"), it)
    assert said["SSL_CLIENT_VERIFY"] == verdict and (len(it.der) > 4096) == (names == 150)
    assert said.get("SSL_CLIENT_FINGERPRINT") == (it.fingerprint if names == 80 else None)


def test_a_chain_through_an_intermediate_is_followed(serve, ca):
    between = ca.issue("between", ca=True)
    it = joe(ca, "far", by="between")
    chain = ca.folder / "chain.pem"
    chain.write_text(it.pem.read_text() + between.pem.read_text())
    server = serve()
    assert told(server, it, chain)["SSL_CLIENT_S_DN"] == "CN=far"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        told(server, it)


def test_a_certificate_of_a_server_that_is_no_authority_vouches_for_nobody(serve, ca):
    leaf = ca.issue("no-ca", ["no-ca.example"])
    it = joe(ca, "child", by="no-ca")
    chain = ca.folder / "no-ca-chain.pem"
    chain.write_text(it.pem.read_text() + leaf.pem.read_text())
    with pytest.raises((ssl.SSLError, ConnectionError)):
        told(serve(), it, chain)


def test_names_are_written_so_that_nothing_can_be_read_into_them(serve, ca):
    it = ca.issue("named", usage="clientAuth", subject='/C=DE/O=A, B\\+C\\/D/CN=x"y;z=\\#')
    text = openssl("x509", "-in", it.pem, "-noout", "-subject", "-nameopt", "RFC2253").strip().split("subject=")[1]
    assert told(serve(), it)["SSL_CLIENT_S_DN"].replace("\\=", "=") == text.replace("\\=", "=")


def test_fields_of_the_request_prove_nothing(serve):
    said = told(serve("optional"), fields=b"SSL-Client-Verify: SUCCESS\r\nSSL_CLIENT_S_DN: CN=root\r\n")
    assert said == {"SSL_CLIENT_VERIFY": "NONE"}


def test_a_session_does_not_carry_over_what_was_proved(serve, ca):
    server = serve("optional")
    it = joe(ca, "session")
    first = context(it)
    with first.wrap_socket(socket.create_connection(server.address(), PATIENCE)) as s:
        session = s.session
    with first.wrap_socket(socket.create_connection(server.address(), PATIENCE), session=session) as s:
        assert not s.session_reused
    assert told(server, it)["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert told(server) == {"SSL_CLIENT_VERIFY": "NONE"}


def test_many_at_once_are_not_confused(serve, ca):
    server = serve("optional")
    them = [joe(ca, f"many{i}") for i in range(4)] + [None]
    socks = [context(them[i % 5]).wrap_socket(socket.create_connection(server.address(), PATIENCE),
                                              do_handshake_on_connect=False) for i in range(10)]
    for s in socks:
        s.setblocking(False)
    waiting = list(socks)
    while waiting:                      # a message each in turn, so that all handshakes are under way together
        for s in list(waiting):
            try:
                s.do_handshake()
                waiting.remove(s)
            except ssl.SSLWantReadError:
                pass
    for i, s in enumerate(socks):
        s.setblocking(True)
        s.settimeout(PATIENCE)
        s.sendall(b"GET /app HTTP/1.0\r\nHost: x\r\n\r\n")
        data = b""
        while more := s.recv(4096):
            data += more
        s.close()
        who = re.search(rb"S_DN=CN=(\w+)", data)
        assert (who[1].decode() if who else None) == (them[i % 5].name if them[i % 5] else None)


def test_openssl_and_curl_get_in(serve, ca, folder):
    it = joe(ca, "curl")
    server = serve()
    done = subprocess.run(["curl", "-sS", "--cacert", folder / "state/certificate.pem", "--cert", it.pem, "--key", it.key,
                           f"https://localhost:{server.port}/app"], capture_output=True, text=True, timeout=PATIENCE)
    assert "SSL_CLIENT_VERIFY=SUCCESS" in done.stdout, done.stderr
    said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE).stdout
    assert re.match(r"\nCN ?= ?root\n", said.split("Acceptable client certificate CA names")[1])


@pytest.mark.parametrize("content, why", [(None, "No such file"), ("nothing\n", "there is no certificate in it")])
def test_a_file_without_authorities_is_a_mistake(binary, folder, www, content, why):
    if content is not None:
        (folder / "ca.pem").write_text(content)
    conf = folder / "x.conf"
    conf.write_text(f"root {www}\nlisten 1 tls\nclient-ca {folder}/ca.pem\n")
    done = subprocess.run([binary, "-t", "-f", conf], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and re.match(rf"{conf}:3: .*{why}", done.stderr)


def test_plain_connections_are_told_nothing(start, ca, folder, backend):
    peer = backend(lambda call: call.answer(repr(sorted(x for x in call.params if "SSL" in x)).encode()))
    server = start(f"client-ca {ca.root.pem} required\nfastcgi /app {peer.address}\n")
    assert server.get("/app").body == b"[]"


def test_what_was_proved_lasts_as_long_as_the_connection(serve, ca):
    it = joe(ca, "kept")
    server = serve()
    with context(it).wrap_socket(socket.create_connection(server.address(), PATIENCE)) as s:
        for i in range(3):
            s.sendall(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while it.fingerprint.encode() not in data:
                data += s.recv(4096)
            if not i:
                server.reload()


@pytest.mark.parametrize("before,more", [
    ("listen 127.0.0.1:0 tls\n", "client-ca {ca} optional\n"),
    ("listen unix:{folder}/x\n", "listen unix:{folder}/y tls\n"),
])
def test_memory_of_backends_at_https_is_not_that_of_clients(start, folder, ca, before, more):
    """A reload that asks for more than was set aside at the start is refused, or clients would write over others."""
    before = f"state {folder}/state\nproxy /x https://127.0.0.1:1 check nothing\n" + before
    server = start(before.format(folder=folder))
    server.configuration.write_text(server.configuration.read_text() + more.format(folder=folder, ca=ca.root.pem))
    server.reload("set aside")
    server.line("the old one stays in force")
