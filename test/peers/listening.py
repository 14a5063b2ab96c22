"""What the misbehaving backends share: a socket that listens, a thread a connection, and the calls that came."""
import os
import socket
import struct
import threading

from wire import PATIENCE


class Gone(Exception):
    """The server closed the connection."""


class Exchange:
    """The pen for an answer, down to single bytes."""

    def raw(self, data):
        try:
            self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        except OSError:
            raise Gone from None

    def die(self):
        """Be gone at once, as a program is that was killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone


class Listening:
    """Each kind says what a call is (next_call), and whether another one may follow it (over)."""

    def __init__(self, script, path=None, backlog=64, listening=True, port=0):
        self.script = script
        self.calls, self.connections, self.faults = [], 0, []
        self.news = threading.Condition()
        self.open = set()
        self.closed = False
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if not path:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(str(path) if path else ("127.0.0.1", port))
        if path:
            os.chmod(path, 0o777)
        self.address = f"unix:{path}" if path else "127.0.0.1:%d" % self.sock.getsockname()[1]
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
        call = None
        try:
            while not call or not self.over(call):
                call = self.next_call(sock, number, call)
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
        except Gone:
            pass
        except Exception as e:          # told by close(), in the thread of the test
            self.faults.append(e)
        with self.news:
            self.open.discard(sock)
        sock.close()

    def wait(self, true, patience=PATIENCE):
        """Wait until true() holds of what has come."""
        with self.news:
            assert self.news.wait_for(true, patience), f"{len(self.calls)} calls, {self.connections} connections"

    def call(self, n=0, patience=PATIENCE):
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
