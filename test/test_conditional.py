"""Conditional requests in the order of RFC 9110 13.2.2, and ranges."""
import os
import re

import pytest

TEXT = bytes(range(48, 58)) * 10        # one hundred digits: byte n is the digit n % 10
MTIME = 1_000_000_000
LAST = "Sun, 09 Sep 2001 01:46:40 GMT"
OLDER = "Sun, 09 Sep 2001 01:46:39 GMT"
NEWER = "Sun, 09 Sep 2001 01:46:41 GMT"


@pytest.fixture
def server(start, www):
    (www / "a.txt").write_bytes(TEXT)
    os.utime(www / "a.txt", (MTIME, MTIME))
    return start()


# {T} is the tag of the file.  Read: these fields, that status.
CONDITIONS = [
    # If-None-Match, weakly
    (["If-None-Match: {T}"], 304), (["If-None-Match: W/{T}"], 304), (['If-None-Match: "x", {T}'], 304),
    (["If-None-Match: *"], 304), (['If-None-Match: "x"'], 200), (['If-None-Match: "x", "y"'], 200),
    (['If-None-Match: "x,{t}"'], 200), (["If-None-Match: {t}"], 200), (['If-None-Match: ,, {T}'], 304),
    (['If-None-Match: "a, b", {T}'], 304),
    # If-Modified-Since in the three forms, and nonsense
    ([f"If-Modified-Since: {LAST}"], 304), ([f"If-Modified-Since: {NEWER}"], 304),
    ([f"If-Modified-Since: {OLDER}"], 200), (["If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"], 304),
    (["If-Modified-Since: Sun Sep  9 01:46:40 2001"], 304), (["If-Modified-Since: yesterday"], 200),
    (["If-Modified-Since: Sun, 09 Sep 2001 01:46:40"], 200), (["If-Modified-Since: Sun, 31 Feb 2001 01:46:40 GMT"], 200),
    # If-None-Match goes before If-Modified-Since
    (['If-None-Match: "x"', f"If-Modified-Since: {NEWER}"], 200), (["If-None-Match: {T}", f"If-Modified-Since: {OLDER}"], 304),
    # If-Match, strongly
    (["If-Match: {T}"], 200), (["If-Match: *"], 200), (['If-Match: "x"'], 412), (['If-Match: "x", {T}'], 200),
    (["If-Match: W/{T}"], 412),
    # If-Unmodified-Since
    ([f"If-Unmodified-Since: {LAST}"], 200), ([f"If-Unmodified-Since: {NEWER}"], 200),
    ([f"If-Unmodified-Since: {OLDER}"], 412), (["If-Unmodified-Since: never"], 200),
    # If-Match goes before If-Unmodified-Since, and before If-None-Match
    (["If-Match: {T}", f"If-Unmodified-Since: {OLDER}"], 200), (['If-Match: "x"', f"If-Unmodified-Since: {NEWER}"], 412),
    (["If-Match: {T}", "If-None-Match: {T}"], 304), (['If-Match: "x"', "If-None-Match: {T}"], 412),
    ([f"If-Unmodified-Since: {OLDER}", "If-None-Match: {T}"], 412), ([f"If-Unmodified-Since: {NEWER}", "If-None-Match: {T}"], 304),
    # conditions go before ranges
    (["If-None-Match: {T}", "Range: bytes=0-1"], 304), (['If-Match: "x"', "Range: bytes=0-1"], 412),
    (["If-Match: {T}", "Range: bytes=0-1"], 206), (['If-None-Match: "x"', "Range: bytes=0-1"], 206),
    (["If-None-Match: {T}", "Range: bytes=900-"], 304),
    # If-Range: only an exact strong tag, or an exact date
    (["If-Range: {T}", "Range: bytes=0-1"], 206), (['If-Range: "x"', "Range: bytes=0-1"], 200),
    (["If-Range: W/{T}", "Range: bytes=0-1"], 200), ([f"If-Range: {LAST}", "Range: bytes=0-1"], 206),
    ([f"If-Range: {OLDER}", "Range: bytes=0-1"], 200), ([f"If-Range: {NEWER}", "Range: bytes=0-1"], 200),
    (["If-Range: rubbish", "Range: bytes=0-1"], 200), (['If-Range: "x"', "Range: bytes=900-"], 200),
    (["If-Range: {T}"], 200), (["If-Range: {T}", "Range: bytes=900-"], 416),
]


@pytest.mark.parametrize("fields,status", CONDITIONS, ids=lambda x: " & ".join(x) if isinstance(x, list) else None)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(server, fields, status, method):
    tag = server.get("/a.txt")["ETag"]
    if method == "HEAD" and status in (206, 416):
        status = 200                    # RFC 9110 14.2: Range is for GET alone
    answer = server.ask(method, "/a.txt", *[f.replace("{T}", tag).replace("{t}", tag.strip('"')) for f in fields])
    assert answer.status == status
    if status == 304:
        assert answer["ETag"] == tag and answer["Content-Length"] in (None, "100")
    if status == 412 and method == "GET":
        assert TEXT not in answer.body


@pytest.mark.parametrize("day", range(7))
def test_a_date_proves_a_range_on_every_day_of_the_week(server, www, day):
    """Wednesday begins as a weak tag does."""
    os.utime(www / "a.txt", (MTIME + day * 86400, MTIME + day * 86400))
    when = server.get("/a.txt")["Last-Modified"]
    assert server.get("/a.txt", f"If-Range: {when}", "Range: bytes=0-1").status == 206, when


def test_a_condition_on_what_is_not_there(server):
    assert server.get("/nothing", "If-None-Match: *").status == 404
    assert server.get("/nothing", "If-Match: *").status in (404, 412)


def test_the_connection_goes_on_after_304(server):
    with server.connect() as c:
        tag = c.get("/a.txt")["ETag"]
        for _ in range(3):
            assert c.get("/a.txt", f"If-None-Match: {tag}").status == 304
        assert c.get("/a.txt").body == TEXT


SINGLE = [
    ("0-0", 0, 0), ("0-9", 0, 9), ("10-19", 10, 19), ("99-99", 99, 99), ("90-", 90, 99), ("0-", 0, 99),
    ("90-1000", 90, 99), ("-1", 99, 99), ("-10", 90, 99), ("-1000", 0, 99), ("0-99", 0, 99), ("98-99", 98, 99),
    ("0-18446744073709551615", 0, 99), ("0-99999999999999999999999", 0, 99), ("-18446744073709551615", 0, 99),
]


@pytest.mark.parametrize("text,first,last", SINGLE)
def test_one_range(server, text, first, last):
    answer = server.get("/a.txt", f"Range: bytes={text}")
    assert answer.status == 206
    assert answer.body == TEXT[first:last + 1]
    assert answer["Content-Range"] == f"bytes {first}-{last}/100"
    assert answer["Content-Type"].startswith("text/plain")
    assert answer["ETag"] and answer["Last-Modified"] == LAST


@pytest.mark.parametrize("text", ["100-", "100-200", "1000-", "-0", "18446744073709551616-", "200-300, 400-500"])
def test_a_range_beyond_the_end_is_416(server, text):
    answer = server.get("/a.txt", f"Range: bytes={text}")
    assert answer.status == 416
    assert answer["Content-Range"] == "bytes */100"


@pytest.mark.parametrize("text", [
    "bytes=", "bytes=a-b", "bytes=5-1", "bytes", "octets=0-1", "bytes=--1", "bytes=1", "bytes=0-1-2", "bytes=0 - 1",
    "=0-1", "bytes=0x0-1", "bytes=-", "bytes=0-1;2-3", "bytes=" + ",".join(f"{i}-{i}" for i in range(50)),
])
def test_a_range_that_is_none_is_ignored(server, text):
    answer = server.get("/a.txt", f"Range: {text}")
    assert (answer.status, answer.body) == (200, TEXT)


def test_accept_ranges_is_told(server):
    assert server.get("/a.txt")["Accept-Ranges"] == "bytes"


def parts(answer):
    kind = answer["Content-Type"]
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', kind)[1].encode()
    pieces = (b"\r\n" + answer.body).split(b"\r\n--" + boundary)
    assert pieces[0] in (b"", b"\r\n") and pieces[-1] in (b"--", b"--\r\n"), pieces
    out = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert re.search(rb"^Content-Type: text/plain", head, re.M | re.I)
        first, last, size = map(int, re.search(rb"Content-Range: bytes (\d+)-(\d+)/(\d+)", head, re.I).groups())
        assert size == 100
        out.append((first, last, body))
    return out


@pytest.mark.parametrize("text,wanted", [
    ("0-1,50-59", [(0, 1), (50, 59)]), ("0-0, 99-99", [(0, 0), (99, 99)]), ("-5,0-4", [(95, 99), (0, 4)]),
    ("0-1 ,\t 3-4", [(0, 1), (3, 4)]), ("0-9,20-29,40-49,60-69", [(0, 9), (20, 29), (40, 49), (60, 69)]),
])
def test_several_ranges(server, text, wanted):
    with server.connect() as c:
        answer = c.get("/a.txt", f"Range: bytes={text}")
        assert answer.status == 206 and answer["Content-Range"] is None
        assert parts(answer) == [(a, b, TEXT[a:b + 1]) for a, b in wanted]
        assert c.get("/a.txt").body == TEXT


@pytest.mark.parametrize("length", [300, 600, 3000])
def test_several_ranges_of_a_type_with_a_long_name(start, www, folder, length):
    """Each part repeats it: the length of the whole must be the one that was promised."""
    (www / "a.long").write_bytes(TEXT)
    (folder / "mime.types").write_text(f"text/plain{'x' * length} long\n")
    with start("types mime.types\n").connect() as c:
        answer = c.get("/a.long", "Range: bytes=0-1,50-59")
        assert answer.body == TEXT if answer.status == 200 else len(parts(answer)) == 2
        assert c.get("/a.long").body == TEXT


def test_of_several_ranges_only_one_can_be_had(server):
    answer = server.get("/a.txt", "Range: bytes=10-19, 500-600")
    assert answer.status == 206
    found = parts(answer) if answer["Content-Range"] is None else [(10, 19, answer.body)]
    assert found == [(10, 19, TEXT[10:20])]


def test_many_overlapping_ranges_do_not_multiply_the_file(server):
    """The request that once stopped whole servers: a small head, a hundredfold answer."""
    answer = server.get("/a.txt", "Range: bytes=" + ",".join(["0-"] * 8))
    assert answer.status in (200, 206, 416)
    assert len(answer.body) < 3000


def test_the_boundary_does_not_occur_in_the_file(server, www):
    """A boundary that can be foretold can be put into a file."""
    one = server.get("/a.txt", "Range: bytes=0-1,4-5")["Content-Type"]
    boundary = one.split("boundary=")[1].strip('"')
    assert len(boundary) >= 8
    assert boundary.encode() not in TEXT


def test_ranges_of_a_large_file(server, www):
    data = os.urandom(1 << 20)
    (www / "big").write_bytes(data)
    with server.connect() as c:
        for first in range(0, 1 << 20, 99_991):
            answer = c.get("/big", f"Range: bytes={first}-{first + 70_000}")
            assert answer.body == data[first:first + 70_001]
        answer = c.get("/big", "Range: bytes=0-99999,500000-599999")
        assert answer.status == 206 and data[:100_000] in answer.body and data[500_000:600_000] in answer.body


def test_a_range_of_nothing(server, www):
    (www / "empty").write_bytes(b"")
    assert server.get("/empty", "Range: bytes=0-").status in (200, 416)
    assert server.get("/empty", "Range: bytes=-5").status in (200, 416)


def test_a_range_for_another_method_is_ignored(server):
    answer = server.ask("HEAD", "/a.txt", "Range: bytes=0-1")
    assert answer.status == 200 and answer["Content-Length"] == "100"
