"""The real thing behind it: php-fpm, with a configuration, a socket and a user of its own."""
import glob
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from wire import PATIENCE, eventually

SCRIPTS = {
    "info.php": '<?php header("Content-Type: text/plain"); foreach ($_SERVER as $k => $v) '
                'if (is_string($v)) echo "$k=$v\\n";',
    "post.php": '<?php header("Content-Type: text/plain"); echo $_POST["a"] ?? "-", "|", $_FILES["f"]["size"] ?? "-", "|", '
                'isset($_FILES["f"]) ? sha1_file($_FILES["f"]["tmp_name"]) : "-";',
    "sum.php": '<?php $h = hash_init("sha1"); $n = 0; $in = fopen("php://input", "r"); '
               'while (!feof($in)) { $s = fread($in, 65536); $n += strlen($s); hash_update($h, $s); } '
               'echo $n, " ", hash_final($h);',
    "down.php": '<?php set_time_limit(0); $b = str_repeat("0123456789abcdef", 4096); $n = (int)$_GET["mb"] * 16; '
                'while ($n--) echo $b;',
    "error.php": '<?php error_log("from php: \\"quoted\\""); undefined_function();',
    "session.php": '<?php setcookie("a", "1"); setcookie("b", "2"); header("Location: /next.php", true, 303);',
    "status.php": '<?php http_response_code((int)$_GET["s"]); echo "body";',
    "length.php": '<?php header("Content-Length: 5"); echo "12345";',
    "auth.php": '<?php echo $_SERVER["PHP_AUTH_USER"] ?? "-", ":", $_SERVER["PHP_AUTH_PW"] ?? "-";',
}


def fpm_binary():
    found = [shutil.which("php-fpm")] + sorted(glob.glob("/usr/sbin/php-fpm*"))
    found = [x for x in found if x]
    assert found, "php-fpm is missing: test/setup test installs it"
    return found[-1]


@pytest.fixture
def fpm(folder):
    """php-fpm in the foreground on a socket in folder; as nobody when we are root."""
    user = "user = nobody\ngroup = nogroup\n" if os.geteuid() == 0 else ""
    (folder / "fpm.conf").write_text(f"""[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
{user}listen = {folder}/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = 2
catch_workers_output = no
php_admin_value[post_max_size] = 2G
php_admin_value[upload_max_filesize] = 2G
php_admin_value[enable_post_data_reading] = On
php_admin_value[output_buffering] = 0
php_admin_value[upload_tmp_dir] = {folder}/tmp
php_admin_value[display_errors] = 0
php_admin_value[log_errors] = 1
""")
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    process = subprocess.Popen([fpm_binary(), "-n", "-F", "-O", "-y", folder / "fpm.conf"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is not None or (folder / "fpm.sock").exists(), "the socket of php-fpm")
        assert process.poll() is None, (folder / "fpm.log").read_text()
        yield folder / "fpm.sock"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def server(start, www, fpm):
    for name, text in SCRIPTS.items():
        (www / name).write_text(text)
    (www / "real.txt").write_text("hello")
    return start(f"index index.php\nfastcgi *.php unix:{fpm}\nfallback /pretty/ /info.php\n"
                 "authorization /\n")


def test_php_runs(server, www):
    answer = server.get("/info.php/extra/path?x=1")
    v = dict(line.split("=", 1) for line in answer.body.decode().splitlines() if "=" in line)
    assert answer.status == 200 and answer["Content-Type"].startswith("text/plain")
    assert v["SCRIPT_NAME"] == "/info.php" and v["PATH_INFO"] == "/extra/path" and v["QUERY_STRING"] == "x=1"
    assert v["PHP_SELF"] == "/info.php/extra/path" and v["SCRIPT_FILENAME"] == f"{www}/info.php"


def test_permalinks(server):
    v = dict(line.split("=", 1) for line in server.get("/pretty/post?p=1").body.decode().splitlines() if "=" in line)
    assert v["REQUEST_URI"] == "/pretty/post?p=1" and v["PHP_SELF"] == "/info.php"


def test_requests_in_a_row(server):
    with server.connect() as c:
        for i in range(50):
            assert f"QUERY_STRING=n{i}\n".encode() in c.get(f"/info.php?n{i}").body


def test_a_form_and_a_file(server):
    data = os.urandom(300_000)
    assert server.ask("POST", "/post.php", "Content-Type: application/x-www-form-urlencoded",
                      body=b"a=b%20c").body == b"b c|-|-"
    boundary = "xXx"
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n--{boundary}\r\n'
            f'Content-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n').encode() + data + \
        f"\r\n--{boundary}--\r\n".encode()
    answer = server.ask("POST", "/post.php", f"Content-Type: multipart/form-data; boundary={boundary}", body=body)
    assert answer.body.decode() == f"v|{len(data)}|{hashlib.sha1(data).hexdigest()}"


def test_cookies_and_redirect(server):
    answer = server.get("/session.php")
    assert answer.status == 303 and answer["Location"] == "/next.php" and len(answer.all("Set-Cookie")) == 2


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_statuses(server, status):
    with server.connect() as c:
        assert c.get(f"/status.php?s={status}").status == status
        assert c.get("/length.php").body == b"12345"


def test_credentials(server):
    assert server.get("/auth.php", "Authorization: Basic dXNlcjpwYXNz").body == b"user:pass"


def test_errors_of_php_reach_the_log(server):
    assert server.get("/error.php").status == 500
    server.line("from php: ")
    server.line("undefined_function")


def test_a_picture_is_never_run(server, www):
    (www / "evil.jpg").write_text("<?php echo 'run', 1+1;")
    for target in ("/evil.jpg/x.php", "/evil.jpg/.php", "/evil.jpg%00.php", "/evil.jpg%2fx.php", "/evil.jpg/%2ephp"):
        answer = server.get(target)
        assert answer.status in (400, 404) and b"run2" not in answer.body


@pytest.mark.plain("test_tls.py has curl")
def test_curl_gets_along(server, folder):
    url = f"http://127.0.0.1:{server.port}"
    (folder / "up").write_bytes(b"z" * 200_000)
    out = subprocess.run(["curl", "-sS", "--fail", f"{url}/info.php", "-d", "a=b", "-o", folder / "o1", "--next", "--fail", "-sS",
                          f"{url}/sum.php", "-H", "Content-Type: x/y", "--data-binary", f"@{folder}/up", "-o", folder / "o2"],
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert (folder / "o2").read_bytes().startswith(b"200000 ")


@pytest.mark.slow
def test_a_gigabyte_up_and_down_moves_no_memory(server):
    """64 KB and no file of ours, whatever its size."""
    for _ in range(2):
        server.get("/down.php?mb=1")
        server.ask("POST", "/sum.php", "Content-Type: x/y", body=b"x" * 100_000)
    before, opened = server.memory(), set(server.descriptors())
    with server.connect() as c:
        answer = c.request("GET", "/down.php?mb=1024").answer(body=False)
        got, into = drain_chunks(c, answer), None
        assert got == 1 << 30 and into is None
    down = server.memory()
    piece = b"0123456789abcdef" * 65536
    with server.connect(patience=120) as c:
        c.send(b"POST /sum.php HTTP/1.1\r\nHost: test\r\nContent-Type: x/y\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        for i in range(1024):
            c.send(piece)
            if i == 512:
                assert not [t for n, t in server.descriptors().items()
                            if n not in opened and re.search(r"deleted|/tmp/.*spool", t)]
        assert c.answer().body.split()[0] == str(1 << 30).encode()
    up = server.memory()
    assert down - before <= 64 and up - before <= 64, (before, down, up)


def drain_chunks(c, answer):
    """Read a large chunked body without keeping it; the framing is still checked, at the speed of slices."""
    assert answer["Transfer-Encoding"] == "chunked"
    total = 0
    while True:
        while b"\r\n" not in c.buffer:
            assert c.fill()
        line, c.buffer = c.buffer.split(b"\r\n", 1)
        size = int(line, 16)
        left = size + 2
        while left > len(c.buffer):
            left -= len(c.buffer)
            c.buffer = c.sock.recv(1 << 18)
            assert c.buffer
        assert left > 1 or c.buffer[left - 1:left] == b"\n"
        c.buffer = c.buffer[left:]
        total += size
        if not size:
            return total
