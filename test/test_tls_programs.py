"""TLS with programs of others, one by one: GnuTLS's client, transfers of a gigabyte, processors without AES."""
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import threading

import pytest

from conftest import BINARY
from peers.ca import openssl
from test_tls import VERSION, connect, context, keys, secure, tool, write  # noqa: F401

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
