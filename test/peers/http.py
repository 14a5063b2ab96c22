"""An HTTP server that misbehaves as told, and records what it is asked, byte by byte.

A script is a function of one Call: it reads what it wants of the request and writes the answer, down to single bytes.
What came is read by a parser that trusts nobody: a request that could be read in two ways is a fault of ours."""
import os
import re
import socket
import struct
import threading

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
LINE = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.1\Z")


class Gone(Exception):
    """The server closed the connection."""


class Call:
    """One request as it came, and the pen for its answer."""

    def __init__(self, peer, sock, connection, rest=b""):
        self.peer, self.sock, self.connection = peer, sock, connection
        self.buffer, self.body, self.trailers = rest, b"", []
        self.ended = self.close = False
        self.done = threading.Event()           # the script has ended
        self.gone = threading.Event()           # the connection went while the script was reading

    # -- reading

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.gone.set()
            raise Gone
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r") and b"\r" not in line[:-1] and b"\0" not in line, line
        return line[:-1]

    def field_lines(self):
        fields = []
        while line := self.line():
            name, colon, value = line.partition(b":")
            assert colon and TOKEN.match(name), f"no field: {line!r}"
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), f"controls in {line!r}"
            fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        return fields

    def begin(self):
        m = LINE.match(self.line())
        assert m, "no request line"
        self.method, self.target = m[1].decode(), m[2].decode()
        self.fields = self.field_lines()
        self.length, self.coding = self["Content-Length"], self["Transfer-Encoding"]
        assert self["Host"] is not None, "no Host"
        assert self.length is None or (self.coding is None and self.length.isdigit())
        assert self.coding in (None, "chunked")

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def __getitem__(self, name):
        """The one field of this name, or None; two of them are a fault."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def exactly(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def pieces(self):
        """The request body, as it comes."""
        if self.ended:
            return
        if self.coding:
            while size := int(self.line(), 16):
                yield self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            self.trailers = self.field_lines()
        else:
            left = int(self.length or 0)
            while left:
                if not self.buffer:
                    self.fill()
                piece = self.exactly(min(left, len(self.buffer)))
                left -= len(piece)
                yield piece
        self.ended = True

    def read_body(self):
        self.body += b"".join(self.pieces())
        return self.body

    # -- writing

    def raw(self, data):
        try:
            self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        except OSError:
            raise Gone from None

    def answer(self, body=b"", status="200 OK", *fields):
        body = body.encode() if isinstance(body, str) else body
        head = [f"HTTP/1.1 {status}", *(fields or ["Content-Type: text/plain"]), f"Content-Length: {len(body)}"]
        self.raw("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if self.method == "HEAD" else body))

    def end(self):
        """No more of this connection."""
        self.close = True

    def hang(self):
        """Say nothing until the server gives up."""
        while True:
            self.fill()

    def die(self):
        """Be gone at once, as a program is that was killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone


def show(call):
    """The default script: request line, fields, body, trailers."""
    body = call.read_body()
    lines = [f"{call.method} {call.target}"] + [f"{n}: {v}" for n, v in call.fields]
    trailers = "".join(f"\n{n}: {v}" for n, v in call.trailers).encode("latin-1")
    call.answer("\n".join(lines).encode("latin-1") + b"\n\n" + body + trailers)


class Peer:
    def __init__(self, script=None, path=None, backlog=64, listening=True, port=0):
        self.script = script or show
        self.calls, self.connections, self.faults = [], 0, []
        self.news = threading.Condition()
        self.open = set()
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if not path:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(str(path) if path else ("127.0.0.1", port))
        if path:
            os.chmod(path, 0o777)
        self.address = f"unix:{path}" if path else "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.closed = False
        if listening:
            self.sock.listen(backlog)
            threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.news:
                self.connections += 1
                self.open.add(sock)
                number = self.connections
                self.news.notify_all()
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def serve(self, sock, number):
        rest = b""
        try:
            while True:
                call = Call(self, sock, number, rest)
                call.begin()
                with self.news:
                    self.calls.append(call)
                    self.news.notify_all()
                try:
                    self.script(call)
                finally:
                    call.done.set()
                    with self.news:
                        self.news.notify_all()
                if call.close:
                    break
                for _ in call.pieces():
                    pass
                rest = call.buffer
        except Gone:
            pass
        except Exception as e:          # told by close(), in the thread of the test
            self.faults.append(e)
        with self.news:
            self.open.discard(sock)
        sock.close()

    def wait(self, true, patience=20):
        """Wait until true() holds of what has come."""
        with self.news:
            assert self.news.wait_for(true, patience), f"{len(self.calls)} calls, {self.connections} connections"

    def call(self, n=0, patience=20):
        """The n-th request, once it has come."""
        self.wait(lambda: len(self.calls) > n, patience)
        return self.calls[n]

    def drop(self):
        """Close all connections, and go on listening."""
        with self.news:
            for sock in self.open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def deaf(self):
        """Listen no more."""
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def close(self):
        self.deaf()
        self.drop()
        if self.faults:
            raise self.faults[0]
