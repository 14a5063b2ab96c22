"""The same work over TLS 1.2 with a certificate for P-256: requests on a kept connection, handshakes, memory."""

import contextlib
import os
import socket
import ssl
import subprocess

import kit
from counts import CALLS, INSTRUCTIONS, a_request, callgrind, instructions, system_calls
from memory import IDLE, idle_connections
from servers import CUBHTTPD, LIGHTTPD, NGINX, SERVERS, request
from tables import Table, median
from times import ROUNDS, load

WORK = "ka10k"
HANDSHAKES = (20, 120)                  # of the two runs under callgrind
MANY = 300                              # handshakes whose time is taken together
ACTIVE = 60                             # connections whose clients do not read their answers
MBEDTLS = "lighttpd (mbedTLS)"

SECURE = {
    "cubhttpd": CUBHTTPD.replace("{port}", "{port} tls") + "certificate {site}/../pem\n",
    "lighttpd": LIGHTTPD.replace('"mod_proxy")', '"mod_proxy", "mod_openssl")') +
    'ssl.engine = "enable"\nssl.pemfile = "{site}/../pem"\n',
    MBEDTLS: LIGHTTPD.replace('"mod_proxy")', '"mod_proxy", "mod_mbedtls")') +
    'ssl.engine = "enable"\nssl.pemfile = "{site}/../pem"\n',
    "nginx": NGINX.replace("{port};", "{port} ssl;\n        ssl_certificate {site}/../pem;\n"
                           "        ssl_certificate_key {site}/../pem;\n        ssl_protocols TLSv1.2;\n"
                           "        ssl_session_cache shared:all:1m;"),
}


def certificate(path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", path, "-out", path + ".crt", "-days", "30", "-subj", "/CN=localhost"], check=True,
                   capture_output=True)
    with open(path, "a") as f:
        f.write(kit.read(path + ".crt"))


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    c.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    return c


def shake(port, count, resume=False):
    """Connections that agree, ask once and close; resume: all but the first with its session."""
    session, resumed = None, 0
    for _ in range(count):
        with kit.secure.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), session=session) as s:
            s.sendall(request("close100"))
            while s.recv(65536):
                pass
            resumed += s.session_reused
            session = s.session if resume else None
    return resumed >= (count - 1) * resume


def shaken(yard, name, work, count):
    files = callgrind(yard, name, work, 1, lambda port: shake(port, count))
    return sum(int(line.split()[1]) for path in files for line in kit.read(path).splitlines()
               if line.startswith("totals:"))


def cpu_of(yard, name, resume):
    with yard.server(name) as (child, port):
        if not shake(port, 10, resume):
            return "resumes none"
        before = sum(kit.cpu_seconds(child.pid))
        shake(port, MANY, resume)
        return (sum(kit.cpu_seconds(child.pid)) - before) / MANY * 1e6


@contextlib.contextmanager
def active_connections(port, count):
    """Each in the middle of an answer that its client does not read."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(kit.Client(port))
            client.sock.sendall(request("ka1m") * 16)        # more than the kernel takes in
            client.sock.recv(1)
        yield


def private(yard, name, connections, count):
    """Of each of these connections, against that after start."""
    with yard.server(name) as (child, port):
        start = kit.settled(lambda: kit.memory(child.pid))
        with connections(port, count):
            full = kit.settled(lambda: kit.memory(child.pid))
        return (full["Private_Dirty"] - start["Private_Dirty"]) * 1024 / count


def kept(yard, name, seconds):
    with yard.server(name) as (child, port):
        load(child, port, WORK, 32, 1)
        return load(child, port, WORK, 32, seconds)[0]


def measure(yard, names, seconds, table):
    for name in names:
        kit.say(f"tls: {name}")
        table.put("10 KB, kept: system calls", name, a_request(system_calls, yard, name, WORK, CALLS))
        table.put("10 KB, kept: instructions", name, a_request(instructions, yard, name, WORK, INSTRUCTIONS))
        few, many = (shaken(yard, name, WORK, n) for n in HANDSHAKES)
        table.put("full handshake, request and end: instructions", name, (many - few) / (HANDSHAKES[1] - HANDSHAKES[0]))
        with yard.server(name, fresh=True) as (child, port):
            table.put("resident after start, KiB", name, child.fresh["Rss"])
        table.put(f"private bytes of each of {IDLE:,} idle connections", name,
                  private(yard, name, idle_connections, IDLE))
        table.put(f"private bytes of each of {ACTIVE} active connections", name,
                  private(yard, name, active_connections, ACTIVE))
    for row, take in (("10 KB, kept: CPU us", lambda name: kept(yard, name, seconds)),
                      ("full handshake, request and end: CPU us", lambda name: cpu_of(yard, name, False)),
                      ("resumed handshake, request and end: CPU us", lambda name: cpu_of(yard, name, True))):
        seen = {name: [] for name in names}
        for turn in range(ROUNDS):
            for name in names:
                kit.say(f"tls: {row}, {name}, round {turn + 1}")
                seen[name].append(take(name))
        for name in names:
            table.put(row, name, seen[name][0] if isinstance(seen[name][0], str) else median(seen[name]))


def tls(yard, names, works, seconds):
    """Works are those of the others; here it is one."""
    certificate(os.path.join(yard.work, "pem"))
    plain = dict(SERVERS)
    for name, template in SECURE.items():
        program, arguments, _, words = SERVERS[name.split()[0]]
        SERVERS[name] = (program, arguments, template, words)
    names = [n for n in SECURE if n.split()[0] in names]
    kit.secure = context()
    table = Table("tls", "TLS 1.2, ECDHE-ECDSA-AES128-GCM-SHA256, X25519",
                  "Calls, instructions and memory as above; times are medians of alternating rounds.", 1)
    try:
        measure(yard, names, seconds, table)
    finally:
        kit.secure = None
        del SERVERS[MBEDTLS]
        SERVERS.update(plain)
    return [table]
