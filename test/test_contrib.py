"""What other systems expect: packages, units, init scripts, and uhttpd's options."""
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Server
from wire import eventually

pytestmark = pytest.mark.once
CONTRIB = ROOT / "contrib"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root")


def run(*command, **more):
    done = subprocess.run([str(x) for x in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120, **more)
    assert done.returncode == 0, done.stdout
    return done.stdout


def words():
    """The features of config.h, but for the one that is for tests."""
    text = (ROOT / "config.h").read_text()
    return sorted(set(re.findall(r"^#define CONFIG_(\w+) [01]$", text, re.M)) - {"CHECKS"})


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
    said = run(*inside(small), """
        /etc/S50cubhttpd start
        until grep -q 'listens on' /tmp/log; do sleep 0.05; done
        wget -q -O - http://127.0.0.1/a.txt; echo
        echo 'listen 127.0.0.1:81' >>/etc/cubhttpd.conf
        /etc/S50cubhttpd reload
        until grep -q '127.0.0.1:81' /tmp/log; do sleep 0.05; done
        wget -q -O - http://127.0.0.1:81/a.txt; echo
        echo 'lissen 82' >>/etc/cubhttpd.conf
        ! /etc/S50cubhttpd reload
        wget -q -O - http://127.0.0.1:81/a.txt; echo
        /etc/S50cubhttpd stop
        ! pidof cubhttpd
        ! /etc/S50cubhttpd start
        ! /etc/S50cubhttpd stop""")
    assert said.count("served") == 3
    assert re.findall(r"(\w+) cubhttpd: .*?(OK|FAIL)", said, re.S) == [
        ("Starting", "OK"), ("Reloading", "OK"), ("Reloading", "FAIL"), ("Stopping", "OK"), ("Starting", "FAIL"),
        ("Stopping", "FAIL")]
    assert "did you mean 'listen'" in said or "unknown" in said


# -- units and scripts

def test_the_units_of_systemd_are_understood_and_closed(folder, binary):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    for name in ("cubhttpd.service", "cubhttpd.socket"):
        text = (CONTRIB / "systemd" / name).read_text().replace("/usr/sbin/cubhttpd", str(binary))
        (folder / name).write_text(re.sub("^Documentation.*\n", "", text, flags=re.M))
    assert run("systemd-analyze", "verify", "--man=no", folder / "cubhttpd.service", folder / "cubhttpd.socket") == ""
    run("systemd-analyze", "security", "--offline=yes", "--threshold=30", folder / "cubhttpd.service")


def test_every_script_is_clean():
    scripts = [p for p in CONTRIB.rglob("*") if p.is_file() and re.match(rb"#!.*sh\b|#!.*openrc", p.read_bytes())]
    assert len(scripts) >= 8
    run("shellcheck", "-x", *scripts, CONTRIB / "openwrt/files/uci.sh", cwd=ROOT)
