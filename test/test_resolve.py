"""Names of backends: looked up while everything goes on, believed as long as they hold, and no longer."""
import http.server
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from peers import dns
from wire import PATIENCE, eventually


def named(start, backend, dns_, name="app.test", script=None, more="", **options):
    """A script behind a name; with more=, more of the configuration."""
    peer = backend(script, tcp=True)
    port = peer.address.rsplit(":", 1)[1]
    server = start(f"resolver {dns_.address}\nfastcgi /app {name}:{port}\n{more}", **options)
    server.peer = peer
    return server


def test_a_name_is_resolved_at_the_start_and_requests_go_there(start, backend, resolver):
    r = resolver({"app.test": ["127.0.0.1"]})
    server = named(start, backend, r)
    r.wait(2)
    for _ in range(3):
        assert server.get("/app").status == 200
    assert sorted(q.type for q in r.asked) == [dns.A, dns.AAAA]


def test_ids_and_ports_are_of_no_order(start, backend, resolver):
    names = {f"n{i}.test": ["127.0.0.1"] for i in range(30)}
    r = resolver(names)
    start(f"resolver {r.address}\n" + "".join(f"fastcgi /{n} {n}:9\n" for n in names))
    r.wait(60)
    ids = [q.id for q in r.asked]
    assert len(set(ids)) > 50 and len({b - a for a, b in zip(ids, ids[1:])}) > 50
    assert len({q.sender[1] for q in r.asked}) > 8


def test_a_name_that_is_not_there_at_the_start_is_503_until_it_is(start, backend, resolver):
    r = resolver()
    server = named(start, backend, r)
    server.line("app.test cannot be resolved: there is no such name")
    assert server.get("/app").status == 503
    r.names["app.test"] = ["127.0.0.1"]
    eventually(lambda: server.get("/app").status == 200, "the name")
    assert len([x for x in server.lines if "cannot be resolved" in x]) == 1


def test_failures_are_not_asked_for_again_and_again(start, backend, resolver):
    r = resolver()
    server = named(start, backend, r)
    for _ in range(50):
        assert server.get("/app").status == 503
    assert len(r.asked) <= 4


def test_a_request_waits_for_the_name_and_nobody_else_does(start, backend, resolver, www):
    (www / "x").write_text("x")
    gate = threading.Event()
    r = resolver({"app.test": lambda q: gate.wait(PATIENCE) and q.answer(["127.0.0.1"])})
    server = named(start, backend, r)
    with server.connect() as c:
        c.request("POST", "/app", body=b"x" * 1000)
        assert server.get("/x").body == b"x"
        assert c.silent(0.1)
        gate.set()
        assert c.answer().status == 200


def test_a_resolver_that_says_nothing_ends_in_504_in_the_time_of_a_connect(start, backend, resolver):
    r = resolver({"app.test": lambda q: None})
    server = named(start, backend, r, more="timeout connect 0.3\n")
    before = time.monotonic()
    assert server.get("/app").status == 504
    assert time.monotonic() - before < 5


def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(start, backend, resolver):
    gate = threading.Event()
    r = resolver({"app.test": lambda q: gate.wait(PATIENCE) and q.answer(["127.0.0.1"])})
    server = named(start, backend, r, more="scripts 1\n")
    for _ in range(3):
        with server.connect() as c:
            c.request("GET", "/app")
            r.wait(1)
            c.reset()
    eventually(lambda: not server.connections(), "the end of them")
    gate.set()
    assert server.get("/app").status == 200


def test_the_next_resolver_is_asked_when_one_is_dead_or_refuses(start, backend, resolver):
    for bad in (lambda q: q.answer(code=dns.FAILED), lambda q: q.answer(code=dns.REFUSED)):
        first, second = resolver({"app.test": bad}), resolver({"app.test": ["127.0.0.1"]})
        dead = resolver()
        dead.close()
        peer = backend(tcp=True)
        server = start(f"resolver {dead.address} {first.address} {second.address}\n"
                       f"fastcgi /app app.test:{peer.address.rsplit(':', 1)[1]}\n")
        assert server.get("/app").status == 200
        assert first.asked and second.asked


def test_a_resolver_that_knows_one_family_only_is_enough(start, backend, resolver):
    """Some refuse AAAA, some never answer it."""
    r = resolver({"app.test": lambda q: q.answer(["127.0.0.1"]) if q.type == dns.A else q.answer(code=4)})
    assert named(start, backend, r).get("/app").status == 200
    r = resolver({"app.test": lambda q: q.answer(["127.0.0.1"]) if q.type == dns.A else None})
    assert named(start, backend, r).get("/app").status == 200


def spoof(q):
    good = q.answer(["127.0.0.1"])
    other = q.text.replace(b"app", b"apq")
    return [b"", b"x", good[:11], q.answer(["127.0.0.9"], id_=q.id ^ 1), q.answer(["127.0.0.9"], text=other),
            q.answer(["127.0.0.9"], bits=0x0100), q.data, good[:-1] if q.type == dns.A else good[:5], good]


def test_answers_to_other_questions_are_none(start, backend, resolver):
    """Ids, question and direction must be ours; what is cut short is a server that failed, and another round."""
    r = resolver({"app.test": lambda q: [x for x in spoof(q) if len(x) != len(q.answer(["127.0.0.1"])) - 1]})
    server = named(start, backend, r)
    assert server.get("/app").status == 200


def test_aliases_and_letters_of_any_case(start, backend, resolver):
    def alias(q):
        target = b"\x04real\x04test\x00"
        cname = b"\xc0\x0c" + struct.pack(">HHIH", dns.CNAME, 1, 60, len(target)) + target
        address = target + struct.pack(">HHIH", dns.A, 1, 60, 4) + b"\x7f\0\0\1"
        return struct.pack(">HHHHHH", q.id, 0x8180, 1, 2, 0, 0) + q.text.swapcase() + cname + address
    r = resolver({"app.test": lambda q: alias(q) if q.type == dns.A else q.answer()})
    assert named(start, backend, r).get("/app").status == 200


def test_each_address_is_tried(start, backend, resolver):
    r = resolver({"app.test": ["127.0.0.66", "127.0.0.67", "127.0.0.1"]})
    server = named(start, backend, r)
    for _ in range(5):
        assert server.get("/app").status == 200
    assert server.line("app.test:.* cannot be reached")


def test_an_address_that_changes_is_followed_and_the_old_connection_left(start, backend, resolver):
    """The kept connection goes to where the name pointed before."""
    r = resolver({"app.test": ["127.0.0.1"]}, ttl=0)
    server = named(start, backend, r, more="timeout keep 60\n")
    assert server.get("/app").status == 200
    assert server.peer.connections == 1
    r.names["app.test"] = ["127.0.0.99"]
    eventually(lambda: server.get("/app").status == 503, "the new address")
    r.names["app.test"] = ["127.0.0.1"]
    eventually(lambda: server.get("/app").status == 200, "the old address")
    assert server.peer.connections == 2


def test_what_was_known_stays_when_the_resolver_goes(start, backend, resolver):
    r = resolver({"app.test": ["127.0.0.1"]}, ttl=0)
    server = named(start, backend, r)
    assert server.get("/app").status == 200
    r.names["app.test"] = lambda q: q.answer(code=dns.FAILED)
    asked = len(r.asked)
    eventually(lambda: server.get("/app").status == 200 and len(r.asked) > asked + 3, "a question in vain")
    server.line("app.test cannot be resolved: no resolver answers")
    for _ in range(5):
        assert server.get("/app").status == 200


@pytest.mark.parametrize("name, wants", [
    ("nas", ["nas.lan", "nas.home.arpa", "nas"]), ("nas.box", ["nas.box"]), ("nas.", ["nas"]),
])
def test_domains_of_search_are_for_names_without_dots(start, backend, resolver, name, wants):
    r = resolver({wants[-1]: ["127.0.0.1"]})
    peer = backend(tcp=True)
    server = start(f"resolver {r.address} search lan search home.arpa\n"
                   f"fastcgi /app {name}:{peer.address.rsplit(':', 1)[1]}\n")
    assert server.get("/app").status == 200
    assert list(dict.fromkeys(q.name for q in r.asked)) == wants


def test_the_hosts_file_goes_first(start, backend, resolver):
    lines = [x.split("#")[0].split() for x in Path("/etc/hosts").read_text().splitlines()]
    names = [n for x in lines if x and x[0] == "127.0.0.1" for n in x[1:] if n != "localhost" and re.fullmatch("[a-z0-9.-]+", n)]
    if not names:
        pytest.skip("/etc/hosts has no second name of 127.0.0.1")
    r = resolver()
    assert named(start, backend, r, names[0]).get("/app").status == 200
    assert not r.asked


def test_a_reload_in_the_middle_of_a_question(start, backend, resolver):
    gate = threading.Event()
    r = resolver({"app.test": lambda q: gate.wait(PATIENCE) and q.answer(["127.0.0.1"])})
    server = named(start, backend, r)
    with server.connect() as c:
        c.request("GET", "/app")
        r.wait(1)
        server.reload()
        gate.set()
        assert c.answer().status == 200
    assert server.get("/app").status == 200
    assert not [x for x in server.lines if x and "cannot be resolved" in x]


def test_more_names_than_can_be_asked_for_at_once(start, backend, resolver):
    peer = backend(tcp=True)
    port = peer.address.rsplit(":", 1)[1]
    names = {f"n{i}.test": ["127.0.0.1"] for i in range(40)}
    r = resolver(names)
    server = start(f"resolver {r.address}\n" + "".join(f"fastcgi /{n} {n}:{port}\n" for n in names))
    for n in names:
        assert server.get(f"/{n}").status == 200


def test_a_name_beside_addresses_takes_over(start, backend, resolver):
    r = resolver({"app.test": ["127.0.0.1"]})
    peer = backend(tcp=True)
    server = start(f"resolver {r.address}\nfastcgi /app unix:/nonexistent app.test:{peer.address.rsplit(':', 1)[1]}\n")
    assert server.get("/app").status == 200


def test_a_proxy_goes_to_a_name_in_an_url(start, resolver):
    r = resolver({"web.lan": ["127.0.0.1"]})
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        server = start(f"resolver {r.address}\nproxy / http://web.lan:{site.server_port}/nothing/\n")
        for _ in range(3):
            assert server.get("/x").status == 404
        assert server.get("/x", version="1.0", host=None).status == 404
    finally:
        site.shutdown()
        site.server_close()


def start_dnsmasq():
    """(port, process).  It takes a number and no socket, for UDP and TCP: somebody may be quicker, so it is tried again."""
    for _ in range(10):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        daemon = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                                   "--log-facility=-", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces",
                                   f"--port={port}", "--host-record=nas.lan,127.0.0.1,::1", "--cname=files.lan,nas.lan",
                                   "--local=/lan/", "--user=root"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for said in daemon.stderr:
            if b"started" in said:
                return port, daemon
        daemon.wait()
        daemon.stderr.close()
    raise AssertionError("dnsmasq did not start")


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed (test/setup test)")
def test_dnsmasq_as_routers_run_it(start, backend):
    """Names from its own table, an alias, both families, and names that it knows nothing of."""
    port, daemon = start_dnsmasq()
    try:
        peer = backend(tcp=True)
        at = peer.address.rsplit(":", 1)[1]
        server = start(f"resolver 127.0.0.1:{port} search lan\n" + "".join(
            f"fastcgi /{name} {name}:{at}\n" for name in ("nas", "nas.lan", "files.lan", "NAS.Lan", "gone.lan", "far.example")))
        for path, status in (("nas", 200), ("nas.lan", 200), ("files.lan", 200), ("NAS.Lan", 200), ("gone.lan", 503),
                             ("far.example", 503)):
            assert server.get(f"/{path}").status == status
        server.line("gone.lan cannot be resolved: there is no such name")
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
        daemon.stderr.close()
