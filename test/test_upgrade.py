"""The proxy, when another protocol is spoken: who is switched to it, and the tunnel that carries it."""
import pytest

from test_proxy import front, peer, seen        # noqa: F401  a fixture
from wire import PATIENCE


def echo(call):
    """Switch, and say everything back until the end."""
    call.raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-Own: 1\r\n\r\n")
    call.end()
    data = call.buffer
    while True:
        call.raw(data)
        data = call.sock.recv(65536)
        if not data:
            return


UPGRADE = ("Connection: Upgrade", "Upgrade: echo")


def switched(c, target="/"):
    answer = c.request("GET", target, *UPGRADE).answer(interim=True, body=False)
    assert answer.status == 101 and answer["Upgrade"] == "echo" and answer["Connection"] == "Upgrade", answer
    return answer


def test_a_switch_of_protocol_makes_a_tunnel(start, peer):
    server = front(start, peer(echo))
    with server.connect() as c:
        assert switched(c)["X-Own"] == "1"
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"x" * 300000):
            c.send(data)
            assert c.exactly(len(data)) == data
        c.half_close()
        assert c.ends()


def test_bytes_that_come_with_the_request_go_into_the_tunnel(start, peer):
    server = front(start, peer(echo))
    with server.connect() as c:
        c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
        assert c.answer(interim=True, body=False).status == 101
        assert c.exactly(5) == b"early"


def test_half_a_tunnel_is_one_too(start, peer):
    """Each end is passed on after all before it, and the other direction goes on."""
    def script(call):
        call.raw("HTTP/1.1 101 Go\r\nUpgrade: echo\r\n\r\n")
        call.end()
        call.sock.shutdown(1)
        data = b""
        while more := call.sock.recv(65536):
            data += more
        call.data = data
    server = front(start, peer(script))
    with server.connect() as c:
        switched(c)
        assert c.rest() == b""
        c.send(b"y" * 1000000)
        c.half_close()
    call = server.peer.call()
    assert call.done.wait(PATIENCE) and call.data == b"y" * 1000000


def test_a_tunnel_where_nothing_moves_ends(start, peer):
    server = front(start, peer(echo), more="timeout tunnel 0.2\ntimeout backend 30\n")
    with server.connect() as c:
        switched(c)
        assert c.ends()


@pytest.mark.parametrize("fields", [("Upgrade: echo",), ("Connection: Upgrade",), ("Connection: Upgrade", "Upgrade: other"),
                                    ("Connection: Upgrade", "Upgrade: h2c"), ()])
def test_nobody_is_switched_who_did_not_ask(start, peer, fields):
    server = front(start, peer(echo))
    assert server.get("/", *fields).status == 502
    assert fields[-1:] == ("Upgrade: other",) or server.peer.call()["Upgrade"] is None


def test_an_upgrade_that_is_declined_is_an_ordinary_answer(start, peer):
    server = front(start, peer())
    with server.connect() as c:
        for _ in range(3):
            line, fields, _ = seen(c.get("/", *UPGRADE))
            assert dict(fields)["Upgrade"] == "echo" and dict(fields)["Connection"] == "Upgrade"
    assert server.peer.connections == 1
