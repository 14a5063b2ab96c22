"""Smuggling: what a backend makes of a request is one request, or none comes there."""
import pytest

from test_proxy import front, peer, seen        # noqa: F401  a fixture


def chunked(text):
    return "POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n" + text


EVIL = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"


@pytest.mark.parametrize("text", [
    # two ways to find the end
    chunked(f"Content-Length: {5 + len(EVIL)}\r\n\r\n0\r\n\r\n{EVIL}"),
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{EVIL}",
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}",
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 0, {len(EVIL)}\r\n\r\n{EVIL}",
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: +0\r\n\r\n{EVIL}",
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 0x0\r\n\r\n{EVIL}",
    f"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length:\r\n\r\n{EVIL}",
    # codings that one server knows and another does not
    *[f"POST /a HTTP/1.1\r\nHost: test\r\n{te}\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{EVIL}" for te in (
        "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", " Transfer-Encoding: chunked", "X: y\n Transfer-Encoding: chunked",
        "Transfer-Encoding\n: chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: identity", "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked", "Transfer_Encoding: chunked", "Transfer-Encoding: chunked, identity",
        "transfer-encoding: CHUNKED", "Transfer-Encoding\0: chunked", "Transfer-Encoding: chunked\0")],
    # lines that one server ends elsewhere
    f"GET /a HTTP/1.1\nHost: test\n\n{EVIL}", f"GET /a HTTP/1.1\r\nHost: test\r\nA: b\n\r\n{EVIL}",
    f"GET /a HTTP/1.1\r\nHost: test\r\nA: b\r\n\n{EVIL}", f"GET /a HTTP/1.1\r\nHost: test\r\nA: b\r\n folded: {EVIL}",
    "GET /a HTTP/1.1\r\nHost: test\r\nA: b\rGET /evil HTTP/1.1\r\n\r\n", f"GET /a\nHTTP/1.1\r\nHost: test\r\n\r\n{EVIL}",
    "GET /a HTTP/1.1\r\nHost: test\r\n: b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: test\r\nHost: evil\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: test evil\r\n\r\n", "GET /a\x01 HTTP/1.1\r\nHost: test\r\n\r\n", "GET  /a HTTP/1.1\r\nHost: test\r\n\r\n",
    # chunks
    chunked(f"\r\n5;\nx\r\nhello\r\n0\r\n\r\n{EVIL}"), chunked(f"\r\n5 ; x\rhello\r\n0\r\n\r\n{EVIL}"),
    chunked(f"\r\n5\nhello\r\n0\r\n\r\n{EVIL}"), chunked(f"\r\n0x5\r\nhello\r\n0\r\n\r\n{EVIL}"),
    chunked(f"\r\n5\r\nhello0\r\n\r\n{EVIL}"), chunked(f"\r\n10000000000000005\r\nhello\r\n0\r\n\r\n{EVIL}"),
    chunked(f"\r\n-5\r\nhello\r\n0\r\n\r\n{EVIL}"), chunked(f"\r\n0\r\nContent-Length: 9\n\r\n{EVIL}"),
    chunked("\r\n0\r\n" + EVIL[:-2] + "\r\n"), chunked("\r\n5;a=\"\r\n0\r\n\r\n" + EVIL),
])
def test_one_request_or_none(start, peer, text):
    """The backend reads by the letter and takes part in nothing else: what it records is all there was."""
    server = front(start, peer())
    with server.connect() as c:
        c.send_if_open(text)
        c.half_close()
        try:
            c.rest()
        except ConnectionResetError:
            pass
    assert server.get("/end").status == 200
    targets = [call.target for call in server.peer.calls]
    assert targets in (["/a", "/end"], ["/end"], ["/a", "/evil", "/end"]), targets
    if "/evil" in targets:          # only as what it plainly is: a second request of its own
        assert text.split(EVIL)[0].endswith("\r\n\r\n") and server.peer.calls[1]["Host"] == "evil"
        assert "Content-Length" not in text and "\n" not in text.replace("\r\n", ""), "it passed for a request"


@pytest.mark.parametrize("text", [
    chunked("\r\n5;x=\"y\";z\r\nhello\r\n000;q\r\nX-T: 1\r\nContent-Length: 99\r\n\r\n"),
    "POST /a HTTP/1.1\r\nHost: test\r\nConnection: Content-Length, Host\r\nContent-Length: 5\r\n\r\nhello",
    "POST http://test/a HTTP/1.1\r\nHost: evil\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nHost: test\r\nConnection: close, Transfer-Encoding\r\ntransfer-encoding:Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
])
def test_what_is_plain_passes_as_one_request(start, peer, text):
    server = front(start, peer())
    with server.connect() as c:
        line, fields, body = seen(c.send(text).answer())
        fields = dict(fields)
        assert line == "POST /a" and body in (b"hello", b"hello\nX-T: 1") and fields["Host"] == "test"
        assert ("Content-Length" in fields) != ("Transfer-Encoding" in fields)
    assert len(server.peer.calls) == 1
