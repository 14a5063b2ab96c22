"""CGI: how long a script may run and with what rights, how it ends, and what of it is left."""
import os
import re
import resource
import signal
import time

import pytest

from test_cgi import ECHO, HEAD, cgi, children, childless, number_in, running, script     # noqa: F401  fixtures
from wire import Cut, eventually


def ignored(text):
    """The signals that SigIgn of /proc/PID/status names, but for 32 to 34: libc's own, and make leaves them so."""
    return int(re.search(r"SigIgn:\t([0-9a-f]+)", text)[1], 16) & ~(7 << 31)


def test_the_clock_is_an_idle_clock(start, script):
    """A script that speaks now and then may take longer than the time for silence."""
    script("slow", HEAD + "for i in 1 2 3 4; do sleep 0.6; echo $i; done")
    assert start("cgi /cgi-bin/\ntimeout backend 1\n").get("/cgi-bin/slow").body == b"1\n2\n3\n4\n"


def test_a_silent_script_is_ended_with_all_it_started(start, script, folder):
    script("hang", f"sleep 1000 & echo $! > {folder}/pid\nwait")
    server = start("cgi /cgi-bin/\ntimeout backend 1\n")
    assert server.get("/cgi-bin/hang").status == 504
    pid = number_in(folder / "pid")
    eventually(lambda: not running(pid), "the end of the whole group")
    childless(server)


def test_what_was_cut_off_never_looks_complete(start, script):
    script("hang", HEAD + "echo some\nexec sleep 1000")
    server = start("cgi /cgi-bin/\ntimeout backend 1\n")
    for version in ("1.1", "1.0"):
        with server.connect() as c, pytest.raises((Cut, ConnectionResetError)):
            c.request("GET", "/cgi-bin/hang", version=version).answer()
    childless(server)


def test_a_total_limit(start, script):
    script("chatty", HEAD + "while :; do echo x; sleep 0.1; done")
    server = start("cgi /cgi-bin/ time 1\nlog access stderr\n")
    began = time.monotonic()
    with pytest.raises(Cut):
        server.get("/cgi-bin/chatty")
    assert 0.9 < time.monotonic() - began < 40
    server.line(r'"GET /cgi-bin/chatty HTTP/1.1" 200 ')     # as the client has it
    script("quiet", "exec sleep 1000")
    assert server.get("/cgi-bin/quiet").status == 504
    childless(server)


def test_one_that_ignores_sigterm(start, script, folder):
    script("stubborn", f"trap '' TERM\necho $$ > {folder}/pid\nwhile :; do sleep 1; done")
    server = start("cgi /cgi-bin/\ntimeout backend 1\n")
    assert server.get("/cgi-bin/stubborn").status == 504
    pid = number_in(folder / "pid")
    eventually(lambda: not running(pid), "SIGKILL")
    childless(server)


def test_a_client_that_leaves_ends_the_script(cgi, script, folder):
    script("hang", f"echo $$ > {folder}/pid\nexec sleep 1000")
    c = cgi.connect()
    c.request("GET", "/cgi-bin/hang")
    pid = number_in(folder / "pid")
    c.reset()
    eventually(lambda: not running(pid), "the end of the script")
    childless(cgi)


def test_one_that_is_killed_is_a_cut(cgi, script):
    """As the kernel does when memory runs out: half an answer must not look like a whole one."""
    script("dies", HEAD + "echo half\nkill -KILL $$")
    with pytest.raises(Cut):
        cgi.get("/cgi-bin/dies")
    cgi.line(r"signal 9 ended the script")


def test_one_that_closes_its_output_and_lives_on(start, script, folder):
    os.mkfifo(folder / "go")
    script("lives", HEAD + f"echo done\nexec >&- 2>&-\nread x < {folder}/go\necho $$ > {folder}/pid\n")
    server = start("cgi /cgi-bin/\n")
    assert server.get("/cgi-bin/lives").body == b"done\n"
    assert len(children(server)) == 1, "it may finish what it does"
    (folder / "go").write_text("go\n")
    number_in(folder / "pid")
    childless(server)


def test_one_that_lives_on_has_a_time(start, script):
    script("lives", HEAD + "echo done\nexec >&- 2>&-\nexec sleep 1000")
    server = start("cgi /cgi-bin/\ntimeout backend 1\n")
    assert server.get("/cgi-bin/lives").body == b"done\n"
    childless(server)


def test_the_answer_ends_with_the_script_and_daemons_survive(cgi, script, folder):
    """LuCI starts services, which keep all its descriptors."""
    script("luci", HEAD + f"setsid sh -c 'echo $$ > {folder}/pid; exec sleep 1000' &\necho started")
    assert cgi.get("/cgi-bin/luci").body == b"started\n"
    pid = number_in(folder / "pid")
    childless(cgi)
    assert running(pid)
    os.kill(pid, signal.SIGKILL)


def test_scripts_end_with_the_server_unless_they_have_answered(start, script, folder):
    script("hang", f"echo $$ > {folder}/pid\nexec sleep 1000")
    script("lives", "printf 'Content-Length: 1\\n\\nx'\n" f"echo $$ > {folder}/alive\nexec sleep 1000")
    server = start("cgi /cgi-bin/\ntimeout stop 1\n")
    assert server.get("/cgi-bin/lives").body == b"x"
    alive = number_in(folder / "alive")
    c = server.connect()
    c.request("GET", "/cgi-bin/hang")
    pid = number_in(folder / "pid")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    eventually(lambda: not running(pid), "the end of the script under way")
    assert running(alive), "one that restarts the web server must outlive it"
    os.kill(alive, signal.SIGKILL)


@pytest.mark.native
def test_limits(start, script):
    script("limits", HEAD + "ulimit -v; ulimit -t; nice")
    server = start("cgi /cgi-bin/ memory 64m cpu 7 nice 3\n")
    assert server.get("/cgi-bin/limits").body == b"65536\n7\n3\n"


def test_one_that_takes_too_much_of_the_processor(start, script):
    script("spin", HEAD + "echo x\nwhile :; do :; done")
    server = start("cgi /cgi-bin/ cpu 1\n")
    with pytest.raises(Cut):
        server.get("/cgi-bin/spin")
    server.line(r"signal (24|30) ended the script")


@pytest.mark.native
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run scripts as somebody else")
def test_another_user(start, script):
    script("who", HEAD + "id -u; id -g; id -G")
    server = start("cgi /cgi-bin/ user nobody\n")
    assert server.get("/cgi-bin/who").body == b"65534\n65534\n65534\n"
    server = start("user daemon\ncgi /cgi-bin/ user nobody\n")
    assert server.get("/cgi-bin/who").status == 500
    server.line(r"cannot be started: ")


def test_nothing_of_ours_leaks_into_a_script(cgi, script):
    script("look", HEAD + "ls -l /proc/$$/fd\ngrep -E '^Sig(Blk|Ign)' /proc/self/status")
    text = cgi.get("/cgi-bin/look").body.decode()
    numbers = set(re.findall(r" (\d+) -> ", text))
    assert numbers <= {"0", "1", "2", "10"} and "socket" not in text, text      # 10 is the script, open in the shell
    assert "SigBlk:\t0000000000000000" in text and not ignored(text), text


def test_a_script_is_as_if_nobody_had_started_the_server(start, script, folder, binary):
    """An ignored signal and an open descriptor of whoever started the server are not for programs."""
    script("look", HEAD + "ls -l /proc/$$/fd\ngrep -E '^SigIgn' /proc/self/status")
    inherited, other = os.pipe()
    (folder / "careless").write_text(f"#!/bin/sh\ntrap '' QUIT\nexec {binary} \"$@\"\n")
    (folder / "careless").chmod(0o755)
    server = start("cgi /cgi-bin/\n", pass_fds=(inherited,), binary=folder / "careless")
    number = os.fstat(inherited).st_ino
    text = server.get("/cgi-bin/look").body.decode()
    os.close(inherited)
    os.close(other)
    assert f"pipe:[{number}]" not in text, text
    assert not ignored(text), text


@pytest.mark.native
def test_a_script_that_is_replaced_and_removed(cgi, script):
    script("new", HEAD + "echo one")
    assert cgi.get("/cgi-bin/new").body == b"one\n"
    path = script("new", HEAD + "echo two")
    assert cgi.get("/cgi-bin/new").body == b"two\n"
    path.unlink()
    assert cgi.get("/cgi-bin/new").status == 404


def test_no_descriptor_is_left(start, script):
    """With one place, which keeps its pipe for stderr: a second one would be taken now and then."""
    script("env", HEAD + "env")
    script("echo", ECHO)
    script("bad", "exit 1")
    script("not", "", mode=0o644)
    cgi = start("cgi /cgi-bin/\nscripts 1\n")

    def round():
        for target in ("/cgi-bin/echo", "/cgi-bin/bad", "/cgi-bin/not", "/cgi-bin/env"):
            cgi.ask("POST", target, body=b"x" * 1000)
        childless(cgi)
        eventually(lambda: not cgi.connections(), "the end of connections")
        return len(cgi.descriptors())
    round()
    before = round()
    assert [round() for _ in range(3)] == [before] * 3


def test_pipelined_scripts(cgi, script):
    script("echo", ECHO)
    with cgi.connect() as c:
        c.send(b"".join(b"POST /cgi-bin/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n%d" % i for i in range(8)))
        assert [c.answer().body for _ in range(8)] == [b"%d" % i for i in range(8)]


def test_an_error_page_by_a_script(start, script):
    script("404", "printf 'Content-Type: text/plain\\n\\n'; echo $REDIRECT_STATUS")
    server = start("cgi /cgi-bin/\nerror 404 /cgi-bin/404\n")
    answer = server.get("/none")
    assert (answer.status, answer.body) == (404, b"404\n")


def test_the_limit_of_descriptors_stays_a_small_one(cgi, script):
    """Programs that close all descriptors up to it would close a million."""
    script("files", HEAD + "ulimit -n")
    assert int(cgi.get("/cgi-bin/files").body) <= max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_without_descriptors_others_are_served_and_it_recovers(start, script, www, folder):
    (www / "file").write_text("file")
    script("hang", HEAD + f"while ! [ -e {folder}/go ]; do sleep 0.02; done\necho done")
    server = start("cgi /cgi-bin/\nclients 16 16\nscripts 16\n", files=40)
    clients = [server.connect() for _ in range(10)]
    for c in clients:
        c.request("GET", "/cgi-bin/hang")
    server.line(r"cannot be started now: ")
    assert server.get("/file").body == b"file"
    (folder / "go").touch()
    answers = [c.answer() for c in clients]
    assert {a.status for a in answers} == {200, 503}
    assert all(a["Retry-After"] for a in answers if a.status == 503)
    childless(server)
    assert server.get("/cgi-bin/hang").body == b"done\n"
