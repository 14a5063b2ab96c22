"""TLS: what is agreed upon, records, bad input.  The other side is Python's ssl, curl, and openssl's and GnuTLS's tools."""
import os
import re
import shutil
import ssl
import subprocess

import pytest

from conftest import BINARY
from wire import Client

VERSION = subprocess.run([str(BINARY), "-V"], capture_output=True, text=True, check=True).stdout
pytestmark = pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)")


def make(folder, kind):
    path = folder / f"{kind}.pem"
    key = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}[kind]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-keyout", path, "-out", folder / "crt",
                    "-days", "30", "-subj", f"/CN={kind}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "crt").read_text())
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {kind: make(folder, kind) for kind in ("ec", "rsa")}


@pytest.fixture
def secure(start, keys):
    """secure(configuration) starts a server with TLS at address 0 and without at address 1."""
    def go(more="", kinds=("ec", "rsa"), **rest):
        lines = "".join(f"certificate {keys[k]}\n" for k in kinds)
        return start(f"listen 127.0.0.1:0 tls\nlisten 127.0.0.1:0\n{lines}{more}", **rest)
    return go


def context(**more):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    for name, value in more.items():
        setattr(c, name, value)
    return c


def connect(server, ctx=None, session=None, name=None):
    c = Client(server.address(0))
    c.sock = (ctx or context()).wrap_socket(c.sock, server_hostname=name, session=session)
    server.clients.append(c)
    return c


def tool(*args, text="", check=False):
    done = subprocess.run(list(map(str, args)), input=text.encode(), capture_output=True, timeout=60, check=check)
    return done.returncode, done.stdout + done.stderr


def write(path, size):
    data = os.urandom(1 << 20) * (size >> 20) + os.urandom(size & 0xfffff)
    path.write_bytes(data)
    return data


# -- what is agreed upon

@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                                   "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"])
@pytest.mark.parametrize("curve", ["prime256v1", "X25519"])
def test_each_suite_and_curve_carries_files_whole(secure, www, suite, curve):
    data = write(www / "file", 100_000)
    ctx = context()
    ctx.set_ciphers(suite)
    if curve == "prime256v1":
        ctx.set_ecdh_curve(curve)
    c = connect(secure(), ctx)
    assert c.sock.cipher()[0] == suite and c.sock.version() == "TLSv1.2"
    for _ in range(3):
        assert c.get("/file").body == data


def test_the_certificate_is_of_a_kind_that_the_client_can_check(secure):
    server = secure()
    for kind in ("ECDSA", "RSA"):
        ctx = context()
        ctx.set_ciphers(f"ECDHE+a{kind}")
        assert f"ECDHE-{kind}-" in connect(server, ctx).sock.cipher()[0]


def test_http_1_1_is_agreed_upon(secure):
    ctx = context()
    ctx.set_alpn_protocols(["h2", "http/1.1"])
    assert connect(secure(), ctx).sock.selected_alpn_protocol() == "http/1.1"


def test_a_session_is_resumed(secure, www):
    (www / "x").write_text("x")
    server, ctx = secure(), context()
    first = connect(server, ctx)
    assert first.get("/x").status == 200 and not first.sock.session_reused
    again = connect(server, ctx, session=first.sock.session)
    assert again.get("/x").status == 200 and again.sock.session_reused


def test_without_sessions_every_handshake_is_whole(secure, www):
    (www / "x").write_text("x")
    server, ctx = secure("sessions 0\n"), context()
    first = connect(server, ctx)
    again = connect(server, ctx, session=first.sock.session)
    assert again.get("/x").status == 200 and not again.sock.session_reused


def test_secure_renegotiation_is_known_and_refused(secure):
    host, port = secure().address(0)
    s_client = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-connect", f"{host}:{port}"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = []
    for line in s_client.stdout:
        lines.append(line)
        if b"Verify return code" in line:
            s_client.stdin.write(b"R\n")
            s_client.stdin.flush()
        if b"no renegotiation" in line:
            break
    s_client.kill()
    s_client.wait()
    assert any(b"Secure Renegotiation IS supported" in line for line in lines)
    assert b"no renegotiation" in lines[-1]


@pytest.mark.parametrize("length", [512, 4096])
def test_short_fragments_are_kept_to_when_they_were_agreed_upon(secure, www, length):
    (www / "file").write_bytes(b"x" * 30_000)
    host, port = secure().address(0)
    status, text = tool("openssl", "s_client", "-connect", f"{host}:{port}", "-maxfraglen", length, "-msg", "-ign_eof",
                        text="GET /file HTTP/1.0\r\n\r\n")
    sizes = [int(a + b, 16) for a, b in re.findall(rb"<<< TLS 1.2, RecordHeader .*\n +17 03 03 (..) (..)", text)]
    assert status == 0 and len(sizes) > 5 and max(sizes) == length + 24, sizes


# -- programs of others

def test_curl_takes_the_certificate_for_its_root(secure, www, keys):
    (www / "x").write_text("cub")
    host, port = secure().address(0)
    status, text = tool("curl", "-sS", "--cacert", keys["ec"], f"https://localhost:{port}/x")
    assert (status, text) == (0, b"cub")


@pytest.mark.skipif(not shutil.which("gnutls-cli"), reason="gnutls-cli is not installed")
def test_gnutls_says_good_bye_and_so_do_we(secure, www):
    (www / "x").write_text("cub")
    host, port = secure().address(0)
    status, text = tool("gnutls-cli", "--insecure", "-p", port, host, text="GET /x HTTP/1.0\r\n\r\n")
    assert status == 0 and b"cub" in text and b"not properly terminated" not in text


# -- the end of a connection

def test_the_end_is_said_in_tls_before_it_is_said_in_tcp(secure, www):
    (www / "x").write_text("x")
    c = connect(secure(), context())
    c.sock.suppress_ragged_eofs = False
    assert c.request("GET", "/x", "Connection: close").answer().body == b"x"
    assert c.sock.recv(10) == b""           # and no SSLEOFError


def test_an_idle_connection_sleeps_and_wakes(secure, www):
    data = write(www / "x", 50_000)
    server = secure("clients 2 100\n")
    clients = [connect(server) for _ in range(12)]
    for _ in range(3):
        for c in clients:
            assert c.get("/x").body == data


# -- bad input

def test_http_beside_it_goes_on(secure, www):
    (www / "x").write_text("x")
    server = secure()
    connect(server)
    with server.connect(1) as c:
        assert c.get("/x").body == b"x"


def test_noise_gets_an_alert_a_line_and_no_place(secure):
    server = secure()
    c = server.connect(0)
    c.send(b"\x16\x03\x01\x00\x05hello")
    assert c.rest()[:1] == b"\x15"
    server.line("127.0.0.1: TLS: ")


def test_an_old_version_is_refused_by_name(secure):
    server = secure()
    c = server.connect(0)
    hello = b"\x03\x01" + bytes(32) + b"\0\0\2\xc0\x09\1\0"
    c.send(b"\x16\x03\x01" + (len(hello) + 4).to_bytes(2, "big") + b"\1\0" + len(hello).to_bytes(2, "big") + hello)
    assert c.rest()[5:7] == bytes([2, 70])
    server.line("protocol_version")
