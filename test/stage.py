"""What the tests of the demo and of WordPress share: a demo script with all that it starts, and fetches."""
import http.client
import os
import pathlib
import select
import signal
import ssl
import subprocess
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent


class Stage:
    """A script of demo/ on a port that the kernel gives, from its ready line to the end of its last process."""

    def __init__(self, *command, port=0):
        self.folder = pathlib.Path(command[1])
        binary = pathlib.Path(os.environ.get("CUBHTTPD", "cubhttpd"))
        environment = dict(os.environ, PORT=str(port), SECURE_PORT="0", CUBHTTPD=str(TOP / binary))
        environment.pop("ADDRESS", None)
        # a shell in the background ignores SIGINT, and nobody it starts can say otherwise
        command = ["env", "--default-signal=INT,HUP", *(str(part) for part in command)]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL)
        ready = self.ready_line(90)
        self.home = ready.split()[0]
        self.secure_home = ready.partition(" and ")[2].partition(",")[0]        # empty without TLS
        self.port = int(self.home.split(":")[2].split("/")[0])

    def ready_line(self, seconds):
        deadline, text = time.monotonic() + seconds, b""
        while not text.endswith(b"\n"):
            left = deadline - time.monotonic()
            part = b""
            if left > 0 and select.select([self.process.stdout], [], [], left)[0]:
                part = os.read(self.process.stdout.fileno(), 1000)
            if not part:
                self.end()
                raise AssertionError(f"{self.process.args} ended or was silent before it was ready, after {text!r}")
            text += part
        assert text.startswith(b"http://localhost:"), text
        return text.decode()

    def processes(self):
        """The script and all below it, but for the zombies: {(process id, start time): name}.  Neither session nor
        group tells, because php-fpm makes both anew."""
        parents, found = {}, {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            state, parent, *rest = rest.split()
            parents.setdefault(int(parent), []).append((int(folder.name), rest[17], state, name))
            if int(folder.name) == self.process.pid:
                parents[None] = parents[int(parent)][-1:]
        new = parents.get(None, [])
        while new:
            found.update({(pid, start): name for pid, start, state, name in new if state != "Z"})
            new = [child for pid, *_ in new for child in parents.get(pid, [])]
        return found

    def alive(self, processes):
        """Those of them that are still there."""
        left = {}
        for (pid, start), name in processes.items():
            try:
                state, *rest = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if rest[18] == start and state != "Z":
                left[pid, start] = name
        return left

    def end(self, sign=signal.SIGINT, group=True):
        """As Ctrl-C does, or to the script alone.  Returns what is still alive afterwards, having ended that too."""
        before = self.processes()
        if self.process.poll() is None:
            (os.killpg if group else os.kill)(self.process.pid, sign)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        left = self.alive(before)
        for pid, _ in left:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        return left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.process.stdout.closed:
            self.end()

    def secure_fetch(self, path):
        """(status, body) of a page by HTTPS, whose certificate the server has made and we trust; None without TLS."""
        if not self.secure_home:
            return None
        trusted = ssl.create_default_context(cafile=self.folder / "state/certificate.pem")
        with urllib.request.urlopen(self.secure_home + path, context=trusted, timeout=30) as answer:
            return answer.status, answer.read()

    def fetch(self, path, method="GET", body=None, **fields):
        """(status, fields, body) of one request; field names are lower case, underscores stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in fields.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()
