"""An HTTP server that misbehaves as told, and records what it is asked, byte by byte.

A script is a function of one Call: it reads what it wants of the request and writes the answer, down to single bytes.
What came is read by a parser that trusts nobody: a request that could be read in two ways is a fault of ours."""
import re
import threading

from peers.listening import Exchange, Gone, Listening
from wire import Fields

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
LINE = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.1\Z")


class Call(Exchange, Fields):
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


def show(call):
    """The default script: request line, fields, body, trailers."""
    body = call.read_body()
    lines = [f"{call.method} {call.target}"] + [f"{n}: {v}" for n, v in call.fields]
    trailers = "".join(f"\n{n}: {v}" for n, v in call.trailers).encode("latin-1")
    call.answer("\n".join(lines).encode("latin-1") + b"\n\n" + body + trailers)


class Peer(Listening):
    def __init__(self, script=None, path=None, **more):
        super().__init__(script or show, path, **more)

    def next_call(self, sock, number, before):
        return Call(self, sock, number, before.buffer if before else b"")

    def over(self, call):
        if call.close:
            return True
        for _ in call.pieces():
            pass
        return False
