"""What all measurements share: processes that end with us, ports, /proc, and an HTTP client that counts."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = CPUS[0], CPUS[-1]      # backends run beside the client
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


def prepare():
    """More descriptors, an orderly end on SIGTERM, and this process beside the clients."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {CLIENT_CPU})


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="bench.")
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(ready, seconds, what):
    """Look every few milliseconds until ready() is true."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not after {seconds} s")
        time.sleep(0.005)


@contextlib.contextmanager
def running(command, cpu, log, nice=0, **options):
    """A program for as long as the block lasts; its processes are ended by their ids."""
    def settle():
        os.sched_setaffinity(0, {cpu})
        os.nice(nice)

    with open(log, "ab") as err:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=options.pop("stdout", err), stderr=err,
                                 preexec_fn=settle, **options)
    try:
        yield child
    finally:
        end(child)


def end(child):
    if child.poll() is not None:
        return
    family = tree(child.pid)
    tracer = len(family) > 1 and os.path.basename(word_of(child.pid)) == "strace"
    os.kill(family[1] if tracer else child.pid, signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()


# -- /proc -------------------------------------------------------------------------------------------


def read(path):
    with open(path, "rb") as f:
        return f.read().decode(errors="replace")


def word_of(pid):
    return read(f"/proc/{pid}/cmdline").split("\0")[0]


def tree(pid):
    """The process and all below it."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids += map(int, read(f"/proc/{parent}/task/{parent}/children").split())
    return pids


def cpu_seconds(pid):
    """User and kernel time of the tree, and of those in it that have ended."""
    total = [0, 0]
    for p in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):        # its parent has its time by now
            fields = read(f"/proc/{p}/stat").rpartition(")")[2].split()
            total[0] += int(fields[11]) + int(fields[13])
            total[1] += int(fields[12]) + int(fields[14])
    return total[0] / TICKS, total[1] / TICKS


def memory(pid, family=None):
    """Rss, Pss and Private_Dirty in KiB of the tree, or of those in it that are named."""
    total = dict.fromkeys(("Rss", "Pss", "Private_Dirty"), 0)
    for p in family or tree(pid):
        for line in read(f"/proc/{p}/smaps_rollup").splitlines():
            name = line.split(":")[0]
            if name in total:
                total[name] += int(line.split()[1])
    return total


def spooled(pid, below):
    """Bytes in files below a folder: those that have a name, and those that the tree holds open without one."""
    sizes = {}
    paths = [os.path.join(top, f) for top, _, files in os.walk(below) for f in files]
    for p in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            paths += [path for fd in os.listdir(f"/proc/{p}/fd")
                      if read_link(path := f"/proc/{p}/fd/{fd}").startswith(below)]
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            st = os.stat(path)
            sizes[st.st_dev, st.st_ino] = st.st_size
    return sum(sizes.values())


def read_link(path):
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def settled(measure, seconds=6.0, quiet=1.5):
    """measure() once it has not changed for `quiet` seconds (a server may tidy up by a timer)."""
    end = time.monotonic() + seconds
    value, since = measure(), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < quiet:
        time.sleep(0.1)
        if (new := measure()) != value:
            value, since = new, time.monotonic()
    return value


def listens(port):
    """Without a connection, which would already be work for the server."""
    return any(f"0100007F:{port:04X} 00000000:0000 0A" in line or f"00000000:{port:04X} 00000000:0000 0A" in line
               for line in read("/proc/net/tcp").splitlines())


# -- the client ----------------------------------------------------------------------------------------


secure = None                           # a context, while the clients speak TLS


class Client:
    """One connection; counts the bytes of the answers."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.sock = secure.wrap_socket(self.sock)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def more(self):
        got = self.sock.recv(262144)
        self.data += got
        return bool(got)

    def until(self, mark, start=0):
        while (at := self.data.find(mark, start)) < 0:
            if not self.more():
                raise ConnectionError("cut")
        return at + len(mark)

    def head(self):
        """Status, lower-case fields and size of the head that comes next; interim ones are skipped."""
        while True:
            size = self.until(b"\r\n\r\n")
            lines = self.data[:size].decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status >= 200:
                fields = dict((k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:-2]))
                return status, fields, size
            self.data = self.data[size:]

    def size(self, status, fields, size, method):
        """Where the response ends, as far as one can know before it has all come."""
        if status in (204, 304) or method == "HEAD":
            return size
        if "chunked" in fields.get("transfer-encoding", ""):
            start = self.until(b"\r\n", size)
            while n := int(self.data[size:start].split(b";")[0], 16):
                size = start + n + 2
                start = self.until(b"\r\n", size)
            return self.until(b"\r\n", start)
        return size + int(fields["content-length"]) if "content-length" in fields else None

    def response(self, method="GET"):
        """Read one whole response: status and bytes."""
        status, fields, size = self.head()
        size = self.size(status, fields, size, method)
        while size is None or len(self.data) < size:
            if not self.more():
                if size is not None:
                    raise ConnectionError("cut")
                size = len(self.data)
        self.data = self.data[size:]
        return status, size

    def ask(self, request, method="GET"):
        self.sock.sendall(request)
        return self.response(method)
