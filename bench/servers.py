"""The tables of servers and works, and what it takes to start them."""

import contextlib
import email.utils
import os
import pwd
import shutil
import subprocess
import time

import kit

# -- servers: a row is a name, a program, how it is started, and its configuration ----------------------------
# {port} {site} {work} {fcgi} {php} {origin} are filled in.  Access logs are off everywhere, connections are kept for as
# long as the measurement needs them, and all else is as the server has it by default (nginx: as Debian ships it).

CUBHTTPD = """
listen 127.0.0.1:{port}
root {site}
log access off
log errors stderr warn
clients 64 1100
scripts 48
timeout keep 600
timeout idle 600
spool {work} 64m
cgi /cgi-bin/
fastcgi /fcgi unix:{fcgi}
fastcgi *.php unix:{php}
scgi /scgi unix:{scgi}
proxy /p/ unix:{origin}
"""

LIGHTTPD = """
server.modules = ("mod_cgi", "mod_fastcgi", "mod_scgi", "mod_proxy")
server.document-root = "{site}"
server.bind = "127.0.0.1"
server.port = {port}
server.upload-dirs = ("{work}")
server.max-fds = 4096
server.max-keep-alive-idle = 600
server.max-keep-alive-requests = 65535
server.max-read-idle = 600
index-file.names = ("index.html")
mimetype.assign = (".txt" => "text/plain", ".bin" => "application/octet-stream")
$HTTP["url"] =~ "^/cgi-bin/" {{ cgi.assign = ("" => "") }}
fastcgi.server = (
    "/fcgi" => (("socket" => "{fcgi}", "check-local" => "disable")),
    ".php" => (("socket" => "{php}")))
scgi.server = ("/scgi" => (("socket" => "{scgi}", "check-local" => "disable")))
proxy.server = ("/p/" => (("socket" => "{origin}")))
"""

NGINX = """
worker_processes 1;
pid {work}/nginx.pid;
error_log stderr error;
daemon off;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    keepalive_timeout 600;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path {work}/body;
    fastcgi_temp_path {work}/fastcgi;
    proxy_temp_path {work}/proxy;
    include /etc/nginx/mime.types;
    upstream kept {{ server unix:{fcgi}; keepalive 48; }}
    upstream origin {{ server unix:{origin}; {keepalive} }}
    proxy_http_version 1.1;
    proxy_set_header Connection "{connection}";
    server {{
        listen 127.0.0.1:{port};
        root {site};
        location /fcgi {{ include fastcgi_params; {fcgi_pass} }}
        location /scgi {{ include scgi_params; scgi_pass unix:{scgi}; }}
        location /p/ {{ proxy_pass http://origin; }}
        location ~ \\.php$ {{
            include fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:{php};
        }}
    }}
}}
"""

ORIGIN = """
listen unix:{origin} 127.0.0.1:{origin_port}
root {site}
cgi /p/cgi-bin/
alias /p/ {site}
log access off
timeout idle 600
"""

FORWARD = "forward 127.0.0.1 port {origin_port} to 127.0.0.1\n"

LEAST = "the least"                     # no server, but what every server around poll() must do: see least.c

SERVERS = {
    # name: (program, arguments, configuration, words for it)
    "cubhttpd": (os.path.join(kit.TOP, "build/static/cubhttpd"), ["-f", "{conf}"], CUBHTTPD, {}),
    "lighttpd": ("lighttpd", ["-D", "-f", "{conf}"], LIGHTTPD, {}),
    "nginx": ("nginx", ["-p", "{work}", "-c", "{conf}"], NGINX,
              {"fcgi_pass": "fastcgi_pass unix:{fcgi};", "keepalive": "", "connection": "close"}),
    "nginx (backend kept)": ("nginx", ["-p", "{work}", "-c", "{conf}"], NGINX,
                             {"fcgi_pass": "fastcgi_pass kept; fastcgi_keep_conn on;", "keepalive": "keepalive 48;",
                              "connection": ""}),
    "webfs": ("webfsd", ["-F", "-i", "127.0.0.1", "-p", "{port}", "-r", "{site}", "-x", "/cgi-bin/"], "", {}),
    LEAST: ("{tools}/least", ["{port}", "{site}", "{origin}"], "", {}),
}
SOME = {                                # servers that take part in these works only
    "nginx (backend kept)": ["fcgi", "proxy100", "proxy10k"],
    "webfs": ["cgi"],
    LEAST: ["ka100", "ka10k", "ka1m", "cgi", "proxy100", "proxy10k"],
}

CHANGED = 1700000000                    # the files are old, so that no server treats them as just changed

# -- works ---------------------------------------------------------------------------------------------------

PLAIN = [("User-Agent", "bench/1"), ("Accept", "*/*")]
UNCHANGED = [("If-Modified-Since", email.utils.formatdate(CHANGED, usegmt=True))]
BROWSER = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Connection", "keep-alive"),
    ("Referer", "http://192.168.1.1/cgi-bin/luci/admin/status"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-User", "?1"),
    ("Cookie", "sysauth_http=0123456789abcdef0123456789abcdef"),
]

WORKS = {
    # name: (path, fields, status, what it is)
    "ka100": ("/100.txt", PLAIN, 200, "100 bytes, kept connection"),
    "browser100": ("/100.txt", BROWSER, 200, "the same with a browser's fields"),
    "ka10k": ("/10k.txt", PLAIN, 200, "10 KB, kept"),
    "ka1m": ("/1m.bin", PLAIN, 200, "1 MB, kept"),
    "close100": ("/100.txt", PLAIN + [("Connection", "close")], 200, "100 bytes, closing each time"),
    "304": ("/100.txt", PLAIN + UNCHANGED, 304, "not modified"),
    "404": ("/nothing/here", PLAIN, 404, "no such file"),
    "cgi": ("/cgi-bin/hello", PLAIN, 200, "CGI, a static program in C, what it needs itself included"),
    "fcgi": ("/fcgi", PLAIN, 200, "FastCGI on a unix socket"),
    "scgi": ("/scgi", PLAIN, 200, "SCGI on a unix socket"),
    "proxy100": ("/p/100.txt", PLAIN, 200, "100 bytes of another server, on a unix socket"),
    "proxy10k": ("/p/10k.txt", PLAIN, 200, "10 KB of it"),
}


def request(work):
    path, fields, _, _ = WORKS[work]
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"] + [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def takes_part(server, work):
    return work in SOME.get(server, WORKS) and not (work == "cgi" and server.startswith("nginx"))


# -- what stands around a server --------------------------------------------------------------------------------

PHP_FPM = """
[global]
error_log = {work}/php-fpm.log
daemonize = no
[bench]
{user}
listen = {php}
listen.mode = 0666
pm = static
pm.max_children = 2
php_admin_value[sys_temp_dir] = {work}
php_admin_value[upload_tmp_dir] = {work}
php_admin_value[post_max_size] = 0
php_admin_value[memory_limit] = 256M
php_admin_value[max_execution_time] = 0
php_admin_flag[enable_post_data_reading] = off
php_admin_flag[output_buffering] = off
"""

# php://input is read piece by piece, and kept by php in a file of its own below sys_temp_dir
COUNT_PHP = b"""<?php
$in = fopen('php://input', 'rb'); $n = 0;
while (!feof($in)) { $n += strlen(fread($in, 65536)); }
header('Content-Type: text/plain'); echo $n, "\\n";
"""

SEND_PHP = b"""<?php
header('Content-Type: application/octet-stream');
$piece = str_repeat('x', 65536);
for ($left = (int)$_GET['n']; $left > 0; $left -= 65536) { echo $left < 65536 ? substr($piece, 0, $left) : $piece; }
"""

LARGE = 1 << 30 # bytes of large.bin, which has no blocks on the disk
NICE = 15       # of php-fpm and uploads, so that a small request beside them waits for the server alone


class Yard:
    """A scratch folder with a site, the FastCGI responder, php-fpm when it is wanted, and servers started in it."""

    def __init__(self, work):
        self.work = work
        self.site = os.path.join(work, "site")
        self.fcgi = os.path.join(work, "fcgi.sock")
        self.php = os.path.join(work, "php.sock")
        self.scgi = os.path.join(work, "scgi.sock")
        self.origin = os.path.join(work, "origin.sock")
        self.origin_port = kit.free_port()
        self.stack = contextlib.ExitStack()
        self.serial = 0
        self.make_site()

    def make_site(self):
        os.mkdir(self.site)
        line = b"The quick brown fox jumps over the lazy dog; 0123456789.\n"
        files = {"100.txt": 100, "10k.txt": 10240, "1m.bin": 1 << 20}
        contents = {name: (line * (size // len(line) + 1))[:size] for name, size in files.items()}
        for name, data in (contents | {"count.php": COUNT_PHP, "send.php": SEND_PHP}).items():
            path = os.path.join(self.site, name)
            with open(path, "wb") as f:
                f.write(data)
            os.utime(path, (CHANGED, CHANGED))
        os.mkdir(os.path.join(self.site, "cgi-bin"))
        for name in ("hello", "count"):
            subprocess.run(["musl-gcc", "-Os", "-static", "-s", "-o", os.path.join(self.site, "cgi-bin", name),
                            os.path.join(kit.HERE, name + ".c")], check=True)
        with open(os.path.join(self.site, "large.bin"), "wb") as f:
            f.truncate(LARGE)
        for name in ("least", "lockstep"):
            subprocess.run(["musl-gcc", "-D_GNU_SOURCE", "-Os", "-static", "-s", "-o", os.path.join(self.work, name),
                            os.path.join(kit.HERE, name + ".c")], check=True)

    def log(self, name):
        return os.path.join(self.work, name + ".log")

    def start_responder(self):
        program = os.path.join(self.work, "responder")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-o", program, os.path.join(kit.HERE, "responder.c")], check=True)
        for words in ([self.fcgi], [self.scgi, "scgi"]):
            child = self.stack.enter_context(
                kit.running([program, *words], kit.CLIENT_CPU, self.log("responder"), stdout=subprocess.PIPE))
            child.stdout.readline()
        self.start_origin()

    def start_origin(self):
        """The server behind the proxies: whatever it is, it is the same for all of them."""
        conf = os.path.join(self.work, "origin.conf")
        with open(conf, "w") as f:
            f.write(ORIGIN.format(site=self.site, origin=self.origin, origin_port=self.origin_port))
        self.stack.enter_context(kit.running([SERVERS["cubhttpd"][0], "-f", conf], kit.CLIENT_CPU, self.log("origin")))
        kit.wait_for(lambda: os.path.exists(self.origin), 10, "the server behind the proxies")

    def start_php(self):
        conf = os.path.join(self.work, "php-fpm.conf")
        root = os.geteuid() == 0
        with open(conf, "w") as f:
            f.write(PHP_FPM.format(work=self.work, php=self.php, user="user = root\ngroup = root" if root else ""))
        command = [php_fpm(), "-F", "-n", "-y", conf] + (["-R"] if root else [])
        self.stack.enter_context(kit.running(command, kit.CLIENT_CPU, self.log("php-fpm"), nice=NICE))
        kit.wait_for(lambda: os.path.exists(self.php), 10, "php-fpm")

    @contextlib.contextmanager
    def server(self, name, before=(), cpu=kit.SERVER_CPU, seconds=15, fresh=False):
        """The process (behind the words `before`) and its port; fresh: with the memory it took before anybody came."""
        program, arguments, template, words = SERVERS[name]
        self.serial += 1
        work = os.path.join(self.work, str(self.serial))
        os.mkdir(work)
        port = kit.free_port()
        user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
        fill = dict(port=port, site=self.site, work=work, fcgi=self.fcgi, php=self.php, user=user,
                    origin=self.origin, origin_port=self.origin_port, scgi=self.scgi,
                    conf=os.path.join(work, "conf"))
        fill |= {key: value.format(**fill) for key, value in words.items()}
        if "fastcgi_params" in template:
            for file in ("fastcgi_params", "scgi_params"):
                shutil.copy(f"/etc/nginx/{file}", work)
        with open(fill["conf"], "w") as f:
            f.write(template.format(**fill))
        command = list(before) + [program.format(tools=self.work)] + [a.format(**fill) for a in arguments]
        with kit.running(command, cpu, self.log(name.split()[0])) as child:
            kit.wait_for(lambda: child.poll() is not None or kit.listens(port), seconds, name)
            child.fresh = kit.settled(lambda: kit.memory(child.pid), quiet=0.3) if fresh else None
            kit.wait_for(lambda: answers(child, port, self.log(name.split()[0])), seconds, name)
            child.work = work
            yield child, port

    def close(self):
        self.stack.close()


def answers(child, port, log):
    if child.poll() is not None:
        raise RuntimeError("ended at once: " + kit.read(log)[-800:])
    try:
        with kit.Client(port) as c:
            return c.ask(request("close100"))[0] == 200
    except OSError:
        return False


def php_fpm():
    folders = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    for f in folders.split(":"):
        for name in sorted(os.listdir(f), reverse=True) if os.path.isdir(f) else []:
            if name.startswith("php-fpm"):
                return os.path.join(f, name)
    return None


def ask(port, work, count, pause=0.0, bytes_seen=None):
    """count requests one after the other, on one connection unless the work closes it."""
    data, wanted = request(work), WORKS[work][2]
    closes = work.startswith("close")
    client = None if closes else kit.Client(port)
    try:
        for _ in range(count):
            if closes:
                client = kit.Client(port)
            try:
                status, size = client.ask(data)
            except ConnectionError:     # a server that keeps none
                client.close()
                client = kit.Client(port)
                status, size = client.ask(data)
            if status != wanted:
                raise RuntimeError(f"{work}: {status} instead of {wanted}")
            if bytes_seen is not None:
                bytes_seen.append(size)
            if closes:
                client.close()
            if pause:
                time.sleep(pause)
    finally:
        if client:
            client.close()
