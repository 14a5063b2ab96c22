"""Real programs by CGI: git's own client and server, php, perl, gitweb in Chromium."""
import gzip
import hashlib
import os
import shutil
import subprocess

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from test_php import SCRIPTS
from test_wordpress import browser      # noqa: F401  a fixture
from wire import PATIENCE

BACKEND = "/usr/lib/git-core/git-http-backend"


class Git:
    """git in a folder, with a configuration of its own."""

    def __init__(self, home, where):
        self.home, self.where = home, where

    def __call__(self, *args, **more):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
               "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
               "GIT_COMMITTER_EMAIL": "a@example.org", **more}
        done = subprocess.run(["git", *map(str, args)], cwd=self.where, env=env, capture_output=True, timeout=240)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def commit(self, name, data):
        (self.where / name).write_bytes(data)
        self("add", name)
        self("commit", "-q", "-m", name)


@pytest.fixture
def hub(start, folder, www):
    """A server with repositories at /git/, and a bare one in it."""
    (www / "cgi-bin").mkdir()
    (www / "cgi-bin/git").symlink_to(BACKEND)
    (folder / "home").mkdir()
    (folder / "git").mkdir()
    bare = Git(folder / "home", folder / "git")
    bare("init", "-q", "--bare", "-b", "main", "repo.git")
    bare("-C", "repo.git", "config", "http.receivepack", "true")
    server = start(f"cgi /cgi-bin/\nenv GIT_PROJECT_ROOT {folder}/git\nenv GIT_HTTP_EXPORT_ALL 1\nenv HOME {folder}/home\n"
                   "rewrite /git/ /cgi-bin/git/\nscripts 4\n")
    server.bare = bare

    def work(name):
        path = folder / name
        path.mkdir()
        git = Git(folder / "home", path)
        git("clone", "-q", f"http://127.0.0.1:{server.port}/git/repo.git", ".")
        return git
    server.work = work
    return server


def test_git_clones_pushes_and_fetches(hub, folder):
    one = hub.work("one")
    one("checkout", "-q", "-b", "main")
    one.commit("small", b"small\n")
    one.commit("large", os.urandom(50 << 20))
    one("config", "http.postBuffer", "65536")
    one("push", "-q", "origin", "main", GIT_TRACE_CURL=str(folder / "trace"), GIT_TRACE_CURL_NO_DATA="1")
    assert "Transfer-Encoding: chunked" in (folder / "trace").read_text(errors="replace")
    assert hub.bare("-C", "repo.git", "rev-parse", "main", "main:large") == one("rev-parse", "main", "main:large")

    two = hub.work("two")
    assert two("rev-parse", "main:large") == one("rev-parse", "main:large")
    for i in range(60):
        one.commit("small", b"%d\n" % i)
        two.commit("other", b"%d\n" % i)
    one("push", "-q", "origin", "main")
    two("fetch", "-q", "origin", GIT_TRACE_CURL=str(folder / "trace2"), GIT_TRACE_CURL_NO_DATA="1")
    assert "Content-Encoding: gzip" in (folder / "trace2").read_text(errors="replace"), "a long list of what it has"
    assert two("rev-parse", "origin/main") == one("rev-parse", "main")
    hub.bare("-C", "repo.git", "fsck", "--full")


@pytest.fixture
def php(start, www):
    for name, text in SCRIPTS.items():
        (www / name).write_text(text)
    return start(f"cgi *.php {shutil.which('php-cgi')} folder script\n")


def test_php_as_cgi(php, www):
    v = dict(line.split("=", 1) for line in php.get("/info.php/more?q=1").body.decode().splitlines() if "=" in line)
    assert (v["SCRIPT_NAME"], v["PATH_INFO"], v["QUERY_STRING"]) == ("/info.php", "/more", "q=1")
    assert v["SCRIPT_FILENAME"] == f"{www}/info.php"
    assert php.get("/status.php?s=404").status == 404
    answer = php.get("/session.php")
    assert (answer.status, answer["Location"], len(answer.all("Set-Cookie"))) == (303, "/next.php", 2)
    assert php.get("/length.php").body == b"12345"


def test_php_reads_a_body(php):
    body = os.urandom(5 << 20)
    answer = php.ask("POST", "/sum.php", "Content-Type: application/octet-stream", body=body)
    assert answer.body.decode() == f"{len(body)} {hashlib.sha1(body).hexdigest()}"
    form = b"a=" + b"x" * 10
    assert php.ask("POST", "/post.php", "Content-Type: application/x-www-form-urlencoded", body=form).body == \
        b"xxxxxxxxxx|-|-"
    assert len(php.get("/down.php?mb=20").body) == 20 << 20


def test_perl(start, www):
    (www / "hello.pl").write_text("#!/usr/bin/perl\nuse strict; $| = 1;\nread(STDIN, my $in, $ENV{CONTENT_LENGTH} // 0);\n"
                                  "print STDERR 'a word';\n"
                                  "print qq(Content-type: text/plain\\n\\n$ENV{REQUEST_METHOD} $in\\n);\n")
    (www / "hello.pl").chmod(0o755)
    server = start("cgi *.pl\n")
    assert server.ask("POST", "/hello.pl", body=b"body").body == b"POST body\n"
    server.line(r"/hello.pl: a word")
    server = start(f"cgi *.pl {shutil.which('perl')}\n")
    assert server.get("/hello.pl").body == b"GET \n"


def test_cgit(start, folder, www):
    """Pages, a file as it is, an archive, and what has not changed, of a repository with one commit."""
    for name in ("home", "git", "work", "www/cgi-bin"):
        (folder / name).mkdir()
    git = Git(folder / "home", folder / "work")
    git("init", "-q", "-b", "main")
    git.commit("honey.txt", b"the cub likes honey\n")
    git("clone", "-q", "--bare", ".", folder / "git/cub.git")
    (folder / "cgitrc").write_text("virtual-root=/cgit\ncss=/look/cgit.css\ncache-size=0\nsnapshots=tar.gz\n"
                                   f"scan-path={folder}/git\n")
    (www / "cgi-bin/cgit.cgi").symlink_to("/usr/lib/cgit/cgit.cgi")
    server = start(f"cgi /cgi-bin/\nenv CGIT_CONFIG {folder}/cgitrc\nenv HOME {folder}/home\n"
                   "rewrite /cgit/ /cgi-bin/cgit.cgi/\nalias /look/ /usr/share/cgit\n")
    home = server.get("/cgit/").body.decode()
    assert "/cgit/cub.git/" in home and "/look/cgit.css" in home
    assert server.get("/look/cgit.css")["Content-Type"].startswith("text/css")
    assert "the cub likes honey" in server.get("/cgit/cub.git/tree/honey.txt").body.decode()
    assert server.get("/cgit/cub.git/plain/honey.txt").body == b"the cub likes honey\n"
    assert git("rev-parse", "main") in server.get("/cgit/cub.git/commit/?id=main").body.decode()
    assert gzip.decompress(server.get("/cgit/cub.git/snapshot/cub-main.tar.gz").body).count(b"the cub likes honey") == 1
    assert server.get("/cgit/cub.git/tree/nothing").status == 404


def test_gitweb_in_a_browser(start, folder, www, browser):      # noqa: F811
    home = folder / "home"
    home.mkdir()
    (folder / "git").mkdir()
    (folder / "work").mkdir()
    git = Git(home, folder / "work")
    git("init", "-q", "-b", "main")
    git.commit("honey.txt", b"the cub likes honey\n")
    git("clone", "-q", "--bare", ".", folder / "git/cub.git")
    (folder / "gitweb.conf").write_text(f'$projectroot = "{folder}/git";\n@stylesheets = ("/static/gitweb.css");\n'
                                        '$javascript = "/static/gitweb.js";\n')
    server = start(f"cgi /gitweb.cgi folder script\nenv GITWEB_CONFIG {folder}/gitweb.conf\nenv HOME {home}\n"
                   "alias / /usr/share/gitweb\nlinks any\ntimeout idle 2\n")
    page = f"http://localhost:{server.port}/gitweb.cgi"

    def click(text):
        WebDriverWait(browser, PATIENCE).until(lambda b: b.find_elements(By.LINK_TEXT, text))[0].click()
    browser.get(page)
    click("cub.git")
    click("honey.txt")              # the subject of the commit
    click("blob")
    WebDriverWait(browser, PATIENCE).until(lambda b: "the cub likes honey" in b.find_element(By.TAG_NAME, "body").text,
                                     browser.find_element(By.TAG_NAME, "body").text + server.text())
    broken = browser.execute_script("return performance.getEntriesByType('resource')"
                                    ".filter(e => e.responseStatus >= 400).map(e => e.name)")
    assert broken == []
