"""Paths: nothing outside of the root, whatever the spelling; nothing hidden; links by policy."""
import os

import pytest

from wire import eventually

SECRET = b"top secret"


@pytest.fixture
def tree(www, folder):
    (folder / "secret").write_bytes(SECRET)
    (folder / "www2").mkdir()
    (folder / "www2/secret").write_bytes(SECRET)
    (www / "a.txt").write_text("hello")
    (www / "dir").mkdir()
    (www / "dir/b.txt").write_text("below")
    (www / ".htpasswd").write_bytes(SECRET)
    (www / ".git").mkdir()
    (www / ".git/config").write_bytes(SECRET)
    (www / "dir/.hidden").write_bytes(SECRET)
    (www / ".well-known/acme-challenge").mkdir(parents=True)
    (www / ".well-known/acme-challenge/token").write_text("token")
    (www / ".well-known/.secret").write_bytes(SECRET)
    return www


ESCAPES = [
    "/../secret", "/../../secret", "/dir/../../secret", "/%2e%2e/secret", "/%2E%2E/secret", "/.%2e/secret", "/%2e./secret",
    "/..%2fsecret", "/..%2Fsecret", "/%2e%2e%2fsecret", "/dir/%2e%2e/%2e%2e/secret", "/dir/..%2f..%2fsecret",
    "/..%5csecret", "/..\\secret", "/dir\\..\\..\\secret", "/%5c..%5csecret", "/....//secret", "/..../secret",
    "//../secret", "///../..//secret", "/./../secret", "/dir/./../../secret", "/dir/.././../secret", "/%252e%252e/secret",
    "/..%252fsecret", "/%c0%ae%c0%ae/secret", "/..%c0%afsecret", "/%e0%80%ae%e0%80%ae/secret", "/%uff0e%uff0e/secret",
    "/..;/secret", "/dir/..;/..;/secret", "/../www2/secret", "/..%00/secret", "/%00/../secret", "/a.txt%00/../../secret",
    "/../" * 200 + "secret", "/dir/" + "../" * 300 + "secret", "/%2e%2e%2f" * 50 + "secret", "/..", "/../", "/%2e%2e",
    "http://test/../secret", "http://test/%2e%2e/secret", "/?/../../secret", "/~/../secret", "/..%2e/secret",
    "/.%252e/secret", "/..%09/secret", "/.. /secret".replace(" ", "%20"),
]


@pytest.mark.parametrize("target", ESCAPES)
@pytest.mark.parametrize("links", ["owner", "any"])
def test_no_spelling_leads_outside(start, tree, target, links):
    server = start(f"links {links}\nlisting /\nalias /other/ {tree}/dir\n")
    for prefix in ("", "/dir", "/other"):
        if target.startswith("http") and prefix:
            continue
        answer = server.get(prefix + target)
        assert SECRET not in answer.body
        assert answer.status in (200, 301, 308, 400, 403, 404, 414), answer
        assert b"www2" not in answer.body, "the folder above is listed"


SPELLINGS = {
    "/a.txt": "/a.txt", "//a.txt": "/a.txt", "/./a.txt": "/a.txt", "/dir/../a.txt": "/a.txt", "/dir/%2e%2e/a.txt": "/a.txt",
    "/../a.txt": "/a.txt", "/../../../a.txt": "/a.txt", "/dir//b.txt": "/dir/b.txt", "/dir%2fb.txt": "/dir/b.txt",
    "/dir/x/../b.txt": "/dir/b.txt", "/%64ir/b.txt": "/dir/b.txt", "/dir/./b.txt": "/dir/b.txt",
    "/dir/%2e/b.txt": "/dir/b.txt", "/nothing/../a.txt": "/a.txt",
}


@pytest.mark.parametrize("target", SPELLINGS)
def test_spellings_are_made_one_before_anybody_looks(start, tree, target):
    server = start()
    assert server.get(target).body == server.get(SPELLINGS[target]).body != b""
    assert server.get(target).status == 200


@pytest.mark.parametrize("target", ["/x/../private/a", "/%70rivate/a", "//private/a", "/./private/a", "/private%2fa",
                                    "/x/%2e%2e/private/a", "/private//a", "/private/./a"])
def test_no_spelling_goes_around_a_route(start, tree, target):
    """A route that guards must see the path as the file system will."""
    (tree / "private").mkdir()
    (tree / "private/a").write_bytes(SECRET)
    server = start("redirect /private/ /login\n")
    answer = server.get(target)
    assert answer.status == 302 and SECRET not in answer.body


@pytest.mark.parametrize("target", ["/X.PHP", "/x.php.", "/x.pHp...", "/X.Php/more", "/CGI-BIN/x", "/cgi-bin./x", "/stick/x.PHP"])
def test_no_spelling_shows_the_source_of_a_script(start, tree, target):
    """vfat knows a file in any case and with dots behind its name.  Here these are other files, but who can tell."""
    for name in ("X.PHP", "x.php.", "x.pHp...", "CGI-BIN/x", "cgi-bin./x", "x.PHP", "photo.JPG"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("source")
    server = start(f"cgi /cgi-bin/\nfastcgi *.php unix:/none\nalias /stick/ {tree}\n")
    assert server.get(target).status == 404
    assert server.get("/photo.JPG").status == server.get("/stick/photo.JPG").status == 200


@pytest.mark.parametrize("target", ["/.htpasswd", "/.git/config", "/.git/", "/.git", "/dir/.hidden", "/%2ehtpasswd",
                                    "/dir/../.htpasswd", "/dir/%2ehidden", "//.htpasswd", "/.well-known/.secret",
                                    "/x/.well-known/../../.htpasswd", "/.well-known/../.htpasswd"])
def test_dotfiles_are_hidden(start, tree, target):
    """404 and not 403: whether it is there is nobody's business."""
    answer = start().get(target)
    assert answer.status == 404 and SECRET not in answer.body


def test_dotfiles_are_shown_when_asked_for(start, tree):
    server = start("dotfiles show\n")
    assert server.get("/.htpasswd").body == SECRET
    assert server.get("/.git/config").body == SECRET


def test_well_known_is_served(start, tree):
    assert start().get("/.well-known/acme-challenge/token").body == b"token"


def test_hidden_below_another_folder_of_that_name(start, tree):
    (tree / "dir/.well-known").mkdir()
    (tree / "dir/.well-known/x").write_bytes(SECRET)
    assert start().get("/dir/.well-known/x").status == 404


def test_a_dotfile_is_no_index_and_no_fallback_of_chance(start, tree):
    server = start("listing /\n")
    page = server.get("/").body
    assert b".git" not in page and b".htpasswd" not in page and b"a.txt" in page


NAMES = ["with space.txt", "per%cent.txt", "h\xe4lla.txt", "snow\u2603.txt", "plus+plus.txt", "q?mark.txt", "hash#tag.txt",
         "semi;colon.txt", "amp&amp.txt", 'quo"te.txt', "new\nline.txt", "back\\slash.txt", "colon:.txt", "~tilde.txt",
         "a" * 250 + ".txt", "...txt", "%2e%2e", "%00", "-rf", "&lt;"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_can_be_fetched(start, tree, name):
    (tree / "dir" / name).write_text("found")
    quoted = "".join(f"%{b:02X}" for b in os.fsencode(name))
    answer = start("dotfiles show\n").get(f"/dir/{quoted}")
    assert (answer.status, answer.body) == (200, b"found")


def test_raw_high_bytes_in_a_target(start, tree):
    (tree / "h\xe4lla.txt").write_text("found")
    with start().connect() as c:
        c.send(b"GET /h\xc3\xa4lla.txt HTTP/1.1\r\nHost: test\r\n\r\n")
        assert c.answer().body == b"found"


@pytest.mark.parametrize("length", [255, 256, 1000, 4000, 4090, 4095, 4096, 5000, 8000])
def test_long_paths_are_refused_politely(start, tree, length):
    server = start("listing /\nindex index.html a-long-name-for-an-index.html\n")
    for target in ("/" + "a" * length, "/" + "a/" * (length // 2), "/dir/" + "%61" * (length // 3)):
        if len(target) < 8100:
            assert server.get(target).status in (404, 414)


def test_a_deep_folder(start, tree):
    deep = tree
    for _ in range(100):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "f").write_text("deep")
    assert start().get("/" + "d/" * 100 + "f").body == b"deep"


# -- links

def link(path, target, owner=None):
    path.symlink_to(target)
    if owner is not None:
        os.lchown(path, owner, owner)


@pytest.fixture
def linked(tree, folder):
    (folder / "outside").mkdir()
    (folder / "outside/o.txt").write_text("outside")
    link(tree / "in.txt", "a.txt")
    link(tree / "in-absolute.txt", tree / "a.txt")
    link(tree / "in-dir", "dir")
    link(tree / "out.txt", folder / "outside/o.txt")
    link(tree / "out-relative.txt", "../outside/o.txt")
    link(tree / "out-dir", folder / "outside")
    link(tree / "chain.txt", "in.txt")
    link(tree / "loop", "loop")
    link(tree / "dangling", "nothing")
    link(tree / "foreign.txt", "/etc/passwd")
    if os.geteuid() == 0:               # somebody else's link to our file
        os.lchown(tree / "foreign.txt", 65534, 65534)
        link(tree / "foreign-dir", folder / "outside", 65534)
    return tree


INSIDE = ["/in.txt", "/in-absolute.txt", "/in-dir/b.txt", "/chain.txt"]
OUTSIDE = ["/out.txt", "/out-relative.txt", "/out-dir/o.txt"]


@pytest.mark.parametrize("policy,allowed,refused", [
    ("any", INSIDE + OUTSIDE + ["/foreign.txt"], []),
    ("owner", INSIDE + OUTSIDE, ["/foreign.txt"]),
    ("inside", INSIDE, OUTSIDE + ["/foreign.txt"]),
])
def test_links_by_policy(start, linked, policy, allowed, refused):
    server = start(f"links {policy}\n")
    for target in allowed:
        assert server.get(target).status == 200, target
    for target in refused:
        answer = server.get(target)
        assert answer.status in (403, 404), target
        assert b"root:" not in answer.body and b"outside" not in answer.body
    for target in ("/loop", "/dangling", "/loop/x"):
        assert server.get(target).status in (403, 404), target


def test_a_file_that_one_site_may_have_is_not_another_ones(start, linked):
    """An alias of all sites, and a policy of each: what is kept open for one is not for the other."""
    server = start(f"links inside\nalias /a/ {linked}\nhost free.example {{\nlinks any\n}}\n")
    for _ in range(2):
        assert server.get("/a/out.txt", host="free.example").status == 200
        assert server.get("/a/out.txt").status == 403


@pytest.mark.native
@pytest.mark.skipif(os.geteuid() != 0, reason="root is refused nothing, and only root can become another")
def test_a_file_that_is_taken_away_from_us_is_not_served_on(start, tree, folder):
    """It is kept open, and has neither moved nor changed."""
    folder.chmod(0o755)
    server = start("user nobody\n")
    (tree / "mine.txt").write_text("mine")
    assert server.get("/mine.txt").status == 200
    (tree / "mine.txt").chmod(0o600)
    eventually(lambda: server.get("/mine.txt").status == 403, "the end of it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's link")
def test_a_foreign_link_within_the_path_is_not_followed(start, linked):
    assert start("links owner\n").get("/foreign-dir/o.txt").status in (403, 404)


def test_owner_is_the_default(start, linked):
    server = start()
    assert server.get("/foreign.txt").status in (403, 404)
    assert server.get("/in.txt").status == 200


@pytest.mark.parametrize("policy", ["owner", "inside"])
def test_the_policy_holds_while_the_link_is_changed(start, linked, folder, policy):
    """A check before the open would be fooled by a link that turns between the two."""
    import threading
    server = start(f"links {policy}\n")
    stop = threading.Event()
    (linked / "plain.txt").write_text("hello")
    uid = 65534 if os.geteuid() == 0 else None

    def turn():
        n = 0
        while not stop.is_set():
            n += 1
            name = linked / f".t{n % 2}"
            if name.is_symlink() or name.exists():
                name.unlink()
            if n % 2:
                os.link(linked / "plain.txt", name)
            else:
                link(name, "/etc/passwd", uid)
            os.rename(name, linked / "turn.txt")
    t = threading.Thread(target=turn)
    t.start()
    try:
        seen = set()
        with server.connect() as c:
            for i in range(1500):
                answer = c.get("/turn.txt")
                assert b"root:" not in answer.body
                seen.add(answer.status)
    finally:
        stop.set()
        t.join()
    assert seen <= {200, 403, 404}, seen


def test_a_root_that_is_a_link_itself(start, tree, folder):
    (folder / "current").symlink_to(tree)
    for policy in ("owner", "inside", "any"):
        assert start(f"root {folder}/current\nlinks {policy}\n").get("/a.txt").body == b"hello"
