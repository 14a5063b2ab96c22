"""TLS with programs of others, one by one: GnuTLS's client, and curl with a gigabyte each way."""
import os
import re
import shutil
import subprocess

import pytest

from test_tls import VERSION, keys, secure, tool  # noqa: F401

pytestmark = pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)")
gnutls = pytest.mark.skipif(not shutil.which("gnutls-cli"), reason="gnutls-cli is not installed")
ONLY = "NORMAL:-VERS-ALL:+VERS-TLS1.2"


# -- GnuTLS

def gnutls_gets(server, what, priority=ONLY, *more):
    host, port = server.address(0)
    status, text = tool("gnutls-cli", "--insecure", "--priority", priority, *more, "-p", port, host,
                        text=f"GET {what} HTTP/1.0\r\n\r\n")
    assert status == 0, text
    return text


@gnutls
@pytest.mark.parametrize("cipher", ["AES-128-GCM", "CHACHA20-POLY1305"])
@pytest.mark.parametrize("group", ["X25519", "SECP256R1"])
@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_gnutls_gets_a_file_by_each_suite_and_curve(secure, www, cipher, group, kind):  # noqa: F811
    data = os.urandom(200_000).hex().encode()
    (www / "file").write_bytes(data)
    text = gnutls_gets(secure(), "/file", f"{ONLY}:-CIPHER-ALL:+{cipher}:-KX-ALL:+ECDHE-{kind}:-GROUP-ALL:+GROUP-{group}"
                       + ":+GROUP-SECP256R1" * (group != "SECP256R1"))     # that of the certificate
    assert data in text and re.search(rf"\(ECDHE-{group}\)-\({kind}-[^)]*\)-\({cipher}\)".encode(), text), text[:900]


@gnutls
def test_gnutls_resumes_a_session(secure, www):  # noqa: F811
    (www / "x").write_text("cub")
    text = gnutls_gets(secure(), "/x", ONLY, "--resume")
    assert b"*** This is a resumed session" in text and b"cub" in text


@gnutls
def test_gnutls_proves_who_it_is(start, folder, ca, backend):
    it = ca.issue("gnu", usage="clientAuth")
    peer = backend(lambda call: call.answer(call.params["SSL_CLIENT_S_DN"].encode()))
    server = start(f"listen 127.0.0.1:0 tls\nstate {folder}/state\nclient-ca {ca.root.pem}\nfastcgi /app {peer.address}\n")
    assert b"CN=gnu" in gnutls_gets(server, "/app", ONLY, "--x509certfile", it.pem, "--x509keyfile", it.key)


# -- a gigabyte

@pytest.mark.slow
@pytest.mark.native
@pytest.mark.skipif("CONFIG_CGI 1" not in VERSION, reason="this build has no CGI (CONFIG_CGI)")
def test_a_gigabyte_each_way_moves_no_memory(secure, www):  # noqa: F811
    """64 KB each way, when connections have come and gone before; what comes and what arrives is counted."""
    size = 1 << 30
    for name, length in (("large", size), ("small", 1 << 20)):
        with open(www / name, "wb") as f:
            f.truncate(length)
    script = www / "count"
    script.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexec wc -c\n")
    script.chmod(0o755)
    server = secure("cgi /count\nlimit / body 2g\n")

    def curl(*args, path):
        return subprocess.run(["curl", "-sSk", "--fail", "-H", "Expect:", *args,
                               f"https://127.0.0.1:{server.port}/{path}"], check=True, capture_output=True, timeout=300).stdout

    def down(name):
        return int(curl("-o", "/dev/null", "-w", "%{size_download}", path=name))

    def up(name):
        return int(curl("-X", "POST", "-T", www / name, path="count"))

    for _ in range(2):
        assert down("small") == up("small") == 1 << 20
    before = server.memory()
    assert down("large") == size
    after_down = server.memory()
    assert up("large") == size
    after_up = server.memory()
    assert after_down - before <= 64 and after_up - before <= 64, (before, after_down, after_up)
