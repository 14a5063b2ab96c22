"""The head of a request: what is understood, what is refused, and with which words."""
import pytest

from wire import Client


@pytest.fixture
def server(start, www):
    (www / "index.html").write_text("home")
    (www / "a.txt").write_text("hello")
    return start("limit /small body 10\nfastcgi /app unix:nowhere.sock\ntimeout head 2\n")


def refused(server, data, status):
    """The answer has this status, says that the connection closes, and it does."""
    with server.connect() as c:
        c.send_if_open(data)
        answer = c.answer("HEAD" if data[:5] == b"HEAD " else "GET")
        assert answer.status == status, answer
        assert answer["Connection"] == "close"
        assert c.ends()


H = b"Host: test\r\n"
GET = b"GET /a.txt HTTP/1.1\r\n"

# What two servers could read in two ways is refused, and the connection with it: nothing after it is ever a request.
AMBIGUOUS = {
    "length-and-chunked": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-and-length": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two-lengths": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two-equal-lengths": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length-list": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5, 5\r\n\r\nhello",
    "length-plus": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n\r\nhello",
    "length-minus": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -5\r\n\r\nhello",
    "length-hex": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n\r\nhello",
    "length-blank": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5 6\r\n\r\nhello",
    "length-empty": b"POST / HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\nhello",
    "length-decimal": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5.0\r\n\r\nhello",
    "chunked-twice": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked-in-two-fields":
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-not-last": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked-in-1.0": b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space-before-colon": b"POST / HTTP/1.1\r\n" + H + b"Content-Length : 5\r\n\r\nhello",
    "tab-before-colon": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "folded": GET + H + b"X-Long: one\r\n two\r\n\r\n",
    "folded-with-tab": GET + H + b"X-Long: one\r\n\ttwo\r\n\r\n",
    "first-field-indented": GET + b" " + H + b"\r\n",
    "nul-in-value": GET + H + b"X: a\0b\r\n\r\n",
    "nul-in-name": GET + H + b"X\0Y: a\r\n\r\n",
    "nul-in-target": b"GET /a\0.txt HTTP/1.1\r\n" + H + b"\r\n",
    "bare-lf-after-line": b"GET /a.txt HTTP/1.1\n" + H + b"\r\n",
    "bare-lf-after-field": GET + b"Host: test\n\r\n",
    "bare-lf-everywhere": b"GET /a.txt HTTP/1.1\nHost: test\n\n",
    "bare-lf-at-the-end": GET + H + b"X: y\r\n\n",
    "bare-cr-in-value": GET + H + b"X: a\rTransfer-Encoding: chunked\r\n\r\n",
    "bare-cr-in-line": b"GET /a.txt\rHTTP/1.1\r\n" + H + b"\r\n",
    "double-cr": GET + b"Host: test\r\r\n\r\n",
    "control-in-value": GET + H + b"X: a\x01b\r\n\r\n",
    "delete-in-value": GET + H + b"X: a\x7fb\r\n\r\n",
    "no-colon": GET + H + b"Nonsense\r\n\r\n",
    "empty-name": GET + H + b": nothing\r\n\r\n",
    "name-is-no-token": GET + H + b"X(Y): z\r\n\r\n",
    "name-with-blank": GET + H + b"X Y: z\r\n\r\n",
    "high-byte-in-name": GET + H + b"X\xe9: z\r\n\r\n",
    "no-host": GET + b"\r\n",
    "two-hosts": GET + H + b"Host: other\r\n\r\n",
    "two-equal-hosts": GET + H + H + b"\r\n",
    "host-list": GET + b"Host: a, b\r\n\r\n",
    "host-with-path": GET + b"Host: a/b\r\n\r\n",
    "host-with-user": GET + b"Host: a@b\r\n\r\n",
    "host-with-blank": GET + b"Host: a b\r\n\r\n",
    "host-port-no-number": GET + b"Host: a:b\r\n\r\n",
    "absolute-with-user": b"GET http://user@test/a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "fragment": b"GET /a.txt#there HTTP/1.1\r\n" + H + b"\r\n",
    "control-in-target": b"GET /a\x01.txt HTTP/1.1\r\n" + H + b"\r\n",
    "tab-in-line": b"GET\t/a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "two-blanks": b"GET  /a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "blank-in-target": b"GET /a b HTTP/1.1\r\n" + H + b"\r\n",
    "blank-at-the-end": b"GET /a.txt HTTP/1.1 \r\n" + H + b"\r\n",
    "blank-in-front": b" GET /a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "no-target": b"GET HTTP/1.1\r\n" + H + b"\r\n",
    "no-version": b"GET /a.txt\r\n" + H + b"\r\n",
    "method-is-no-token": b"G@T /a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "relative-target": b"GET a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "star-for-get": b"GET * HTTP/1.1\r\n" + H + b"\r\n",
    "version-lower-case": b"GET /a.txt http/1.1\r\n" + H + b"\r\n",
    "version-short": b"GET /a.txt HTTP/1\r\n" + H + b"\r\n",
    "version-long": b"GET /a.txt HTTP/1.10\r\n" + H + b"\r\n",
    "version-comma": b"GET /a.txt HTTP/1,1\r\n" + H + b"\r\n",
    "percent-at-the-end": b"GET /a% HTTP/1.1\r\n" + H + b"\r\n",
    "percent-half": b"GET /a%4 HTTP/1.1\r\n" + H + b"\r\n",
    "percent-no-hex": b"GET /a%zz HTTP/1.1\r\n" + H + b"\r\n",
    "percent-nul": b"GET /a%00.txt HTTP/1.1\r\n" + H + b"\r\n",
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "garbage": bytes(range(128, 256)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_two_ways_is_400(server, name):
    refused(server, AMBIGUOUS[name], 400)


@pytest.mark.parametrize("name", [n for n in AMBIGUOUS if not n.startswith("tls")])
def test_nothing_behind_a_refused_head_is_a_request(server, name):
    """A smuggled request would be answered too."""
    said = server.talk(AMBIGUOUS[name] + b"GET /a.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 ") == 1 and b"hello" not in said


OTHERS = {
    "unknown-method": (501, b"BREW /a.txt HTTP/1.1\r\n" + H + b"\r\n"),
    "method-lower-case": (501, b"get /a.txt HTTP/1.1\r\n" + H + b"\r\n"),
    "unknown-coding": (501, b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: br\r\n\r\n"),
    "coding-before-chunked": (501, b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "version-2": (505, b"GET /a.txt HTTP/2.0\r\n" + H + b"\r\n"),
    "version-0": (505, b"GET /a.txt HTTP/0.9\r\n" + H + b"\r\n"),
    "http2-preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "expectation": (417, b"POST /a.txt HTTP/1.1\r\n" + H + b"Expect: miracles\r\nContent-Length: 3\r\n\r\nabc"),
    "length-beyond-numbers": (413, b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 9223372036854775808\r\n\r\n"),
    "length-beyond-all": (413, b"POST / HTTP/1.1\r\n" + H + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n"),
    "target-too-long": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + H + b"\r\n"),
    "path-too-long": (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + H + b"\r\n"),
    "head-too-large": (431, GET + H + b"X: " + b"y" * 9000 + b"\r\n\r\n"),
    "head-too-large-in-many": (431, GET + H + b"X: %s\r\n" % (b"y" * 200) * 50 + b"\r\n"),
    "too-many-fields": (431, GET + H + b"X: y\r\n" * 101 + b"\r\n"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_refusals_with_a_status_of_their_own(server, name):
    status, data = OTHERS[name]
    refused(server, data, status)


UNDERSTOOD = {
    "plain": GET + H + b"\r\n",
    "empty-lines-first": b"\r\n\r\n" + GET + H + b"\r\n",
    "absolute": b"GET http://other/a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "absolute-scheme-case": b"GET HTTP://other:8000/a.txt HTTP/1.1\r\n" + H + b"\r\n",
    "no-host-in-1.0": b"GET /a.txt HTTP/1.0\r\n\r\n",
    "minor-version-to-come": b"GET /a.txt HTTP/1.9\r\n" + H + b"\r\n",
    "empty-host": GET + b"Host:\r\n\r\n",
    "host-with-port": GET + b"Host: test:8000\r\n\r\n",
    "host-v6": GET + b"Host: [::1]:8000\r\n\r\n",
    "no-blank-after-colon": GET + b"Host:test\r\n\r\n",
    "blanks-around-value": GET + b"Host: \t test \t\r\n\r\n",
    "names-in-any-case": GET + b"hOsT: test\r\n\r\n",
    "empty-value": GET + H + b"X:\r\n\r\n",
    "tab-in-value": GET + H + b"X: a\tb\r\n\r\n",
    "high-bytes-in-value": GET + H + b"X: \xc3\xa9\xff\r\n\r\n",
    "hundred-fields": GET + H + b"X: y\r\n" * 99 + b"\r\n",
    "query": b"GET /a.txt?a=%zz&b=../.. HTTP/1.1\r\n" + H + b"\r\n",
    "encoded": b"GET /%61%2etxt HTTP/1.1\r\n" + H + b"\r\n",
    "expect-in-1.0": b"GET /a.txt HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
    "length-with-zeros": GET + H + b"Content-Length: 000\r\n\r\n",
    "large-cookie": GET + H + b"Cookie: " + b"c" * 7000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_what_is_strange_but_lawful_is_understood(server, name):
    with server.connect() as c:
        answer = c.send(UNDERSTOOD[name]).answer()
        assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_a_head_that_comes_byte_by_byte_is_the_same(server, name):
    with server.connect() as c:
        data = UNDERSTOOD[name]
        for i in range(0, len(data), 1 if len(data) < 1000 else 97):
            c.send(data[i:i + (1 if len(data) < 1000 else 97)])
        assert c.answer().body == b"hello"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "LOCK"])
def test_a_method_that_files_do_not_know_is_405(server, method):
    with server.connect() as c:
        answer = c.request(method, "/a.txt", body=b"abc").answer()
        assert answer.status == 405
        assert {x.strip() for x in answer["Allow"].split(",")} >= {"GET", "HEAD", "OPTIONS"}
        assert method not in answer["Allow"]
        assert c.get("/a.txt").status == 200, "the body of the refused request was taken for a request"


def test_connect_opens_no_tunnel(server):
    with server.connect() as c:
        answer = c.send("CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n").answer()
        assert answer.status == 405 and answer["Connection"] == "close"
        c.send_if_open("GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n")
        assert c.rest() == b"", "what follows went somewhere"


def test_trace_sends_nothing_back(server):
    assert b"secret" not in server.ask("TRACE", "/a.txt", "Cookie: secret").body


def test_options_tells_the_methods(server):
    answer = server.ask("OPTIONS", "/a.txt")
    assert answer.status in (200, 204) and not answer.body
    assert {x.strip() for x in answer["Allow"].split(",")} >= {"GET", "HEAD", "OPTIONS"}


def test_options_star_is_about_the_server(server):
    with server.connect() as c:
        answer = c.request("OPTIONS", "*").answer()
        assert answer.status in (200, 204) and not answer.body
        assert c.get("/a.txt").status == 200


def test_options_star_opens_no_file_of_that_name(server, www):
    (www / "*").write_text("star")
    assert b"star" not in server.ask("OPTIONS", "*").body


@pytest.mark.parametrize("target", ["/a.txt", "/", "/nothing"])
def test_head_is_get_without_a_body(server, target):
    with server.connect() as c:
        head = c.request("HEAD", target).answer("HEAD")
        get = c.get(target)
        assert c.silent(0)
    drop = {"date"}
    assert head.status == get.status
    assert [f for f in head.fields if f[0].lower() not in drop] == [f for f in get.fields if f[0].lower() not in drop]


def test_head_of_an_error_has_no_body_either(server):
    refused(server, b"HEAD /a.txt HTTP/1.1\r\n\r\n", 400)


def test_every_answer_names_server_and_date_once(server):
    for target in ("/a.txt", "/", "/nothing"):
        answer = server.get(target)
        assert answer["Date"] and answer["Server"]


def test_error_pages_are_short_html(server):
    answer = server.get("/nothing")
    assert answer.status == 404 and answer["Content-Type"].startswith("text/html")
    assert b"404" in answer.body and len(answer.body) < 1024


def test_an_error_page_repeats_nothing_of_the_request(server):
    """What is repeated unescaped is a script in somebody's page."""
    answer = server.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    assert b"<script>" not in answer.body


def test_a_body_above_the_limit_is_413(server):
    with server.connect() as c:
        assert c.request("POST", "/small/x", body=b"x" * 11).answer().status == 413


def test_chunked_body_to_a_file_is_stepped_over(server):
    with server.connect() as c:
        c.request("POST", "/a.txt", "Transfer-Encoding: chunked")
        c.send(b"3;ext=1\r\nabc\r\n0\r\nTrailer: x\r\n\r\n")
        answer = c.answer()
        assert answer.status == 405
        # A body of unknown length need not be waited for; then the connection ends, and says so.
        assert c.ends() if answer["Connection"] == "close" else c.get("/a.txt").body == b"hello"


BAD_CHUNKS = {
    "size-no-hex": b"zz\r\nabc\r\n0\r\n\r\n",
    "size-empty": b"\r\nabc\r\n0\r\n\r\n",
    "size-negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "size-0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size-overflow": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "bare-lf": b"3\nabc\n0\n\n",
    "no-crlf-after-data": b"3\r\nabcd\r\n0\r\n\r\n",
    "long-extension": b"3;" + b"e" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "control-in-extension": b"3;\0\r\nabc\r\n0\r\n\r\n",
    "blank-before-size": b" 3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_nothing_behind_a_broken_chunk_is_a_request(server, name):
    said = server.talk(b"POST /a.txt HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name] +
                       b"GET /a.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert b"hello" not in said
    assert said.count(b"HTTP/1.1 ") <= 1


def test_a_body_that_looks_like_a_request_is_none(server):
    with server.connect() as c:
        c.send(b"POST /a.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 45\r\n\r\n"
               b"GET /a.txt HTTP/1.1\r\nHost: test\r\nX: 12345\r\n\r\n")
        assert c.answer().status == 405
        assert b"hello" not in c.get("/nothing").body
        assert c.silent(0)


def test_long_garbage_without_any_line_end_is_not_collected(server):
    with server.connect() as c:
        c.send_if_open(b"A" * 100_000)
        assert c.answer().status in (400, 414, 431, 501)


def test_no_answer_to_a_connection_that_says_nothing(server):
    with Client(server.address()) as c:
        c.half_close()
        assert c.ends()


def test_half_a_head_and_an_end_is_no_request(server):
    with server.connect() as c:
        c.send(b"GET /a.txt HTTP/1.1\r\nHost: te")
        c.half_close()
        said = c.rest()
        assert b"hello" not in said and said[:13] in (b"", b"HTTP/1.1 400 ")
