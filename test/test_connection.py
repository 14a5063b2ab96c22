"""Connections: kept, pipelined, slow, silent, half closed, too many."""
import os
import re
import resource
import socket
import struct
import threading
import time

import pytest

from peers.http import Peer
from wire import SECURE, Client, Cut, eventually

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def files(www):
    (www / "a.txt").write_text("hello")
    (www / "b.txt").write_text("world")
    (www / "big").write_bytes(MEGABYTE * 8)
    return www


@pytest.fixture
def server(start, files):
    return start()


# -- how long a connection is kept

@pytest.mark.parametrize("version,field,kept", [
    ("1.1", None, True), ("1.1", "close", False), ("1.1", "Close", False), ("1.1", "keep-alive", True),
    ("1.1", "foo, close", False), ("1.1", "keep-alive, close", False),
    ("1.0", None, False), ("1.0", "keep-alive", True), ("1.0", "Keep-Alive", True), ("1.0", "close", False),
    ("1.0", "close, keep-alive", False), ("1.1", "closed", True),
])
def test_connection_is_kept_as_the_client_says(server, version, field, kept):
    with server.connect() as c:
        answer = c.get("/a.txt", *([f"Connection: {field}"] if field else []), version=version)
        assert answer.body == b"hello"
        if kept:
            assert answer["Connection"] != "close"
            assert version == "1.1" or (answer["Connection"] or "").lower() == "keep-alive"
            assert c.get("/b.txt", version=version, *["Connection: close"]).body == b"world"
        else:
            assert answer["Connection"] == "close"
        assert c.ends()


def test_connection_close_in_any_of_several_fields(server):
    with server.connect() as c:
        assert c.get("/a.txt", "Connection: close", "Connection: keep-alive")["Connection"] == "close"
        assert c.ends()


def test_a_thousand_requests_on_one_connection(server):
    with server.connect() as c:
        for i in range(1000):
            assert c.get("/a.txt" if i % 2 else "/b.txt").body == (b"hello" if i % 2 else b"world")


def test_errors_do_not_cost_the_connection(server):
    with server.connect() as c:
        assert c.get("/nothing").status == 404
        assert c.get("/a.txt").status == 200


# -- pipelining

def test_pipelined_requests_are_answered_in_order(server):
    with server.connect() as c:
        names = ["a.txt", "nothing", "b.txt"] * 50
        c.send(b"".join(b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % n.encode() for n in names))
        expected = {"a.txt": (200, b"hello"), "b.txt": (200, b"world")}
        for n in names:
            answer = c.answer()
            assert (answer.status, answer.body) == expected.get(n, (404, answer.body))
        assert c.silent(0)


def test_pipelined_while_nothing_is_read(server):
    """More answers than any buffer holds, none of them read before all requests are sent or refused to be taken."""
    request = b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n"
    with server.connect() as c:
        c.send(request * 10)
        for _ in range(10):
            assert c.answer().body == MEGABYTE * 8


def test_pipelined_large_heads(server):
    with server.connect() as c:
        head = b"GET /a.txt HTTP/1.1\r\nHost: test\r\nCookie: " + b"c" * 5000 + b"\r\n\r\n"
        sender = threading.Thread(target=lambda: c.send(head * 60))
        sender.start()
        for _ in range(60):
            assert c.answer().body == b"hello"
        sender.join()


def test_pipelined_behind_a_body(server):
    with server.connect() as c:
        c.send(b"POST /a.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nabcde"
               b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n")
        assert c.answer().status == 405
        assert c.answer().body == b"hello"


def test_nothing_behind_close_is_answered(server):
    said = server.talk(b"GET /a.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
                       b"GET /b.txt HTTP/1.1\r\nHost: test\r\n\r\n")
    assert b"hello" in said and b"world" not in said


def test_a_head_cut_at_every_place(server):
    """Each cut is a pause of its own in the stream."""
    head = b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n"
    with server.connect() as c:
        for at in range(1, len(head)):
            c.send(head[:at])
            c.send(head[at:] + head)
            assert c.answer().body == b"hello" and c.answer().body == b"hello"


# -- slowness

def test_dribbled_heads_do_not_move_the_deadline(start, files):
    """The time is that of the whole head: a byte now and then buys nothing."""
    server = start("timeout head 1\n")
    with server.connect() as c:
        began = time.monotonic()
        alive = True
        for byte in b"GET /a.txt HTTP/1.1\r\nX: " + b"y" * 1000:
            alive = c.send_if_open(bytes([byte]))
            if not alive or not c.silent(0.05):
                break
        assert c.answer().status == 408
        assert c.ends()
        assert 0.9 < time.monotonic() - began < 9


def test_a_connection_that_says_nothing_is_closed(start, files):
    server = start("timeout head 1\ntimeout idle 1\n")
    with server.connect() as c:
        began = time.monotonic()
        said = c.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
        assert 0.9 < time.monotonic() - began < 9


def test_an_idle_kept_connection_is_closed_without_a_word(start, files):
    server = start("timeout idle 1\ntimeout head 9\n")
    with server.connect() as c:
        assert c.get("/a.txt").status == 200
        began = time.monotonic()
        assert c.rest() == b"", "an answer to no request"
        assert 0.9 < time.monotonic() - began < 8


def test_a_second_head_gets_its_own_deadline(start, files):
    server = start("timeout head 1\ntimeout idle 9\n")
    with server.connect() as c:
        assert c.get("/a.txt").status == 200
        c.send(b"GET /b")
        assert c.answer().status == 408
        assert c.ends()


def test_a_body_that_stalls_is_408(start, backend):
    server = start(f"timeout body 1\nfastcgi /app {backend().address}\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc")
        assert c.answer().status == 408
        assert c.ends()


@pytest.mark.parametrize("part", ["", "5", "5\r\nhello", "5\r\nhello\r", "0\r\n", "0\r\nA: b\r\n"])
def test_a_chunk_that_stalls_is_not_the_backends_fault(start, backend, folder, part):
    """Nor is it waited for when the client has left."""
    peer = Peer()
    server = start(f"timeout body 1\nspool {folder} 1m\nfastcgi /app {backend().address}\nproxy /p {peer.address}\n")
    try:
        for path in ("/app", "/p"):
            for status, leave in ((408, Client.silent), (400, Client.half_close)):
                with server.connect() as c:
                    c.send(f"POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{part}")
                    leave(c)
                    assert c.answer().status == status and c.ends()
    finally:
        peer.close()


def test_a_body_that_moves_is_not_timed_out(start, backend):
    """The time is for a pause, not for the whole."""
    server = start(f"timeout body 1\nfastcgi /app {backend().address}\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            assert c.silent(0.25)
            c.send(b"x")
        assert c.answer().body.endswith(b"\n\nxxxxxxxx")


def test_a_client_that_does_not_read_is_dropped(start, files):
    server = start("timeout send 1\n")
    (files / "huge").write_bytes(b"")
    with open(files / "huge", "r+b") as f:
        f.truncate(64 << 20)
    with server.connect(rcvbuf=4096) as c:
        c.request("GET", "/huge").answer(body=False)
        began = time.monotonic()
        eventually(lambda: server.connections() == 0, "the end of the connection")
        assert 0.9 < time.monotonic() - began < 25


def sips(sock, seconds, pause=0.3):
    """Read a little now and then, and say how much it was: far less than the kernel holds for who reads slowly."""
    end, got = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        room = 65536
        while room and (n := len(sock.recv(room))):     # TLS gives a record at a time
            room -= n
        got += 65536 - room
        time.sleep(pause)
    return got


@pytest.mark.native
def test_a_client_that_reads_slowly_gets_all(start, files):
    """The kernel takes megabytes for it at once, and asks for more long after the deadline."""
    server = start("timeout send 3\n")
    (files / "huge").write_bytes(b"")
    os.truncate(files / "huge", 32 << 20)
    with server.connect(rcvbuf=65536) as c:
        c.request("GET", "/huge", "Connection: close")
        assert sips(c.sock, 9) + len(c.rest()) > 32 << 20


@pytest.mark.native
def test_a_backend_that_reads_slowly_gets_all(start):
    def script(call):
        left = int(call.length) - len(call.buffer) - sips(call.sock, 9)
        call.buffer = b""
        while left:
            left -= len(call.exactly(min(left, 1 << 20)))
        call.ended = True
        call.answer(b"all")
    peer = Peer(script)
    try:
        server = start(f"timeout backend 3\nproxy / {peer.address}\n")
        with server.connect() as c:
            assert c.request("POST", "/", body=bytes(32 << 20)).answer().body == b"all"
    finally:
        peer.close()


def test_a_slow_client_costs_no_processor_time(start, files):
    """A loop that wakes for what nobody can do is seen in the ticks."""
    server = start()
    with server.connect(rcvbuf=4096) as a, server.connect() as b, server.connect() as c:
        a.request("GET", "/big")
        b.send(b"GET /a.t")
        c.get("/a.txt")
        before = server.cpu()
        c.silent(1.5)
        assert server.cpu() - before <= 3


# -- endings

def test_a_refusal_is_read_whole_although_the_body_was_not(start, backend):
    """Closing with unread bytes in the socket sends a RST, which takes the answer with it."""
    server = start(f"fastcgi /app {backend().address}\nlimit /app body 1000\n")
    for _ in range(10):
        with server.connect() as c:
            c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n\r\n")
            for _ in range(30):
                if not c.send_if_open(b"x" * 100_000):
                    break
            answer = c.answer()
            assert answer.status == 413 and answer["Connection"] == "close"
            assert c.rest() == b""


def test_a_small_unwanted_body_does_not_cost_the_connection(server):
    with server.connect() as c:
        assert c.request("POST", "/a.txt", body=b"x" * 30_000).answer().status == 405
        assert c.get("/a.txt").status == 200


def test_lingering_ends(start, files):
    """A client that never closes holds its place for `timeout linger` and no longer."""
    server = start("timeout linger 1\n")
    with server.connect() as c:
        assert c.get("/a.txt", "Connection: close").status == 200
        eventually(lambda: server.connections() == 0, "the end of lingering")


def test_lingering_reads_no_body_without_end(start, files):
    server = start("timeout linger 1\n")
    with server.connect() as c:
        c.send(b"GET /a.txt HTTP/1.1\r\n\r\n")
        assert c.answer().status == 400
        began = time.monotonic()
        while c.send_if_open(b"x" * 1000):
            assert time.monotonic() - began < 30
            c.silent(0.01)


def test_a_client_that_has_ended_its_side_is_still_answered(server):
    with server.connect() as c:
        c.request("GET", "/big")
        c.half_close()
        assert c.answer().body == MEGABYTE * 8
        assert c.ends()


def test_pipelined_then_half_closed(server):
    with server.connect() as c:
        c.request("GET", "/a.txt").request("GET", "/b.txt")
        c.half_close()
        assert c.answer().body == b"hello" and c.answer().body == b"world"
        assert c.ends()


def test_clients_that_crash_leave_nothing_behind(server):
    before = len(server.descriptors())
    for i in range(60):
        c = server.connect()
        c.send([b"", b"GET /a", b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n"][i % 3])
        c.reset()
    eventually(lambda: server.connections() == 0, "the end of all connections")
    assert server.get("/a.txt").status == 200
    assert len(server.descriptors()) <= before + 8      # roots and files kept open, no more


def test_descriptors_do_not_leak(start, files, backend):
    peer = backend()
    server = start(f"fastcgi /app {peer.address}\nlisting /\n")
    (files / "dir").mkdir()

    def round_(n):
        for i in range(n):
            server.get("/a.txt"), server.get("/nothing"), server.get("/dir/"), server.get("/dir"), server.get("/app")
            server.get("/big", "Range: bytes=0-9")
            server.talk(b"nonsense\r\n\r\n")
        eventually(lambda: server.connections() == 0, "the end of all connections")
        return len(server.descriptors())

    assert round_(10) == round_(40)


# -- 100-continue

def test_continue_comes_before_the_body(start, backend):
    server = start(f"fastcgi /app {backend().address}\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert c.answer(interim=True).status == 100
        c.send(b"hello")
        assert c.answer().body.endswith(b"\n\nhello")
        assert c.get("/app").status == 200


def test_no_continue_when_the_answer_is_no(server):
    with server.connect() as c:
        c.send(b"POST /a.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        answer = c.answer(interim=True)
        assert answer.status == 405
        # RFC 9110 10.1.1: the client may send the body or not, so the connection cannot be used again.
        assert answer["Connection"] == "close"
        assert c.ends()


def test_no_continue_for_one_that_does_not_wait(start, backend):
    server = start(f"fastcgi /app {backend().address}\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello")
        first = c.answer(interim=True)
        assert first.status == 200 or c.answer().status == 200
        assert c.silent(0)


def test_no_continue_for_http_1_0(start, backend):
    server = start(f"fastcgi /app {backend().address}\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
        assert c.answer(interim=True).status == 200


def test_a_body_above_the_limit_is_refused_before_it_is_sent(start, backend):
    server = start(f"fastcgi /app {backend().address}\nlimit /app body 10\n")
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        assert c.answer(interim=True).status == 413


# -- many

def test_more_clients_than_places_are_all_served(start, files):
    """Two places: the idle ones are parked, and what is busy goes on."""
    server = start("clients 2 100\n")
    clients = [server.connect() for _ in range(50)]
    for _ in range(3):
        for c in clients:
            assert c.get("/a.txt").body == b"hello"


def test_many_at_once_on_few_places(start, files):
    server = start("clients 2 10\n")
    faults = []

    def one():
        try:
            for _ in range(10):
                assert server.get("/big").body == MEGABYTE * 8
        except Exception as e:
            faults.append(e)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults


def test_the_oldest_idle_one_goes_when_places_run_out(start, files):
    server = start("clients 1 2\ntimeout idle 60\n")
    clients = []
    for _ in range(8):
        clients.append(server.connect())
        assert clients[-1].get("/a.txt").status == 200
    assert clients[0].ends(), "the oldest was not dropped"
    assert clients[-1].get("/a.txt").status == 200, "the newest was"


def test_silent_connections_do_not_keep_others_out(start, files):
    """Connections that never say a word fill all places; who has something to say is served all the same."""
    server = start("clients 2 4\ntimeout head 60\ntimeout idle 60\n")
    silent = [server.connect() for _ in range(10)]
    assert server.get("/a.txt").body == b"hello"
    assert silent


def test_a_thousand_idle_connections(start, files):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    server = start("clients 8 1100\ntimeout idle 60\n", files=min(hard, 4096))
    first = server.connect()
    first.get("/a.txt")
    before = server.memory("Pss_Dirty")
    idle = []
    for _ in range(1000):
        c = server.connect()
        idle.append(c)
        assert c.get("/a.txt").status == 200
    eventually(lambda: server.connections() == 1001, "all of them")
    grown = server.memory("Pss_Dirty") - before
    assert grown < (1000 if SECURE else 400), f"{grown} KB for a thousand idle connections"
    for c in idle[::50] + [first]:
        assert c.get("/a.txt").body == b"hello"
    for c in idle:
        c.close()
    eventually(lambda: server.connections() == 1, "the idle ones' end is noticed")


def test_parked_connections_cost_no_time(start, files):
    server = start("clients 8 300\ntimeout idle 60\n")
    idle = [server.connect() for _ in range(200)]
    for c in idle:
        assert c.get("/a.txt").status == 200
    before = server.cpu()
    idle[0].silent(1.5)
    assert server.cpu() - before <= 3


def test_out_of_descriptors_is_survived_and_said_once(start, files):
    """Sixteen and a few descriptors in all, and four times as many clients."""
    server = start("clients 40 100\ntimeout idle 60\n", files=24)
    seen = len(server.lines)
    clients = [server.connect() for _ in range(60)]
    for c in clients:
        c.send(b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n")
    clients[-1].silent(0.5)
    before = server.cpu()
    clients[-1].silent(1)
    assert server.cpu() - before <= 10, "it spins"
    for c in clients:
        c.close()
    eventually(lambda: server.connections() == 0, "the end of all connections")
    assert server.get("/a.txt").body == b"hello"
    said = [x for x in server.lines[seen:] if x and re.search(r"descriptor|open files", x, re.I)]
    assert len(said) <= 2, said


def test_places_given_up_for_want_of_descriptors_are_no_change_at_reload(start, files):
    """The configuration is what it was: nothing of it waits for the next start."""
    server = start("clients 8 300\n", files=100)
    server.line("the limit of 100 descriptors leaves places")
    server.reload()
    assert "next start" not in server.text()
    server.configuration.write_text(server.configuration.read_text().replace("300", "301"))
    server.reload()
    assert "next start" in server.text()


def test_who_is_idle_gives_way_where_no_descriptor_is_left(start, files):
    """With places for none that sleep, those who had been answered kept all others out until `timeout idle`."""
    server = start("clients 40 100\ntimeout idle 60\n", files=28)
    server.line("leaves places for 0 idle connections")
    for _ in range(40):
        assert server.connect().get("/a.txt").body == b"hello"


def test_small_answers_beside_a_large_one(start, files):
    """Neither waits for the other."""
    server = start()
    with server.connect(rcvbuf=4096) as slow, server.connect() as quick:
        slow.request("GET", "/big")
        for _ in range(100):
            assert quick.get("/a.txt").body == b"hello"
        assert slow.answer().body == MEGABYTE * 8


@pytest.mark.parametrize("how", ["plain", "pipelined", "split"])
def test_no_forty_milliseconds(server, how):
    """Nagle against delayed ACK: each answer would take that long."""
    took = []
    with server.connect() as c:
        for _ in range(100):
            began = time.monotonic()
            if how == "plain":
                c.get("/a.txt")
            elif how == "pipelined":
                c.request("GET", "/a.txt").request("GET", "/b.txt")
                c.answer(), c.answer()
            else:
                c.send(b"GET /a.txt HTTP/1.1\r\n").send(b"Host: test\r\n\r\n")
                c.answer()
            took.append(time.monotonic() - began)
    assert sorted(took)[25] < 0.038, "whatever else the machine has to do, some are quick"


@pytest.mark.plain("a byte out of band damages a record")
def test_bytes_out_of_band_do_no_harm(server):
    with server.connect() as c:
        c.sock.send(b"!", socket.MSG_OOB)
        c.send(b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n")
        assert c.answer().status in (200, 400, 501)
    assert server.get("/a.txt").status == 200


def test_a_connection_reset_before_it_is_accepted(server):
    for _ in range(50):
        s = socket.create_connection(server.address())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    assert server.get("/a.txt").status == 200


def test_a_large_file_is_cut_when_it_shrinks(start, files):
    """What was promised cannot be sent: the client must not take it for the whole."""
    server = start()
    with server.connect(rcvbuf=4096) as c:
        c.request("GET", "/big")
        answer = c.answer(body=False)
        with open(files / "big", "r+b") as f:
            f.truncate(100)
        with pytest.raises((Cut, ConnectionResetError)):
            c.body(answer)
    assert server.get("/a.txt").status == 200


def test_two_addresses(start, files):
    server = start("listen 127.0.0.1:0 [::1]:0\n")
    assert len(server.addresses) == 2
    for n in range(2):
        with server.connect(n) as c:
            assert c.get("/a.txt").body == b"hello"


@pytest.mark.plain("a handshake is speaking")
def test_a_connection_opened_long_before_it_speaks(server):
    """Connections opened long before they speak are served like any other."""
    waiting = [Client(server.address()) for _ in range(20)]
    assert waiting[0].silent(1.2), "closed too early"
    for c in waiting:
        assert c.get("/a.txt").body == b"hello"
        c.close()
