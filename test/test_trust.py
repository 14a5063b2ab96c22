"""Who the client is when others stand in front: the PROXY protocol."""
import shutil
import socket
import struct
import subprocess

import pytest

from wire import eventually

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def v1(client, port=4711, family="TCP4"):
    return f"PROXY {family} {client} 192.0.2.1 {port} 80\r\n".encode()


def v2(client, port=4711, command=0x21, more=b""):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    ends = socket.inet_pton(family, client) * 2 + struct.pack("!HH", port, 80) + more
    return SIGNATURE + struct.pack("!BBH", command, 0x21 if ":" in client else 0x11, len(ends)) + ends


def proxied(start, more="", **options):
    return start("listen 127.0.0.1:0 proxy-protocol\nlog access /dev/stderr\n" + more, **options)


def client_of(server, header, patience=20):
    """Whom the access log names for a request behind this header."""
    seen = len(server.lines)
    server.talk(header + GET)
    return server.line(r'"GET /x HTTP/1.1" 404', after=seen, patience=patience).split()[0]


@pytest.mark.parametrize("header, client", [
    (v1("203.0.113.9"), "203.0.113.9"),
    (v2("203.0.113.9"), "203.0.113.9"),
    (v2("2001:db8::9"), "2001:db8::9"),
    (v2("::ffff:203.0.113.9"), "203.0.113.9"),
    (v2("203.0.113.9", more=b"\x04\x00\x20" + b"x" * 32), "203.0.113.9"),
    (v2("203.0.113.9", more=bytes(3000)), "203.0.113.9"),
    (v2("203.0.113.9", command=0x20), "127.0.0.1"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (SIGNATURE + b"\x21\x00\x00\x00", "127.0.0.1"),
])
def test_the_client_is_the_one_that_the_header_names(start, header, client):
    assert client_of(proxied(start), header) == client


@pytest.mark.parametrize("header", [v1("203.0.113.9"), v2("2001:db8::9", more=b"\x04\x00\x01x")])
def test_a_header_may_come_byte_by_byte_and_the_connection_is_kept(start, header):
    server = proxied(start)
    with server.connect() as c:
        for i in range(len(header + GET)):
            c.send((header + GET)[i:i + 1])
        assert c.answer().status == 404
    with server.connect() as c:
        c.send(header)
        for _ in range(3):
            assert c.get("/x").status == 404
    assert not server.process.poll()


@pytest.mark.parametrize("data", [
    GET, b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n" + GET, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + GET, b"\r\n\r\n\0\r\nQUIx" + GET,
    b"PROXY UNKNOWN " + b"x" * 200, SIGNATURE + b"\x21\x11\xff\xff" + bytes(70000), SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    b"\x16\x03\x01\x02\x00\x01",
], ids=range(8))
def test_garbage_in_its_place_is_closed_without_an_answer_and_told(start, data):
    server = proxied(start)
    with server.connect() as c:
        c.send_if_open(data)
        assert c.ends()
    assert server.line("127.0.0.1: no PROXY header")


def test_a_header_has_the_time_of_a_head_and_no_more(start):
    with proxied(start, "timeout head 0.2").connect() as c:
        c.send(b"PROXY TCP4 ")
        assert c.ends()


def test_an_end_within_the_header_is_the_end(start):
    with proxied(start).connect() as c:
        c.send(b"PROXY TC").half_close()
        assert c.ends()


def test_only_connections_of_that_listener_begin_so(start):
    server = proxied(start, "listen 127.0.0.1:0\n")
    assert server.connect(1).get("/y").status == 404
    assert client_of(server, v1("203.0.113.9")) == "203.0.113.9"


def test_a_client_keeps_its_name_when_its_connection_sleeps(start):
    server = proxied(start, "clients 1 9\n")
    one, two = server.connect(), server.connect()
    one.send(v1("203.0.113.1")).get("/x")
    two.send(v1("203.0.113.2")).get("/x")
    seen = len(server.lines)
    one.get("/y")
    assert server.line("GET /y", after=seen).split()[0] == "203.0.113.1"


def test_those_who_wait_for_a_place_begin_with_a_header_too(start):
    server = proxied(start, "clients 1 9\ntimeout head 20\n")
    one, two = server.connect(), server.connect()
    one.send(v1("203.0.113.1") + b"GET /x")
    two.send(v1("203.0.113.2") + GET)
    assert two.silent()
    one.send(b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert one.answer().status == two.answer().status == 404
    assert server.line("GET /x.* 404").split()[0] == "203.0.113.1"


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed (test/setup test)")
@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 send-proxy-v2-ssl"])
def test_haproxy_in_front(start, folder, how):
    """It forwards TCP, and asks with LOCAL of its own whether we live."""
    server = proxied(start)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (folder / "haproxy.cfg").write_text(f"""
global
    stats socket {folder}/haproxy.sock
defaults
    mode tcp
    timeout connect 9s
    timeout client 9s
    timeout server 9s
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    option httpchk HEAD /check
    http-check expect status 404
    server one 127.0.0.1:{server.port} {how} check check-send-proxy inter 50
""")
    front = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stdin=subprocess.DEVNULL)
    try:
        server.line('"HEAD /check HTTP/1..* 404')
        with eventually(lambda: connect_from("127.0.0.9", port), "haproxy") as s:
            s.sendall(GET)
            assert s.recv(100).startswith(b"HTTP/1.1 404")
        assert server.line('"GET /x HTTP/1.1" 404').split()[0] == "127.0.0.9"
    finally:
        front.terminate()
        front.wait(20)


def connect_from(client, port):
    s = socket.socket()
    s.settimeout(20)
    s.bind((client, 0))
    try:
        s.connect(("127.0.0.1", port))
    except OSError:
        s.close()
        return None
    return s
