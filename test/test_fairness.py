"""Who gets a place for a script, in which order, and what those get who do not."""
import select
import threading
from pathlib import Path

import pytest

from wire import eventually

HEAD = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"


@pytest.fixture
def house(start, www, folder):
    """house(configuration) is a server with a script that says that it runs, and waits until told to go on."""
    (www / "cgi-bin").mkdir()
    (folder / "log").touch()
    held = www / "cgi-bin/held"
    held.write_text(f"#!/bin/sh\necho $QUERY_STRING >> {folder}/log\n"
                    f"while ! [ -e {folder}/go ] && ! [ -e {folder}/go$QUERY_STRING ]; do sleep 0.02; done\n"
                    "printf 'Content-Type: text/plain\\n\\n'; echo $QUERY_STRING\n")
    held.chmod(0o755)
    (www / "file").write_text("file")

    def go(configuration):
        server = start(f"cgi /cgi-bin/\n{configuration}")
        server.begun = lambda: (folder / "log").read_text().split()
        server.release = lambda name="": (folder / f"go{name}").touch()
        return server

    yield go
    (folder / "go").touch()


def client_from(server, host):
    """A connection from this address of the loopback."""
    return server.connect(source=host)


def ask(server, name, host="127.0.0.1"):
    return client_from(server, host).request("GET", f"/cgi-bin/held?{name}")


def children(server):
    return Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()


def test_first_come_first_served(house):
    server = house("scripts 1\n")
    waiting = [ask(server, "0")]
    eventually(lambda: server.begun() == ["0"])
    for i in range(1, 30):
        c = ask(server, str(i))
        waiting.append(c)
        # each is in the queue before the next one asks: an answer to a file says that it has been read
        assert server.get("/file").body == b"file"
    server.release()
    for i, c in enumerate(waiting):
        assert c.answer().body == b"%d\n" % i
    assert server.begun() == [str(i) for i in range(30)]


def test_eight_at_once_and_thirty_queued(house):
    """What a page of LuCI with its polls asks for."""
    server = house("scripts 11\nclients 64\n")        # one address has eight or nine of them
    waiting = [ask(server, str(i)) for i in range(38)]
    eventually(lambda: len(server.begun()) >= 8)
    assert server.get("/file").body == b"file"
    server.release()
    assert sorted(int(c.answer().body) for c in waiting) == list(range(38))


def test_no_address_holds_every_place(house):
    server = house("scripts 4\n")
    greedy = [ask(server, f"a{i}") for i in range(8)]
    eventually(lambda: len(server.begun()) == 3)
    other = ask(server, "b", "127.0.0.2")
    eventually(lambda: "b" in server.begun(), "the last place is for somebody else")
    assert len(server.begun()) == 4
    server.release("b")
    assert other.answer().body == b"b\n"
    eventually(lambda: len(children(server)) == 3)
    assert len(server.begun()) == 4, "and stays free for the next one"
    again = ask(server, "c", "127.0.0.3")
    eventually(lambda: "c" in server.begun())
    server.release()
    assert again.answer().status == 200
    assert all(c.answer().status == 200 for c in greedy)


def test_those_that_wait_are_not_passed(house):
    """A place that is free is for whoever waits for it, not for whoever asks in that moment."""
    server = house("scripts 2\n")
    first = [ask(server, "a"), ask(server, "b", "127.0.0.2")]
    eventually(lambda: len(server.begun()) == 2)
    second = [ask(server, "c", "127.0.0.3"), ask(server, "d", "127.0.0.4")]
    eventually(lambda: server.get("/file").body == b"file")
    server.release("a")
    assert first[0].answer().body == b"a\n"
    eventually(lambda: len(server.begun()) == 3)
    assert server.begun()[2] == "c"
    server.release()
    assert [c.answer().status for c in first[1:] + second] == [200] * 3


def test_files_never_wait_behind_scripts(house):
    server = house("scripts 2\nclients 16\n")
    held = [ask(server, str(i)) for i in range(12)]
    eventually(lambda: server.begun())
    for _ in range(20):
        assert server.get("/file").body == b"file"
    server.release()
    assert {c.answer().status for c in held} <= {200, 503}


def test_one_that_waited_too_long(house):
    server = house("scripts 1\ntimeout queue 1\n")
    first = ask(server, "a")
    eventually(lambda: server.begun())
    late = ask(server, "b").answer()
    assert late.status == 503 and late["Retry-After"].isdigit()
    server.release()
    assert first.answer().status == 200


def test_the_queue_has_an_end(house):
    server = house("scripts 2\nclients 20\n")
    held = [ask(server, str(i)) for i in range(40)]
    eventually(lambda: len(readable(held)) == 26, "13 wait, one runs")
    refused = readable(held)
    assert all(c.answer().status == 503 for c in refused)
    assert server.get("/file").status == 200
    server.release()
    assert all(c.answer().status == 200 for c in held if c not in refused)


def readable(clients):
    return [c for c in clients if select.select([c.sock], [], [], 0)[0]]


def test_two_hundred_at_once(house):
    """A fork bomb of requests: never more programs than places, everybody is answered, files go on."""
    server = house("scripts 6\nclients 64 1024\n")
    most = []
    held = [ask(server, str(i)) for i in range(200)]
    eventually(lambda: server.begun())
    answers = []

    def collect(c):
        answers.append(c.answer().status)
    threads = [threading.Thread(target=collect, args=(c,)) for c in held]
    for t in threads:
        t.start()
    for _ in range(50):
        most.append(len(children(server)))
        assert server.get("/file").body == b"file"
    server.release()
    for t in threads:
        t.join(60)
    assert len(answers) == 200 and set(answers) == {200, 503} and max(most) <= 6, (answers, max(most))
    eventually(lambda: not children(server), "no zombie")


def test_a_client_that_leaves_the_queue(house):
    server = house("scripts 1\n")
    first, leaver, last = ask(server, "a"), ask(server, "b"), ask(server, "c")
    eventually(lambda: server.begun() == ["a"])
    leaver.reset()
    server.release()
    assert first.answer().status == last.answer().status == 200
    assert server.begun() == ["a", "c"]


@pytest.mark.native
def test_a_script_deleted_while_its_request_waits(house, www):
    server = house("scripts 1\n")
    first = ask(server, "a")
    eventually(lambda: server.begun())
    second = ask(server, "b")
    assert server.get("/file").status == 200
    (www / "cgi-bin/held").unlink()
    server.release()
    assert first.answer().status == 200
    assert second.answer().status == 404


def test_what_lives_on_keeps_its_place(house, www, folder):
    """scripts N is a number of programs, whether they have answered or not."""
    lives = www / "cgi-bin/lives"
    lives.write_text(f"{HEAD}echo done\nexec >&- 2>&-\nwhile ! [ -e {folder}/go ]; do sleep 0.02; done\n")
    lives.chmod(0o755)
    server = house("scripts 1\n")
    assert server.get("/cgi-bin/lives").body == b"done\n"
    c = ask(server, "b")
    assert server.get("/file").status == 200
    assert server.begun() == []
    server.release()
    assert c.answer().body == b"b\n"
