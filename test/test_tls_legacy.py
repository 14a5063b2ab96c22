"""`listen ... legacy`: versions and suites of another age, for those who ask for them, and nowhere else."""
import hashlib
import os
import re
import socket
import ssl
import subprocess

import pytest

from conftest import BINARY
from test_tls import GROUPS, VERSION, connect, context, hello, keys, read_slowly, record, tool, write  # noqa: F401
from wire import eventually

pytestmark = [pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)"),
              pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")]
built_in = pytest.mark.skipif("CONFIG_TLS_LEGACY 1" not in VERSION,
                              reason="this build leaves out older TLS (CONFIG_TLS_LEGACY); the sanitizer build has it")
VERSIONS = {"TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1, "TLSv1.2": ssl.TLSVersion.TLSv1_2}
OLD = [(version, kind, suite) for version in VERSIONS for kind, suite in [
    ("ec", "ECDHE-ECDSA-AES128-SHA"), ("ec", "ECDHE-ECDSA-AES256-SHA"), ("rsa", "ECDHE-RSA-AES128-SHA"),
    ("rsa", "ECDHE-RSA-AES256-SHA"), ("rsa", "AES128-SHA"), ("rsa", "AES256-SHA")]]
OLD += [("TLSv1.2", kind, suite) for kind, suite in [
    ("ec", "ECDHE-ECDSA-AES128-SHA256"), ("rsa", "ECDHE-RSA-AES128-SHA256"), ("rsa", "AES128-SHA256"),
    ("rsa", "AES256-SHA256"), ("rsa", "AES128-GCM-SHA256")]]


def old(version, suites):
    c = context()
    c.set_ciphers(f"{suites}:@SECLEVEL=0")
    c.minimum_version = c.maximum_version = VERSIONS[version]
    return c


@pytest.fixture
def legacy(start, keys):  # noqa: F811
    """A server with older TLS at address 0, with TLS as it is at address 1, without at address 2."""
    def go(more="", **rest):
        lines = "".join(f"certificate {path}\n" for path in keys.values())
        return start(f"listen 127.0.0.1:0 tls legacy\nlisten 127.0.0.1:0 tls\nlisten 127.0.0.1:0\n{lines}{more}", **rest)
    return go


def strict(server, ctx):
    """The same client at the address where nothing was said of older TLS."""
    with socket.create_connection(server.address(1), 20) as s:
        with ctx.wrap_socket(s):
            pass


@pytest.mark.skipif("CONFIG_TLS_LEGACY 1" in VERSION, reason="this build has older TLS")
def test_a_build_without_it_says_so(binary, folder):
    path = folder / "conf"
    path.write_text("listen 8443 tls legacy\n")
    done = subprocess.run([binary, "-t", "-f", path], capture_output=True, text=True)
    assert done.returncode and f"{path}:1: 'legacy' is not in this build (CONFIG_TLS_LEGACY)" in done.stderr


@built_in
def test_t_prints_it_as_it_is_read(binary, folder):
    path = folder / "conf"
    path.write_text("listen 127.0.0.1:8444 legacy\nroot /\n")
    first = subprocess.run([binary, "-t", "-f", path], capture_output=True, text=True, check=True).stdout
    assert "listen 127.0.0.1:8444 legacy\n" in first
    path.write_text(first)
    assert subprocess.run([binary, "-t", "-f", path], capture_output=True, text=True, check=True).stdout == first


@built_in
@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_comes_whole_to_those_who_read_slowly(legacy, www, version):
    data = write(www / "file", 1 << 20)
    read_slowly(legacy(), old(version, "ECDHE-ECDSA-AES128-SHA"), "/file", data)


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1"])
def test_older_versions_are_refused_where_nothing_is_said_of_them(start, keys, version):  # noqa: F811
    server = start(f"listen 127.0.0.1:0 tls\ncertificate {keys['rsa']}\n")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version"):
        connect(server, old(version, "ALL"))
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE|handshake failure"):
        connect(server, old("TLSv1.2", "AES128-SHA:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256"))


@built_in
@pytest.mark.parametrize("version, kind, suite", OLD)
def test_each_old_suite_and_version_carries_bodies_whole(legacy, www, backend, version, kind, suite):
    data = write(www / "file", 300_000)

    peer = backend(lambda call: call.answer(hashlib.sha256(call.read_body()).hexdigest()))
    server = legacy(f"fastcgi /app {peer.address}\n")
    c = connect(server, old(version, suite))
    assert c.get("/file").body == data
    assert c.request("POST", "/app", body=data).answer().body.decode() == hashlib.sha256(data).hexdigest()
    for n in (1, 2, 15, 16, 17, 31, 33):                # around the edges of blocks and paddings
        assert c.get("/file", f"Range: bytes=0-{n - 1}").body == data[:n]
    assert (c.sock.version(), c.sock.cipher()[0]) == (version, suite)
    with pytest.raises(ssl.SSLError):
        strict(server, old(version, suite))


@built_in
def test_programs_are_told_how_old_it_is(legacy, backend):
    peer = backend(lambda call: call.answer(f"{call.params['SSL_PROTOCOL']} {call.params['SSL_CIPHER']}"))
    server = legacy(f"fastcgi /app {peer.address}\n")
    assert connect(server, old("TLSv1.1", "AES256-SHA")).get("/app").body == b"TLSv1.1 AES256-SHA"


@built_in
def test_what_is_new_comes_first_there_too(legacy):
    c = connect(legacy(), context())
    assert c.sock.version() == "TLSv1.2" and re.search("GCM|CHACHA", c.sock.cipher()[0])
    assert c.sock.cipher()[0].startswith("ECDHE")


@built_in
@pytest.mark.parametrize("options", [["-tls1_1", "-cipher", "AES128-SHA:@SECLEVEL=0"], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
                                     ["-cipher", "AES128-SHA", "-tls1_2"]])
def test_openssl_and_curl_get_in(legacy, www, options):
    (www / "x").write_text("camera")
    server = legacy()
    request = "GET /x HTTP/1.0\r\n\r\n"
    code, text = tool("openssl", "s_client", "-quiet", "-connect", "127.0.0.1:%d" % server.address(0)[1], *options, text=request)
    assert b"camera" in text, text
    most = {"-tls1": "1.0", "-tls1_1": "1.1", "-tls1_2": "1.2"}[[x for x in options if x.startswith("-tls")][0]]
    ciphers = options[options.index("-cipher") + 1].split(":")[0]
    done = tool("curl", "-sk", "--tlsv1.0", "--tls-max", most, "--ciphers", f"{ciphers}:@SECLEVEL=0",
                "https://127.0.0.1:%d/x" % server.address(0)[1])
    assert done == (0, b"camera")
    code, text = tool("openssl", "s_client", "-quiet", "-connect", "127.0.0.1:%d" % server.address(1)[1], *options, text=request)
    assert code and b"camera" not in text


@built_in
@pytest.mark.parametrize("sent, alert", [
    (hello(version=0x0300, suites=b"\0\x2f\0\x35"), 70),
    (hello(suites=b"\0\1\0\2\0\3\0\4\0\5\0\x09\0\x0a", extensions=GROUPS), 40),      # NULL, EXPORT, RC4, DES, 3DES
    (hello(suites=b"\0\x33\0\x39\0\x34\xc0\x04\xc0\x0e\xc0\x12\xc0\x18", extensions=GROUPS), 40),    # DHE, anon, ECDH
    (hello(version=0x0302, suites=b"\0\x9c\0\x3c", extensions=GROUPS), 40),               # of TLS 1.2, by an older one
    (hello(version=0x0302, suites=b"\0\x2f\x56\0"), 86),                                # a fallback
])
def test_what_is_too_old_even_for_that_is_refused(legacy, sent, alert):
    server = legacy()
    c = server.connect(0).send(record(sent))
    assert c.rest()[::6] == bytes([21, alert])


@built_in
@pytest.mark.parametrize("version", VERSIONS)
def test_a_reader_that_is_slow_loses_nothing(legacy, www, version):
    """Records that the kernel takes in part: what is over stands where its plain bytes were, and before them."""
    data = write(www / "file", 3_000_000)
    c = connect(legacy(), old(version, "AES128-SHA"))
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    c.request("GET", "/file")
    assert c.answer().body == data


@built_in
@pytest.mark.parametrize("version", VERSIONS)
def test_an_idle_connection_sleeps_and_wakes(legacy, www, version):
    (www / "x").write_text("x")
    server = legacy("clients 1 20\n")
    c = connect(server, old(version, "AES128-SHA"))
    assert c.get("/x").body == b"x"
    for _ in range(3):
        with server.connect(2) as plain:                # takes its slot
            assert plain.get("/x").body == b"x"
        assert c.get("/x").body == b"x"


@built_in
def test_a_session_is_resumed_but_not_where_it_would_not_have_begun(legacy, www):
    (www / "x").write_text("x")
    server = legacy()
    begun = old("TLSv1.2", "AES128-SHA")
    with socket.create_connection(server.address(0), 20) as s, begun.wrap_socket(s) as first:
        session = first.session
    with socket.create_connection(server.address(0), 20) as s, begun.wrap_socket(s, session=session) as again:
        assert again.session_reused and again.cipher()[0] == "AES128-SHA"
    begun.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0")
    with socket.create_connection(server.address(1), 20) as s, begun.wrap_socket(s, session=session) as there:
        assert not there.session_reused and there.cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"


@built_in
@pytest.mark.parametrize("size", [16, 48, 64, 304, 16400, 16672])
def test_padding_and_mac_are_one_mistake(legacy, www, size):
    (www / "x").write_text("x")
    server = legacy()
    for kind in (20, 21, 22, 23):
        c = connect(server, old("TLSv1.2", "AES128-SHA"))
        assert c.get("/x").status == 200
        raw = socket.socket(fileno=os.dup(c.sock.fileno()))
        raw.sendall(record(os.urandom(size), kind, 0x0303))
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC" if size > 32 else "RECORD_OVERFLOW"):
            c.sock.recv(10)
        raw.close()
        c.close()


# -- key exchange by RSA (Bleichenbacher): whatever is wrong with what was encrypted, what comes of it is the same

def modulus(path):
    out = subprocess.run(["openssl", "rsa", "-in", path, "-noout", "-modulus"], capture_output=True, text=True, check=True)
    return int(out.stdout.split("=")[1], 16)


def padded(how, size):
    premaster = b"\3\3" + bytes(46)
    filler = b"\7" * (size - 3 - 48)
    return {"right": b"\0\2" + filler + b"\0" + premaster, "version": b"\0\2" + filler + b"\0\3\1" + bytes(46),
            "block": b"\0\1" + filler + b"\0" + premaster, "first": b"\1\2" + filler + b"\0" + premaster,
            "no end": b"\0\2" + b"\7" * (size - 2), "short": b"\0\2" + filler + b"\7" * 10 + b"\0" + premaster[10:],
            "early": b"\0\2\7\0" + b"\7" * (size - 4)}[how]


@built_in
@pytest.mark.parametrize("how", ["right", "version", "block", "first", "no end", "short", "early"])
def test_what_was_encrypted_wrongly_looks_like_any_wrong_secret(legacy, keys, how):  # noqa: F811
    server, n = legacy(), modulus(keys["rsa"])
    size = (n.bit_length() + 7) // 8
    secret = pow(int.from_bytes(padded(how, size), "big"), 65537, n).to_bytes(size, "big")
    c = server.connect(0)
    c.send(record(hello(suites=b"\0\x2f", extensions=GROUPS)))
    while c.exactly(int.from_bytes(c.exactly(5)[3:], "big"))[-4:] != b"\x0e\0\0\0":        # ServerHelloDone
        pass
    c.send(record(b"\x10" + (size + 2).to_bytes(3, "big") + size.to_bytes(2, "big") + secret, version=0x0303)
           + record(b"\1", 20, 0x0303) + record(bytes(64), 22, 0x0303))
    assert c.rest() == record(b"\2\x14", 21, 0x0303)
    server.line("bad_record_mac")
    c.close()
    eventually(lambda: server.connections() == 0, "its end")
