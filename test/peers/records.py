"""A TLS 1.2 client whose handshake is OpenSSL's and whose records are written by hand, with ChaCha20-Poly1305 (RFC 7905),
so that a test can send what no library would."""
import hashlib
import hmac
import socket
import ssl
import struct
import tempfile

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23


def prf(secret, label, seed, n):
    seed, a, out = label + seed, label + seed, b""
    while len(out) < n:
        a = hmac.digest(secret, a, hashlib.sha256)
        out += hmac.digest(secret, a + seed, hashlib.sha256)
    return out[:n]


def chacha(key, counter, nonce, n):
    """That many bytes of the stream (RFC 8439 2.3)."""
    out, mask = b"", 0xFFFFFFFF
    rounds = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
              (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    while len(out) < n:
        start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
        x = start[:]
        for _ in range(10):
            for a, b, c, d in rounds:
                for to, by, at, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[to] = x[to] + x[by] & mask
                    x[at] ^= x[to]
                    x[at] = (x[at] << turn | x[at] >> 32 - turn) & mask
        out += struct.pack("<16I", *(p + q & mask for p, q in zip(x, start)))
        counter += 1
    return out[:n]


def poly(key, data):
    r, s = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff, int.from_bytes(key[16:], "little")
    total = 0
    for i in range(0, len(data), 16):
        total = (total + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return (total + s & (1 << 128) - 1).to_bytes(16, "little")


def xor(a, b):
    return bytes(p ^ q for p, q in zip(a, b))


def tag(key, nonce, head, sealed):
    def filled(data):
        return data + bytes(-len(data) % 16)
    return poly(chacha(key, 0, nonce, 32), filled(head) + filled(sealed) + struct.pack("<QQ", len(head), len(sealed)))


class Records:
    """send(kind, plain) writes a record, read() gives back (kind, plain) of the next one, or None at the end."""

    def __init__(self, address, patience=20):
        self.sock = socket.create_connection(address, patience)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.sent, self.got = b"", 1, 1            # Finished was the first of each side
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+CHACHA20")
        context.options |= ssl.OP_NO_TICKET
        with tempfile.NamedTemporaryFile("r") as log:
            context.keylog_filename = log.name
            server_random = self.shake(context)
            _, client_random, master = log.read().split("\n")[-2].split()
        block = prf(bytes.fromhex(master), b"key expansion", server_random + bytes.fromhex(client_random), 88)
        self.keys = (block[:32], block[64:76]), (block[32:64], block[76:88])

    def shake(self, context):
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls, heard = context.wrap_bio(come, go), b""
        while True:
            try:
                tls.do_handshake()
                self.sock.sendall(go.read())
                return heard[11:43]
            except ssl.SSLWantReadError:
                self.sock.sendall(go.read())
                data = self.sock.recv(65536)
                assert data, "no handshake"
                heard += data
                come.write(data)

    def sealed(self, kind, plain=b"", version=b"\3\3"):
        (key, iv), number = self.keys[0], self.sent.to_bytes(8, "big")
        nonce, self.sent = xor(bytes(4) + number, iv), self.sent + 1
        text = xor(plain, chacha(key, 1, nonce, len(plain)))
        head = bytes([kind]) + version + len(plain).to_bytes(2, "big")
        mac = tag(key, nonce, number + head, text)
        return head[:3] + (len(text) + 16).to_bytes(2, "big") + text + mac

    def raw(self, data):
        self.sock.sendall(data)
        return self

    def send(self, kind, plain=b""):
        return self.raw(self.sealed(kind, plain))

    def exactly(self, n):
        while len(self.buffer) < n:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read(self):
        head = self.exactly(5)
        text = head and self.exactly(int.from_bytes(head[3:], "big"))
        if not text:
            return None
        (key, iv), number = self.keys[1], self.got.to_bytes(8, "big")
        nonce, self.got = xor(bytes(4) + number, iv), self.got + 1
        plain = xor(text[:-16], chacha(key, 1, nonce, len(text) - 16))
        assert tag(key, nonce, number + head[:3] + len(plain).to_bytes(2, "big"), text[:-16]) == text[-16:], "a bad record"
        return head[0], plain

    def answer(self):
        """The plain text of an answer with a length, all of it."""
        text = b""
        while b"\r\n\r\n" not in text or len(text.split(b"\r\n\r\n", 1)[1]) < int(
                text.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            kind, plain = self.read()
            assert kind == DATA, (kind, plain)
            text += plain
        return text

    def alert(self):
        """The alert that ends it: (level, description)."""
        while (record := self.read()) and record[0] == DATA:
            pass
        assert record and record[0] == ALERT, record
        return tuple(record[1])

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
