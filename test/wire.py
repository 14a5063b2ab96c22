"""A client that trusts nobody: raw bytes out, and every answer held against RFC 9112 as it is read."""
import os
import re
import select
import socket
import ssl
import threading
import time

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
                  r"\d\d:\d\d:\d\d GMT\Z")
PATIENCE = 60                           # seconds: more than the slowest machine needs
SECURE = bool(os.environ.get("CUBHTTPD_TLS"))   # the whole suite once more, over TLS


def trusting():
    """A context for servers that nobody vouches for."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


CONTEXT = trusting()


class Secured:
    """A TLS connection that one thread may read while another one writes: Python's own is not made for that."""

    def __init__(self, sock, context=CONTEXT, **more):
        self.patience = sock.gettimeout()
        self.ssl = context.wrap_socket(sock, suppress_ragged_eofs=False, **more)
        self.ssl.setblocking(False)
        self.lock = threading.Lock()

    def patiently(self, call):
        while True:
            with self.lock:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    wanted = [self.ssl], []
                except ssl.SSLWantWriteError:
                    wanted = [], [self.ssl]
                except ssl.SSLEOFError as e:            # an end without close_notify is a cut
                    raise ConnectionResetError("TLS was cut off") from e
            if not any(select.select(*wanted, [], self.patience)):
                raise TimeoutError("timed out") if self.patience else BlockingIOError()

    def recv(self, n):
        return self.patiently(lambda: self.ssl.recv(n))

    def recv_into(self, into):
        return self.patiently(lambda: self.ssl.recv_into(into))

    def send(self, data):
        return self.patiently(lambda: self.ssl.send(data))

    def sendall(self, data):
        view = memoryview(data)
        while view:
            view = view[self.send(view[:16384]):]

    def settimeout(self, seconds):
        self.patience = seconds

    def setblocking(self, flag):
        self.patience = None if flag else 0

    def shutdown(self, how):
        socket.socket.shutdown(self.ssl, how)           # of TCP alone: ssl's own would go on in the clear

    def __getattr__(self, name):
        return getattr(self.ssl, name)


class Cut(Exception):
    """The connection ended before the answer did; .answer is what came."""

    def __init__(self, why, answer=None):
        super().__init__(why)
        self.answer = answer


class Fields:
    """The fields of a head, in the order they came."""

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def __getitem__(self, name):
        """The one field of this name, or None; two of them are a fault."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


class Answer(Fields):
    def __init__(self, status, reason, fields):
        self.status, self.reason, self.fields = status, reason, fields
        self.body = b""
        self.framing = None

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.fields} {self.body[:200]!r}>"


class Client:
    """One connection.  Every read has a deadline, so that a server that hangs is a failure and not a wait."""

    def __init__(self, address, patience=PATIENCE, rcvbuf=None, source=None, secure=False):
        family = socket.AF_UNIX if isinstance(address, str) else \
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(patience)
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.sock = Secured(self.sock)
        self.buffer = b""
        self.eof = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Leave with a RST, as a client does that crashed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def send_if_open(self, data):
        """Send what the server may already have refused; True when it was taken."""
        try:
            self.send(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def request(self, method, target, *fields, body=None, version="1.1", host="test"):
        """Write a request; body sets Content-Length."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += fields
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def get(self, target, *fields, **more):
        return self.request("GET", target, *fields, **more).answer()

    def fill(self):
        """Read once more; False at the end of the stream."""
        if self.eof:
            return False
        data = self.sock.recv(65536)
        self.buffer += data
        self.eof = not data
        return not self.eof

    def line(self, limit=65536):
        while b"\n" not in self.buffer:
            if not self.fill():
                raise Cut(f"end of stream within a line: {self.buffer[:200]!r}")
            assert len(self.buffer) < limit or b"\n" in self.buffer, "a line without end"
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a line that ends in a bare LF: {line!r}"
        line = line[:-1]
        assert b"\r" not in line and b"\0" not in line, f"a bare CR or NUL: {line!r}"
        return line

    def exactly(self, n, answer=None):
        parts, have = [self.buffer], len(self.buffer)
        self.buffer = b""
        while have < n:
            if not self.fill():
                if answer is not None:
                    answer.body = b"".join(parts)
                raise Cut(f"{have} bytes of {n}", answer)
            parts.append(self.buffer)
            have += len(self.buffer)
            self.buffer = b""
        whole = b"".join(parts)
        self.buffer = whole[n:]
        return whole[:n]

    def head(self):
        line = self.line()
        m = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) ([\t -~\x80-\xff]*)", line)
        assert m, f"no status line: {line!r}"
        fields = []
        while line := self.line():
            name, colon, value = line.partition(b":")
            assert colon and TOKEN.match(name), f"no field: {line!r}"
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), f"controls in a value: {line!r}"
            fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        return Answer(int(m[1]), m[2].decode("latin-1"), fields)

    def answer(self, method="GET", interim=False, body=True):
        """Read one answer whole and check its framing.  interim: hand out a 1xx too; body=False: its head alone."""
        answer = self.head()
        while answer.status < 200 and not interim:
            answer = self.head()
        check_head(answer)
        if body:
            self.body(answer, method)
        return answer

    def body(self, answer, method="GET"):
        length, coding = answer["Content-Length"], answer["Transfer-Encoding"]
        assert not (length and coding), "two ways to find the end"
        if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            answer.framing = "none"
        elif coding:
            assert coding == "chunked"
            answer.framing = "chunked"
            self.chunks(answer)
        elif length is not None:
            assert re.fullmatch(r"\d+", length)
            answer.framing = "length"
            answer.body = self.exactly(int(length), answer)
        else:
            assert "close" in (answer["Connection"] or "").lower(), "no length, and the connection is to be kept"
            answer.framing = "close"
            answer.body = self.rest()
        return answer

    def chunks(self, answer):
        parts = []
        while True:
            answer.body = b"".join(parts) if len(parts) < 2 else answer.body
            try:
                line = self.line(300)
                assert re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line), f"chunk size: {line!r}"
                size = int(line, 16)
                if not size:
                    break
                parts.append(self.exactly(size))
                assert self.exactly(2) == b"\r\n", "a chunk of another length than it says"
            except (Cut, ConnectionResetError) as e:
                answer.body = b"".join(parts)
                raise Cut(f"cut within chunks: {e}", answer) from e
        answer.body = b"".join(parts)
        answer.trailers = [tuple(line.decode("latin-1").split(": ", 1)) for line in iter(self.line, b"")]

    def rest(self):
        """All bytes to the end of the stream."""
        parts = [self.buffer]
        self.buffer = b""
        while not self.eof:
            data = self.sock.recv(1 << 20)
            self.eof = not data
            parts.append(data)
        return b"".join(parts)

    def ends(self):
        """Wait for the end; True when nothing more came before it."""
        try:
            return self.rest() == b""
        except ConnectionResetError:
            return True

    def silent(self, seconds=0.2):
        """True when nothing at all comes within this time: no data, no end."""
        if isinstance(self.sock, Secured) and self.sock.pending():
            return False
        return not self.buffer and not select.select([self.sock], [], [], seconds)[0]


def check_head(answer):
    """What holds for each answer of an HTTP/1.1 server."""
    if answer.status < 200:
        return
    assert DATE.match(answer["Date"] or ""), f"Date: {answer['Date']}"
    assert answer.status != 405 or answer["Allow"], "405 without Allow (RFC 9110 15.5.6)"
    assert answer.status != 416 or answer["Content-Range"], "416 without Content-Range (RFC 9110 15.5.17)"
    assert answer.status not in (301, 302, 303, 307, 308) or answer["Location"], "a redirect to nowhere"


def held_port():
    """A socket and its port, for a program that takes a number and sets SO_REUSEADDR: nobody else is given it meanwhile."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


def eventually(true, what="", patience=PATIENCE):
    """Wait for a state that announces itself by no event, such as a line in /proc.  Returns what true() returned."""
    end = time.monotonic() + patience
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < end, f"never came: {what}"
        select.select([], [], [], 0.01)
