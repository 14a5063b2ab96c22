"""A resolver of the test's own: answers from a table, or misbehaves as told.

names maps a name to addresses, or to a function of a Question that gives back the datagrams to send."""
import ipaddress
import socket
import struct
import threading

from wire import PATIENCE

A, AAAA, CNAME = 1, 28, 5
NO_SUCH_NAME, FAILED, REFUSED = 3, 2, 5


class Question:
    def __init__(self, data, sender):
        self.data, self.sender = data, sender
        self.id = struct.unpack(">H", data[:2])[0]
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        self.name = ".".join(labels)
        self.type = struct.unpack(">H", data[at + 1:at + 3])[0]
        self.text = data[12:at + 5]

    def answer(self, addresses=(), ttl=60, code=0, id_=None, text=None, more=b"", bits=0x8180):
        """Those of the family that was asked for, as a resolver says it."""
        records = [r for x in addresses if (r := self.record(x, ttl))]
        return struct.pack(">HHHHHH", self.id if id_ is None else id_, bits | code, 1, len(records), 0, 0) + (
            text or self.text) + b"".join(records) + more

    def record(self, address, ttl):
        ip = ipaddress.ip_address(address)
        kind = A if ip.version == 4 else AAAA
        if kind != self.type:
            return None
        return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(ip.packed)) + ip.packed


class Resolver:
    def __init__(self, names=None, ttl=60):
        self.names, self.ttl = dict(names or {}), ttl
        self.asked = []
        self.news = threading.Condition()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, sender = self.sock.recvfrom(2000)
            except OSError:
                return
            if not data:
                return
            question = Question(data, sender)
            with self.news:
                self.asked.append(question)
                self.news.notify_all()
            known = self.names.get(question.name.lower())
            if callable(known):
                answers = known(question)
            elif known is None:
                answers = question.answer(code=NO_SUCH_NAME)
            else:
                answers = question.answer(known, self.ttl)
            try:
                for data in [answers] if isinstance(answers, bytes) else answers or []:
                    self.sock.sendto(data, question.sender)
            except OSError:
                return

    def wait(self, n, patience=PATIENCE):
        """Until so many questions have come."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.asked) >= n, patience), f"{len(self.asked)} questions of {n}"

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        self.sock.close()
