"""uhttpd's options, as OpenWrt keeps them, become a configuration; and what its init script makes of that."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT, Server
from test_contrib import CONTRIB, run

pytestmark = pytest.mark.once

HTTPD_CONF = """# busybox
/secret:bob:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0
*.sh:/bin/sh
I:start.html
E404:/none.html
A:192.168.
A:10.1.2.3
D:*
Q:what
"""


def converted(folder, config, section=None):
    """What uci.sh makes of a file of options, by section, and what it tells."""
    script = f"""
        . {ROOT}/test/peers/uci.sh
        . {CONTRIB}/openwrt/files/uci.sh
        cub_print() {{ echo "=== $1"; cub_conf "$1"; }}
        config_load {config}
        config_foreach cub_print uhttpd"""
    done = subprocess.run(["/bin/sh", "-euc", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, CUB_PROGRAM=str(BINARY), CUB_RUN=str(folder / "run")), timeout=60)
    assert done.returncode == 0, done.stderr
    parts = dict(part.split("\n", 1) for part in done.stdout.split("=== ")[1:])
    return parts, done.stderr


def check(folder, text):
    """`cubhttpd -t` takes it, and what it prints says it all again."""
    (folder / "made.conf").write_text(text)
    return run(BINARY, "-t", "-f", folder / "made.conf")


def test_the_configuration_that_openwrt_ships_for_uhttpd(folder):
    parts, told = converted(folder, ROOT / "test/cases/uci/default")
    made = parts["main"]
    check(folder, made)
    lines = made.splitlines()
    assert "listen 80" in lines and "listen 0.0.0.0:80" not in lines, "one socket is for both families"
    assert {"root /www", "clients 100", "scripts 3", "timeout backend 60", "timeout body 30", "timeout send 30",
            "timeout idle 20", "cgi /cgi-bin/", "links any", "listing /"} <= set(lines)
    tls = "CONFIG_TLS 1" in run(BINARY, "-V")
    assert ("listen 443 tls" in lines) == tls
    (folder / "https").write_text((CONTRIB / "openwrt/files/luci.config").read_text().replace("cubhttpd", "uhttpd"))
    made = converted(folder, folder / "https")[0]["main"]
    check(folder, made)
    assert ("redirect / https: 307" in made) == tls
    assert "lua_prefix has no equal" in told and "rfc1918_filter has no equal" in told


def test_everything_that_uhttpd_can_be_told(folder):
    (folder / "httpd.conf").write_text(HTTPD_CONF)
    config = (ROOT / "test/cases/uci/everything").read_text().replace("@HTTPD_CONF@", str(folder / "httpd.conf"))
    (folder / "uhttpd").write_text(config)
    parts, told = converted(folder, folder / "uhttpd")
    made = parts["main"]
    auth = [line for line in made.splitlines() if line.startswith("auth ")]
    shown = check(folder, made if "CONFIG_AUTH 1" in run(BINARY, "-V") else
                  "".join(line + "\n" for line in made.splitlines() if not line.startswith("auth ")))
    assert set(made.splitlines()) >= {
        "listen 192.168.1.1:8080", "listen [fd00::1]:8080", "listen 0.0.0.0:81", r'root "/srv/my \"site\""',
        "cgi *.php /usr/bin/php-cgi", "cgi *.pl /usr/bin/perl", "cgi *.sh /bin/sh",
        "rewrite /films /cgi-bin/player/films", "rewrite /a/b /cgi-bin/a/b", "timeout idle 1", "index index.php index.html start.html",
        "error 404 /cgi-bin/missing", "links inside", "scripts 16", "allow / 192.168.0.0/16 10.1.2.3"}
    assert 'listing' not in made and "timeout backend" not in made
    assert "option script_timeout 'many' is no number" in told and "'Q:what' has no equal" in told
    realm = r'"The $HOME of all"'
    assert auth == [f"auth /admin {folder}/run/main_admin.users {realm}", f"auth /system system {realm}",
                    f"auth /secret {folder}/run/main_secret.users {realm}"]
    assert (folder / "run/main_admin.users").read_text() == "alice:{PLAIN}secret\n"
    assert (folder / "run/main_secret.users").read_text() == "bob:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0\n"
    assert (folder / "run/main_admin.users").stat().st_mode & 0o77 == 0, "others may read the passwords"
    assert made.index("\nrewrite") < made.index("\ncgi"), "there an alias comes before all else"
    assert "rewrite /films /cgi-bin/player/films" in shown
    assert parts["guests"].startswith("# made from") and "listen 8081" in parts["guests"]
    assert "secret" not in parts["guests"], "one server has the users of another"


ODD = [
    ("option listen_http '80 8080'", {"listen 80", "listen 8080"}, ""),
    ("list listen_http 80\n list listen_http 80", {"listen 80"}, ""),
    ("list listen_http '0.0.0.0:80'\n list listen_http '[::]:80'", {"listen 80"}, ""),
    ("option listen_https 443\n option redirect_https 1\n option cert /no.crt\n option key /no.key",
     {"listen 443 tls", "redirect / https: 307"}, ""),
    ("option cgi_prefix /", {"cgi /"}, ""),
    ("option cgi_prefix scripts", {"cgi /scripts/"}, ""),
    ("option cgi_prefix ''", {"cgi /cgi-bin/"}, ""),
    ("option alias /films", {"rewrite /films /cgi-bin/films"}, ""),
    ("option interpreter '.php=/usr/bin/php-cgi .pl=/usr/bin/perl'", {"cgi *.php /usr/bin/php-cgi", "cgi *.pl /usr/bin/perl"}, ""),
    ("list interpreter 'php=/usr/bin/php-cgi'", set(), "is not .ext=/program"),
    ("option index_page 'a.html b.html'", {"index a.html b.html"}, ""),
    ("".join(f"list index_page {n}.html\n " for n in range(9)), {"cgi /cgi-bin/"}, "more than 8 names"),
    ("option error_page none.html", {"error 404 /none.html"}, ""),
    ("option max_requests 5000\n option max_connections 99999999999999999999", {"scripts 4096", "clients 4096"}, ""),
    ("option script_timeout 100000\n option network_timeout 5", {"timeout backend 86400", "timeout body 5", "timeout send 5"}, ""),
    ("option http_keepalive 0\n option tcp_keepalive 1", {"timeout idle 1"}, ""),
    ("option no_dirlists yes\n option no_symlinks on", {"links inside"}, ""),
    ("option ubus_prefix /ubus\n list ucode_prefix '/x=/y.uc'", {"listing /"}, "ucode_prefix has no equal"),
    ("list httpauth nobody", set(), "httpauth 'nobody' has no user or no password"),
    ("list httpauth them\nconfig httpauth them\n option prefix '/a b'\n option username x\n option password y",
     {'auth "/a b" @RUN@/main_a_b.users Name'}, ""),
]


@pytest.mark.parametrize("options, lines, tells", ODD, ids=[re.sub(r"[^a-z_]+", "-", o[0][:40]) for o in ODD])
def test_odd_ways_to_say_it(folder, options, lines, tells):
    """The router is reachable whatever stands there: the server takes what is made, and lines that it cannot are told."""
    (folder / "odd").write_text(f"config uhttpd main\n option realm Name\n option home {folder}\n {options}\n")
    said = run("/bin/sh", "-euc", f"""
        . {ROOT}/test/peers/uci.sh
        . {CONTRIB}/openwrt/files/uci.sh
        config_load {folder}/odd
        cub_conf main >{folder}/made.conf
        cub_mend {folder}/made.conf""", env=dict(os.environ, CUB_PROGRAM=str(BINARY), CUB_RUN=str(folder / "run")))
    made = (folder / "made.conf").read_text().splitlines()
    tls = "CONFIG_TLS 1" in run(BINARY, "-V")
    expected = {x.replace("@RUN@", f"{folder}/run") for x in lines if tls or not re.search("tls|https", x)}
    assert expected <= set(made) and len(made) == len(set(made)), (made, said)
    assert tells in said and (tells or not said), said
    run(BINARY, "-t", "-f", folder / "made.conf")


UCI = r"""#!/bin/sh
[ "$1" != -q ] || shift
cd "$UCI_DIR" || exit
case $1 in
export) echo "package $2"; cat "$2" ;;
import) grep -v "^package $2\$" >"$2.new"; mv "$2.new" "$2" ;;
get)    [ "$2" = cubhttpd.uhttpd ] && grep -q "^config taken_over 'uhttpd'" cubhttpd && echo taken_over ;;
set)    [ "$2" = cubhttpd.uhttpd=taken_over ] && echo "config taken_over 'uhttpd'" >>cubhttpd ;;
commit) ;;
*)      exit 1 ;;
esac
"""


def test_what_uhttpd_had_is_taken_over_once_and_all_of_it(folder):
    """Its other servers and its users, too: a path with a password would be open otherwise."""
    for path, text in {"bin/uci": UCI, "init.d/uhttpd": f'#!/bin/sh\necho "$1" >>{folder}/asked\n'}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    (folder / "config").mkdir()
    shutil.copy(ROOT / "test/cases/uci/everything", folder / "config/uhttpd")
    shutil.copy(CONTRIB / "openwrt/files/cubhttpd.config", folder / "config/cubhttpd")
    script = (CONTRIB / "openwrt/files/cubhttpd.defaults").read_text()
    script = script.replace("/etc/config/", f"{folder}/config/").replace("/etc/init.d/", f"{folder}/init.d/")
    for again in (False, True):
        run("/bin/sh", "-euc", script, env={"PATH": f"{folder}/bin:{os.environ['PATH']}", "UCI_DIR": str(folder / "config")})
    assert (folder / "asked").read_text() == "stop\ndisable\n"
    taken = (folder / "config/cubhttpd").read_text()
    assert taken.count("config cubhttpd") == 2 and taken.count("config httpauth") == 2
    (folder / "there").write_text(taken.replace("config cubhttpd", "config uhttpd"))
    run_before, run_after = (converted(folder, folder / name)[0] for name in ("config/uhttpd", "there"))
    assert run_before == run_after and "auth /admin" in run_after["main"]


def test_the_init_script_of_openwrt(folder):
    """procd is told of one instance for each section; a mistake leaves the last configuration that was good."""
    init = (CONTRIB / "openwrt/files/cubhttpd.init").read_text()
    init = init.replace("/usr/share/cubhttpd/uci.sh", f"{CONTRIB}/openwrt/files/uci.sh")
    init = init.replace("/usr/sbin/cubhttpd", str(BINARY)).replace("/var/etc/cubhttpd", f"{folder}/run")
    init = init.replace("/etc/cubhttpd ", f"{folder}/state ").replace("_rw /etc/cubhttpd\n", f"_rw {folder}/state\n")
    (folder / "init").write_text(init)
    (folder / "cubhttpd").write_text("config cubhttpd main\n list listen_http 8080\n option home /tmp\n option jail 1\n"
                                     " option cert /etc/ssl/acme/x.crt\n option key /etc/ssl/acme/x.key\n"
                                     "config cubhttpd off\n option enabled 0\n")
    script = f"cd {folder} && . {ROOT}/test/peers/uci.sh && . {folder}/init && start_service"
    said = run("/bin/sh", "-euc", script)
    assert f"procd_set_param command {BINARY} -f {folder}/run/main.conf" in said
    assert "procd_set_param respawn" in said and "procd_set_param reload_signal HUP" in said
    assert "procd_add_jail cubhttpd-main" in said and said.count("procd_open_instance") == 1
    mounted = {word for line in re.findall("jail_mount (.*)", said) for word in line.split()}
    assert {f"{folder}/run", "/tmp", "/etc/ssl/acme"} <= mounted, "a renewal or a reload would not be seen in the jail"
    assert f"procd_add_jail_mount_rw {folder}/state" in said and (folder / "state").is_dir()
    good = (folder / "run/main.conf").read_text()
    (folder / "cubhttpd").write_text("config cubhttpd main\n list listen_http 99999\n")
    said = run("/bin/sh", "-euc", script)
    assert "log: -t cubhttpd" in said and "99999" in said
    assert (folder / "run/main.conf").read_text() == good


IO = """#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "$(basename "$0") in $PWD got $(wc -c)"
"""
LUCI = r"""#!/bin/sh
echo "Status: 302 Found"
echo "Location: /cgi-bin/luci/admin$PATH_INFO"
echo "Set-Cookie: a=1"
echo "Set-Cookie: b=2"
echo "X-Said: $SCRIPT_NAME ${HTTPS-plain}"
echo
"""


def test_luci_is_served_by_its_example(folder):
    """A script with a path behind it, a redirect that is the client's, and links to one program that looks at its name."""
    www = folder / "www"
    (www / "cgi-bin").mkdir(parents=True)
    (www / "luci-static").mkdir()
    (www / "index.html").write_text("to luci")
    (www / "luci-static/cascade.css").write_text("a{}")
    (folder / "cgi-io").write_text(IO)
    (www / "cgi-bin/luci").write_text(LUCI)
    (www / "cgi-bin/cgi-upload").symlink_to(folder / "cgi-io")
    for script in (folder / "cgi-io", www / "cgi-bin/luci"):
        script.chmod(0o755)
    config = (CONTRIB / "openwrt/files/luci.config").read_text().replace("config cubhttpd", "config uhttpd")
    config = re.sub(r".*(listen_https|redirect_https|\[::\]).*\n", "", config).replace("0.0.0.0:80", "127.0.0.1:0")
    (folder / "luci").write_text(config.replace("/www", str(www)))
    made = converted(folder, folder / "luci")[0]["main"]
    (folder / "made.conf").write_text(made.replace("log errors syslog warn\n", ""))
    server = Server(["-f", folder / "made.conf"], cwd=folder)
    try:
        assert server.get("/").body == b"to luci"
        css = server.get("/luci-static/cascade.css?v=23")
        assert css.status == 200 and css["content-type"].startswith("text/css")
        answer = server.get("/cgi-bin/luci/status")
        assert answer.status == 302 and answer["location"] == "/cgi-bin/luci/admin/status"
        assert answer["x-said"] == "/cgi-bin/luci plain"
        upload = server.ask("POST", "/cgi-bin/cgi-upload", body=b"x" * 300000)
        assert upload.body.decode().split()[0] == "cgi-upload" and b"got 300000" in upload.body
    finally:
        server.stop()
