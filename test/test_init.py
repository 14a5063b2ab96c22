"""What starts, reloads and ends the server on other systems really does so: Debian, Buildroot, busybox, systemd, OpenRC."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from test_contrib import CONTRIB, root_only, run
from wire import eventually

pytestmark = pytest.mark.once

# -- a system of nothing but busybox

@pytest.fixture
def small(folder, namespaces):
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
        said = run("nsenter", "-t", pid, "-m", "-n", "-p", "-r", "/bin/sh", "-ec", """
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


# -- systemd and OpenRC

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
UNSHARE = ["unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-ec"]
MOUNTS = """
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /run/systemd /run/up /run/work /run/units
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/up,workdir=/run/work /etc
"""
BOOT = MOUNTS + """
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
def systemd(folder, binary, namespaces):
    """Boot systemd with a configuration; what it returns runs a command in there."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        pytest.skip("only root can boot a systemd, and where it is installed")
    if os.path.exists("/run/systemd/system"):
        pytest.skip("a systemd is running here already, which another one would disturb")
    if not os.path.ismount("/sys/fs/cgroup"):
        pytest.skip("no cgroups are seen here, so what a systemd makes of them could not be removed")
    if glob.glob("/sys/fs/cgroup/*/system.slice") + glob.glob("/sys/fs/cgroup/system.slice"):
        pytest.skip("the cgroups of another systemd are seen here")
    tried = subprocess.run([*UNSHARE, MOUNTS], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here: {tried.stderr}")
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
        outer = subprocess.Popen([*UNSHARE, script], stdin=subprocess.DEVNULL, start_new_session=True)
        booted.append(outer)
        children = f"/proc/{outer.pid}/task/{outer.pid}/children"
        pid = eventually(lambda: open(children).read().strip(), "its first process")

        def inside(command):
            return run("nsenter", "-t", pid, "-m", "-n", "-p", "-i", "-u", "-r", "sh", "-ec", FAILS + command)
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


@pytest.mark.xdist_group("systemd")      # they share names of cgroups
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


@pytest.mark.xdist_group("systemd")      # they share names of cgroups
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
def test_openrc_starts_reloads_and_stops_it_and_a_mistake_ends_nothing(folder, binary, namespaces):
    if not shutil.which("openrc-run", path="/sbin:/usr/sbin"):
        pytest.skip("no OpenRC (Debian's package openrc, which wants to be the system's init, so test/setup leaves it)")
    (folder / "init").write_text((CONTRIB / "openrc/cubhttpd.initd").read_text().replace("/usr/sbin/", "/opt/"))
    shutil.copy(CONTRIB / "openrc/cubhttpd.confd", folder / "confd")
    script = OPENRC.replace("@DIR@", str(folder)).replace("@PROGRAM@", str(binary))
    run("unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-ec", FAILS + script,
        stdin=subprocess.DEVNULL)
