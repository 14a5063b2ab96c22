"""The proxy in front of real programs: nginx, lighttpd, Python's and Node's servers, WebSocket in a browser."""
import asyncio
import hashlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import websockets
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from conftest import certificate
from test_wordpress import browser      # noqa: F401  a fixture
from wire import PATIENCE, eventually

HERE = Path(__file__).resolve().parent


@pytest.fixture
def program():
    """program(command...) starts a server, and ends it with the test."""
    running = []

    def go(*command, **more):
        running.append(subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, **more))
        return running[-1]

    yield go
    for process in running:
        process.terminate()
        process.wait(PATIENCE)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def pages(folder):
    """What the servers serve: below a folder that is called as the path is, for some of them."""
    there = folder / "app"
    (there / "dir").mkdir(parents=True)
    (there / "a.txt").write_text("hello")
    (there / "big.bin").write_bytes(random.Random(1).randbytes(3000000))
    (there / "dir/index.html").write_text("<p>index")
    return there


def speaks(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def nginx(folder, program):
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"""
daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type text/plain; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen unix:{folder}/nginx.sock; root {folder}; }}
}}""")
    program(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", folder, "-c", folder / "nginx.conf",
            stderr=subprocess.DEVNULL)
    eventually(lambda: speaks(folder / "nginx.sock"), "nginx")
    return f"unix:{folder}/nginx.sock"


def lighttpd(folder, program):
    (folder / "lighttpd.conf").write_text(f"""
server.document-root = "{folder}"
server.bind = "{folder}/lighttpd.sock"
index-file.names = ("index.html")
mimetype.assign = (".txt" => "text/plain", "" => "application/octet-stream")
""")
    program(shutil.which("lighttpd", path=os.environ["PATH"] + ":/usr/sbin"), "-D", "-f", folder / "lighttpd.conf")
    eventually(lambda: speaks(folder / "lighttpd.sock"), "lighttpd")
    return f"unix:{folder}/lighttpd.sock"


def python(folder, program):
    p = program(sys.executable, "-u", "-m", "http.server", "-b", "127.0.0.1", "-d", folder, "0", stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL)
    return "127.0.0.1:" + re.search(rb"port (\d+)", p.stdout.readline())[1].decode()


def node(program):
    p = program("node", HERE / "peers/origin.js", stdout=subprocess.PIPE, env=dict(os.environ, NODE_PATH="/usr/share/nodejs"))
    return "127.0.0.1:" + p.stdout.readline().decode().strip()


@pytest.mark.parametrize("origin", [nginx, lighttpd, python])
def test_files_of_another_server(start, folder, pages, program, origin):
    server = start(f"proxy /app/ {origin(folder, program)}\n")
    whole = (pages / "big.bin").read_bytes()
    with server.connect() as c:
        for _ in range(3):
            assert c.get("/app/a.txt").body == b"hello"
            assert c.get("/app/big.bin").body == whole
            assert c.get("/app/nothing").status == 404
            head = c.request("HEAD", "/app/big.bin").answer("HEAD")
            assert head["Content-Length"] == "3000000" and not head.body
            assert c.get("/app/a.txt", "If-Modified-Since: " + head["Last-Modified"]).status == 304
            part = c.get("/app/big.bin", "Range: bytes=1000-1999")
            assert (part.status, part.body) in ((206, whole[1000:2000]), (200, whole))
            away = c.get("/app/dir")
            assert away.status in (301, 302) and re.fullmatch(r"(http://test)?/app/dir/", away["Location"])
            assert c.get("/app/dir/").body == b"<p>index"
            refused = c.request("POST", "/app/a.txt", body=b"x" * 100000).head()
            c.body(refused)
            assert refused.status in (200, 403, 405, 501)
            if refused["Connection"] == "close":        # answered before it was read
                break


def test_a_node_server(start, program):
    server = start(f"proxy /here/ http://{node(program)}/app/\n")
    data = random.Random(2).randbytes(5000000)
    with server.connect() as c:
        told = json.loads(c.get("/here/x?y", "Cookie: a=b").body)
        assert told["url"] == "/app/x?y" and told["headers"]["cookie"] == "a=b" and told["headers"]["host"] == "test"
        assert c.request("POST", "/here/hash", body=data).answer().body.decode() == hashlib.sha256(data).hexdigest()
        c.request("POST", "/here/hash", "Transfer-Encoding: chunked", "Expect: 100-continue")
        assert c.answer(interim=True, body=False).status == 100
        for at in range(0, len(data), 100000):
            c.send(b"%x\r\n" % 100000 + data[at:at + 100000] + b"\r\n")
        assert c.send("0\r\n\r\n").answer().body.decode() == hashlib.sha256(data).hexdigest()
        answer = c.get("/here/trailers", "TE: trailers")
        assert answer.body == b"body" and answer.trailers == [("X-Sum", "7")]
        early = c.request("GET", "/here/early").answer(interim=True, body=False)
        assert early.status == 103 and "a.css" in early["Link"] and c.answer().body == b"late"
        answer = c.get("/here/away")
        assert answer["Location"] == "/here/there" and answer["Set-Cookie"] == "a=b; Path=/here/"
    with server.connect() as c:
        c.request("GET", "/here/events").answer(body=False)
        while b"data: 2\n\n" not in c.buffer:
            assert c.fill()


@pytest.mark.parametrize("scheme, count", [("ws", 10000), ("wss", 2000)])
def test_thousands_of_messages_both_ways_at_once(start, program, binary, scheme, count):
    told = subprocess.run([binary, "-V"], capture_output=True, text=True).stdout
    if scheme == "wss" and "CONFIG_TLS 1" not in told:
        pytest.skip("this build has no TLS (CONFIG_TLS)")
    line = f"listen 127.0.0.1:0 tls\ncertificate {certificate()}\n" if scheme == "wss" else ""
    server = start(f"{line}proxy /ws/ http://{node(program)}/\n")
    context = ssl.create_default_context(cafile=certificate()) if scheme == "wss" else None
    dice = random.Random(3)
    sizes = [dice.choice((0, 1, 125, 126, 1000, 4096, 65535, 65536)) if i % 100 else 300000 for i in range(count)]

    async def talk():
        async with websockets.connect(f"{scheme}://localhost:{server.port}/ws/chat", host="127.0.0.1", ssl=context,
                                      max_size=1 << 24, compression=None) as ws:
            async def send():
                for i, size in enumerate(sizes):
                    await ws.send(str(i) + ":" + size * "x" if i % 2 else b"%d:" % i + bytes(size))
            sending = asyncio.create_task(send())
            for i, size in enumerate(sizes):
                message = await asyncio.wait_for(ws.recv(), 30)
                assert len(message) == size + len(str(i)) + 1 and message[:len(str(i))] in (str(i), str(i).encode())
            await sending
    asyncio.run(talk())
    eventually(lambda: not server.connections(), "the end of the tunnel")


def port_of(process):
    """Where a program listens that asked the kernel for a port and does not say which it got."""
    def found():
        assert process.poll() is None, "it has ended"
        sockets = {f.resolve().name for f in Path(f"/proc/{process.pid}/fd").iterdir()}       # one that goes is no mistake
        rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    return eventually(found, "its port")[0]


def test_a_websocket_program_in_a_browser(start, program, browser):      # noqa: F811
    """The counter of libwebsockets' test server runs, and is set back by a message from the page."""
    port = port_of(program("libwebsockets-test-server", "--port=0", stderr=subprocess.DEVNULL))
    server = start(f"timeout idle 2\nproxy / 127.0.0.1:{port}\n")

    def number():
        text = browser.find_element(By.ID, "number").text
        return int(text) if text.strip().isdigit() else -1
    eventually(lambda: server.get("/").status == 200, "the test server")
    browser.get(f"http://localhost:{server.port}/")
    WebDriverWait(browser, PATIENCE).until(lambda _: number() > 20, server.text())
    browser.find_element(By.ID, "offset").click()
    WebDriverWait(browser, PATIENCE).until(lambda _: 0 <= number() < 15, "it was not set back")
    WebDriverWait(browser, PATIENCE).until(lambda _: number() > 15, "it stands still")
    broken = browser.execute_script("return performance.getEntriesByType('resource')"
                                    ".filter(e => e.responseStatus >= 400).map(e => e.name)")
    assert broken == []
    browser.get("about:blank")
    eventually(lambda: not server.connections(), "the end of the tunnels")
