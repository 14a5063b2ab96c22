"""The logs: what a line says, what it cannot be made to say, and that they hold nobody up."""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import ROOT
from test_process import files, root_only       # noqa: F401  a fixture
from wire import PATIENCE, Client, eventually

LINE = re.compile(r'(?P<ip>\S+) - (?P<user>\S+) \[(?P<date>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "(?P<line>.*?)" '
                  r'(?P<status>\d{3}|-) (?P<bytes>\d+|-) "(?P<referer>.*?)" "(?P<agent>.*?)" (?P<ms>\d+) '
                  r'(?P<route>\S+) (?P<why>-|".*")\n')


@pytest.fixture
def logged(start, files, folder):
    server = start(f"log access {folder}/access.log\ntimeout head 1\nredirect /old /new\n")

    def lines(n=1):
        def read():
            rows = (folder / "access.log").read_text().splitlines(True)
            return len(rows) >= n and rows
        rows = eventually(read, f"{n} lines")
        parsed = [LINE.fullmatch(row) for row in rows]
        assert all(parsed), rows
        return [m.groupdict() for m in parsed]
    server.access = lines
    return server


def test_access_line(logged):
    logged.get("/a.txt?q=1", "Referer: http://from/", "User-Agent: tester/1.0 (x; y)")
    line, = logged.access()
    date = line.pop("date")
    assert int(line.pop("ms")) < 5000
    assert line == {"ip": "127.0.0.1", "user": "-", "line": "GET /a.txt?q=1 HTTP/1.1", "status": "200", "bytes": "5",
                    "referer": "http://from/", "agent": "tester/1.0 (x; y)", "route": "file", "why": "-"}
    then = time.strptime(date[:20], "%d/%b/%Y:%H:%M:%S")
    assert abs(time.mktime(then) - time.mktime(time.gmtime())) < 86400


def test_access_lines_of_all_kinds(logged):
    with logged.connect() as c:
        c.get("/nothing"), c.get("/old"), c.request("HEAD", "/a.txt").answer("HEAD")
        c.get("/a.txt", "Range: bytes=0-1"), c.request("POST", "/a.txt", body=b"x").answer()
    logged.talk(b"nonsense\r\n\r\n")
    rows = logged.access(6)
    assert [r["status"] for r in rows] == ["404", "302", "200", "206", "405", "400"]
    assert rows[1]["route"] == "redirect" and rows[2]["bytes"] in ("0", "-") and rows[3]["bytes"] == "2"


def test_why_a_connection_ended_early(logged):
    with logged.connect(rcvbuf=4096) as c:
        c.request("GET", "/big")
        c.answer(body=False)
        c.reset()
    row = logged.access()[0]
    assert row["why"] != "-" and int(row["bytes"]) < 8 << 20


def test_a_slow_head_is_logged_with_its_reason(logged):
    with logged.connect() as c:
        c.send(b"GET /a.txt HTTP/1.1\r\nHo")
        assert c.answer().status == 408
    row = logged.access()[0]
    assert row["status"] == "408" and row["why"] != "-"


def test_log_lines_cannot_be_forged(logged):
    """Quotes, escapes and line ends of the network stay within their place."""
    logged.get('/a.txt?x="y"', 'Referer: " 200 1 "', "User-Agent: \x1b[2J\\ \xe9\"")
    logged.talk(b"GET /\x1b]0;evil\x07 HTTP/1.1\r\nHost: x\r\n\r\n")
    logged.talk(b"G\nET / HTTP/1.1\r\n\r\n")
    text = None
    for row in logged.access(3):
        text = "".join(row.values())
        assert not re.search(r"[\x00-\x1f\x7f-\xff]", text)
        assert '"' not in row["referer"] + row["agent"]


def test_long_log_fields_are_cut_and_the_line_stays_a_line(logged):
    logged.get("/a.txt?" + "q" * 3000, "User-Agent: " + "u" * 3000)
    logged.get("/a.txt?" + "\xff" * 3000, "User-Agent: " + "\xe9" * 3000)
    assert len(logged.access(2)) == 2


def test_logs_are_reopened_on_sighup(logged, folder):
    logged.get("/a.txt?one")
    logged.access()
    os.rename(folder / "access.log", folder / "access.log.1")
    logged.get("/a.txt?two")
    logged.reload()
    logged.get("/a.txt?three")
    assert "three" in logged.access()[0]["line"]
    assert "two" in (folder / "access.log.1").read_text()


def test_a_log_that_cannot_be_reopened_stays(start, files, folder):
    (folder / "logs").mkdir()
    server = start(f"log access {folder}/logs/access.log\n")
    server.get("/a.txt")
    os.rename(folder / "logs", folder / "moved")
    seen = len(server.lines)
    server.signal(signal.SIGHUP)
    server.line("access.log", after=seen)
    server.get("/a.txt?after")
    eventually(lambda: "?after" in (folder / "moved/access.log").read_text(), "the line in the old file")


def test_errors_to_a_file_with_a_level(start, files, folder, backend):
    server = start(f"log errors {folder}/errors.log error\nfastcgi /app unix:{folder}/none.sock\n", wait=False)
    eventually(lambda: server.process.poll() is not None or (folder / "errors.log").exists(), "the log")
    server.signal(signal.SIGTERM)
    server.wait()


def test_a_root_that_is_not_there_is_told_once_each_time(start, folder):
    """Nothing but 404 would be left to guess from."""
    root, told = folder / "disk", re.compile(r"/disk: No such file")
    server = start(f"root {root}\n")
    for present in (False, True, False):
        if present:
            root.mkdir()
            (root / "x").write_text("x")
        else:
            shutil.rmtree(root, ignore_errors=True)
        eventually(lambda: server.get("/x").status == (200 if present else 404), "the root as it is")
        server.get("/x")
    server.stop()
    assert len(told.findall(server.text())) == 2


def test_a_full_disk_stops_nobody(start, files):
    if not os.path.exists("/dev/full"):
        pytest.fail("/dev/full is missing")
    server = start("log access /dev/full\n")
    for _ in range(10):
        assert server.get("/a.txt").status == 200
    server.reload()                     # a line that finds room
    server.line("lines were lost: the log was full")


def test_a_log_reader_that_stops_reading_stops_nobody(folder, files):
    """stderr is a pipe that nobody empties."""
    (folder / "s.conf").write_text(f"listen 127.0.0.1:0\nroot {files}\nlog access stderr\n")
    read, write = os.pipe()
    process = subprocess.Popen([os.environ.get("CUBHTTPD") or ROOT / "cubhttpd", "-f", "s.conf"], cwd=folder, stderr=write)
    os.close(write)
    try:
        line = b""
        while b"listens on" not in line or not line.endswith(b"\n"):
            line += os.read(read, 1)
        port = int(re.search(rb"listens on 127\.0\.0\.1:(\d+)", line)[1])
        with Client(("127.0.0.1", port), patience=10) as c:
            for i in range(2000):
                assert c.get(f"/a.txt?{i}{'x' * 50}").status == 200
    finally:
        process.terminate()
        os.set_blocking(read, False)
        try:
            while os.read(read, 65536) or process.poll() is None:
                pass
        except BlockingIOError:
            pass
        assert process.wait(PATIENCE) == 0
        os.close(read)


SYSTEM_LOG = """
import os, re, socket, subprocess, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
log.settimeout(10)
server = subprocess.Popen([sys.argv[1], "-f", sys.argv[2]])
line = log.recv(4096).decode()
port = int(re.search(r"127\\.0\\.0\\.1:(\\d+)", line)[1])
with socket.create_connection(("127.0.0.1", port)) as c:
    c.sendall(b"GET /no\\x80ne HTTP/1.0\\r\\n\\r\\n")
    while c.recv(4096):
        pass
print(line)
print(log.recv(4096).decode())
server.terminate()
sys.exit(server.wait(60))
"""


@root_only
def test_the_system_log_is_told(folder, files, namespaces):
    """RFC 3164 over /dev/log, which is ours in a mount namespace: facility daemon (3), level informational (6)."""
    (folder / "s.conf").write_text(f"listen 127.0.0.1:0\nroot {files}\nlog errors syslog\nlog access syslog\n")
    (folder / "log.py").write_text(SYSTEM_LOG)
    binary = str(os.environ.get("CUBHTTPD") or ROOT / "cubhttpd")
    done = subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec /usr/bin/python3 "$@"', "sh",
                           folder / "log.py", binary, folder / "s.conf"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    ready, access = done.stdout.splitlines()[:2]
    assert re.fullmatch(r"<30>cubhttpd\[\d+\]: cubhttpd \S+ listens on 127\.0\.0\.1:\d+", ready)
    assert re.match(r'<30>cubhttpd\[\d+\]: 127\.0\.0\.1 - - \[.*\] "GET /no\\x80ne HTTP/1\.0" 404 ', access)
