"""The demo site: what its start page promises is there, and nothing stays behind when it ends."""
import gzip
import hashlib
import io
import os
import re
import shutil
import signal
import socket
import tempfile
import wave

import pytest

from stage import TOP, Stage
from wire import PATIENCE


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="demo-")
    os.chmod(path, 0o755)           # so that root's tests run it as an ordinary user
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def demo():
    path = tempfile.mkdtemp(prefix="demo-")
    os.chmod(path, 0o755)
    with Stage(TOP / "demo/run", path) as stage:
        yield stage
    shutil.rmtree(path)


def links(text):
    return set(re.findall(r'(?:href|src|data-get)="?(/[^"#> ]*)', text))


def test_every_link_of_the_site_leads_somewhere(demo):
    known, new = {"/nowhere", "/php/slowly.php"}, {"/"}
    while new:
        known |= new
        found = set()
        for path in new:
            status, fields, body = demo.fetch(path, accept_encoding="gzip")
            assert status in (200, 301), path
            if fields.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if fields.get("content-type", "").startswith("text/html"):
                found |= links(body.decode())
            if "location" in fields:
                found.add(re.sub(r"^http://[^/]*", "", fields["location"]))
        new = found - known
    assert {"/files/", "/php/", "/static/style.css", "/media/chime.wav", "/files/squares.txt"} <= known


def test_start_page_needs_no_other_server(demo):
    for path in ("/", "/static/style.css", "/static/try.js", "/php/"):
        assert b"//" not in re.sub(rb"(?m)^\s*//.*$", b"", demo.fetch(path)[2].replace(b"http://localhost", b"")), path


def test_a_start_page_is_sent_compressed_only_on_request(demo):
    plain, packed = demo.fetch("/"), demo.fetch("/", accept_encoding="br;q=0, gzip")
    assert "content-encoding" not in plain[1]
    assert packed[1]["content-encoding"] == "gzip"
    assert gzip.decompress(packed[2]) == plain[2]


def test_a_sound_is_whole_and_any_part_of_it_can_be_had(demo):
    status, fields, sound = demo.fetch("/media/chime.wav")
    assert (status, fields["accept-ranges"], fields["content-type"].partition("/")[0]) == (200, "bytes", "audio")
    with wave.open(io.BytesIO(sound)) as opened:
        assert opened.getnframes() / opened.getframerate() == 32
    middle = demo.fetch("/media/chime.wav", range="bytes=400000-400099")
    assert (middle[0], middle[2]) == (206, sound[400000:400100])
    rest = demo.fetch("/media/chime.wav", range="bytes=700000-")
    assert (rest[0], rest[2]) == (206, sound[700000:])
    beyond = demo.fetch("/media/chime.wav", range=f"bytes={len(sound)}-")
    assert (beyond[0], beyond[1]["content-range"]) == (416, f"bytes */{len(sound)}")


def test_asked_again_with_its_tag_a_file_is_not_sent(demo):
    tag = demo.fetch("/files/primes.txt")[1]["etag"]
    assert demo.fetch("/files/primes.txt", if_none_match=tag)[::2] == (304, b"")


def test_a_file_of_which_only_the_compressed_one_exists(demo):
    status, fields, body = demo.fetch("/files/squares.txt", accept_encoding="gzip")
    assert (status, fields["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(body).split()[:3] == [b"1", b"4", b"9"]


def test_listing_names_the_files(demo):
    status, fields, body = demo.fetch("/files/")
    assert status == 200 and fields["content-type"].startswith("text/html")
    for name in ("primes.txt", "squares.txt.gz", "run.conf", "README", "LICENSE"):
        assert name in body.decode()
    assert demo.fetch("/media/")[0] in (403, 404)     # no `listing` line names it


def test_old_addresses_and_missing_pages(demo):
    status, fields, _ = demo.fetch("/old")
    assert (status, re.sub(r"^http://[^/]*", "", fields["location"])) == (301, "/files/")
    assert demo.fetch("/bells")[2] == demo.fetch("/media/chime.wav")[2]
    status, _, body = demo.fetch("/nowhere")
    assert (status, b"The cub has looked" in body) == (404, True)


def test_a_page_by_cgi(demo):
    status, fields, body = demo.fetch("/cgi-bin/status/%3Cx%3E")
    assert status == 200 and fields["content-type"].startswith("text/html")
    assert b"<td>load<td>" in body and body.rstrip().endswith(b"</html>")
    assert b"/cgi-bin/status, and behind it /&lt;x>" in body, "what comes from outside is escaped"


@pytest.mark.once
def test_https_with_the_certificate_that_was_made(demo):
    status, body = demo.secure_fetch("cgi-bin/status")
    assert status == 200 and b"<td>load<td>" in body


def test_a_page_in_php_and_a_file_sent_to_it(demo):
    status, fields, body = demo.fetch("/php/?honey=a%26b")
    assert status == 200, "php-fpm has to be installed: test/setup run"
    assert b"<td>QUERY_STRING<td>honey=a%26b" in body
    assert b"<td>SCRIPT_NAME<td>/php/index.php" in body
    data = os.urandom(3_000_000)
    form = (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + data + b"\r\n--x--\r\n")
    status, fields, body = demo.fetch("/php/", "POST", form, content_type="multipart/form-data; boundary=x")
    assert (status, hashlib.sha256(data).hexdigest().encode() in body) == (200, True)
    assert b"<?php" not in demo.fetch("/php/slowly.php?seconds=0")[2]


def test_lines_of_a_slow_page_arrive_while_it_is_made(demo):
    with socket.create_connection(("127.0.0.1", demo.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /php/slowly.php?seconds=2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text, early = b"", None
        while part := client.recv(65536):
            text += part
            if early is None and b"1 of 2" in text:
                early = b"2 of 2" not in text
    assert early
    assert b"That was all" in text and text.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("sign, group", [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)])
def test_nothing_stays_behind(folder, sign, group):
    with Stage(TOP / "demo/run", folder) as stage:
        assert stage.fetch("/php/")[0] == 200
        assert len([name for name in stage.processes().values() if name.startswith("php-fpm")]) == 2
        assert stage.end(sign, group) == {}
        # The server hears of it too, and may be gone before the script has.
        assert stage.process.returncode in ((128 + sign, 0) if group else (128 + sign,))


def test_a_server_without_tls_is_told_of_by_its_one_address(folder, monkeypatch):
    program = os.path.join(folder, "without")
    with open(program, "w") as script:
        script.write("#!/bin/sh\ncase $1 in -V) echo CONFIG_TLS 0 ;; "
                     f'*) exec {TOP / os.environ.get("CUBHTTPD", "cubhttpd")} "$@" ;; esac\n')
    os.chmod(program, 0o755)
    monkeypatch.setenv("CUBHTTPD", program)
    with Stage(TOP / "demo/run", folder) as stage:
        assert stage.secure_home == ""


def test_a_port_that_is_taken_is_told_and_all_ends(folder, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AssertionError, match="before it was ready"):
        Stage(TOP / "demo/run", folder, port=taken.getsockname()[1]).end()
    assert "in use" in capfd.readouterr().err


def test_a_second_one_in_the_same_folder_leaves_the_first_alone(folder):
    with Stage(TOP / "demo/run", folder) as first:
        with pytest.raises(AssertionError, match="before it was ready"):
            Stage(TOP / "demo/run", folder).end()
        assert first.fetch("/php/")[0] == 200
