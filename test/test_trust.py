"""Who the client is when others stand in front: PROXY headers, and X-Forwarded-For and Forwarded."""
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from wire import PATIENCE, Client, eventually, held_port

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def v1(client, port=4711, family="TCP4"):
    return f"PROXY {family} {client} 192.0.2.1 {port} 80\r\n".encode()


def v2(client, port=4711, command=0x21, more=b""):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    ends = socket.inet_pton(family, client) * 2 + struct.pack("!HH", port, 80) + more
    return SIGNATURE + struct.pack("!BBH", command, 0x21 if ":" in client else 0x11, len(ends)) + ends


def proxied(start, more="", **options):
    return start("listen 127.0.0.1:0 proxy-protocol\ntrust 127.0.0.0/8\nlog access /dev/stderr\n" + more, **options)


def client_of(server, header, patience=PATIENCE):
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
    """It forwards TCP, and asks with LOCAL of its own whether we live; once, with time for the slowest machine."""
    server = proxied(start)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        (folder / "haproxy.cfg").write_text(f"""
global
    stats socket {folder}/haproxy.sock
defaults
    mode tcp
    timeout connect {PATIENCE}s
    timeout client {PATIENCE}s
    timeout server {PATIENCE}s
    timeout check {PATIENCE}s
frontend in
    bind fd@{sock.fileno()}
    default_backend out
backend out
    option httpchk HEAD /check
    http-check expect status 404
    server one 127.0.0.1:{server.port} {how} check check-send-proxy inter {PATIENCE}s
""")
        front = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stdin=subprocess.DEVNULL,
                                 pass_fds=[sock.fileno()])
        try:
            server.line('"HEAD /check HTTP/1..* 404')
            with Client(sock.getsockname(), source="127.0.0.9") as c:
                assert c.get("/x").status == 404
            assert server.line('"GET /x HTTP/1.1" 404').split()[0] == "127.0.0.9"
        finally:
            front.terminate()
            front.wait(PATIENCE)


def test_whom_we_do_not_trust_may_not_send_a_header(start):
    server = start("listen 127.0.0.1:0 proxy-protocol\ntrust 127.0.0.2\n")
    with server.connect() as c:
        c.send_if_open(v1("203.0.113.9") + GET)
        assert c.ends()
    assert server.line("127.0.0.1: not one of `trust`")


# -- fields

def front(start, backend, trust="127.0.0.1 10.0.0.0/8 2001:db8:aa::/48 unix", more=""):
    """A script that says who it thinks its client is, behind a server that trusts some."""
    def who(call):
        call.answer(" ".join(call.params.get(x, "-") for x in ("REMOTE_ADDR", "REMOTE_PORT", "REQUEST_SCHEME", "HTTPS",
                                                            "SERVER_NAME", "HTTP_HOST")))
    return start(f"trust {trust}\nfastcgi / {backend(who).address}\nlog access /dev/stderr\n{more}")


def address_of(server, *fields):
    return server.get("/", *fields).body.decode().split()[0]


@pytest.mark.parametrize("fields, client", [
    ([], "127.0.0.1"),
    (["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: 203.0.113.9:4711"], "203.0.113.9"),
    (["X-Forwarded-For: 2001:db8::9"], "2001:db8::9"),
    (["X-Forwarded-For: [2001:db8::9]:80"], "2001:db8::9"),
    (["X-Forwarded-For: 198.51.100.1, 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: 198.51.100.1,203.0.113.9 , 10.1.2.3", "x-forwarded-for: 2001:db8:aa::1"], "203.0.113.9"),
    (["X-Forwarded-For: garbage, 203.0.113.9,,"], "203.0.113.9"),
    (["X-Forwarded-For: 10.0.0.1, 10.0.0.2"], "10.0.0.1"),
    (["X-Forwarded-For: " + "198.51.100.1, " * 400 + "203.0.113.9"], "203.0.113.9"),
    (["X-Forwarded-For: " + "198.51.100.1, " * 100 + "10.0.0.1, " * 3], "198.51.100.1"),
    (["Forwarded: for=203.0.113.9"], "203.0.113.9"),
    (["Forwarded: proto=https; FOR=203.0.113.9:80 ;by=_x"], "203.0.113.9"),
    (['Forwarded: for="[2001:db8::9]:4711"'], "2001:db8::9"),
    (['Forwarded: for=unknown, for=198.51.100.1', 'Forwarded: , for="203.0.113.9:_hidden",'], "203.0.113.9"),
    (['Forwarded: for=203.0.113.9;by=10.0.0.1,for=10.0.0.1'], "203.0.113.9"),
    (["Forwarded: for=203.0.113.9", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
])
def test_the_client_is_the_last_hop_that_is_not_trusted(start, backend, fields, client):
    assert address_of(front(start, backend), *fields) == client


@pytest.mark.parametrize("field", [
    "X-Forwarded-For: 203.0.113.9, unknown", "X-Forwarded-For: 203.0.113.9, 1.2.3", "Forwarded: for=_secret",
    "Forwarded: proto=https", "X-Forwarded-For: 10.0.0.1%eth0",
])
def test_a_client_that_is_not_told_is_nobody_and_is_not_let_in(start, backend, field):
    server = front(start, backend, more="allow /secret/ 127.0.0.0/8 10.0.0.0/8\n")
    assert server.get("/", field).body.startswith(b" 0 ")
    assert server.get("/secret/", field).status == 403
    assert server.line("^unknown - .*GET /secret/")


@pytest.mark.parametrize("mine", ['for="', 'for=9.9.9.9;x', 'for=9.9.9.9;x"', 'for=9.9.9.9;by="', 'for="9.9.9.9\\',
                                  'for="a"b',
                                  'for=9.9.9.9;by="\\', "for", "=", "for=a\"b", 'for=9.9.9.9;by="a\\"'])
@pytest.mark.parametrize("theirs", ["for=203.0.113.9", 'for="203.0.113.9"', 'for="[2001:db8::9]:1";by="10.0.0.1"'])
def test_what_a_client_leaves_open_swallows_nothing_that_comes_behind_it(start, backend, mine, theirs):
    answer = front(start, backend).get("/", f"Forwarded: {mine}, {theirs}")
    assert answer.status == 400


def test_two_fields_that_disagree_are_refused(start, backend):
    """The proxy writes one of them, and the client had written the other."""
    server = front(start, backend)
    for fields in (("Forwarded: for=9.9.9.9", "X-Forwarded-For: 203.0.113.9"),
                   ("Forwarded: for=203.0.113.9;proto=https", "X-Forwarded-For: 203.0.113.9",
                    "X-Forwarded-Proto: http"),
                   ("Forwarded: for=203.0.113.9;host=a", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: b")):
        assert server.get("/", *fields).status == 400


@pytest.mark.plain("it looks at the scheme")
def test_nobody_else_has_a_word_in_it(start, backend):
    server = front(start, backend, trust="10.0.0.0/8 192.0.2.1")
    assert re.fullmatch(rb"127\.0\.0\.1 \d+ http - test test", server.get(
        "/", "X-Forwarded-For: 203.0.113.9", 'Forwarded: for="', "X-Forwarded-Proto: https", "X-Forwarded-Host: evil").body)


@pytest.mark.plain("it looks at the scheme")
def test_scheme_and_host_are_those_of_the_client(start, backend):
    server = front(start, backend)
    for fields in (("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.org:444"),
                   ("X-Forwarded-For: 203.0.113.9, 10.0.0.1", "X-Forwarded-Proto: https, http",
                    "X-Forwarded-Host: example.org:444, inside"),
                   ("X-Forwarded-For: 9.9.9.9, 203.0.113.9, 10.0.0.1", "X-Forwarded-Proto: https",
                    "X-Forwarded-Host: example.org:444"),
                   ('Forwarded: for=203.0.113.9;proto=HTTPS;host="example.org:444", for=10.0.0.1;proto=http;host=x',)):
        assert server.get("/", *fields).body == b"203.0.113.9 0 https on example.org example.org:444"
    assert server.get("/").body.endswith(b" http - test test")


@pytest.mark.parametrize("host", ["a b", "a/b", "x:99999999", "", "a@b", "[::1"])
def test_a_host_that_is_none_is_refused(start, backend, host):
    answer = front(start, backend).get("/", f"X-Forwarded-Host: {host}")
    assert answer.status == (400 if host else 200)


def test_the_host_chooses_the_site(start, www):
    (www / "x").write_text("default")
    (www / "other").mkdir()
    (www / "other/x").write_text("other")
    server = start(f"root {www}\ntrust 127.0.0.1\nhost example.org {{\nroot {www}/other\n}}\n")
    assert server.get("/x", "X-Forwarded-Host: example.org").body == b"other"
    assert server.get("/x").body == b"default"


def test_the_host_of_the_client_holds_behind_a_local_redirect(start, www, folder):
    """RFC 3875 6.2.2: as if the client had asked for that."""
    (www / "cgi-bin").mkdir()
    (www / "cgi-bin/here").write_text("#!/bin/sh\nprintf 'Location: /x\\n\\n'\n")
    (www / "cgi-bin/here").chmod(0o755)
    (www / "x").write_text("default")
    (folder / "other").mkdir()
    (folder / "other/cgi-bin").symlink_to(www / "cgi-bin")
    (folder / "other/x").write_text("other")
    server = start(f"root {www}\ntrust 127.0.0.1\ncgi /cgi-bin/ location server\n"
                   f"host example.org {{\nroot {folder}/other\n}}\n")
    assert server.get("/cgi-bin/here", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: example.org").body == b"other"
    assert server.get("/cgi-bin/here").body == b"default"


@pytest.mark.plain("it looks at the scheme")
def test_each_request_of_a_kept_connection_has_a_client_of_its_own(start, backend):
    server = front(start, backend, more="allow /in/ 203.0.113.0/24\n")
    with server.connect() as c:
        for i in range(3):
            assert c.get("/in/", f"X-Forwarded-For: 203.0.113.{i}", "X-Forwarded-Proto: https").status == 200
            assert server.line(rf"^203.0.113.{i} ")
            assert c.get("/in/").status == 403
            assert c.get("/in/", "X-Forwarded-For: 9.9.9.9").status == 403
            assert c.get("/").body.split()[2] == b"http"


def test_a_client_that_waits_in_the_queue_keeps_its_name(start, backend):
    go = threading.Event()
    peer = backend(lambda call: (go.wait(PATIENCE), call.answer(call.params["REMOTE_ADDR"])))
    server = start(f"trust 127.0.0.1\nscripts 1\nfastcgi / {peer.address}\n")
    with server.connect() as a, server.connect() as b:
        a.request("GET", "/", "X-Forwarded-For: 203.0.113.1")
        b.request("GET", "/", "X-Forwarded-For: 203.0.113.2")
        assert b.silent()
        go.set()
        assert (a.answer().body, b.answer().body) == (b"203.0.113.1", b"203.0.113.2")
        assert b.get("/").body == b"127.0.0.1"


def test_a_unix_socket_can_be_trusted(start, backend, folder):
    server = front(start, backend, more=f"listen unix:{folder}/x.sock\n")
    assert address_of(server, "X-Forwarded-For: 203.0.113.9") == "203.0.113.9"
    assert server.get("/").body.startswith(b" 0 ")


def test_trust_that_is_taken_away_ends_with_the_reload(start, backend):
    server = front(start, backend)
    with server.connect() as c:
        assert c.get("/", "X-Forwarded-For: 203.0.113.9").body.startswith(b"203.0.113.9 ")
        server.configuration.write_text(server.configuration.read_text().replace("trust", "#"))
        server.reload()
        assert c.get("/", "X-Forwarded-For: 203.0.113.9").body.startswith(b"127.0.0.1 ")


def test_both_a_header_and_a_field(start, backend):
    """haproxy tells of a CDN, and the CDN of its client."""
    server = front(start, backend, more="listen 127.0.0.1:0\nlisten 127.0.0.1:0 proxy-protocol\n")
    get = GET.replace(b"Host: a", b"Host: a\r\nX-Forwarded-For: 203.0.113.9")
    for client, told in (("10.1.1.1", b"203.0.113.9 0 http - a a"), ("192.0.2.9", b"192.0.2.9 4711 http - a a")):
        with server.connect(1) as c:
            assert c.send(v1(client) + get).answer().body == told


# -- real ones, and TLS behind the header

@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed (test/setup test)")
@pytest.mark.parametrize("header", [v1("203.0.113.9"), v2("203.0.113.9", more=b"\x04\x00\x01x")])
@pytest.mark.parametrize("pieces", [1, 1000])
def test_tls_begins_behind_the_header(start, folder, binary, header, pieces):
    """Not a byte of the handshake may be taken for the header, however they come."""
    if "CONFIG_TLS 1" not in subprocess.run([binary, "-V"], capture_output=True, text=True).stdout:
        pytest.skip("this build has no TLS (CONFIG_TLS)")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-out",
                    folder / "pem",
                    "-days", "2", "-subj", "/CN=a"], check=True, capture_output=True)
    server = start("listen 127.0.0.1:0 tls proxy-protocol\ntrust 127.0.0.1\nlog access /dev/stderr\n"
                   f"certificate {folder}/pem {folder}/key\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with server.connect() as c:
        def flush(data):
            for i in range(0, len(data), max(1, len(data) // pieces)):
                c.send(data[i:i + max(1, len(data) // pieces)])

        def work(call):
            while True:
                try:
                    done = call()
                    flush(outgoing.read())
                    return done
                except ssl.SSLWantReadError:
                    flush(outgoing.read())
                    incoming.write(c.sock.recv(65536))
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            flush(header + outgoing.read())
        work(tls.do_handshake)
        work(lambda: tls.write(GET))
        assert work(lambda: tls.read(100)).startswith(b"HTTP/1.1 404")
    assert server.line('"GET /x HTTP/1.1" 404').split()[0] == "203.0.113.9"


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


@pytest.mark.plain("nginx speaks for itself")
@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed (test/setup test)")
def test_nginx_in_front(start, folder, backend):
    """Two of them in a row, and a client that lies."""
    server = front(start, backend, trust="127.0.0.1")
    (a, outer), (b, inner) = held_port(), held_port()
    (folder / "nginx.conf").write_text(f"""
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    {"".join(f"{x}_temp_path {folder}/{x};" for x in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    server {{
        listen 127.0.0.1:{outer};
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Forwarded-Host example.org;
        location / {{ proxy_pass http://127.0.0.1:{inner}; }}
    }}
    server {{
        listen 127.0.0.1:{inner};
        location / {{ proxy_pass http://127.0.0.1:{server.port}; }}
    }}
}}
""")
    nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stdin=subprocess.DEVNULL)
    try:
        for lie in ("", "X-Forwarded-For: 198.51.100.7\r\n",
                    "X-Forwarded-For: unknown, 1.2.3\r\nX-Forwarded-For: ::1\r\n"):
            with eventually(lambda: connect_from("127.0.0.9", outer), "nginx") as s:
                s.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n" + lie.encode() + b"\r\n")
                said = b""
                while data := s.recv(1000):
                    said += data
            told = said.split(b"\r\n\r\n", 1)[1].decode()
            assert told.endswith(" 0 https on example.org example.org")
            assert told.split()[0] == "127.0.0.9"
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE)
        a.close()
        b.close()
