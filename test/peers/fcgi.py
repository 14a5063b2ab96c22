"""A FastCGI application that behaves as badly as it is told to.

A script is a function of one Call.  It reads what it wants of the request and writes what it wants of the answer,
down to single bytes; what it leaves undone at its end (reading the body, END_REQUEST) is done for it.  The peer keeps
a Call for each request that came, for the test to look at."""
import struct
import threading
import time

from peers.listening import Exchange, Gone, Listening
from wire import PATIENCE

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
KEEP = 1


def record(kind, content=b"", number=1, padding=0, version=1):
    return struct.pack(">BBHHBx", version, kind, number, len(content), padding) + content + b"\0" * padding


def end_record(app=0, protocol=0, number=1):
    return record(END, struct.pack(">IB3x", app, protocol), number)


class Call(Exchange):
    """One request as it came, and the pen for its answer."""

    def __init__(self, peer, sock, connection):
        self.peer, self.sock, self.connection = peer, sock, connection
        self.pairs, self.body, self.ended, self.finished = [], b"", False, False
        self.aborted = threading.Event()        # ABORT_REQUEST came, or the connection went
        self.done = threading.Event()           # the script has ended
        self.keep = False

    @property
    def params(self):
        return dict(self.pairs)

    # -- reading

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise Gone
            data += more
        return data

    def next_record(self):
        try:
            version, kind, number, length, padding = struct.unpack(">BBHHBx", self.read(8))
            content = self.read(length)
            self.read(padding)
        except (Gone, OSError):
            self.aborted.set()
            raise Gone from None
        assert version == 1 and number == 1, f"version {version}, request {number}"
        if kind == ABORT:
            self.aborted.set()
        return kind, content

    def begin(self):
        kind, content = self.next_record()
        assert kind == BEGIN and len(content) == 8, f"record {kind} where a request should begin"
        role, flags = struct.unpack(">HB5x", content)
        assert role == 1, f"role {role}"
        self.keep = bool(flags & KEEP)
        text = b""
        while True:
            kind, content = self.next_record()
            assert kind == PARAMS, f"record {kind} among the parameters"
            if not content:
                break
            text += content
        while text:
            lengths = []
            for _ in range(2):
                size = 4 if text[0] & 0x80 else 1
                lengths.append(int.from_bytes(text[:size], "big") & (0x7FFFFFFF if size == 4 else 0x7F))
                text = text[size:]
            name, value, text = text[:lengths[0]], text[lengths[0]:sum(lengths)], text[sum(lengths):]
            self.pairs.append((name.decode("latin-1"), value.decode("latin-1")))

    def pieces(self):
        """The request body, as it comes."""
        while not self.ended:
            kind, content = self.next_record()
            if kind == ABORT:
                return
            assert kind == STDIN, f"record {kind} within the body"
            if not content:
                self.ended = True
                return
            yield content

    def read_body(self):
        self.body += b"".join(self.pieces())
        return self.body

    # -- writing

    def dribble(self, data):
        """Byte by byte, each in a segment of its own."""
        for i in range(len(data)):
            self.raw(data[i:i + 1])
            time.sleep(0)

    def out(self, data, padding=0):
        data = data.encode() if isinstance(data, str) else data
        for at in range(0, len(data), 65535):
            self.raw(record(STDOUT, data[at:at + 65535], padding=padding))

    def err(self, data):
        self.raw(record(STDERR, data.encode() if isinstance(data, str) else data))

    def end(self, app=0, protocol=0):
        self.finished = True
        self.raw(end_record(app, protocol))

    def hang(self, patience=PATIENCE):
        """Say nothing until the server gives up."""
        try:
            self.sock.settimeout(patience)
            while self.next_record():
                pass
        except Gone:
            pass
        raise Gone

    def answer(self, body=b"", status=None, *fields):
        body = body.encode() if isinstance(body, str) else body
        head = [f"Status: {status}"] if status else []
        head += list(fields) or ["Content-Type: text/plain"]
        self.out("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)


def show(call):
    """The default script: all variables, one a line, then the body."""
    body = call.read_body()
    call.answer("\n".join(f"{n}={v}" for n, v in call.pairs).encode("latin-1") + b"\n\n" + body)


class Peer(Listening):
    call_class = Call

    def __init__(self, script=None, path=None, keep=True, **more):
        self.keep = keep
        super().__init__(script or show, path, **more)

    def next_call(self, sock, number, _before):
        return self.call_class(self, sock, number)

    def over(self, call):
        if not call.finished:
            call.end()
        if not (self.keep and call.keep):
            return True
        for _ in call.pieces():
            pass
        return False
