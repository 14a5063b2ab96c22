"""Files: what is sent, under which type, in which part, and from which version of the file."""
import contextlib
import email.utils
import os
import random
import signal
import stat
import threading
import time

import pytest

from wire import Cut, eventually

TEXT = b"0123456789" * 10


@pytest.fixture
def files(www):
    (www / "a.txt").write_bytes(TEXT)
    (www / "empty").write_bytes(b"")
    (www / "dir").mkdir()
    (www / "dir/index.html").write_text("dir")
    (www / "bare").mkdir()
    return www


@pytest.fixture
def server(start, files):
    return start()


# -- what is found

def test_index_answers_for_its_folder(server):
    answer = server.get("/dir/")
    assert (answer.status, answer.body) == (200, b"dir")
    assert answer["Content-Type"].startswith("text/html")


def test_index_names_are_tried_in_order(start, www):
    server = start("index first.html second.html\n")
    (www / "second.html").write_text("second")
    assert server.get("/").body == b"second"
    (www / "first.html").write_text("first")
    eventually(lambda: server.get("/").body == b"first", "the first name")


def test_a_folder_without_its_slash_is_redirected(server):
    answer = server.get("/dir?a=b&c=%20")
    assert answer.status in (301, 308)
    assert answer["Location"] == "/dir/?a=b&c=%20"


def test_the_redirect_to_a_folder_is_encoded(server, www):
    (www / "a b%\xe9").mkdir()
    answer = server.get("/a%20b%25%C3%A9")
    assert answer["Location"] == "/a%20b%25%C3%A9/"


def test_the_redirect_to_a_folder_leads_to_no_other_server(server, www):
    """//dir/ would be a host of that name."""
    for target in ("//dir", "///dir", "/%2Fdir", "/.//dir", "/\\dir"):
        answer = server.get(target)
        location = answer["Location"] or ""
        assert not location.startswith(("//", "/\\", "http")), f"{target} leads to {location}"


def test_a_folder_without_index_is_403(server):
    assert server.get("/bare/").status == 403


def test_an_index_that_is_a_folder_is_no_index(server, www):
    (www / "odd/index.html").mkdir(parents=True)
    assert server.get("/odd/").status in (403, 404)


@pytest.mark.parametrize("target", ["/nothing", "/nothing/", "/dir/nothing", "/a.txt/", "/a.txt/more", "/bare/x/y"])
def test_what_is_not_there_is_404(server, target):
    assert server.get(target).status == 404


def test_what_may_not_be_read_is_403(start, files):
    if os.geteuid() == 0:
        server = start("user nobody\n")
    else:
        server = start()
    (files / "locked").write_text("secret")
    (files / "locked").chmod(0)
    (files / "closed").mkdir()
    (files / "closed/a.txt").write_text("secret")
    (files / "closed").chmod(0o600)
    assert server.get("/locked").status == 403
    assert server.get("/closed/a.txt").status == 403
    assert server.get("/a.txt").status == 200
    (files / "closed").chmod(0o700)     # so that it can be removed


def test_what_is_no_file_is_not_opened(server, www):
    """Opening a FIFO would hold the whole server until somebody writes to it."""
    os.mkfifo(www / "fifo")
    assert server.get("/fifo").status in (403, 404)
    os.mknod(www / "socket", stat.S_IFSOCK | 0o666)
    assert server.get("/socket").status in (403, 404)
    (www / "null").symlink_to("/dev/null")
    assert server.get("/null").status in (403, 404)


def test_an_empty_file_is_an_answer(server):
    answer = server.get("/empty")
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")


def test_no_root_no_crash(start, folder, www):
    server = start(f"root {folder}/absent\n")
    assert server.get("/a.txt").status in (403, 404, 500, 503)
    (folder / "absent").mkdir()
    (folder / "absent/a.txt").write_text("here now")
    eventually(lambda: server.get("/a.txt").body == b"here now", "the root that came later", 4)


# -- types

@pytest.mark.parametrize("name,mime", [
    ("a.html", "text/html"), ("a.htm", "text/html"), ("a.css", "text/css"), ("a.js", "text/javascript"),
    ("a.json", "application/json"), ("a.png", "image/png"), ("a.jpg", "image/jpeg"), ("a.jpeg", "image/jpeg"),
    ("a.gif", "image/gif"), ("a.svg", "image/svg+xml"), ("a.webp", "image/webp"), ("a.ico", "image/"),
    ("a.txt", "text/plain"), ("a.xml", "/xml"), ("a.pdf", "application/pdf"), ("a.mp4", "video/mp4"),
    ("a.mp3", "audio/mpeg"), ("a.woff2", "font/woff2"), ("a.wasm", "application/wasm"), ("a.zip", "application/zip"),
    ("a.PNG", "image/png"), ("a.tar.png", "image/png"),
])
def test_types(start, www, name, mime):
    (www / name).write_text("x")
    assert mime in start().get(f"/{name}")["Content-Type"]


@pytest.mark.parametrize("name", ["noext", "a.unheardof", "a.", "png"])
def test_an_unknown_type_is_not_guessed(start, www, name):
    (www / name).write_text("<html>")
    answer = start().get(f"/{name}")
    assert (answer["Content-Type"] or "application/octet-stream").split(";")[0] == "application/octet-stream"


def test_types_of_a_file_are_added_and_win(start, folder, www):
    (folder / "mime.types").write_text("# comment\n\napplication/x-cub\tcub CuB2\ntext/x-own txt\nimage/none\n")
    for name in ("a.cub", "a.cub2", "a.txt", "a.png"):
        (www / name).write_text("x")
    server = start("types mime.types\n") if (folder / "mime.types").exists() else None
    types = {n: server.get(f"/a.{n}")["Content-Type"].split(";")[0] for n in ("cub", "cub2", "txt", "png")}
    assert types == {"cub": "application/x-cub", "cub2": "application/x-cub", "txt": "text/x-own", "png": "image/png"}


# -- versions

def test_last_modified_and_etag(server, files):
    os.utime(files / "a.txt", (1e9, 1e9))
    eventually(lambda: server.get("/a.txt")["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT", "the date")
    tag = server.get("/a.txt")["ETag"]
    assert tag.startswith('"') and tag.endswith('"') and len(tag) > 4


def test_a_date_in_the_future_is_not_told(server, files):
    """RFC 9110 8.8.2.1: Last-Modified is not later than Date."""
    os.utime(files / "a.txt", (4e9, 4e9))
    answer = server.get("/a.txt")
    if answer["Last-Modified"]:
        parsed = [email.utils.parsedate_to_datetime(answer[n]) for n in ("Last-Modified", "Date")]
        assert parsed[0] <= parsed[1]


def test_a_changed_file_gets_another_etag(server, files):
    tag = server.get("/a.txt")["ETag"]
    (files / "a.txt").write_bytes(b"other")
    eventually(lambda: server.get("/a.txt")["ETag"] != tag, "another tag")
    assert server.get("/a.txt").body == b"other"


def test_same_size_and_second_is_another_etag(server, files):
    """Two versions within one second differ in nanoseconds or inode."""
    (files / "v").write_bytes(b"one")
    os.utime(files / "v", ns=(10**18, 10**18))
    one = server.get("/v")["ETag"]
    (files / "v.new").write_bytes(b"two")
    os.utime(files / "v.new", ns=(10**18, 10**18 + 1000))
    os.rename(files / "v.new", files / "v")
    two = eventually(lambda: (a := server.get("/v")).body == b"two" and a["ETag"], "the new file")
    assert one != two


def test_a_replaced_file_is_old_for_a_second_at_most(server, files):
    server.get("/a.txt")
    (files / "new").write_bytes(b"new")
    os.rename(files / "new", files / "a.txt")
    began = asked = time.monotonic()
    while server.get("/a.txt").body != b"new":
        assert asked - began < 1.1
        asked = time.monotonic()


def test_a_removed_file_is_gone_within_a_second(server, files):
    server.get("/a.txt")
    (files / "a.txt").unlink()
    eventually(lambda: server.get("/a.txt").status == 404, "404")


def test_a_grown_file_is_seen_whole_or_as_it_was(server, files):
    """Length and body always agree, while somebody appends."""
    path, stop = files / "grow", threading.Event()
    path.write_bytes(b"x")

    def grow():
        with open(path, "ab", buffering=0) as f:
            while not stop.is_set() and f.tell() < 1 << 20:
                f.write(b"x" * 100)
    t = threading.Thread(target=grow)
    t.start()
    try:
        with server.connect() as c:
            for _ in range(300):
                answer = c.get("/grow")
                assert answer.status == 200 and set(answer.body) == {ord("x")}
    finally:
        stop.set()
        t.join()


@pytest.mark.native      # the writer would be native, and be done with ten files at each look
def test_a_file_that_shrinks_and_grows_never_mixes_lengths(server, files):
    """An answer whose file became shorter is cut; none is filled up or runs into the next."""
    path, stop = files / "pulse", threading.Event()
    path.write_bytes(b"a" * 5000)

    def pulse():
        n = 0
        while not stop.is_set():
            n += 1
            with open(path, "r+b") as f:
                f.truncate(10 if n % 2 else 5000)
                if not n % 2:
                    f.write(b"a" * 5000)
    t = threading.Thread(target=pulse)
    t.start()
    try:
        for _ in range(300):
            try:
                answer = server.get("/pulse")
                assert answer.status == 200 and len(answer.body) <= 5000
            except (Cut, ConnectionResetError):
                pass
    finally:
        stop.set()
        t.join()


# -- at the same time

@contextlib.contextmanager
def one_turn(server):
    """What is sent meanwhile comes to the server all at once."""
    server.signal(signal.SIGSTOP)
    eventually(lambda: open(f"/proc/{server.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", "the stop")
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def reads(server):
    return int(next(line for line in open(f"/proc/{server.pid}/io") if line.startswith("syscr")).split()[1])


@pytest.mark.native
@pytest.mark.plain("records are made of what is in the buffer")
def test_a_file_that_many_ask_for_at_once_is_read_once(server, files):
    clients = [server.connect() for _ in range(20)]
    for c in clients:
        c.get("/empty")
    before = reads(server)
    with one_turn(server):
        for c in clients:
            c.request("GET", "/a.txt")
    assert [c.answer().body for c in clients] == [TEXT] * 20
    assert reads(server) - before < 15


@pytest.mark.parametrize("seed", range(8))
def test_answers_of_one_turn_are_not_taken_for_each_other(start, files, seed):
    """Buffers are lent again at once, and what the last answer left in them may be the next one's body, or not."""
    server, dice = start("clients 24\n"), random.Random(seed)
    names = [f"{i:03}" for i in range(90)]          # more than are kept open; lengths and heads are alike
    for name in names:
        (files / name).write_bytes(name.encode() * 100)
    few = names[:2]

    def ask(c):
        name = dice.choice(few if dice.random() < 0.8 else names)
        body, kind = name.encode() * 100, dice.choice(["plain"] * 6 + ["head", "none", "tail", "first", "posted", "old"])
        if kind == "head":
            c.request("HEAD", f"/{name}")
        elif kind == "none":
            c.request("GET", f"/none-{name}")
        elif kind in ("tail", "first"):
            c.request("GET", f"/{name}", "Range: bytes=" + ("-30" if kind == "tail" else "0-29"))
        elif kind == "old":
            c.request("GET", f"/{name}", "Connection: keep-alive", version="1.0")
        else:
            c.request("GET", f"/{name}", body=b"x" * 50 if kind == "posted" else None)
        return kind, {"tail": body[-30:], "first": body[:30], "head": b""}.get(kind, body)

    clients = [server.connect() for _ in range(20)]
    for _ in range(15):
        asked = []
        with one_turn(server):
            for c in clients:
                asked += [(c, *ask(c)) for _ in range(dice.choice([1, 1, 1, 2, 4]))]
        for c, kind, body in asked:
            answer = c.answer("HEAD" if kind == "head" else "GET")
            assert answer.status == {"none": 404, "tail": 206, "first": 206}.get(kind, 200)
            assert kind == "none" or answer.body == body, f"{kind}: not its own"


@pytest.mark.parametrize("again", ["kept", "new"])
def test_a_change_in_place_is_seen_at_once(server, files, again):
    """Its size and name are the same; whoever asks later gets the later bytes."""
    kept, path = server.connect(), files / "changes"
    path.write_bytes(bytes(200))
    for n in range(100):
        with open(path, "r+b") as f:
            f.write(bytes([n]) * 200)
        answer = kept.get("/changes") if again == "kept" else server.get("/changes")
        assert answer.body == bytes([n]) * 200


# -- size

@pytest.mark.parametrize("size", [1, 4095, 8191, 13000, 13312, 16000, 16383, 16384, 16385, 20000, 65536, 1000000])
def test_every_size_comes_whole(server, files, size):
    """The places where a file stops fitting into one write with its head."""
    data = os.urandom(size)
    (files / "f").write_bytes(data)
    with server.connect() as c:
        for _ in range(2):
            answer = c.get("/f")
            assert answer.body == data and answer["Content-Length"] == str(size)


def test_sizes_around_the_head(server, files):
    for size in range(12950, 13400, 17):
        (files / f"s{size}").write_bytes(b"s" * size)
        with server.connect() as c:
            assert len(c.get(f"/s{size}").body) == size
            assert c.get("/a.txt").body == TEXT


def test_a_file_of_five_gigabytes(server, files):
    """Past 32 bits, in a file that takes no room."""
    with open(files / "huge", "wb") as f:
        f.truncate(5 << 30)
        f.seek((5 << 30) - 3)
        f.write(b"end")
    assert server.ask("HEAD", "/huge")["Content-Length"] == str(5 << 30)
    answer = server.get("/huge", f"Range: bytes={(5 << 30) - 5}-")
    assert answer.status == 206 and answer.body == b"\0\0end"
    assert answer["Content-Range"] == f"bytes {(5 << 30) - 5}-{(5 << 30) - 1}/{5 << 30}"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(server, files):
    with open(files / "huge", "wb") as f:
        f.truncate(1 << 30)
    server.get("/a.txt")
    before = server.memory()
    with server.connect() as c:
        answer = c.request("GET", "/huge").answer(body=False)
        left = int(answer["Content-Length"]) - len(c.buffer)
        into = bytearray(1 << 20)
        while left:
            n = c.sock.recv_into(into)
            assert n
            left -= n
    assert server.memory() - before <= 64


# -- precompressed

@pytest.fixture
def packed(files):
    (files / "p.css").write_bytes(b"plain")
    (files / "p.css.gz").write_bytes(b"gzip!")
    (files / "p.css.br").write_bytes(b"brotli")
    (files / "g.js").write_bytes(b"plain js")
    (files / "g.js.gz").write_bytes(b"gz js")
    (files / "only.css.gz").write_bytes(b"only gz")
    return files


@pytest.mark.parametrize("accept,body,coding", [
    (None, b"plain", None), ("gzip", b"gzip!", "gzip"), ("br", b"brotli", "br"), ("gzip, br", b"brotli", "br"),
    ("gzip, deflate, br, zstd", b"brotli", "br"), ("identity", b"plain", None), ("gzip;q=0", b"plain", None),
    ("gzip;q=0, br;q=0", b"plain", None), ("br;q=0, gzip", b"gzip!", "gzip"), ("*", b"brotli", "br"),
    ("*;q=0", b"plain", None), ("gzip;q=0, *", b"brotli", "br"), ("GZIP", b"gzip!", "gzip"), ("deflate", b"plain", None),
    ("x-gzip-like", b"plain", None), ("gzip ; q=0.5", b"gzip!", "gzip"), ("", b"plain", None),
    ("gzip;q=0.000", b"plain", None),
])
def test_precompressed_as_accepted(start, packed, accept, body, coding):
    answer = start().get("/p.css", *([f"Accept-Encoding: {accept}"] if accept is not None else []))
    assert (answer.status, answer.body, answer["Content-Encoding"]) == (200, body, coding)
    assert answer["Content-Type"].startswith("text/css")
    assert "accept-encoding" in (answer["Vary"] or "").lower(), "a cache would give it to everybody"


def test_each_coding_has_an_etag_of_its_own(start, packed):
    server = start()
    tags = {server.get("/p.css", f"Accept-Encoding: {a}")["ETag"] for a in ("gzip", "br", "identity")}
    assert len(tags) == 3


def test_br_falls_back_to_gz(start, packed):
    answer = start().get("/g.js", "Accept-Encoding: br, gzip")
    assert (answer.body, answer["Content-Encoding"]) == (b"gz js", "gzip")


def test_only_the_compressed_file_is_there(start, packed):
    server = start()
    answer = server.get("/only.css", "Accept-Encoding: gzip")
    assert (answer.status, answer.body, answer["Content-Encoding"]) == (200, b"only gz", "gzip")
    assert answer["Content-Type"].startswith("text/css")
    assert server.get("/only.css", "Accept-Encoding: gzip;q=0").status == 406
    assert server.get("/only.css", "Accept-Encoding: identity, *;q=0").status == 406


def test_compressed_file_by_its_own_name_is_itself(start, packed):
    answer = start().get("/p.css.gz", "Accept-Encoding: gzip")
    assert (answer.body, answer["Content-Encoding"]) == (b"gzip!", None)


def test_304_tells_vary_too(start, packed):
    server = start()
    tag = server.get("/p.css", "Accept-Encoding: gzip")["ETag"]
    answer = server.get("/p.css", "Accept-Encoding: gzip", f"If-None-Match: {tag}")
    assert answer.status == 304 and "accept-encoding" in (answer["Vary"] or "").lower()


def test_a_range_of_the_compressed_form(start, packed):
    answer = start().get("/p.css", "Accept-Encoding: gzip", "Range: bytes=1-2")
    assert (answer.status, answer.body) == (206, b"zi")


def test_index_is_found_compressed(start, files):
    (files / "dir/index.html.gz").write_bytes(b"packed index")
    answer = start().get("/dir/", "Accept-Encoding: gzip")
    assert (answer.body, answer["Content-Encoding"]) == (b"packed index", "gzip")


def test_a_link_out_of_the_root_is_not_followed_by_way_of_gz(start, files, folder):
    (folder / "secret").write_text("secret")
    (files / "p.txt").write_text("plain")
    (files / "p.txt.gz").symlink_to(folder / "secret")
    assert b"secret" not in start("links inside\n").get("/p.txt", "Accept-Encoding: gzip").body


def test_a_file_that_is_never_as_long_as_it_says_is_told(start, www):
    """Those of the kernel have no length at all."""
    (www / "up.txt").symlink_to("/proc/uptime")
    server = start("links any\n")
    assert server.get("/up.txt").status == 500
    server.line("never the same")
