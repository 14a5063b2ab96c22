"""The process: starting, the user, reloading, stopping, memory."""
import contextlib
import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import ROOT, SANITIZED, Server
from wire import PATIENCE, SECURE, Client, Cut, eventually

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")


@pytest.fixture
def files(www):
    (www / "a.txt").write_text("hello")
    (www / "big").write_bytes(b"b" * (8 << 20))
    return www


def status(pid):
    rows = (line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return {name: value.split() for name, value in rows}


# -- starting

def test_the_ready_line_is_one_line_with_all_addresses(start, files):
    server = start("listen 127.0.0.1:0 [::1]:0\n")
    assert server.get("/a.txt").status == 200
    said = [x for x in server.lines if " listens on " in x]
    assert len(said) == 1
    assert re.search(r"cubhttpd \S+ listens on 127\.0\.0\.1:\d+, \[::1\]:\d+$", said[0])


@pytest.mark.plain("a command line without a certificate")
def test_a_folder_alone_is_enough(folder, files):
    """`cubhttpd DIR`: the port is 8000 there, so it is given here."""
    server = Server([files, "--listen", "127.0.0.1:0"], cwd=folder)
    try:
        assert server.get("/a.txt").body == b"hello"
    finally:
        server.stop()


def test_a_port_in_use_stops_the_start(start, files, folder):
    first = start()
    (folder / "other.conf").write_text(f"listen 127.0.0.1:{first.port}\nroot {files}\n")
    second = Server(["-f", folder / "other.conf"], cwd=folder, wait=False)
    assert second.wait() != 0
    assert re.search(r"in use|EADDRINUSE", second.text())


def test_an_address_that_is_not_there_yet_does_not_stop_the_start(start, files):
    server = start("listen 127.0.0.1:0 192.0.2.77:0\n")
    assert server.get("/a.txt").status == 200
    assert "192.0.2.77" in server.line("listens on")


def test_an_odd_standard_descriptor_does_no_harm(folder, files):
    """Started with stdin and stdout closed, no socket may get their numbers."""
    (folder / "s.conf").write_text(f"listen 127.0.0.1:0\nroot {files}\n")
    process = subprocess.Popen(["/bin/sh", "-c", 'exec "$0" -f s.conf <&- >&-', os.environ.get("CUBHTTPD") or ROOT / "cubhttpd"],
                               cwd=folder, stderr=subprocess.PIPE)
    try:
        line = process.stderr.readline().decode()
        port = int(re.search(r"listens on 127\.0\.0\.1:(\d+)", line)[1])
        with Client(("127.0.0.1", port)) as c:
            assert c.get("/a.txt").body == b"hello"
        for n in (0, 1):
            assert not os.path.lexists(f"/proc/{process.pid}/fd/{n}") or \
                os.readlink(f"/proc/{process.pid}/fd/{n}").startswith("/dev/")
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
        process.stderr.close()


def test_unix_listener(start, files, folder):
    server = start(f"listen unix:{folder}/web.sock 127.0.0.1:0\nlog access {folder}/access.log\n")
    assert server.addresses[0] == f"unix:{folder}/web.sock"
    with server.connect(0) as c:
        assert c.get("/a.txt").body == b"hello"
    eventually(lambda: "GET /a.txt" in (folder / "access.log").read_text(), "a line for a client without address")


def test_a_left_over_unix_socket_is_no_obstacle(start, files, folder):
    """After a crash its file is still there; a living server's is not to be taken."""
    old = socket.socket(socket.AF_UNIX)
    old.bind(str(folder / "web.sock"))
    old.close()
    server = start(f"listen unix:{folder}/web.sock\n")
    with server.connect(0) as c:
        assert c.get("/a.txt").body == b"hello"
    (folder / "second.conf").write_text(f"listen unix:{folder}/web.sock\nroot {files}\n")
    second = Server(["-f", folder / "second.conf"], cwd=folder, wait=False)
    assert second.wait() != 0
    with server.connect(0) as c:
        assert c.get("/a.txt").body == b"hello"


@contextlib.contextmanager
def activated(folder, files, address=("127.0.0.1", 0)):
    """A server without a listen line that gets its socket as descriptor 3: process and socket."""
    with socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) as sock:
        sock.bind(address)
        sock.listen(50)
        sock.settimeout(PATIENCE)
        (folder / "s.conf").write_text(f"root {files}\n")
        process = subprocess.Popen(["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -f s.conf',
                                    os.environ.get("CUBHTTPD") or ROOT / "cubhttpd"], cwd=folder, stderr=subprocess.PIPE,
                                   preexec_fn=lambda: os.dup2(sock.fileno(), 3), close_fds=False)
        try:
            yield process, sock
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
            process.stderr.close()


def test_inherited_sockets(folder, files):
    """LISTEN_FDS: descriptors from 3 on, and LISTEN_PID is ours.  A reload without a listen line went to port 8000."""
    with activated(folder, files) as (process, sock):
        for _ in range(2):
            line = process.stderr.readline().decode()
            assert f"127.0.0.1:{sock.getsockname()[1]}" in line and "8000" not in line, "the default port was opened too"
            with Client(sock.getsockname()) as c:
                assert c.get("/a.txt").body == b"hello"
            process.send_signal(signal.SIGHUP)


def test_who_waits_in_an_inherited_socket_is_left_to_the_next_server(folder, files):
    """What was handed over is listened on by others as well.  All were taken in, and those who had not spoken hung up on."""
    with activated(folder, files) as (process, sock), contextlib.ExitStack() as stack:
        process.stderr.readline()
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: status(process.pid)["State"][0] == "T", "a server that stands still")
        for _ in range(30):     # more than are taken in one turn
            stack.enter_context(socket.create_connection(sock.getsockname()))
        process.terminate()
        process.send_signal(signal.SIGCONT)
        assert process.wait(PATIENCE) == 0
        for _ in range(30):     # not one of them was taken in before the signal was seen
            sock.accept()[0].close()


def test_an_inherited_unix_socket_keeps_its_name(folder, files):
    with activated(folder, files, str(folder / "inherited.sock")) as (process, _):
        process.stderr.readline()
    assert (folder / "inherited.sock").exists()


def test_listen_fds_of_another_process_are_not_ours(start, files):
    server = start(env={"LISTEN_FDS": "3", "LISTEN_PID": "1"})
    assert server.get("/a.txt").status == 200


def test_pid_file(start, files, folder):
    server = start(f"pid {folder}/server.pid\n")
    assert (folder / "server.pid").read_text().strip() == str(server.pid)
    server.stop()
    assert not (folder / "server.pid").exists()


@root_only
def test_the_user_is_dropped_for_good(start, files, folder):
    nobody = pwd.getpwnam("nobody")
    server = start("user nobody\n")
    s = status(server.pid)
    assert set(s["Uid"]) == {str(nobody.pw_uid)}, "real, effective, saved"
    assert set(s["Gid"]) == {str(nobody.pw_gid)}
    assert set(s["Groups"]) <= {str(nobody.pw_gid)}, f"supplementary groups of root: {s['Groups']}"
    assert server.get("/a.txt").body == b"hello"
    assert int(s["CapEff"][0], 16) == 0 and int(s["CapPrm"][0], 16) == 0


@root_only
def test_the_user_by_numbers_with_a_group(start, files):
    server = start("user 12345:23456\n")
    s = status(server.pid)
    assert set(s["Uid"]) == {"12345"} and set(s["Gid"]) == {"23456"}
    assert set(s["Groups"]) <= {"23456"}


@root_only
def test_the_users_own_supplementary_groups(start, files):
    """A user that is in other groups, as www-data may be, keeps those and no others."""
    for user in pwd.getpwall():
        groups = {str(g) for g in os.getgrouplist(user.pw_name, user.pw_gid)}
        if user.pw_uid and "0" not in groups:
            server = start(f"user {user.pw_name}\n")
            assert "0" not in status(server.pid)["Groups"]
            assert set(status(server.pid)["Groups"]) <= groups
            return


@root_only
def test_a_file_of_root_is_closed_to_the_dropped_user(start, files):
    (files / "locked").write_text("secret")
    (files / "locked").chmod(0o600)
    assert start("user nobody\n").get("/locked").status == 403


@root_only
def test_reload_works_for_the_dropped_user(start, files, folder):
    folder.chmod(0o755)
    server = start("user nobody\n")
    text = server.configuration.read_text()
    server.configuration.write_text(text + "redirect /x /y\n")
    server.reload()
    assert server.get("/x").status == 302
    assert set(status(server.pid)["Uid"]) == {str(pwd.getpwnam("nobody").pw_uid)}


def test_no_descriptor_is_inherited_by_accident(start, files):
    """Close-on-exec on all but the standard three: what a child would get is visible in /proc."""
    server = start()
    with server.connect() as c:                 # of the descriptors none comes or goes meanwhile
        c.get("/a.txt")
        for n, what in server.descriptors().items():
            if n > 2:
                flags = int(re.search(r"flags:\s+(\d+)", open(f"/proc/{server.pid}/fdinfo/{n}").read())[1], 8)
                assert flags & os.O_CLOEXEC, f"descriptor {n}: {what}"


# -- reloading

def test_reload_changes_what_is_served(start, files, folder):
    server = start()
    (folder / "new").mkdir()
    (folder / "new/a.txt").write_text("new")
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace(str(files), f"{folder}/new") + "header / X-New yes\n")
    with server.connect() as c:
        assert c.get("/a.txt").body == b"hello"
        server.reload()
        answer = c.get("/a.txt")
        assert answer.body == b"new" and answer["X-New"] == "yes", "the kept connection has the old rules"


def test_reload_with_errors_keeps_the_old_and_says_why(start, files):
    server = start()
    text = server.configuration.read_text()
    server.configuration.write_text(text + "redirekt /x /y\nlimit\n")
    seen = len(server.lines)
    server.signal(signal.SIGHUP)
    said = server.line("redirekt", after=seen)
    assert f"{server.configuration.name}:3:" in said and "redirect" in said
    server.line(r":4: ", after=seen)
    assert server.get("/a.txt").body == b"hello"
    server.configuration.unlink()
    server.signal(signal.SIGHUP)
    server.line("No such file|cannot", after=seen)
    assert server.get("/a.txt").body == b"hello"


def test_a_reload_that_is_refused_late_leaves_no_socket_behind(start, files, folder):
    """An address that nobody accepts from, and that no later reload could have."""
    server = start(f"listen unix:{folder}/first\n")
    held = len(server.descriptors())
    more = f"root {files}\nlisten unix:{folder}/first unix:{folder}/second\n"
    server.configuration.write_text(more + f"log errors {folder}/none/log\n")
    server.reload("refused")
    eventually(lambda: len(server.descriptors()) == held, "the end of the second address")
    server.configuration.write_text(more)
    server.reload()
    with Client(f"{folder}/second") as c:
        assert c.get("/a.txt").body == b"hello"


def test_reload_under_load_drops_no_connection(start, files, backend):
    peer = backend()
    server = start(f"fastcgi /app {peer.address}\n")
    stop, faults, count = threading.Event(), [], [0]

    def load(target):
        try:
            with server.connect() as c:
                while not stop.is_set():
                    assert c.get(target).status == 200
                    count[0] += 1
        except BaseException as e:
            faults.append(e)

    def visits():
        try:
            while not stop.is_set():
                assert server.get("/a.txt").status == 200
        except BaseException as e:
            faults.append(e)
    threads = [threading.Thread(target=load, args=(t,)) for t in ("/a.txt", "/big", "/app", "/app")]
    threads += [threading.Thread(target=visits)]
    for t in threads:
        t.start()
    for _ in range(20):
        server.reload()
        before = count[0]
        eventually(lambda: count[0] > before + 3 or faults, "some requests between")
    stop.set()
    for t in threads:
        t.join()
    assert not faults, faults[0]


def test_a_long_answer_lives_through_reloads(start, files, backend):
    gate = threading.Event()

    def script(call):
        call.answer(b"begin")
        gate.wait(PATIENCE)
        call.out(b"end")
    peer = backend(script)
    server = start(f"fastcgi /app {peer.address}\n")
    with server.connect(rcvbuf=4096) as slow, server.connect() as c:
        slow.request("GET", "/big")
        answer = c.request("GET", "/app").answer(body=False)
        for _ in range(3):
            server.reload()
        gate.set()
        assert c.body(answer).body == b"beginend"
        assert len(slow.answer().body) == 8 << 20


@pytest.mark.plain("unix sockets are spoken to in plain text")
def test_reload_changes_the_listening_addresses(start, files, folder):
    server = start("listen 127.0.0.1:0\n")
    text = server.configuration.read_text()
    with server.connect() as kept:
        kept.get("/a.txt")
        server.configuration.write_text(text.replace("listen 127.0.0.1:0", f"listen 127.0.0.1:0 unix:{folder}/new.sock"))
        server.reload()
        with Client(f"{folder}/new.sock") as c:
            assert c.get("/a.txt").body == b"hello"
        assert server.get("/a.txt").body == b"hello", "the address that stayed was closed"
        server.configuration.write_text(text.replace("listen 127.0.0.1:0", f"listen unix:{folder}/new.sock"))
        server.reload()
        eventually(lambda: refused(server), "the end of the address that went")
        assert kept.get("/a.txt").body == b"hello"
        with Client(f"{folder}/new.sock") as c:
            assert c.get("/a.txt").body == b"hello"


def test_two_ports_of_the_kernels_choice_stay_two(start, files):
    server = start("listen 127.0.0.1:0\nlisten 127.0.0.1:0\n")
    assert len(set(server.addresses)) == 2
    assert server.reload().rpartition(" listens on ")[2].split(", ") == server.addresses


def test_many_reloads_leak_nothing(start, files):
    server = start("header / X-Y z\n")
    for _ in range(5):
        server.reload()
    server.get("/a.txt")
    fds, before = len(server.descriptors()), server.memory()
    for _ in range(50):
        server.reload()
    server.get("/a.txt")
    eventually(lambda: len(server.descriptors()) <= fds, "as few descriptors as before")
    grown = server.memory() - before        # an identity outlives its configuration by as long as a handshake may take
    assert grown < (500 if SECURE else 200) or SANITIZED, "a sanitizer looks for leaks by its own means"


# -- stopping

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_finishes_what_is_in_flight(start, files, backend, number):
    gate = threading.Event()

    def script(call):
        call.answer(b"begin")
        gate.wait(PATIENCE)
        call.out(b"end")
    server = start(f"fastcgi /app {backend(script).address}\n")
    with server.connect() as c, server.connect() as idle, server.connect(rcvbuf=4096) as slow:
        idle.get("/a.txt")
        answer = c.request("GET", "/app").answer(body=False)
        slow.request("GET", "/big")
        slow_answer = slow.answer(body=False)
        server.signal(number)
        assert idle.ends(), "an idle connection holds nothing up"
        eventually(lambda: refused(server), "the end of the listening socket")
        gate.set()
        assert c.body(answer).body == b"beginend"
        assert len(slow.body(slow_answer).body) == 8 << 20
    assert server.wait() == 0


def refused(server):
    """No socket listens any more.  One that is closed while we come resets us: then it is asked again."""
    try:
        Client(server.address()).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


@contextlib.contextmanager
def held_up(server, n, request):
    """n clients that the kernel has connected while the server was busy with something else."""
    server.signal(signal.SIGSTOP)
    eventually(lambda: status(server.pid)["State"][0] == "T", "a server that stands still")
    clients = [server.connect().send(request) for _ in range(n)]
    yield clients
    server.signal(signal.SIGCONT)


# Over TLS whoever is connected there waits for a handshake, and nothing has been asked yet.
not_yet_asked = pytest.mark.plain("nobody is through with a handshake while the server stands still")


@not_yet_asked
def test_who_was_connected_before_the_end_is_answered(start, files):
    """More than are taken in one turn: they got a reset when the socket was closed."""
    server = start()
    with held_up(server, 40, b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n") as clients:
        server.signal(signal.SIGTERM)
    for c in clients:
        answer = c.answer()
        assert answer.body == b"hello" and (answer["Connection"] == "close" or clients.index(c) < 8)
        assert c.ends()
    assert server.wait() == 0


@not_yet_asked
def test_who_was_connected_before_an_address_is_given_up_is_answered(start, files):
    server = start()
    with held_up(server, 40, b"GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n") as clients:
        server.configuration.write_text(server.configuration.read_text().replace("127.0.0.1:0", "127.0.0.2:0"))
        server.signal(signal.SIGHUP)
    for c in clients:
        assert c.answer().body == b"hello"
        assert c.get("/a.txt").body == b"hello"


@not_yet_asked
def test_as_many_as_find_places_come_in_at_the_end_and_no_more(start, files, backend):
    """Nor does the end wait for those who have not said all."""
    server = start("clients 3 9\ntimeout stop 60\n")
    with held_up(server, 40, b"GET /a.txt HTTP/1.1\r\nHost: te") as clients:
        server.signal(signal.SIGTERM)
    assert server.wait() == 0
    for c in clients:
        assert c.ends()


def test_stopping_waits_only_so_long(start, files, backend):
    server = start(f"timeout stop 1\nfastcgi /app {backend(lambda c: c.hang()).address}\n")
    with server.connect() as c:
        c.request("GET", "/app").silent(0.2)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert 0.9 < time.monotonic() - began < 9


def test_what_came_while_the_server_was_held_up_is_in_time(start, backend):
    """A machine that is overloaded, or was asleep, finds deadlines passed and answers that have come before."""
    gate = threading.Event()
    peer = backend(lambda call: gate.wait(PATIENCE) and call.answer(b"there"))
    server = start(f"timeout backend 1\nfastcgi /app {peer.address}\n")
    with server.connect() as c:
        c.request("GET", "/app")
        call = peer.call()
        server.signal(signal.SIGSTOP)
        gate.set()
        assert call.done.wait(PATIENCE)
        assert c.silent(1.5)
        server.signal(signal.SIGCONT)
        answer = c.answer()
        assert (answer.status, answer.body) == (200, b"there")


def test_a_second_signal_stops_at_once(start, files, backend):
    server = start(f"timeout stop 60\nfastcgi /app {backend(lambda c: c.hang()).address}\n")
    with server.connect() as c:
        c.request("GET", "/app").silent(0.2)
        server.signal(signal.SIGTERM)
        c.silent(0.3)
        server.signal(signal.SIGTERM)
        server.wait(PATIENCE)


def test_stopping_at_rest_is_quick(start, files):
    server = start()
    with server.connect() as c:
        c.get("/a.txt")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - began < 9


def test_the_last_answer_says_close(start, files):
    """A request that is under way when the end is asked for is answered, and told that it is the last."""
    server = start()
    with server.connect() as c:
        c.send(b"GET /a.txt HTTP/1.1\r\nHost: te")
        c.silent(0.2)
        server.signal(signal.SIGTERM)
        eventually(lambda: refused(server), "the end of the listening socket")
        if c.send_if_open(b"st\r\n\r\n"):
            try:
                answer = c.answer()
                assert answer.body == b"hello" and answer["Connection"] == "close"
            except (Cut, ConnectionResetError):
                pass                    # no whole head yet: nothing was promised


def test_broken_pipes_do_not_kill(start, files):
    server = start()
    for _ in range(20):
        c = server.connect(rcvbuf=4096)
        c.request("GET", "/big")
        c.fill()
        c.reset()
    assert server.get("/a.txt").status == 200


def test_signals_between_requests_change_nothing(start, files):
    server = start()
    with server.connect() as c:
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH) * 5:
            server.signal(number)
            assert c.get("/a.txt").status == 200


# -- memory

@pytest.mark.once
def test_no_allocation_after_the_start(start, files, folder, backend):
    """malloc, calloc and realloc are counted while everything is done that a server does."""
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", folder / "allocs.so", ROOT / "test/peers/allocs.c", "-ldl"], check=True)
    (folder / "spool").mkdir(mode=0o777)
    (files / "list").mkdir()
    for i in range(300):
        (files / f"list/{i}").touch()
    out = os.open(folder / "allocs", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    counter = {"LD_PRELOAD": str(folder / "allocs.so"), "ALLOCS_FD": str(out)}
    subprocess.run(["ls", "-l", files], env={**os.environ, **counter}, pass_fds=[out], stdout=subprocess.DEVNULL, check=True)
    assert os.fstat(out).st_size > 0, "the counter does not count"
    server = start(f"""
clients 4 100
listing /list/
log access {folder}/access.log
spool {folder}/spool 1m
fastcgi /app {backend().address}
fastcgi /dead unix:{folder}/none.sock
error 404 /a.txt
host other {{
    root {files}
}}
""", env=counter, pass_fds=[out])
    server.get("/a.txt")
    size = os.fstat(out).st_size
    idle = [server.connect() for _ in range(30)]
    for c in idle:
        c.get("/a.txt")
    for target in ("/a.txt", "/big", "/list/", "/nothing", "/list", "/app", "/dead", "/a.txt?x", "/%2e%2e/"):
        server.get(target), server.get(target, host="other"), server.ask("HEAD", target)
    server.get("/big", "Range: bytes=0-1,5-6")
    server.ask("POST", "/app", body=b"x" * 100_000)
    with server.connect() as c:
        c.send(b"POST /app HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert c.answer().status == 200
    server.talk(b"nonsense\r\n\r\n")
    with open(folder / "allocs") as f:
        f.seek(size)
        after = f.read().split()
    os.close(out)
    assert after == [], f"{len(after)} allocations"


def test_memory_stays_within_the_plan(start, files, folder):
    """What -t promises is the most that it ever takes."""
    server = start("clients 8 100\n")
    plan = subprocess.run([os.environ.get("CUBHTTPD") or ROOT / "cubhttpd", "-t", "-f", server.configuration], cwd=folder,
                          capture_output=True, text=True)
    assert plan.returncode == 0 and re.search(r"\d", plan.stdout + plan.stderr)
    clients = [server.connect() for _ in range(60)]
    for c in clients:
        c.get("/a.txt")
    for c in clients[:6]:
        c.request("GET", "/big")
    assert server.get("/a.txt").status == 200
    for c in clients[:6]:
        assert len(c.answer().body) == 8 << 20


@pytest.mark.once
def test_install_puts_program_and_manuals(folder):
    subprocess.run(["make", "-s", "-o", "cubhttpd", "-C", ROOT, "install", f"DESTDIR={folder}", "PREFIX=/usr"], check=True)
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {"usr/sbin/cubhttpd", "usr/share/man/man8/cubhttpd.8", "usr/share/man/man5/cubhttpd.conf.5"} <= there
    assert grp.getgrgid(0).gr_gid == 0 and os.access(folder / "usr/sbin/cubhttpd", os.X_OK)
