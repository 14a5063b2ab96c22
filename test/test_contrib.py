"""What other systems expect: packages, toolchains, and a table of what was called what."""
import hashlib
import os
import re
import shlex
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT

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


@pytest.fixture
def repository():
    if not (ROOT / ".git").exists():
        pytest.skip("these sources are no clone, so git cannot tell what belongs to them")
    return ROOT


# -- coming from another server

@pytest.mark.skipif("CONFIG_TLS 1" not in run(BINARY, "-V"), reason="this build knows no words for TLS")
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


# -- toolchains

@pytest.fixture
def source(folder, repository):
    """What a tarball would hold of the sources as they are now."""
    names = run("git", "-C", repository, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    return folder / "source"


@pytest.mark.xdist_group("contrib")
@pytest.mark.parametrize("how", ["with its flags", "with nothing but CC and AR"])
def test_a_toolchain_of_an_sdk_is_all_that_is_needed(folder, source, how):
    """Its compiler by its own name, which may be some words, its flags, and of other tools make, install and busybox."""
    if " " in str(ROOT):
        pytest.skip("musl cannot be built below a path with a space")
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
        (folder / "bin" / name).unlink(missing_ok=True)         # busybox may have one that knows less
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
    head = program.read_bytes()[:20]            # which version of the ABI it is depends on binutils
    assert head[:7] + head[16:] == b"\x7fELF\1\1\1" + b"\2\0\x08\0", "not for mipsel"
    assert f"CONFIG_TLS {int(bearssl.is_dir())}" in run("qemu-mipsel-static", "-cpu", "24Kc", program, "-V")
    assert (folder / "root/usr/share/man/man5/cubhttpd.conf.5").exists()


def test_the_tarball_is_the_same_each_time_and_packages_know_its_sum(folder, repository):
    sums = set()
    for name in ("one", "two"):
        run("git", "clone", "-q", repository, folder / name)
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
def packages(folder, repository):
    """contrib's folders for OpenWrt and Buildroot with the sums of a tarball, as `make dist` makes them, and that."""
    run("git", "clone", "-q", repository, folder / "clone")
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


def test_every_script_is_clean():
    scripts = [p for p in CONTRIB.rglob("*") if p.is_file() and re.match(rb"#!.*sh\b|#!.*openrc", p.read_bytes())]
    assert len(scripts) >= 8
    run("shellcheck", "-x", *scripts, CONTRIB / "openwrt/files/uci.sh", cwd=ROOT)
    for script in [*scripts, CONTRIB / "openwrt/files/uci.sh"]:
        run("busybox", "sh", "-n", script)


# -- what is built in

def test_packages_know_every_feature():
    """contrib/openwrt/options writes both lists."""
    makefile = (CONTRIB / "openwrt/Makefile").read_text()
    assert sorted(re.search(r"^CUBHTTPD_WORDS:=(.*)$", makefile, re.M)[1].split()) == words()
    menu = (CONTRIB / "openwrt/Config.in").read_text()
    assert sorted(re.findall(r"^config CUBHTTPD_(\w+)$", menu, re.M)) == words()
