"""The configuration: what is refused and how it is told, what -t prints, and that one table says it all."""
import grp
import os
import pwd
import re
import subprocess

import pytest

from conftest import BINARY, ROOT

MANUAL = ROOT / "cubhttpd.conf.5"


def run(*args, cwd=None):
    done = subprocess.run([str(BINARY), *map(str, args)], cwd=cwd, capture_output=True, timeout=60, text=True,
                          errors="backslashreplace", env=dict(os.environ, ASAN_OPTIONS="exitcode=99"))
    assert done.returncode in (0, 1, 2), done.stderr
    return done


TLS = pytest.mark.skipif("CONFIG_TLS 1" not in run("-V").stdout, reason="this build has no TLS (CONFIG_TLS)")


def check(folder, text, *args):
    (folder / "x.conf").write_bytes(text if isinstance(text, bytes) else text.encode())
    return run("-t", "-f", "x.conf", *args, cwd=folder)


def effective(done):
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def words():
    """Name, pattern of arguments and help line of each word, as -h has them."""
    text = run("-h").stdout
    return re.findall(r"^  ([a-z-]+) ([A-Za-z\[{][^\n]*?)(?:  +|\n {10,})(\S[^\n]*)$", text.split("\n\n", 3)[3], re.M)


ALL = r"""
listen 127.0.0.1:8001 [::1]:8002 unix:/run/x.sock
listen 127.0.0.1:8443 [::1]:8443 tls
user 1234:99
listen 127.0.0.1:8003 proxy-protocol
trust 10.0.0.0/8 unix fd00::/8
resolver 127.0.0.1:53 [::1]:53 search lan search home.arpa
forward 192.168.1.0/24 port 443 port 8443 to 192.168.1.9 to fd00::/8 auth /etc/proxy.users
forward unix
pid /run/x.pid
types mime.types
log errors /var/log/errors debug
clients 10 200
scripts 3
proxied 4
sessions 10
memory 64m
timeout head 2.5
timeout stop 0.05
spool /tmp 3k
index "a b.html" index.php
links any
certificate /srv/one.pem
ca ROOT/test/cases/pem/mixed.pem
client-ca ROOT/test/cases/pem/root.pem optional
state /srv/state
certificate /srv/two.pem "/srv/its key.pem"
dotfiles show
root /srv
env LANG "C UTF"
env _x1 ""
fastcgi *.php unix:/run/php.sock 9000 remote /far sendfile /one sendfile "/t w o"
fastcgi /app/ [::1]:9000 app.lan:9000 nas:80
scgi /RPC2 127.0.0.1:5000 unix:/run/scgi.sock sendfile /one
fastcgi /box spawn "/usr/bin/box -a b" children 4 ready 2 idle 30 user 1234 remote /far
scgi /bix spawn /usr/bin/bix
cgi /cgi-bin/ folder root location server user 1234:99 memory 64m cpu 10 time 600 nice 5
cgi *.pl /usr/bin/perl nice 1
proxy /p/ http://127.0.0.1:81/q/ http://[::1]/q/ sticky
proxy /r unix:/run/h.sock 8080
alias /a/ "/srv/with \"quotes\" and \\"
redirect /old /new
redirect /old2 https://example.org/ 308
rewrite /r /index.html
allow /a/ 192.168.1.0/24 fd00::/8 unix
allow / *
auth /a/ "/etc/my users" "with a realm"
auth /b/ system
auth / off
authorization /b/
fallback / /index.php
header / Cache-Control "max-age=1, \"x\""
header /empty/ X-Empty ""
expires *.css 3600
hsts / 31536000
redirect /plain https: 308
limit /up/ body 10m
listing /pub/
error 404 "/no such page.html"
host example.org *.Example.net {
    root /srv/other
    env LANG de
    index x
    redirect /only /here 301
}
host [::1] {
}
""".replace("ROOT", str(ROOT))


# -- reading back

def test_what_t_prints_is_read_back_as_the_same(tmp_path):
    (tmp_path / "mime.types").write_text("# types\ntext/x-cub\tcub CUBS\n")
    first = check(tmp_path, ALL)
    lines = effective(first)
    assert first.stdout == check(tmp_path, first.stdout).stdout
    for line in ("user 1234:99", "memory 64m", "timeout head 2.5", "timeout body 30", "spool /tmp 3k",
                 "redirect /old /new", r'alias /a/ "/srv/with \"quotes\" and \\"', 'header /empty/ X-Empty ""',
                 "host example.org *.example.net {", "\tenv LANG de", "log access off", "proxied 4", "timeout stop 0.05",
                 r'fastcgi *.php unix:/run/php.sock 9000 remote /far sendfile /one sendfile "/t w o"'):
        assert line in lines
    assert not [x for x in lines if x in ("clients 64", "timeout head 10", "links owner", "include mime.types")]


def test_t_uses_every_word(tmp_path):
    """A word that ALL forgets is one whose printing nobody looks at."""
    assert {name for name, *_ in words()} - {"include"} == set(re.findall(r"^ *([a-z-]+) ", ALL, re.M))


def test_the_plan_of_memory_is_printed_and_its_ceiling_kept(tmp_path):
    plan = [line for line in check(tmp_path, "root /").stdout.splitlines() if line.startswith("#")]
    total = int(re.search(r"(\d+) bytes", plan[-1])[1])
    assert check(tmp_path, f"root /\nmemory {total}").returncode == 0
    short = check(tmp_path, f"root /\nmemory {total - 1}")
    assert short.returncode == 1 and "above 'memory'" in short.stderr


def test_without_a_root_there_is_none_to_print(tmp_path):
    assert not [x for x in effective(check(tmp_path, "redirect / /x\nhost a {\n}\n")) if x.strip().startswith("root")]


def test_a_folder_that_is_missing_is_a_warning_and_no_mistake(tmp_path):
    done = check(tmp_path, "root /nonexistent/www")
    assert done.returncode == 0 and "warning: /nonexistent/www" in done.stderr


# -- mistakes

@pytest.mark.parametrize("text, line, says", [
    ("lisen 80", 1, "unknown word 'lisen'; did you mean 'listen'?"),
    ("xyzzyplugh 80", 1, "unknown word 'xyzzyplugh'\n"),
    ("root /a\n\nroot /b", 3, "'root' is already set: x.conf:1"),
    ("listen 80\nlisten *:80", 2, "'80' is already set: x.conf:1"),
    ("host a {\n}\nhost b A {\n}", 3, "'a' is already set: x.conf:1"),
    ("timeout head 1\ntimeout head 1", 2, "'head' is already set: x.conf:1"),
    ("root /\nhost a {\nroot /b\n", 2, "this '{' is never closed"),
    ("root /\n}", 2, "'}' without '{'"),
    ("host a {\nhost b {\n}\n}\nrot /", 2, "'{' within the '{' of line 1"),
    ("host a {\nlisten 80\n}", 2, "stands outside of 'host'"),
    ("redirect /a", 1, "is written: redirect PATTERN TARGET [301|"),
    ("redirect /a /b 200", 1, "is written: redirect PATTERN TARGET [301|302|303|307|308]"),
    ("redirect a /b", 1, "'a' is no pattern: those are /dir/, /path and *.ext"),
    ("rewrite /a//b /c", 1, "no path"),
    ("fastcgi / php:9000x", 1, "'php:9000x' is no address"),
    ("forward lan", 1, "no range of addresses"),
    ("forward 10.0.0.0/8 port x", 1, "no number from 1 to 65535"),
    ("forward 10.0.0.0/8" + " port 1" * 9, 1, "more than 8 ports"),
    ("resolver lan", 1, "no address of a resolver"),
    ("resolver 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4", 1, "more than 3 resolvers"),
    ("fastcgi / app.lan", 1, "is no address"),
    ("fastcgi / app.lan:0", 1, "is no address"),
    ("fastcgi / 300.1.1.1:80", 1, "is no address"),
    ("fastcgi / a..b:80", 1, "is no address"),
    ("trust 10.0.0.0/33", 1, "no range of addresses"),
    ("root /\nlisten 80 proxy-protocol", 2, "needs a line that says who may speak it"),
    ("fastcgi *.php 9000", 1, "there is no 'root'"),
    ("scgi *.py 5000", 1, "there is no 'root'"),
    ("scgi /", 1, "wants an address, or 'spawn'"), ("scgi / 5000 spawn /bin/true", 1, "and not both"),
    ("scgi / 5000 children 2", 1, "'spawn' is missing"), ("scgi / 5000 user 5", 1, "'spawn' is missing"),
    ("scgi / spawn true", 1, "its name begins with '/'"), ("scgi / spawn /a children 0", 1, "'0' is no number"),
    ("scgi / spawn /a children 2 ready 3", 1, "3 of 2 children"),
    ("header / X:Y z", 1, "no name of a field"),
    ("header / content-length 1", 1, "for the server alone"),
    ("timeout haed 1", 1, "'timeout' is written: timeout head|body|"),
    ("clients 1 0\nclients 2 5", 2, "'clients' is already set: x.conf:1"),
    ("timeout head 0", 1, "no time in seconds"),
    ("log errors stderr wran", 1, "FILE|stderr|syslog|off [error|warn|info|debug]"),
    ("log errors here", 1, "stderr, syslog, off and /path"),
    ("links nobody", 1, "'links' is written: links owner|inside|any"),
    ("clients 5000", 1, "no number from 1 to 4096"),
    ("limit / body 20000000000g", 1, "no size"),
    ("allow / 10.0.0.0/33", 1, "'10.0.0.0/33' is no range of addresses"),
    ("allow / example.org", 1, "no range"),
    ("allow /a/ *\nroot /\nallow /a/b 10.0.0.1", 3, "never asked: 'allow' of line 1"),
    ("allow / *\nallow *.php 10.0.0.1", 2, "never asked"),
    ("host a {\nallow *.gz *\nallow *.tar.gz *\n}", 3, "never asked"),
    ("auth /", 1, "'auth' is written: auth PATTERN FILE|system|off [REALM]"),
    ('auth / users "say \\"cheese\\""', 1, "a realm has no quotes"),
    ("auth / users\nroot /\nauth /b/ off", 3, "never asked: 'auth' of line 1"),
    ("error 302 /x", 1, "no number from 400 to 599"),
    ("root \"/a b", 1, "a closing '\"' is missing"),
    ("root \"/a\"b", 1, "a blank is missing"),
    ("user no-such-user", 1, "no user 'no-such-user'"),
    ("include nothing.conf", 1, "nothing.conf: No such file"),
    ("include .", 1, "directory"),
    ("include x.conf", 1, "includes itself"),
    ("types nothing", 1, "nothing: No such file"),
    ("listen 80", 1, "nothing to serve"),
    ("root /\rindex x", 1, "carriage return"),
    ("root " + "x" * 1_000_000, 1, "more than 8192 bytes"),
    ("root /\n\nindex \0", 3, "no text"),
    ("\xff\xfe\x01garbage", 1, "no text"),
    ("index " + "a " * 65, 1, "more than 64 words"),
    ("listen " + " ".join(map(str, range(1, 18))), 1, "more than 16 addresses"),
    ("root /\n" + "header / A b\n" * 65, 66, "too late"),
], ids=lambda x: x[:20] if isinstance(x, str) else None)
def test_a_mistake_is_told_with_its_line(tmp_path, text, line, says):
    done = check(tmp_path, text)
    assert done.returncode == 1 and done.stdout == ""
    assert any(told.startswith(f"x.conf:{line}: ") and says in told + "\n" for told in done.stderr.splitlines()), \
        done.stderr


def test_all_mistakes_of_all_files_are_told_in_one_run(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/one.conf").write_text("bad1\n")
    (tmp_path / "conf.d/two.conf").write_text("\nbad2\n")
    done = check(tmp_path, "bad0\ninclude conf.d/*.conf\nhosts a {\nbad3\n}\nbad4\n", "--bad5", "x")
    assert [re.match(r"(.*): unknown (word|option) '(\w+)'", line).group(1, 3) for line in done.stderr.splitlines()
            ] == [("command line", "bad5"), ("x.conf:1", "bad0"), ("conf.d/one.conf:1", "bad1"),
                  ("conf.d/two.conf:2", "bad2"), ("x.conf:3", "hosts"), ("x.conf:4", "bad3"), ("x.conf:6", "bad4")]


def test_a_thousand_mistakes_end_in_one_sentence(tmp_path):
    told = check(tmp_path, "rot /\n" * 1000).stderr.splitlines()
    assert len(told) == 201 and "the rest is not told" in told[-1]


@pytest.mark.parametrize("path", [".", "/nonexistent", "/dev/zero"])
def test_no_file_is_told_and_no_crash(path, tmp_path):
    done = run("-f", path, cwd=tmp_path)
    assert done.returncode == 1 and re.match(rf"command line: {re.escape(path)}: \w", done.stderr)


def test_random_bytes_are_refused_in_a_sentence(tmp_path):
    done = check(tmp_path, bytes(range(256)) * 400)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_includes_that_go_round_end(tmp_path):
    for i in range(9):
        (tmp_path / f"{i}.inc").write_text("include *.inc\n")
    assert "includes itself" in check(tmp_path, "root /\ninclude *.inc\n").stderr


# -- grammar

def test_include_is_relative_to_the_file_and_an_empty_folder_is_fine(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/1.conf").write_text("include b/2.conf\n")
    (tmp_path / "a/b/2.conf").write_text("root /two\n")
    assert "root /two" in effective(check(tmp_path, "include a/1.conf\ninclude none/*.conf\n"))


def test_include_within_host_belongs_to_the_host_and_cannot_end_it(tmp_path):
    (tmp_path / "in").write_text("links any\n")
    assert "\tlinks any" in effective(check(tmp_path, "root /\nhost a {\ninclude in\n}"))
    (tmp_path / "in").write_text("}\n")
    assert "in:1: '}' without '{'" in check(tmp_path, "root /\nhost a {\ninclude in\n}").stderr


def test_comments_quotes_and_line_ends(tmp_path):
    lines = effective(check(tmp_path, "# x\r\n\troot \"/a#b \\\"c\\\"\" # y\r\nindex a#b\r\n"))
    assert r'root "/a#b \"c\""' in lines and "index a#b" in lines


@pytest.mark.parametrize("word, options", [
    ("cgi *.php /usr/bin/php-cgi", {"folder root": "is written", "location server": "is written", "memory 64m": "no size",
                                    "cpu 5": "to 2592000", "time 60": "to 2592000", "nice 5": "to 19"}),
    ("cgi /cgi-bin/", {"folder root": "[folder root|script]", "memory 64m": "no size", "nice 1": "to 19"}),
    ("fastcgi /app unix:/s 127.0.0.1:9000", {"remote /www": None, "sendfile /a": None}),
    ("fastcgi /app 127.0.0.1:9", {"sendfile /a": None, "remote /www": None, "sendfile /b": None}),
    ("scgi /app", {"spawn /usr/bin/app": "no program", "children 3": "1 to 64", "ready 1": "0 to 64", "idle 30": "to 2592000"}),
    pytest.param("proxy /p/ https://127.0.0.1:81 https://127.0.0.1:82",
                 {"check nothing": "neither 'nothing'", "name a": None, "sticky": None}, marks=TLS),
    ("forward 192.168.1.0/24", {"port 80": "1 to 65535", "to 10.0.0.0/8": "no range"}),
])
def test_options_stand_in_any_order(tmp_path, word, options):
    """And each value is taken for what stands before it: a wrong one is told as one of that kind."""
    each = list(options)
    for turn in range(len(each)):
        for some in (each[turn:] + each[:turn], each[turn::-1] + each[:turn:-1]):
            line = f"{word} {' '.join(some)}"
            assert line in effective(check(tmp_path, f"root /\n{line}\n")), some
            for option in (x for x in some if options[x]):
                wrong = line.replace(option, option.split()[0] + " x")
                done = check(tmp_path, f"root /\n{wrong}\n")
                assert done.returncode == 1 and options[option] in done.stderr, (wrong, done.stderr)


@pytest.mark.parametrize("line", [
    "cgi /a nice 1 memory 1m nice 2", "cgi /a time 5 /usr/bin/php-cgi", "proxy /p/ 127.0.0.1:1 sticky in-turn",
    "fastcgi /a 127.0.0.1:1 remote /a sendfile /b remote /c", "scgi /a spawn /b idle 5 children", "cgi /a memory",
])
def test_an_option_is_said_once_and_whole(tmp_path, line):
    done = check(tmp_path, f"root /\n{line}\n")
    assert done.returncode == 1 and f"'{line.split()[0]}' is written: " in done.stderr, done.stderr


def test_included_files_come_in_the_order_of_their_names_and_hidden_ones_not_at_all(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("20-b.conf", "10-a.conf", "3.conf", ".4.conf", "5.conf~", "6.conf.orig", "xconf"):
        (tmp_path / "d" / name).write_text(f"redirect /{name} /\n")
    lines = effective(check(tmp_path, "root /\ninclude d/*-?.conf\ninclude d/?.co*f\n"))
    assert [x.split()[1] for x in lines if x.startswith("redirect")] == ["/10-a.conf", "/20-b.conf", "/3.conf"]


def test_users_are_found_by_name_with_their_group(tmp_path):
    user, group = pwd.getpwall()[1], grp.getgrall()[2]
    assert f"user {user.pw_name}:{group.gr_name}" in effective(
        check(tmp_path, f"root /\nuser {user.pw_name}:{group.gr_name}\n"))
    assert "no group" in check(tmp_path, f"root /\nuser {user.pw_name}:no-such-group\n").stderr
    assert "no user ''" in check(tmp_path, "root /\nuser :1\n").stderr


# -- the command line

def test_the_command_line_goes_before_the_file(tmp_path):
    done = check(tmp_path, "root /file\nlisten 1\nlisten 2\nredirect /file /x\n",
                 "--listen", "3", "4", "--redirect", "/line", "/y", "--", "/line")
    lines = effective(done)
    assert [x for x in lines if x.split()[0] in ("root", "listen", "redirect")] == [
        "listen 3 4", "redirect /line /y", "root /line", "redirect /file /x"]


def test_a_folder_alone_is_served_on_8000():
    lines = effective(run("-t", "/"))
    assert "listen 8000" in lines and "root /" in lines and "index index.html" in lines


@pytest.mark.parametrize("args, says", [
    (["-x"], "unknown option '-x'"),
    (["-listen", "80"], "did you mean '--listen'?"),
    (["--lisen", "80"], "unknown option 'lisen'; did you mean 'listen'?"),
    (["--listen"], "--listen ADDR..."),
    (["--host", "a"], "'host' is written"),
    (["/", "/"], "'root' is already set: command line"),
    (["-f"], "-f FILE"),
    (["/", "--header", "/", "X", "a\r\nb"], "control character"),
])
def test_mistakes_of_the_command_line(args, says):
    done = run(*args)
    assert done.returncode == 1 and done.stderr.startswith("command line: ") and says in done.stderr


def test_no_argument_shows_how_to_call_it():
    done = run()
    assert done.returncode == 2 and done.stderr.startswith("usage: cubhttpd DIR") and not done.stdout


# -- what it says of itself

@pytest.mark.once
def test_version_names_every_feature_and_limit():
    defined = re.findall(r"^#define ([A-Z_0-9]+) +(?:[01]|\d+)\b", (ROOT / "config.h").read_text(), re.M)
    said = dict(line.split() for line in run("-V").stdout.splitlines())
    assert said.pop("cubhttpd")
    assert set(defined) == set(said)


@pytest.mark.once
def test_help_fits_the_screen_and_has_every_word():
    text = run("-h").stdout
    assert len(words()) >= 25
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.once
def test_the_manual_has_what_the_table_says():
    """Every line of test/directives, in its order; what stands between them is the manual's own."""
    told = subprocess.run([ROOT / "test/directives", BINARY], check=True, capture_output=True, text=True).stdout.splitlines()
    page = MANUAL.read_text().split(".Sh WORDS\n")[1].split("\n.Sh ")[0].splitlines()
    at = iter(page)
    for line in told:
        assert line in at, line
    table = [x for x in told if x.startswith((".It Ic", ".Ss"))]
    assert [x for x in page if x.startswith((".It Ic", ".Ss"))] == table
