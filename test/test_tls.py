"""TLS: what is agreed upon, records, bad input.  The other side is Python's ssl, curl, and openssl's and GnuTLS's tools."""
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from conftest import BINARY
from wire import Client, eventually

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


def connect(server, ctx=None, session=None, name=None, rcvbuf=None):
    c = Client(server.address(0), rcvbuf=rcvbuf)
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


def agreed(server, *ciphers):
    ctx = context()
    ctx.set_ciphers(":".join("ECDHE-ECDSA-" + c for c in ciphers))
    return connect(server, ctx).sock.cipher()[0].removeprefix("ECDHE-ECDSA-")


def test_the_server_prefers_whatever_the_client_says_first(secure):
    server, both = secure(), ("AES128-GCM-SHA256", "CHACHA20-POLY1305")
    assert agreed(server, *both) == agreed(server, *both[::-1])


@pytest.mark.once
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-x86_64-static is not installed")
@pytest.mark.skipif(Path(BINARY).read_bytes()[18:20] != b"\x3e\0", reason="this build is not for amd64")
@pytest.mark.parametrize("processor, first", [("Nehalem", "CHACHA20-POLY1305"), ("Westmere", "AES128-GCM-SHA256")])
def test_chacha_goes_first_where_the_processor_has_no_aes(secure, folder, www, processor, first):
    data = write(www / "file", 50_000)
    program = folder / "program"
    program.write_text(f"#!/bin/sh\nexec qemu-x86_64-static -cpu {processor} {BINARY} \"$@\"\n")
    program.chmod(0o755)
    server = secure(binary=program)
    assert agreed(server, "AES128-GCM-SHA256", "CHACHA20-POLY1305") == first
    ctx = context()
    ctx.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")        # by instructions or without
    assert connect(server, ctx).get("/file").body == data


def test_the_certificate_is_of_a_kind_that_the_client_can_check(secure):
    server = secure()
    for kind in ("ECDSA", "RSA"):
        ctx = context()
        ctx.set_ciphers(f"ECDHE+a{kind}")
        assert f"ECDHE-{kind}-" in connect(server, ctx).sock.cipher()[0]


@pytest.mark.parametrize("offered, agreed", [("h2 http/1.1", "http/1.1"), ("http/1.0", "http/1.0"), ("http/1.0 http/1.1", "http/1.1"),
                                             ("h2", None), ("ftp smtp imap", None)])
def test_http_1_is_agreed_upon_or_nothing(secure, offered, agreed):
    """RFC 7301 3.2: what is meant for a server of something else is not to be answered by this one."""
    ctx, server = context(), secure()
    ctx.set_alpn_protocols(offered.split())
    if agreed:
        assert connect(server, ctx).sock.selected_alpn_protocol() == agreed
        return
    with pytest.raises(ssl.SSLError):
        connect(server, ctx)
    server.line("TLS: no agreement; the client was told no_application_protocol")


def test_a_session_is_resumed(secure, www):
    (www / "x").write_text("x")
    server, ctx = secure(), context()
    first = connect(server, ctx)
    assert first.get("/x").status == 200 and not first.sock.session_reused
    again = connect(server, ctx, session=first.sock.session)
    assert again.get("/x").status == 200 and again.sock.session_reused


def test_so_many_sessions_are_kept_and_the_last_used_stay(secure):
    server, ctx = secure("sessions 4\n"), context()
    kept = [connect(server, ctx).sock.session for _ in range(4)]
    assert connect(server, ctx, session=kept[0]).sock.session_reused
    connect(server, ctx)                    # takes the place of kept[1]
    assert [connect(server, ctx, session=s).sock.session_reused for s in (kept[0], kept[2], kept[3])] == [True] * 3
    assert not connect(server, ctx, session=kept[1]).sock.session_reused


def test_many_sessions_are_kept(secure):
    server, ctx = secure("sessions 5000\n"), context()
    kept = [connect(server, ctx).sock.session for _ in range(100)]
    assert all(connect(server, ctx, session=s).sock.session_reused for s in kept)


def test_a_session_is_for_the_name_that_it_was_begun_with(secure):
    """RFC 6066 3; BearSSL would resume it for any."""
    server, ctx = secure(), context()
    session = connect(server, ctx, name="a.test").sock.session
    for name, resumed in (("A.test", True), ("b.test", False), (None, False), ("a.test", True)):
        again = connect(server, ctx, session=session, name=name).sock
        assert again.session_reused == resumed, name


def test_a_session_is_for_its_name_even_when_that_comes_in_another_record(secure):
    """Names are read in the first record: what the hello before it asked for must not stand for one that goes on."""
    server, ctx = secure(), context(maximum_version=ssl.TLSVersion.TLSv1_2)

    def shake(name, pieces, session=None):
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ctx.wrap_bio(come, go, server_hostname=name, session=session)
        with server.connect(0) as c:
            while True:
                try:
                    tls.do_handshake()
                    return tls
                except ssl.SSLWantReadError:
                    said = go.read()
                    if said[5] == 1:
                        said = b"".join(record(said[i:i + pieces]) for i in range(5, len(said), pieces))
                    c.send(said)
                    come.write(c.sock.recv(65536))
    session = shake("a.test", 16384).session
    assert shake("a.test", 16384, session).session_reused
    for pieces in (1, 100):
        assert not shake("b.test", pieces, session).session_reused
    assert shake("a.test", 16384, session).session_reused


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
    assert status == 0 and len(sizes) > 5 and max(sizes) - length in (16, 24), sizes        # ChaCha20, AES


def read_slowly(server, ctx, path, data):
    """Four at once, a little at a time: most records are sent in part, and none may be made twice of other bytes."""
    clients = []
    for i in range(4):
        c = Client(server.address(0), rcvbuf=4096)
        c.sock = ctx.wrap_socket(c.sock)
        server.clients.append(c)
        c.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes={i * 1000}-\r\nConnection: close\r\n\r\n".encode())
        clients.append((c, bytearray()))
    left = list(clients)
    while left:
        for c, got in list(left):
            piece = c.sock.recv(len(got) % 7000 + 1)
            got += piece
            if not piece:
                left.remove((c, got))
    for i, (_, got) in enumerate(clients):
        assert got.partition(b"\r\n\r\n")[2] == data[i * 1000:]


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "CHACHA20-POLY1305"])
def test_a_file_comes_whole_to_those_who_read_slowly(secure, www, suite):
    data = write(www / "file", 3 << 20)
    ctx = context()
    ctx.set_ciphers("ECDHE-ECDSA-" + suite)
    read_slowly(secure(), ctx, "/file", data)


@pytest.mark.native
def test_who_does_not_read_holds_little_memory(secure, www):
    """One that stands in the middle of an answer has two pages of its own, a kilobyte of state, and keys in that."""
    write(www / "file", 1 << 20)
    server = secure("clients 100 100\n")

    def stuck(i):
        c = connect(server, rcvbuf=4096 + 97 * i)       # so that records are cut anywhere
        c.sock.sendall(b"GET /file HTTP/1.1\r\nHost: abcdefgh.example:8443\r\nAccept: a/b, c/d, e/f\r\n\r\n" * 20)
        assert c.sock.recv(1)
    for i in range(4):
        stuck(i)
    before = server.memory("Private_Dirty")
    for i in range(50):
        stuck(i)
    eventually(lambda: Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S", "its rest")
    assert server.memory("Private_Dirty") - before <= 50 * 10


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


@pytest.mark.skipif(not shutil.which("wget"), reason="wget is not installed")
def test_wget_resumes_a_download(secure, www, folder):
    data = write(www / "file", 300_000)
    host, port = secure().address(0)
    (folder / "file").write_bytes(data[:100_000])
    status, text = tool("wget", "-q", "-c", "--no-check-certificate", "-O", folder / "file", f"https://{host}:{port}/file")
    assert (status, text) == (0, b"") and (folder / "file").read_bytes() == data


@pytest.mark.skipif(not shutil.which("sslscan"), reason="sslscan is not installed")
def test_a_scanner_finds_what_is_said_here_and_no_more(secure):
    host, port = secure().address(0)
    status, text = tool("sslscan", "--no-colour", f"{host}:{port}")
    found = text.decode()
    assert re.findall(r"^(SSLv\d|TLSv1\.\d) +enabled", found, re.M) == ["TLSv1.2"]
    assert {m for m in re.findall(r"^(?:Accepted|Preferred) +TLSv1.2 .*?(ECDHE\S+)", found, re.M)} == {
        f"ECDHE-{kind}-{cipher}" for kind in ("ECDSA", "RSA") for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305")}
    assert len(re.findall(r"^(?:Accepted|Preferred) ", found, re.M)) == 4
    assert "supports TLS Fallback SCSV" in found and "not vulnerable to heartbleed" in found


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(not shutil.which("testssl"), reason="testssl.sh is not installed")
def test_another_scanner_complains_of_nothing_but_age(secure, tmp_path):
    host, port = secure("hsts / 31536000\n").address(0)
    report = tmp_path / "report.json"
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--openssl-timeout", "10", "--ip", "one",
                    "-p", "-s", "-f", "-P", "-U", "--jsonfile", report, f"{host}:{port}"], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=500)
    bad = {x["id"]: x["finding"] for x in json.loads(report.read_text()) if x["severity"] not in ("OK", "INFO", "DEBUG")}
    bad.pop("engine_problem", None)         # the scanner's own: its openssl has no GOST
    assert {k: v for k, v in bad.items() if "TLS1_3" not in k and "TLS 1.3" not in v and "1.3" not in v} == {}


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


# -- who is told of it

def test_programs_are_told(secure, backend):
    peer = backend(lambda call: call.answer(repr({k: call.params.get(k) for k in (
        "HTTPS", "REQUEST_SCHEME", "SSL_PROTOCOL", "SSL_CIPHER")})))
    server = secure(f"fastcgi /app {peer.address}\n")
    c = connect(server)                     # AES goes first only where the processor has it
    assert c.get("/app").body.decode() == repr({
        "HTTPS": "on", "REQUEST_SCHEME": "https", "SSL_PROTOCOL": "TLSv1.2", "SSL_CIPHER": c.sock.cipher()[0]})
    with server.connect(1) as c:
        assert c.get("/app").body == b"{'HTTPS': None, 'REQUEST_SCHEME': 'http', 'SSL_PROTOCOL': None, 'SSL_CIPHER': None}"


def test_browsers_are_told_to_come_by_https_over_https_only(secure, www):
    (www / "x").write_text("x")
    server = secure("hsts / 1000\n")
    assert connect(server).get("/x")["Strict-Transport-Security"] == "max-age=1000"
    with server.connect(1) as c:
        assert c.get("/x")["Strict-Transport-Security"] is None


def test_a_redirect_to_https_knows_the_port_and_spares_who_is_there_and_who_asks_for_proof(secure, www):
    (www / ".well-known/acme-challenge").mkdir(parents=True)
    (www / ".well-known/acme-challenge/token").write_text("proof")
    (www / "x").write_text("x")
    server = secure("redirect / https: 308\n")
    with server.connect(1) as c:
        answer = c.request("GET", "/x%20y?a=b", host="cub.test:81").answer()
        assert (answer.status, answer["Location"]) == (308, f"https://cub.test:{server.address(0)[1]}/x%20y?a=b")
        assert c.get("/.well-known/acme-challenge/token").body == b"proof"
    assert connect(server).get("/x").body == b"x"


# -- bad input

def hello(version=0x0303, suites=b"\xc0\x2b\xc0\x2f\xcc\xa9\xcc\xa8", extensions=b"", session=b""):
    body = version.to_bytes(2, "big") + bytes(32) + bytes([len(session)]) + session
    body += len(suites).to_bytes(2, "big") + suites + b"\1\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    return b"\1" + len(body).to_bytes(3, "big") + body


def record(data, kind=22, version=0x0301):
    return bytes([kind]) + version.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def extension(kind, data):
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


GROUPS = extension(10, b"\0\4\0\x1d\0\x17") + extension(13, b"\0\4\4\3\4\1")


@pytest.mark.parametrize("sent, alert", [
    (b"\x16\x03\x01\x00\x05hello", None),
    (b"\x99" * 50, 10),
    (b"\x17\x03\x03\x00\x10" + b"x" * 16, 10),
    (b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + bytes(37), 70),
    (b"\x16\x03\x01\xff\xff" + bytes(70), 22),
    (record(hello(version=0x0301)), 70),
    (record(hello(version=0x0302)), 70),
    (record(hello(suites=b"\x13\1\x13\2", extensions=extension(43, b"\2\3\4"))), 70),
    (record(hello(suites=b"\0\x2f", extensions=GROUPS)), 40),
    (record(hello(extensions=extension(10, b"\0\2\0\x18"))), 40),
    (record(hello(extensions=GROUPS)) + record(b"\1", 20, 0x0303) + record(bytes(40), 22, 0x0303), None),
    (record(b"\x0b" + hello(extensions=GROUPS)[1:]), 10),
    (record(hello(session=bytes(33))), None),
])
def test_what_cannot_be_agreed_upon_gets_an_alert_a_line_and_no_place(secure, sent, alert):
    server = secure()
    c = server.connect(0)
    c.send(sent)
    if alert is None:
        c.half_close()
    said = c.rest()
    while said[:1] == b"\x16":              # what we had to say before
        said = said[5 + int.from_bytes(said[3:5], "big"):]
    assert said[:1] == b"\x15" and said[5] == 2 and (alert is None or said[6] == alert), said
    server.line("127.0.0.1: TLS: ")
    c.close()
    eventually(lambda: server.connections() == 0, "its end")


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_hello_in_pieces_is_a_hello(secure, pieces):
    """In small reads, and in small records."""
    server, sent = secure(), hello(extensions=GROUPS)
    for data in (record(sent), b"".join(record(sent[i:i + pieces]) for i in range(0, len(sent), pieces))):
        with server.connect(0) as c:
            for i in range(0, len(data), pieces):
                c.send(data[i:i + pieces])
            assert c.exactly(6)[::5] == b"\x16\2"            # a ServerHello


@pytest.mark.parametrize("size", [16000, 60000])
def test_a_hello_of_sixteen_kilobytes_or_more_is_a_hello(secure, size):
    sent = hello(extensions=GROUPS + extension(21, bytes(size)))
    with secure().connect(0) as c:
        c.send(b"".join(record(sent[i:i + 16384]) for i in range(0, len(sent), 16384)))
        assert c.exactly(6)[::5] == b"\x16\2"


def test_a_name_that_nobody_has_gets_the_servers_own(secure, www):
    (www / "x").write_text("x")
    assert connect(secure(), name="nobody.test").get("/x").body == b"x"


def test_a_damaged_record_ends_the_connection_with_an_alert(secure, www):
    (www / "x").write_text("x")
    server = secure()
    c = connect(server)
    assert c.get("/x").status == 200
    raw = socket.socket(fileno=os.dup(c.sock.fileno()))
    raw.sendall(record(bytes(60), 23, 0x0303))
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC|bad record mac"):
        c.sock.recv(10)
    server.line("a record was damaged; the client was told bad_record_mac")
    raw.close()


@pytest.mark.parametrize("header, alert", [(b"\x17\3\3\xff\xff", "RECORD_OVERFLOW"), (b"\x17\2\2\0\x20", "PROTOCOL_VERSION"),
                                           (b"\x17\3\3\0\1", "RECORD_OVERFLOW")])
def test_a_record_of_wrong_length_or_version_ends_it_too(secure, header, alert):
    c = connect(secure())
    raw = socket.socket(fileno=os.dup(c.sock.fileno()))
    raw.sendall(header)
    with pytest.raises(ssl.SSLError, match=alert):
        c.sock.recv(10)
    raw.close()


def test_plain_http_is_sent_to_https_on_this_port(secure, www):
    (www / "x").write_text("x")
    server = secure()
    answer = server.connect(0).request("GET", "/x?y", host=f"cub.test:{server.port}").answer()
    assert (answer.status, answer["Location"]) == (308, f"https://cub.test:{server.port}/x?y")
    with server.connect(0) as c:
        assert c.request("GET", "/x", host=None, version="1.0").answer().status == 400
    with server.connect(0) as c:
        for byte in b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n":
            c.send(bytes([byte]))
        assert c.answer().status == 308
    assert connect(server).get("/x").body == b"x"


def test_half_handshakes_keep_nobody_out(secure, www):
    (www / "x").write_text("x")
    server = secure("clients 64 200\n")
    half = [server.connect(0).send(record(hello(extensions=GROUPS))) for _ in range(60)]
    for c in half:
        if not c.exactly(1):
            break
    for _ in range(3):
        assert connect(server).get("/x").body == b"x"
        with server.connect(1) as c:
            assert c.get("/x").body == b"x"


def test_a_handshake_has_the_time_of_a_head_and_no_more(secure):
    server = secure("timeout head 0.3\n")
    c = server.connect(0).send(record(hello(extensions=GROUPS)))
    assert c.rest()[:1] == b"\x16"
    server.line("TLS: neither handshake nor head came whole in time")


def test_http_beside_it_goes_on(secure, www):
    (www / "x").write_text("x")
    server = secure()
    connect(server)
    with server.connect(1) as c:
        assert c.get("/x").body == b"x"
