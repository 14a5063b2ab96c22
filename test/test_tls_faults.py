"""TLS as no library would speak it: records written by hand, floods, and those who are kept waiting by them."""
import contextlib
import socket
import ssl
import threading

import pytest

from peers.records import ALERT, CHANGE_CIPHER, DATA, HANDSHAKE, Records
from test_tls import GROUPS, VERSION, connect, context, hello, keys, record, secure, write  # noqa: F401
from wire import eventually

pytestmark = pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)")
GET = b"GET /x HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def served(secure, www):  # noqa: F811
    (www / "x").write_text("x")
    return secure()


@pytest.fixture
def records(served):
    with Records(served.address(0)) as r:
        yield r


def test_a_request_in_records_of_one_byte_is_a_request(records):
    for byte in GET:
        records.send(DATA, bytes([byte]))
    assert records.answer().endswith(b"\r\n\r\nx")


def test_records_may_be_empty_now_and_then(records):
    """openssl 0.9.6d and later send one before each of TLS 1.0."""
    for _ in range(40):
        records.send(DATA).send(DATA, GET)
        assert records.answer().endswith(b"\r\n\r\nx")


@pytest.mark.parametrize("kind, plain", [(DATA, b""), (ALERT, b"\1\x5a"), (HANDSHAKE, b"\1\0\0\0")])
def test_too_many_records_that_say_nothing_end_it(served, records, kind, plain):
    records.send(DATA, GET)
    assert records.answer().endswith(b"\r\n\r\nx")
    records.raw(b"".join(records.sealed(kind, plain) for _ in range(33)))
    seen = []
    while (answer := records.read()) and answer[1][0] == 1:
        seen.append(answer[1])
    assert answer == (ALERT, b"\2\x0a") and seen == [b"\1\x64"] * (32 if kind == HANDSHAKE else 0)
    served.line("too many records that say nothing; the client was told unexpected_message")


def test_a_renegotiation_is_refused_and_the_connection_goes_on(records):
    records.send(HANDSHAKE, hello(extensions=GROUPS))
    assert records.read() == (ALERT, b"\1\x64")
    records.send(DATA, GET)
    assert records.answer().endswith(b"\r\n\r\nx")


@pytest.mark.parametrize("kind, plain, alert", [
    (CHANGE_CIPHER, b"\1", 10), (24, b"\1\0\3abc", 10), (HANDSHAKE, b"", 10), (HANDSHAKE, b"\x14\0\0\x0c" + bytes(12), 10),
    (HANDSHAKE, b"\x0b\0\0\0", 10), (99, b"x", 10), (ALERT, b"", 50), (ALERT, b"\2", 50), (ALERT, b"\2\x28\0", 50),
    (ALERT, b"\7\x28", 50), (DATA, bytes(16385), 22)])
def test_what_has_no_place_between_two_requests_ends_it_with_an_alert(served, records, kind, plain, alert):
    records.send(DATA, GET)
    assert records.answer().endswith(b"\r\n\r\nx")
    records.send(kind, plain)
    assert records.alert() == (2, alert)
    served.line("TLS: ")
    records.close()
    eventually(lambda: served.connections() == 0, "its end")


@pytest.mark.parametrize("alert", [b"\2\0", b"\1\0"])
def test_what_comes_after_close_notify_is_not_heard(records, alert):
    records.raw(records.sealed(ALERT, alert) + records.sealed(DATA, GET))
    assert records.read() in ((ALERT, b"\1\0"), None) and records.read() is None


@pytest.mark.parametrize("after", [1, 30, len(GET)])
def test_a_refusal_within_a_request_ends_it(served, records, after):
    records.raw(records.sealed(DATA, GET[:after]) + records.sealed(ALERT, b"\2\x50"))
    served.line("TLS: the client refused: internal_error")
    eventually(lambda: served.connections() == 0, "its end")


def test_a_request_that_close_notify_cuts_is_none(served, backend):
    seen = []
    peer = backend(lambda call: seen.append(call.read_body()))
    served.configuration.write_text(served.configuration.read_text() + f"fastcgi /app {peer.address}\n")
    served.reload()
    with Records(served.address(0)) as r:
        r.send(DATA, b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345").send(ALERT, b"\1\0")
        r.raw(r.sealed(DATA, b"67890"))
        r.read()
    eventually(lambda: served.connections() == 0, "its end")
    assert b"1234567890" not in seen


def test_a_good_bye_that_comes_late_takes_nothing_of_the_answer_along(served, www):
    """GnuTLS's client says it once its request has gone: a reset in answer would take what lies in the kernel along."""
    write(www / "file", 300_000)
    served.configuration.write_text(served.configuration.read_text() + "log access stderr\n")
    served.reload()
    c, come, go = served.connect(0, rcvbuf=4096), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls, done = context().wrap_bio(come, go), False
    while not done:
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            done = True
        c.send(go.read())
        if not done:
            come.write(c.sock.recv(16384))
    tls.write(b"GET /file HTTP/1.0\r\n\r\n")
    c.send(go.read())
    served.line("GET /file HTTP/1.0.* 200 ")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()
    c.send(go.read())
    said, kinds = c.rest(), {}
    while said:
        size = int.from_bytes(said[3:5], "big")
        kinds[said[0]] = kinds.get(said[0], 0) + size
        said = said[5 + size:]
    assert kinds[DATA] > 300_000 and list(kinds)[-1] == ALERT


def test_a_record_of_the_most_bytes_is_one(records):
    most = 16384 // len(GET)
    records.send(DATA, GET * most + bytes(0))
    text = b"".join(records.answer() for _ in range(1))
    while text.count(b"\r\n\r\nx") < most:
        text += records.read()[1]
    assert text.count(b"HTTP/1.1 200 OK") == most


# -- handshakes

def flood(address, stop):
    """One who is always in the middle of a handshake, and always has something to say."""
    while not stop.is_set():
        with socket.create_connection(address, 20) as s:
            try:
                s.sendall(record(hello(extensions=GROUPS)))
                s.recv(16384)
                while not stop.is_set():
                    s.sendall(record(b"", 22, 0x0303) * 1000)
            except OSError:
                pass


def test_handshakes_that_never_end_keep_no_other_waiting(served):
    """There are two steps for handshakes in a turn of the loop, and more than two who always want one."""
    stop = threading.Event()
    flooding = [threading.Thread(target=flood, args=(served.address(0), stop), daemon=True) for _ in range(4)]
    for thread in flooding:
        thread.start()
    try:
        for _ in range(5):
            assert connect(served).get("/x").body == b"x"
    finally:
        stop.set()
        for thread in flooding:
            thread.join(20)


MISPLACED = {
    "a refusal": (record(b"\2\x28", 21, 0x0303), None), "a good-bye": (record(b"\1\0", 21, 0x0303), 0),
    "data": (record(GET, 23, 0x0303), 10), "a cipher before its key": (record(b"\1", 20, 0x0303), 10),
    "a point of no order": (record(b"\x10\0\0\x21\x20" + bytes(32), 22, 0x0303), 20),
    "a point of no length": (record(b"\x10\0\0\x01\0", 22, 0x0303), 20),
    "a point of another curve": (record(b"\x10\0\0\x42\x41\4" + b"\1" * 64, 22, 0x0303), 20),
    "sixteen megabytes": (record(b"\x10\xff\xff\xff" + bytes(1000), 22, 0x0303), 50),
    "too long a record": (record(bytes(16385), 22, 0x0303), 22)}


@pytest.mark.parametrize("behind", [record(GET, 23, 0x0303), b"\x17\0\0\0\x20" + bytes(32), bytes(300)])
def test_a_good_bye_within_the_handshake_is_the_end_whatever_stands_behind_it(served, behind):
    """There are no keys to open it with."""
    c = served.connect(0)
    c.send(record(hello(extensions=GROUPS)))
    while c.exactly(int.from_bytes(c.exactly(5)[3:], "big"))[-4:] != b"\x0e\0\0\0":
        pass
    c.send(record(b"\1\0", 21, 0x0303) + behind)
    assert c.exactly(7) == record(b"\1\0", 21, 0x0303)
    c.close()
    eventually(lambda: served.connections() == 0, "its end")
    assert connect(served).get("/x").body == b"x"


@pytest.mark.parametrize("what", MISPLACED)
@pytest.mark.parametrize("pieces", [1, 4096])
def test_what_has_no_place_in_a_handshake_ends_it(served, what, pieces):
    sent, alert = MISPLACED[what]
    c = served.connect(0)
    c.send(record(hello(extensions=GROUPS)))
    while c.exactly(int.from_bytes(c.exactly(5)[3:], "big"))[-4:] != b"\x0e\0\0\0":
        pass
    for i in range(0, 200, pieces):
        c.send_if_open(sent[i:min(i + pieces, 200)])
    c.send_if_open(sent[200:] + record(b"\1", 20, 0x0303) + record(bytes(40), 22, 0x0303))
    try:
        said = c.rest()
    except ConnectionResetError:
        said = None                     # it hung up, and what else was sent came too late
    assert said == record(bytes([2 if alert else 1, alert or 0]), 21, 0x0303) or (said in (b"", None) and not alert), said
    served.line("TLS: ") if alert else None
    c.close()
    eventually(lambda: served.connections() == 0, "its end")
    assert connect(served).get("/x").body == b"x"


def test_more_handshakes_at_once_than_there_are_places_all_end_well(served):
    """None of them has been left, so none gives way."""
    clients = [served.connect(0) for _ in range(40)]
    begun = []
    for c in clients:
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(maximum_version=ssl.TLSVersion.TLSv1_2).wrap_bio(come, go)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        c.send(go.read())
        begun.append((c, tls, come, go))
    for c, tls, come, go in begun:
        done = False
        while not done:
            come.write(c.sock.recv(16384) or pytest.fail("it was given up"))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                done = True
            c.send(go.read())


def test_a_server_without_tickets_is_asked_for_one(served):
    """The extension is passed over; what is resumed is a session of ours."""
    ctx = context()
    ctx.options &= ~ssl.OP_NO_TICKET
    first = connect(served, ctx).sock
    assert not first.session.has_ticket
    assert connect(served, ctx, session=first.session).sock.session_reused


def test_a_session_that_nobody_knows_is_a_new_one(served):
    with served.connect(0).send(record(hello(extensions=GROUPS, session=b"\7" * 32))) as c:
        said = c.exactly(5 + 4 + 2 + 32 + 1 + 32)
        assert said[5] == 2 and said[-32:] not in (b"\7" * 32, bytes(32))
