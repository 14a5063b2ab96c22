"""What other systems expect: packages, units, init scripts, and uhttpd's options."""
import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT, Server, eventually

pytestmark = pytest.mark.once
CONTRIB = ROOT / "contrib"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root")


def run(*command, **more):
    done = subprocess.run([str(x) for x in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=more.pop("patience", 900), **more)
    assert done.returncode == 0, done.stdout
    return done.stdout


def words():
    """The features of config.h, but for the one that is for tests."""
    text = (ROOT / "config.h").read_text()
    return sorted(set(re.findall(r"^#define CONFIG_(\w+) [01]$", text, re.M)) - {"CHECKS"})


# -- coming from another server

def test_what_others_called_otherwise_is_called_so_here(folder):
    """Each word that the tables name exists, and each whole line among them is one."""
    known = set(re.findall(r"^  ([a-z-]+) [A-Za-z\[{]", run(BINARY, "-h"), re.M))
    text = (CONTRIB / "README.md").read_text().split("# Coming from another server")[1]
    spans = [s for row in text.splitlines() if row.startswith("| ") for cell in row.split(" | ")[1:]
             for s in re.findall(r"`([^`]*)`", cell)]
    lines = [s for s in spans if s.split()[0] in known]
    assert len(lines) > 50 and {s for s in spans if s[0].islower() and s.split()[0] not in known} <= {
        "cubhttpd --hash", "cubhttpd.defaults", "cubhttpd -t -f FILE", "user:{PLAIN}password"}
    whole = [s for s in lines if " " in s and not re.search(r"\b[A-Z]", s) and s != "timeout idle"]
    assert len(whole) > 10
    for s in whole:
        (folder / "x.conf").write_text(f"root /\nlisten 80\nlisten 443 tls\n{s}\n".replace("{\n", "{\n}\n")
                                       .replace("listen 80\nlisten 443 tls\nlisten 80", "listen 80"))
        run(BINARY, "-t", "-f", folder / "x.conf")


def test_no_name_but_the_routers_is_answered(start, www):
    """A page of another site that makes its name an address of ours (DNS rebinding) finds nothing."""
    (www / "index.html").write_text("router")
    server = start(f"root {www}/nothing\nhost 127.0.0.1 [::1] router.lan {{\nroot {www}\n}}\n")
    for host, status in (("127.0.0.1", 200), ("router.lan:8000", 200), ("[::1]", 200), ("evil.example", 404), ("", 404)):
        assert server.get("/", host=host).status == status, host


# -- packages

@pytest.fixture
def small(folder):
    """A system that is nothing but busybox and dpkg's records."""
    busybox = shutil.which("busybox") or "/bin/busybox"
    for name in ("bin", "usr/sbin", "usr/bin", "etc", "dev", "proc", "tmp", "var/run", "var/lib/dpkg/info",
                 "var/lib/dpkg/updates", "var/www"):
        (folder / "s" / name).mkdir(parents=True)
    (folder / "s/var/lib/dpkg/status").touch()
    os.mknod(folder / "s/dev/null", 0o20666, os.makedev(1, 3))
    shutil.copy(busybox, folder / "s/bin/busybox")
    run("chroot", folder / "s", "/bin/busybox", "--install", "-s", "/bin")
    return folder / "s"


def inside(system):
    """Run in that system as pid 1 of namespaces of its own, so that nothing outlives it and it sees its own /proc."""
    return ["unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "sh", "-c",
            f"mount -t proc proc {system}/proc && ip link set lo up; exec chroot {system} /bin/sh -ec \"$0\""]


@root_only
@pytest.mark.xdist_group("contrib")
def test_the_debian_package_installs_serves_and_goes_without_a_trace(small, folder):
    run("make", "-s", "-C", ROOT, "deb")
    arch = run("dpkg", "--print-architecture").strip()
    package, = (ROOT / "build").glob(f"cubhttpd_*_{arch}.deb")
    before = {p for p in small.rglob("*") if "dpkg" not in p.parts}
    dpkg = ["dpkg", f"--root={small}", f"--log={folder}/dpkg.log", "--force-depends"]
    run(*dpkg, "-i", package)
    assert (small / "etc/cubhttpd.conf").exists() and (small / "lib/systemd/system/cubhttpd.service").exists()
    (small / "var/www/a.txt").write_text("from the package")
    said = run(*inside(small), """
        /usr/sbin/cubhttpd -t -f /etc/cubhttpd.conf >/dev/null
        /usr/sbin/cubhttpd -f /etc/cubhttpd.conf 2>/tmp/log & pid=$!
        until grep -q 'listens on' /tmp/log; do sleep 0.05; done
        wget -q -O - http://127.0.0.1/a.txt
        kill $pid
        wait $pid
        rm /tmp/log""")
    assert "from the package" in said
    (small / "etc/cubhttpd.conf").write_text("listen 81\n")
    run(*dpkg, "-i", package)
    assert (small / "etc/cubhttpd.conf").read_text() == "listen 81\n", "an update overwrote the configuration"
    run(*dpkg, "--purge", "cubhttpd")
    (small / "var/www/a.txt").unlink()
    assert {p for p in small.rglob("*") if "dpkg" not in p.parts} - before == set()


@root_only
@pytest.mark.xdist_group("contrib")
def test_the_init_script_of_buildroot_starts_reloads_and_stops(small):
    shutil.copy(CONTRIB / "buildroot/S50cubhttpd", small / "etc/S50cubhttpd")
    run("make", "-s", "-C", ROOT, "static")
    shutil.copy(ROOT / "build/static/cubhttpd", small / "usr/sbin/cubhttpd")
    (small / "etc/cubhttpd.conf").write_text("listen 127.0.0.1:80\nroot /var/www\nlog errors /tmp/log\n")
    (small / "var/www/a.txt").write_text("served")
    said = run(*inside(small), FAILS + """
        /etc/S50cubhttpd start
        until grep -q 'listens on' /tmp/log; do sleep 0.05; done
        wget -q -O - http://127.0.0.1/a.txt; echo
        echo 'listen 127.0.0.1:81' >>/etc/cubhttpd.conf
        /etc/S50cubhttpd reload
        until grep -q '127.0.0.1:81' /tmp/log; do sleep 0.05; done
        wget -q -O - http://127.0.0.1:81/a.txt; echo
        echo 'lissen 82' >>/etc/cubhttpd.conf
        fails /etc/S50cubhttpd reload
        fails /etc/S50cubhttpd restart
        wget -q -O - http://127.0.0.1:81/a.txt; echo
        /etc/S50cubhttpd stop
        fails pidof cubhttpd
        fails /etc/S50cubhttpd start
        fails /etc/S50cubhttpd stop""")
    assert said.count("served") == 3
    assert re.findall(r"(\w+) cubhttpd: .*?(OK|FAIL)", said, re.S) == [
        ("Starting", "OK"), ("Reloading", "OK"), ("Reloading", "FAIL"), ("Stopping", "OK"), ("Starting", "FAIL"),
        ("Stopping", "FAIL")]
    assert "did you mean 'listen'" in said or "unknown" in said


@root_only
@pytest.mark.xdist_group("contrib")
def test_busybox_init_keeps_it_running(small):
    run("make", "-s", "-C", ROOT, "static")
    shutil.copy(ROOT / "build/static/cubhttpd", small / "usr/sbin/cubhttpd")
    shutil.copy(CONTRIB / "busybox/inittab", small / "etc/inittab")
    (small / "etc/cubhttpd.conf").write_text("listen 127.0.0.1:80\nroot /var/www\npid /tmp/pid\nlog errors /tmp/log\n")
    (small / "var/www/a.txt").write_text("served")
    (small / "etc/init.d").mkdir()
    (small / "etc/init.d/rcS").write_text("#!/bin/sh\nmount -t proc proc /proc\nip link set lo up\n")
    (small / "etc/init.d/rcS").chmod(0o755)
    outer = subprocess.Popen(["unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "chroot", small,
                              "/bin/busybox", "init"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        pid = eventually(lambda: open(f"/proc/{outer.pid}/task/{outer.pid}/children").read().strip(), "its first process")
        eventually(lambda: (small / "tmp/pid").exists() and (small / "tmp/pid").read_text(), "the server")
        said = run("nsenter", "-t", pid, "-m", "-n", "-p", "chroot", small, "/bin/sh", "-ec", """
            pid=$(cat /tmp/pid)
            wget -q -O - http://127.0.0.1/a.txt
            kill -HUP $pid
            until [ "$(grep -c 'listens on' /tmp/log)" = 2 ]; do sleep 0.05; done
            wget -q -O - http://127.0.0.1/a.txt
            kill -KILL $pid
            until [ -s /tmp/pid ] && [ "$(cat /tmp/pid)" != $pid ]; do sleep 0.05; done
            until wget -q -O - http://127.0.0.1/a.txt 2>/dev/null; do sleep 0.05; done""", patience=60)
        assert said.count("served") == 3
    finally:
        outer.kill()
        outer.wait()


# -- toolchains

@pytest.fixture
def source(folder):
    """What a tarball would hold of the sources as they are now."""
    names = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    return folder / "source"


@pytest.mark.xdist_group("contrib")
@pytest.mark.parametrize("how", ["with its flags", "with nothing but CC and AR"])
def test_a_toolchain_of_an_sdk_is_all_that_is_needed(folder, source, how):
    """Its compiler by its own name, which may be some words, its flags, and of other tools make, install and busybox."""
    words = dict(x.split("=", 1) for x in shlex.split(run(ROOT / "test/cross", "-t", "mipsel")))
    tools = {name: f"/usr/bin/mipsel-linux-gnu-{name}" for name in ("ar", "gcc-ar", "strip")}
    (folder / "sdk").mkdir()
    (folder / "bin").mkdir()
    for name, command in {"gcc": words["CC"] + " -fno-pie -no-pie", **tools}.items():
        path = folder / "sdk" / f"mipsel-openwrt-linux-musl-{name}"
        path.write_text(f'''#!/bin/sh
[ "$STAGING_DIR" ] || exit 1
for a; do shift; [ "$a" = -fhonour-copts ] || set -- "$@" "$a"; done    # not everybody's gcc knows it
exec /usr/bin/env PATH=/usr/bin:/bin {command} "$@"
''')
        path.chmod(0o755)
    (folder / "sdk/ccache").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "sdk/ccache").chmod(0o755)
    run("busybox", "--install", "-s", folder / "bin")
    for name in ("make", "install"):
        (folder / "bin" / name).symlink_to(shutil.which(name))
    bearssl = ROOT / "build/bearssl"
    gcc = "mipsel-openwrt-linux-musl-gcc"
    flags = "-Os -pipe -mno-branch-likely -fhonour-copts -fno-caller-saves -fno-plt -Wno-error=unused-but-set-variable"
    options = [f"CC={gcc}", "AR=mipsel-openwrt-linux-musl-ar", "STRIP=mipsel-openwrt-linux-musl-strip", f"CFLAGS={flags}",
               f"CPPFLAGS=-I{folder}/staging/usr/include", f"LDFLAGS=-static -L{folder}/staging/usr/lib -znow -zrelro"]
    if how == "with nothing but CC and AR":
        options = [f"CC=ccache {gcc} -march=24kc -mtune=24kc", f"AR={gcc}-ar", "BUILD=static"]
    said = run("make", "-j2", "-C", source, *options, f"BEARSSL={bearssl if bearssl.is_dir() else ''}",
               f"DESTDIR={folder}/root", "PREFIX=/usr", "WERROR=1", "install",
               env={"PATH": f"{folder}/sdk:{folder}/bin", "STAGING_DIR": f"{folder}/staging"})
    assert "not found" not in said
    program = folder / "root/usr/sbin/cubhttpd"
    assert program.read_bytes()[:20] == b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\x08\0", "not for mipsel"
    assert f"CONFIG_TLS {int(bearssl.is_dir())}" in run("qemu-mipsel-static", "-cpu", "24Kc", program, "-V")
    assert (folder / "root/usr/share/man/man5/cubhttpd.conf.5").exists()


@pytest.mark.xdist_group("contrib")
def test_the_tarball_is_the_same_each_time_and_packages_know_its_sum(folder):
    sums = set()
    for name in ("one", "two"):
        run("git", "clone", "-q", ROOT, folder / name)
        run("make", "-s", "-C", folder / name, "dist")
        tarball, = (folder / name / "build").glob("*.tar.gz")
        sums.add(hashlib.sha256(tarball.read_bytes()).hexdigest())
        made = folder / name / "build/contrib"
        assert re.search(r"^PKG_HASH:=(.*)$", (made / "openwrt/Makefile").read_text(), re.M)[1] in sums
        run("sha256sum", "-c", cwd=folder / name / "build", input="".join(
            f"{line.split()[1]}  {line.split()[2].replace('LICENSE', '../LICENSE')}\n"
            for line in (made / "buildroot/cubhttpd.hash").read_text().splitlines() if line.startswith("sha256")))
    assert len(sums) == 1
    names = run("tar", "-tzf", tarball).split()
    assert "cubhttpd-0.1/httpd.c" in names and all(n.startswith("cubhttpd-0.1/") for n in names)


@pytest.fixture
def packages(folder):
    """contrib's folders for OpenWrt and Buildroot with the sums of a tarball, as `make dist` makes them, and that."""
    run("git", "clone", "-q", ROOT, folder / "clone")
    run("make", "-s", "-C", folder / "clone", "dist")
    return folder / "clone/build"


def menu(folder, text, *chosen):
    """What the parser of Linux makes of a menu."""
    if not shutil.which("kconfig-conf"):
        pytest.skip("no kconfig-conf (Debian's package kconfig-frontends-nox)")
    (folder / "Kconfig").write_text(text)
    (folder / ".config").write_text("".join(f"CONFIG_{line}\n" for line in chosen))
    said = run("kconfig-conf", "--olddefconfig", folder / "Kconfig", cwd=folder)
    assert "warning" not in said and "error" not in said, said
    return (folder / ".config").read_text()


@pytest.mark.xdist_group("contrib")
@pytest.mark.parametrize("tls", [True, False])
def test_the_package_of_openwrt_builds_what_its_menu_says(folder, packages, tls):
    bearssl = ROOT / "build/bearssl"
    if tls and not bearssl.is_dir():
        pytest.skip("no build/bearssl (test/bearssl fetches it)")
    work = folder / "w"
    for name in ("sdk/include", "w/dl"):
        (folder / name).mkdir(parents=True)
    for name in ("rules.mk", "include/package.mk"):
        (folder / "sdk" / name).write_text(f"include {ROOT}/test/peers/openwrt.mk\n")
    shutil.copy(packages / "cubhttpd-0.1.tar.gz", work / "dl")
    if tls:
        run("tar", "-C", bearssl.parent, "--transform", "s/^bearssl/bearssl-0.6/", "-czhf", work / "dl/bearssl-0.6.tar.gz", "bearssl")
    chosen = "" if tls else "# CONFIG_CUBHTTPD_TLS is not set"
    text = f'config PACKAGE_cubhttpd\n\tbool\n\tdefault y\nsource "{packages}/contrib/openwrt/Config.in"\n'
    config = menu(folder, text) if tls else menu(folder, text, chosen[9:]).replace("CONFIG_CUBHTTPD_TLS=y", chosen)
    (work / "config").write_text(config + "TARGET_CC = gcc\nTARGET_AR = gcc-ar\nTARGET_CFLAGS = -Os -pipe\nTARGET_LDFLAGS =\n")
    run("make", "-C", packages / "contrib/openwrt", f"TOPDIR={folder}/sdk", f"W={work}")
    assert (work / "menu").read_text().strip() == 'source "./Config.in"'
    assert (work / "conffiles").read_text().split() == ["/etc/config/cubhttpd", "/etc/cubhttpd/"]
    root = work / "root"
    assert {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} == {
        "usr/sbin/cubhttpd", "usr/share/cubhttpd/uci.sh", "etc/init.d/cubhttpd", "etc/config/cubhttpd",
        "etc/uci-defaults/60_cubhttpd"}
    built = run(root / "usr/sbin/cubhttpd", "-V")
    for word in words():
        assert f"CONFIG_{word} {int(f'CONFIG_CUBHTTPD_{word}=y' in config)}" in built
    assert f"CONFIG_TLS {int(tls)}" in built


@pytest.mark.xdist_group("contrib")
@pytest.mark.parametrize("tls", [True, False])
def test_the_package_of_buildroot_builds_what_its_menu_says(folder, packages, tls):
    there = "config BR2_USE_MMU\n\tbool\n\tdefault y\nconfig BR2_PACKAGE_BEARSSL\n\tbool\n"
    package = packages / "contrib/buildroot"
    config = menu(folder, f'{there}source "{package}/Config.in"\n', "BR2_PACKAGE_CUBHTTPD=y",
                  "BR2_PACKAGE_CUBHTTPD_TLS=" + "ny"[tls], 'BR2_PACKAGE_CUBHTTPD_OPTIONS="-DCONFIG_FCGI=0 -DCONFIG_CGI=0"')
    assert ("CONFIG_BR2_PACKAGE_BEARSSL=y" in config) == tls
    (folder / "w").mkdir()
    (folder / "w/config").write_text(config.replace("CONFIG_BR2", "BR2"))
    run("make", "-j2", "-f", ROOT / "test/peers/buildroot.mk", f"MK={package}/cubhttpd.mk", f"W={folder}/w", f"SOURCES={packages}")
    target = folder / "w/target"
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == {
        "usr/sbin/cubhttpd", "etc/cubhttpd.conf", "etc/init.d/S50cubhttpd", "usr/lib/systemd/system/cubhttpd.service"}
    built = run(target / "usr/sbin/cubhttpd", "-V")
    assert "CONFIG_FCGI 0" in built and "CONFIG_CGI 0" in built and "CONFIG_SCGI 1" in built
    if not tls:
        assert "CONFIG_TLS 0" in built


# -- units and scripts

def test_the_units_of_systemd_are_understood_and_closed(folder, binary):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    for name in ("cubhttpd.service", "cubhttpd.socket"):
        text = (CONTRIB / "systemd" / name).read_text().replace("/usr/sbin/cubhttpd", str(binary))
        (folder / name).write_text(re.sub("^Documentation.*\n", "", text, flags=re.M))
    assert run("systemd-analyze", "verify", "--man=no", folder / "cubhttpd.service", folder / "cubhttpd.socket") == ""
    run("systemd-analyze", "security", "--offline=yes", "--threshold=30", folder / "cubhttpd.service")


FAILS = 'fails() { if "$@"; then echo "no failure: $*"; exit 1; fi; }\n'         # because `sh -e` passes over !
# In namespaces of its own, over an /etc, /var and /run of its own, with the units that are named and nothing else.
BOOT = """
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /run/systemd /run/up /run/work /run/units
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/up,workdir=/run/work /etc
for d in /opt /var/lib /var/log; do mount -t tmpfs tmpfs $d; done
cp @DIR@/units/* /run/units
cp @PROGRAM@ /opt/cubhttpd
cp @DIR@/cubhttpd.conf /etc
mkdir /var/lib/www
echo served >/var/lib/www/a.txt
ip link set lo up
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other SYSTEMD_UNIT_PATH=/run/units /lib/systemd/systemd \\
	--system --unit=go.target --log-target=null
"""


@pytest.fixture
def systemd(folder, binary):
    """Boot systemd with a configuration; what it returns runs a command in there."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        pytest.skip("only root can boot a systemd, and where it is installed")
    if os.path.exists("/run/systemd/system"):
        pytest.skip("a systemd is running here already, which another one would disturb")
    shutil.copytree(CONTRIB / "systemd", folder / "units")
    for name in ("cubhttpd.service", "cubhttpd.socket"):
        text = (folder / "units" / name).read_text().replace("/usr/sbin/", "/opt/")
        (folder / "units" / name).write_text(text.replace("ListenStream=80", "ListenStream=127.0.0.1:8080"))
    for name in ("sysinit", "basic", "shutdown", "network", "nss-lookup", "multi-user", "sockets", "go"):
        (folder / "units" / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    groups = set(glob.glob("/sys/fs/cgroup/*"))
    booted = []

    def boot(configuration):
        (folder / "cubhttpd.conf").write_text(configuration)
        script = BOOT.replace("@DIR@", str(folder)).replace("@PROGRAM@", str(binary))
        outer = subprocess.Popen(["unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child",
                                  "sh", "-ec", script], stdin=subprocess.DEVNULL, start_new_session=True)
        booted.append(outer)
        children = f"/proc/{outer.pid}/task/{outer.pid}/children"
        pid = eventually(lambda: open(children).read().strip(), "its first process")

        def inside(command):
            return run("nsenter", "-t", pid, "-m", "-n", "-p", "-i", "-u", "sh", "-ec", FAILS + command)
        eventually(lambda: os.path.exists(f"/proc/{pid}/root/run/systemd/private"), "systemd")
        return inside
    yield boot
    for outer in booted:
        outer.kill()
        outer.wait()
    for name in ("system.slice", "init.scope"):
        for path in glob.glob(f"/sys/fs/cgroup/*/{name}") + glob.glob(f"/sys/fs/cgroup/{name}"):
            eventually(lambda: remove_group(path), f"the end of {path}")
    assert set(glob.glob("/sys/fs/cgroup/*")) <= groups


def remove_group(path):
    try:
        for below in sorted(glob.glob(f"{path}/**/", recursive=True), reverse=True):
            os.rmdir(below)
    except OSError:
        pass
    return not os.path.exists(path)


@pytest.mark.xdist_group("contrib")
@pytest.mark.parametrize("user", ["", "user nobody\n"])
def test_systemd_starts_reloads_and_restarts_it_and_what_it_keeps_stays(systemd, binary, user):
    tls = "listen 127.0.0.1:8443 tls\n" if "CONFIG_TLS 1" in run(binary, "-V") else ""
    inside = systemd(f"{user}{tls}listen 127.0.0.1:8000\nroot /var/lib/www\nlog access /var/log/cubhttpd/access.log\n")
    inside("systemctl start cubhttpd && curl -sSf --retry 9 --retry-connrefused http://127.0.0.1:8000/a.txt | grep -q served")
    if tls:
        shown = "curl -sSf --cacert /etc/cubhttpd/certificate.pem https://localhost:8443/a.txt | grep -q served"
        before = inside(f"{shown} && sha256sum /etc/cubhttpd/*")
        inside("systemctl restart cubhttpd && curl -sSf --retry 9 --retry-connrefused http://127.0.0.1:8000/a.txt >/dev/null")
        assert inside(f"{shown} && sha256sum /etc/cubhttpd/*") == before, "another key or certificate after a restart"
    inside("""
        pid=$(systemctl show -P MainPID cubhttpd)
        echo 'listen 127.0.0.1:8001' >>/etc/cubhttpd.conf
        systemctl reload cubhttpd
        curl -sSf --retry 9 --retry-connrefused http://127.0.0.1:8001/a.txt | grep -q served
        echo 'lissen 127.0.0.1:8002' >>/etc/cubhttpd.conf
        fails systemctl reload cubhttpd
        curl -sSf http://127.0.0.1:8001/a.txt | grep -q served
        [ "$pid" = "$(systemctl show -P MainPID cubhttpd)" ]
        systemctl stop cubhttpd
        [ "$(systemctl show -P Result cubhttpd)" = success ]
        fails systemctl start cubhttpd
        grep -c 'GET /a.txt' /var/log/cubhttpd/access.log""")


@pytest.mark.xdist_group("contrib")
def test_systemd_hands_sockets_over_and_keeps_them_while_it_restarts(systemd):
    inside = systemd("root /var/lib/www\nuser nobody\n")
    inside("""
        systemctl start cubhttpd.socket
        [ "$(systemctl is-active cubhttpd.service)" = inactive ]
        curl -sSf http://127.0.0.1:8080/a.txt | grep -q served
        [ "$(systemctl is-active cubhttpd.service)" = active ]
        systemctl restart cubhttpd.service & curl -sSf http://127.0.0.1:8080/a.txt | grep -q served
        wait $!""")


OPENRC = """
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for d in starting started stopping inactive wasinactive failed hotplugged daemons options exclusive scheduled tmp; do
	mkdir -p /run/openrc/$d
done
echo default >/run/openrc/softlevel
mkdir /run/up /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/up,workdir=/run/work /etc
mount -t tmpfs tmpfs /etc/init.d
mount -t tmpfs tmpfs /opt
cp @PROGRAM@ /opt/cubhttpd
mkdir -p /etc/conf.d
cp @DIR@/init /etc/init.d/cubhttpd
cp @DIR@/confd /etc/conf.d/cubhttpd
printf '#!/sbin/openrc-run\\ndepend() { provide net; }\\nstart() { return 0; }\\n' >/etc/init.d/lo
chmod 755 /etc/init.d/*
echo served >/opt/a.txt
printf 'listen 127.0.0.1:8000\\nroot /opt\\nlog errors /run/log\\n' >/etc/cubhttpd.conf
ip link set lo up
get() { curl -sSf --retry 9 --retry-connrefused http://127.0.0.1:$1/a.txt | grep -q served; }
rc-service cubhttpd start
get 8000
rc-service cubhttpd status
echo 'listen 127.0.0.1:8001' >>/etc/cubhttpd.conf
rc-service cubhttpd reload
get 8001
echo 'lissen 127.0.0.1:8001' >>/etc/cubhttpd.conf
fails rc-service cubhttpd reload
fails rc-service cubhttpd checkconfig
fails rc-service cubhttpd restart
get 8001
sed -i '$d' /etc/cubhttpd.conf
rc-service cubhttpd restart
get 8001
rc-service cubhttpd stop
fails rc-service cubhttpd status
fails curl -s http://127.0.0.1:8001/
"""


@root_only
@pytest.mark.xdist_group("contrib")
def test_openrc_starts_reloads_and_stops_it_and_a_mistake_ends_nothing(folder, binary):
    if not shutil.which("openrc-run", path="/sbin:/usr/sbin"):
        pytest.skip("no OpenRC (Debian's package openrc, which wants to be the system's init, so test/setup leaves it)")
    (folder / "init").write_text((CONTRIB / "openrc/cubhttpd.initd").read_text().replace("/usr/sbin/", "/opt/"))
    shutil.copy(CONTRIB / "openrc/cubhttpd.confd", folder / "confd")
    script = OPENRC.replace("@DIR@", str(folder)).replace("@PROGRAM@", str(binary))
    run("unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-ec", FAILS + script,
        stdin=subprocess.DEVNULL)


def test_every_script_is_clean():
    scripts = [p for p in CONTRIB.rglob("*") if p.is_file() and re.match(rb"#!.*sh\b|#!.*openrc", p.read_bytes())]
    assert len(scripts) >= 8
    run("shellcheck", "-x", *scripts, CONTRIB / "openwrt/files/uci.sh", cwd=ROOT)


# -- uhttpd's options

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
    (folder / "init").write_text(init)
    (folder / "cubhttpd").write_text("config cubhttpd main\n list listen_http 8080\n option home /tmp\n option jail 1\n"
                                     "config cubhttpd off\n option enabled 0\n")
    script = f"cd {folder} && . {ROOT}/test/peers/uci.sh && . {folder}/init && start_service"
    said = run("/bin/sh", "-euc", script)
    assert f"procd_set_param command {BINARY} -f {folder}/run/main.conf" in said
    assert "procd_set_param respawn" in said and "procd_set_param reload_signal HUP" in said
    assert "procd_add_jail cubhttpd-main" in said and said.count("procd_open_instance") == 1
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


# -- what is built in

def test_packages_know_every_feature():
    """contrib/openwrt/options writes both lists."""
    makefile = (CONTRIB / "openwrt/Makefile").read_text()
    assert sorted(re.search(r"^CUBHTTPD_WORDS:=(.*)$", makefile, re.M)[1].split()) == words()
    menu = (CONTRIB / "openwrt/Config.in").read_text()
    assert sorted(re.findall(r"^config CUBHTTPD_(\w+)$", menu, re.M)) == words()
