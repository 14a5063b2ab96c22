"""Starting servers and watching them.  CUBHTTPD names the binary under test; the default is ./cubhttpd.

Every server is asked to stop at the end of its test and has to leave well: status 0, no connection left open, no
word from a sanitizer."""
import atexit
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from peers import dns, fcgi, scgi
from peers.ca import Authority
from wire import PATIENCE, SECURE, Client, eventually

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("CUBHTTPD") or ROOT / "cubhttpd").resolve()
SANITIZED = "asan" in str(BINARY)
ALARM = re.compile(r"runtime error:|Sanitizer|Assertion|assert", re.I)


OTHER_CLIENTS = ("test_wordpress", "test_demo", "test_tls", "test_tls_legacy", "test_tls_faults", "test_tls_java",
                 "test_tls_go", "test_tls_programs", "test_tls_browser", "test_certificates", "test_client_certificates", "test_https_backends",
                 "test_cgi_real", "test_proxy_real")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: moves a gigabyte or takes many seconds")
    config.addinivalue_line("markers", "native: needs what an emulator has not: memory as it is, vfork, TCP_INFO, speed")
    config.addinivalue_line("markers", "once: looks at the dynamic build, or at no server; not repeated on others")
    config.addinivalue_line("markers", "plain(why): makes no sense over TLS (CUBHTTPD_TLS=1)")
    config.addinivalue_line("markers", "early: takes long by waiting, so it begins first, and the others go on beside it")
    config.addinivalue_line("markers", "xdist_group: tests that one worker runs, for what they share")


def pytest_itemcollected(item):
    """WordPress and the demo are started once for all tests of their file, so one worker has them all."""
    if item.module.__name__ in ("test_wordpress", "test_demo"):
        item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    if item.module.__name__ in OTHER_CLIENTS:
        item.add_marker(pytest.mark.plain("it has TLS or clients of its own, or a server that is not started here"))
    plain = item.get_closest_marker("plain")
    if SECURE and plain:
        item.add_marker(pytest.mark.skip(reason=plain.args[0]))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.get_closest_marker("early"))


class Server:
    """A running server, its stderr line by line, and the addresses of its ready line."""

    def __init__(self, args, cwd, env=None, pass_fds=(), files=None, binary=BINARY, wait=True, stdin=None):
        def limits():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        environment = dict(os.environ, ASAN_OPTIONS="exitcode=99:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1")
        environment.pop("LISTEN_FDS", None)
        environment.update(env or {})
        self.lines, self.clients = [], []
        self.news = threading.Condition()
        self.process = subprocess.Popen([str(binary), *map(str, args)], cwd=cwd, env=environment, pass_fds=pass_fds,
                                        stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, preexec_fn=limits)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()
        self.addresses, self.secure = [], []
        if wait:
            line = self.line(r" listens on ")
            self.addresses = re.search(r" listens on (.*)", line)[1].split(", ")

    def listen(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def line(self, pattern, after=0, patience=PATIENCE):
        """The first line on stderr, from number `after` on, that matches; waits for it."""
        def found():
            return next((x for x in self.lines[after:] if x is None or re.search(pattern, x)), False)
        with self.news:
            line = self.news.wait_for(found, patience)
            assert line, f"no line {pattern!r} in {self.text()}"
        return line

    def text(self):
        return "\n".join(x for x in self.lines if x is not None)

    def address(self, n=0):
        text = self.addresses[n]
        if text.startswith("unix:"):
            return text[5:]
        host, port = text.rsplit(":", 1)
        return {"*": "127.0.0.1"}.get(host, host.strip("[]")), int(port)

    @property
    def port(self):
        return self.address()[1]

    def connect(self, n=0, **more):
        if SECURE and self.secure[n:n + 1] == [True]:
            more.setdefault("secure", True)
        client = Client(self.address(n), **more)
        self.clients.append(client)
        return client

    def ask(self, method, target, *fields, **more):
        """One request on a connection of its own."""
        with self.connect() as c:
            return c.request(method, target, *fields, **more).answer(method)

    def get(self, target, *fields, **more):
        return self.ask("GET", target, *fields, **more)

    def talk(self, data):
        """Send these bytes, end, and give back all that comes."""
        with self.connect() as c:
            c.send_if_open(data)
            return c.rest()

    def descriptors(self):
        return {int(n): target(self.pid, n) for n in os.listdir(f"/proc/{self.pid}/fd")}

    def connections(self):
        """Connections of clients the server still holds, on TCP."""
        held = {m[1] for t in self.descriptors().values() if (m := re.match(r"socket:\[(\d+)\]", t))}
        ports = {int(a.rsplit(":", 1)[1]) for a in self.addresses if not a.startswith("unix:")}
        count = 0
        for table in ("tcp", "tcp6"):
            for row in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                cells = row.split()
                count += cells[9] in held and cells[3] != "0A" and int(cells[1].rsplit(":", 1)[1], 16) in ports
        return count

    def held(self):
        """The same for one that may be about to end by itself: a zombie has no descriptors."""
        try:
            return self.connections()
        except OSError:
            return 0

    def memory(self, key="Pss_Anon"):
        """Kilobytes."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1])

    def cpu(self):
        """Clock ticks used so far."""
        cells = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(cells[11]) + int(cells[12])

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, pattern=r" listens on "):
        """SIGHUP, and wait for the line that says that the new configuration is in force."""
        seen = len(self.lines)
        self.signal(signal.SIGHUP)
        return self.line(pattern, after=seen)

    def wait(self, patience=PATIENCE):
        status = self.process.wait(patience)
        self.reader.join(patience)
        return status

    def stop(self):
        """The end of every test: what the server owes when it goes."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            try:
                eventually(lambda: self.process.poll() is not None or not self.held(), "the end of all connections")
                self.signal(signal.SIGTERM)
                self.wait()
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                    self.wait()
        alarms = [x for x in self.lines if x and ALARM.search(x)]
        assert not alarms, self.text()
        assert self.process.returncode == 0, f"exit status {self.process.returncode}: {self.text()}"


def target(pid, fd):
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return "closed"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """An authority, for the tests of one file."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another, whom nobody trusts."""
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture
def binary():
    return BINARY


@pytest.fixture
def folder():
    """A folder with a short name, for sockets, that other users may look into."""
    path = Path(tempfile.mkdtemp(prefix="cub"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def www(folder):
    """An empty document root."""
    path = folder / "www"
    path.mkdir()
    return path


@functools.cache
def denied_namespaces():
    """Why there can be no mounts and processes of our own: no root, or a root folder that is no mount, as in a chroot."""
    tried = subprocess.run(["unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "true"],
                           capture_output=True, text=True)
    return tried.returncode and tried.stderr.strip()


@pytest.fixture
def namespaces():
    if denied_namespaces():
        pytest.skip(f"no namespaces can be had here: {denied_namespaces()}")


@functools.cache
def certificate():
    """A file with a key and a certificate that it signed itself; gone when the tests are."""
    folder = tempfile.TemporaryDirectory(prefix="cub")
    atexit.register(folder.cleanup)
    os.chmod(folder.name, 0o755)
    path = Path(folder.name) / "pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", path, "-out", f"{path}.crt", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    path.chmod(0o644)                   # servers that are somebody else by then read it again
    return path


def secured(configuration):
    """The same, with TLS on every address but unix sockets and those with a PROXY header, which comes before TLS; and
    which addresses these are."""
    lines, flags = configuration.splitlines(keepends=True), []
    for i, line in enumerate(lines):
        word, *addresses = line.split() or [""]
        if word == "listen":
            plain = "unix:" in line or "proxy-protocol" in line
            flags += [not plain] * sum(x != "proxy-protocol" for x in addresses)
            lines[i] = line if plain else line.rstrip("\n") + " tls\n"
    return "".join(lines), flags


@pytest.fixture
def start(folder, www):
    """start(configuration, ...) runs a server on a port that the kernel gives, with www as its root; `listen` or
    `root` in the configuration take the place of ours."""
    servers = []

    def go(configuration="", args=(), **more):
        path = folder / f"server{len(servers)}.conf"
        words = {line.split()[0] for line in configuration.splitlines() if line[:1].isalpha()}
        head = "" if "listen" in words else "listen 127.0.0.1:0\n"
        head += "" if "root" in words else f"root {www}\n"
        text, flags = secured(head + configuration) if SECURE else (head + configuration, [])
        path.write_text(text)
        own = ["--certificate", certificate()] if SECURE else []
        server = Server(["-f", path, *own, *args], cwd=folder, **more)
        server.configuration, server.secure = path, flags
        servers.append(server)
        return server

    yield go
    faults = []
    for server in servers:
        try:
            server.stop()
        except AssertionError as e:
            faults.append(e)
    if faults:
        raise faults[0]


@pytest.fixture
def backend(folder):
    """backend(script, ...) starts a FastCGI peer on a unix socket, or with tcp=True on a port, speaks="scgi" another."""
    peers = []

    def go(script=None, **more):
        kind = {"fastcgi": fcgi.Peer, "scgi": scgi.Peer}[more.pop("speaks", "fastcgi")]
        peer = kind(script, path=None if more.pop("tcp", False) else folder / f"backend{len(peers)}.sock", **more)
        peers.append(peer)
        return peer

    yield go
    for peer in peers:
        peer.close()


@pytest.fixture
def resolver():
    """resolver({name: addresses}) starts a resolver of the test's own."""
    made = []

    def go(names=None, **more):
        made.append(dns.Resolver(names, **more))
        return made[-1]

    yield go
    for one in made:
        one.close()
