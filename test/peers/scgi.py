"""An SCGI application that behaves as badly as it is told to: peers/fcgi.py with another wire.

The head is one netstring, and the answer ends with the connection."""
import socket

from peers import fcgi
from peers.fcgi import Gone
from wire import PATIENCE


class Call(fcgi.Call):
    def begin(self):
        size = b""
        while not size.endswith(b":"):
            assert len(size) < 10, f"no netstring: {size}"
            size += self.read(1)
        digits = size[:-1].decode()
        assert digits == str(int(digits)), f"the size of a netstring is written {digits}"
        text = self.read(int(digits))
        assert self.read(1) == b",", "a netstring without its comma"
        assert text.endswith(b"\0"), "the last value has no end"
        parts = text[:-1].decode("latin-1").split("\0")
        assert len(parts) % 2 == 0, f"a name without a value in {parts}"
        self.pairs += zip(parts[::2], parts[1::2])
        assert self.pairs[0][0] == "CONTENT_LENGTH", "the length comes first"
        assert ("SCGI", "1") in self.pairs
        self.left = int(self.pairs[0][1])

    def pieces(self):
        while self.left:
            data = self.sock.recv(min(self.left, 65536))
            if not data:
                self.aborted.set()
                raise Gone
            self.left -= len(data)
            yield data

    def out(self, data):
        self.raw(data.encode() if isinstance(data, str) else data)

    def hang(self, patience=PATIENCE):
        """Say nothing until the server gives up."""
        self.sock.settimeout(patience)
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        self.aborted.set()
        raise Gone

    def end(self):
        """Nothing follows, and what of the body was not read is read: an end and no reset."""
        self.finished = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        for _ in self.pieces():
            pass


class Peer(fcgi.Peer):
    call_class = Call
