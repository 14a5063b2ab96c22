"""Certificates: what is read, which one is shown, what is made where there is none, and that nobody is locked out."""
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time

import pytest

from conftest import ROOT
from peers.ca import facts, openssl
from wire import PATIENCE, eventually

HTTPS = "listen 127.0.0.1:0 tls\n"
BOTH = HTTPS + "listen unix:plain.sock\n"


@pytest.fixture
def state(folder):
    return folder / "state"


def hello(server, name=None, n=0, ciphers=None, trust=None, check=None):
    """A handshake that believes anything, or (trust) what this file says about `check`."""
    context = ssl.create_default_context(cafile=trust) if trust else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not trust:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    return context.wrap_socket(socket.create_connection(server.address(n), PATIENCE), server_hostname=check or name)


def shown(server, name=None, **more):
    """SHA-256 of the certificate that a client sees who asks for this name."""
    with hello(server, name, **more) as s:
        return hashlib.sha256(s.getpeercert(True)).hexdigest()


def ask(s):
    """One request over a connection that is there, and whether it was answered."""
    s.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while not data.endswith(b"hello"):
        more = s.recv(4096)
        if not more:
            return False
        data += more
    return data.startswith(b"HTTP/1.1 200 ")


def plain_answers(server):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(str(server.configuration.parent / "plain.sock"))
        return ask(s)


@pytest.fixture
def hello_file(www):
    (www / "hello").write_text("hello")


def put(path, text):
    """The way certificate clients do it: written beside, then moved."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)


def sha(path):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()


# -- the first boot -------------------------------------------------------------------------------------------------


def test_the_first_boot_makes_a_certificate_that_clients_can_trust(start, state, www, hello_file):
    server = start(HTTPS + f"state {state}\n")
    for name in "localhost", "127.0.0.1", socket.gethostname():
        with hello(server, trust=state / "certificate.pem", check=name) as s:
            assert ask(s)
    with pytest.raises(ssl.SSLCertVerificationError):
        hello(server, trust=state / "certificate.pem", check="example.org")
    assert server.line(r"made a certificate: .*, SHA-256 ([0-9A-F]{2}:){31}")


def test_what_is_made_is_for_the_owner_alone_and_stays(start, state):
    server = start(HTTPS + f"state {state}\n")
    first = shown(server)
    files = {p.name: p.read_bytes() for p in state.iterdir()}
    assert sorted(files) == ["certificate.pem", "key.pem"]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in state.iterdir())
    server = start(HTTPS + f"state {state}\n")
    assert shown(server) == first and {p.name: p.read_bytes() for p in state.iterdir()} == files


def test_openssl_finds_nothing_to_say_against_it(binary, folder):
    made = folder / "made"
    assert subprocess.run([binary, "--make-certificate", made], timeout=PATIENCE, stderr=subprocess.DEVNULL).returncode == 0
    pem = made / "certificate.pem"
    for check in ("-verify_hostname", "localhost"), ("-verify_ip", "127.0.0.1"), ("-verify_hostname", socket.gethostname()):
        openssl("verify", "-x509_strict", "-purpose", "sslserver", *check, "-CAfile", pem, pem)
    openssl("pkey", "-in", made / "key.pem", "-check", "-noout")
    begin, end = (time.mktime(time.strptime(facts(pem)[x], "%b %d %H:%M:%S %Y GMT")) for x in ("notBefore", "notAfter"))
    assert begin < time.time() < end and end - begin <= 397 * 86400


def test_it_has_every_address_of_the_machine(binary, folder):
    made = folder / "made"
    subprocess.run([binary, "--make-certificate", made], timeout=PATIENCE, stderr=subprocess.DEVNULL, check=True)
    text = subprocess.run(["ip", "-o", "address", "show", "scope", "global"], capture_output=True, text=True).stdout
    for line in text.splitlines():
        address = line.split()[3].split("/")[0]
        if "temporary" not in line and "deprecated" not in line and "tentative" not in line:
            openssl("verify", "-verify_ip", address, "-CAfile", made / "certificate.pem", made / "certificate.pem")


def test_the_command_makes_a_new_certificate_for_the_same_key(binary, folder):
    made, pairs = folder / "made", []
    for _ in range(2):
        subprocess.run([binary, "--make-certificate", made], timeout=PATIENCE, stderr=subprocess.DEVNULL, check=True)
        pairs.append(((made / "key.pem").read_text(), sha(made / "certificate.pem")))
    assert pairs[0][0] == pairs[1][0] and pairs[0][1] != pairs[1][1]


def test_the_command_takes_no_option_for_a_folder(binary, folder):
    done = subprocess.run([binary, "--make-certificate", "--state", folder], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "takes the name of a folder" in done.stderr and not list(folder.iterdir())


def test_a_certificate_that_could_not_be_written_is_none(binary, folder):
    """The name of a file in place of a folder's: whoever asked for files must not go on without them."""
    (folder / "file").touch()
    done = subprocess.run([binary, "--make-certificate", folder / "file"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write" in done.stderr and "made" not in done.stderr


def test_fifty_of_them_all_verify(binary, folder):
    for i in range(50):
        made = folder / f"made{i}"
        subprocess.run([binary, "--make-certificate", made], timeout=PATIENCE, stderr=subprocess.DEVNULL, check=True)
        openssl("verify", "-x509_strict", "-CAfile", made / "certificate.pem", made / "certificate.pem")


def browse(url, home):
    """What Chromium shows, with everything it starts ended after it."""
    browser = subprocess.Popen(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                                f"--user-data-dir={home}/profile", url], env=dict(os.environ, HOME=str(home)),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    try:
        return browser.communicate(timeout=3 * PATIENCE)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)


@pytest.mark.once
def test_chromium_takes_it_as_a_root(start, state, folder, www):
    (www / "page.html").write_text("<p>hello</p>")
    if not shutil.which("chromium") or not shutil.which("certutil"):
        pytest.skip("chromium or certutil is not installed")
    server = start(HTTPS + f"state {state}\n")
    store = folder / ".pki/nssdb"
    store.mkdir(parents=True)
    for args in ("-N", "--empty-password"), ("-A", "-t", "C,,", "-n", "cub", "-i", state / "certificate.pem"):
        subprocess.run(["certutil", "-d", f"sql:{store}", *args], check=True, timeout=PATIENCE)
    for trusted in True, False:
        home = folder if trusted else www
        page = browse(f"https://localhost:{server.port}/page.html", home)
        assert ("<p>hello</p>" in page) == trusted, page


@pytest.mark.parametrize("what", ["key.pem", "certificate.pem"])
def test_what_was_damaged_is_made_anew(start, state, what):
    server = start(HTTPS + f"state {state}\n")
    first, key = shown(server), (state / "key.pem").read_text()
    (state / what).write_text("-----BEGIN NOTHING-----\n")
    server = start(HTTPS + f"state {state}\n")
    assert shown(server) != first and shown(server) == sha(state / "certificate.pem")
    assert ((state / "key.pem").read_text() == key) == (what == "certificate.pem")


def test_a_folder_that_cannot_be_written_keeps_nobody_out(start, folder, hello_file):
    (folder / "file").write_text("")
    server = start(BOTH + f"state {folder}/file/state\n")
    server.line(r"warning: cannot write .*/file/state/")
    with hello(server) as s:
        assert ask(s)
    first = shown(server)
    server.reload()
    assert shown(server) == first           # clients have been told to trust it


def test_a_key_that_is_no_file_is_not_waited_for(start, state):
    state.mkdir()
    os.mkfifo(state / "key.pem")
    server = start(HTTPS + f"state {state}\n")
    assert shown(server) == sha(state / "certificate.pem") and (state / "key.pem").is_file()


def test_a_private_key_of_another_kind_in_the_folder_is_replaced(start, state, ca):
    state.mkdir()
    shutil.copy(ca.issue("p384-state", ["x"], "P-384").key, state / "key.pem")
    server = start(HTTPS + f"state {state}\n")
    assert shown(server) == sha(state / "certificate.pem")


# -- the clock ------------------------------------------------------------------------------------------------------


@pytest.fixture
def at(folder, start):
    """at(seconds) sets the clock of servers that are started with `environment`."""
    library, clock = folder / "clock.so", folder / "clock"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, ROOT / "test/peers/clock.c"], check=True)

    def go(seconds):
        draft = folder / "clock.new"
        draft.write_text(f"{int(seconds)}\n")
        draft.replace(clock)
    go.environment = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(clock)}
    return go


@pytest.mark.once
def test_without_a_clock_it_is_good_from_the_start_and_renewed_when_time_is_known(start, state, at):
    at(1000)
    server = start(HTTPS + f"state {state}\n", env=at.environment)
    interim, key = shown(server), (state / "key.pem").read_text()
    assert hello(server, trust=state / "certificate.pem", check="localhost").close() is None
    assert facts(state / "certificate.pem")["notAfter"] == "Dec 31 23:59:59 9999 GMT"
    at(time.time())
    eventually(lambda: shown(server) != interim, "another certificate")
    assert shown(server) == sha(state / "certificate.pem") and (state / "key.pem").read_text() == key
    assert facts(state / "certificate.pem")["notAfter"] < "Dec 31 23:59:59 9999"
    at(1000)                            # and no way back
    server = start(HTTPS + f"state {state}\n", env=at.environment)
    assert shown(server) == sha(state / "certificate.pem")


@pytest.mark.once
def test_it_is_renewed_in_time(start, state, at):
    at(time.time())
    server = start(HTTPS + f"state {state}\n", env=at.environment)
    first, key = shown(server), (state / "key.pem").read_text()
    at(time.time() + 360 * 86400)
    server.reload()
    assert shown(server) == first
    at(time.time() + 370 * 86400)
    eventually(lambda: shown(server) != first, "another certificate")
    assert (state / "key.pem").read_text() == key
    server = start(HTTPS + f"state {state}\n", env=at.environment)
    assert shown(server) == sha(state / "certificate.pem")


@pytest.mark.once
def test_a_certificate_that_expires_in_use_is_told_and_replaced(start, state, at, ca):
    short = ca.issue("short", ["short.example"], days=(-1, 1))
    at(time.time())
    server = start(HTTPS + f"state {state}\ncertificate {short.pem} {short.key}\n", env=at.environment)
    assert shown(server) == short.fingerprint and not state.exists()
    at(time.time() + 2 * 86400)
    server.line(r"certificate .*short.key: it expired on .*; the server's own takes its place")
    eventually(lambda: shown(server) == sha(state / "certificate.pem"), "the server's own certificate")


@pytest.mark.once
def test_another_user_can_renew_what_root_has_made(start, state, at):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    at(1000)
    server = start(HTTPS + f"state {state}\nuser nobody\n", env=at.environment)
    first = shown(server)
    at(time.time())
    eventually(lambda: shown(server) != first, "another certificate")
    assert shown(server) == sha(state / "certificate.pem") and "warning" not in server.text()


# -- files ----------------------------------------------------------------------------------------------------------


def forms(ca):
    """Every way to hand in the same certificate: files, and whether it is the EC one."""
    for kind, one, old in ("ec", ca["ec"], "ec"), ("rsa", ca["rsa"], "rsa"):
        folder = one.pem.parent
        der, key = one.as_der()
        traditional = folder / f"{kind}.traditional"
        openssl(old, "-in", one.key, "-out", traditional, *(["-traditional"] if old == "rsa" else []))
        together, other = folder / f"{kind}.together", folder / f"{kind}.other"
        together.write_text(one.text())
        other.write_text(one.key.read_text() + one.pem.read_text())
        for files in ((one.pem, one.key), (der, key), (one.pem, key), (der, one.key), (one.pem, traditional),
                      (together,), (other,), (other, one.key)):
            yield kind, files


def test_every_form_of_the_same_certificate_is_read(start, ca):
    made = {"ec": ca.issue("form-ec", ["form.example"]), "rsa": ca.issue("form-rsa", ["form.example"], "rsa")}
    for kind, files in forms(made):
        server = start(HTTPS + "certificate {}\n".format(" ".join(map(str, files))))
        assert shown(server) == made[kind].fingerprint, files
        assert "error" not in server.text()
        server.stop()


@pytest.mark.parametrize("order", ["leaf between root", "between leaf root", "root between leaf", "leaf between other"])
def test_a_chain_in_any_order_is_put_in_order(start, ca, order):
    between = ca.issue("between", ca=True)
    leaf = ca.issue("chained", ["chained.example"], by="between")
    parts = {"leaf": leaf, "between": between, "root": ca.root, "other": ca.issue("other", ["other.example"])}
    chain = ca.folder / "chain.pem"
    chain.write_text("".join(parts[x].pem.read_text() for x in order.split()))
    server = start(HTTPS + f"certificate {chain} {leaf.key}\n")
    with hello(server, trust=ca.root.pem, check="chained.example") as s:
        assert hashlib.sha256(s.getpeercert(True)).hexdigest() == leaf.fingerprint
    said = subprocess.run(["openssl", "s_client", "-connect", "{}:{}".format(*server.address()), "-showcerts"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE).stdout
    assert said.count("BEGIN CERTIFICATE") == 2     # the root is known to whoever trusts it


def broken(ca, folder, how):
    """The arguments of a `certificate` line that cannot work, and what is said about it."""
    good = ca.issue("good", ["good.example"])
    match how:
        case "missing":
            return f"{folder}/none.pem", r"none.pem: .*No such file"
        case "no key":
            return good.pem, r"there is no key for it"
        case "a key of another":
            return f"{good.pem} {ca.issue('another').key}", r"do not belong together"
        case "an RSA key for an EC certificate":
            return f"{good.pem} {ca.issue('an-rsa', kind='rsa').key}", r"do not belong together"
        case "garbage":
            (folder / "garbage").write_bytes(os.urandom(3000))
            return f"{folder}/garbage", r"there is no certificate in it"
        case "cut short":
            (folder / "cut").write_text(good.pem.read_text()[:300])
            return f"{folder}/cut {good.key}", r"there is no certificate in it"
        case "encrypted":
            openssl("ec", "-in", good.key, "-aes128", "-passout", "pass:x", "-out", folder / "locked")
            return f"{good.pem} {folder}/locked", r"the key is encrypted"
        case "expired":
            old = ca.issue("old", ["good.example"], days=(-20, -1))
            return f"{old.pem} {old.key}", r"it expired on "
        case "another curve":
            p384 = ca.issue("p384", ["good.example"], "P-384")
            return f"{p384.pem} {p384.key}", r"on a curve other than P-256"
        case "a folder":
            return folder, r"it is no file"


HOW = ["missing", "no key", "a key of another", "an RSA key for an EC certificate", "garbage", "cut short", "encrypted",
       "expired", "another curve", "a folder"]


@pytest.mark.parametrize("how", HOW)
def test_a_certificate_that_cannot_be_used_locks_nobody_out(start, ca, folder, state, binary, hello_file, how):
    words, why = broken(ca, folder, how)
    server = start(BOTH + f"state {state}\ncertificate {words}\n")
    assert server.line(rf"error: certificate .*{why}.*the server's own takes its place")
    assert shown(server) == sha(state / "certificate.pem")
    assert plain_answers(server)
    check = subprocess.run([binary, "-t", "-f", server.configuration], capture_output=True, text=True, timeout=PATIENCE)
    assert check.returncode == 0 and "warning: certificate " in check.stderr


# -- choosing -------------------------------------------------------------------------------------------------------


def test_the_name_that_is_asked_for_chooses(start, ca):
    one = ca.issue("one", ["one.example", "*.one.example"])
    two = ca.issue("two", ["two.example", "www.two.example"])
    three = ca.issue("three", ["nothing.example"])
    server = start(HTTPS + f"""certificate {one.pem} {one.key}
certificate {two.pem} {two.key}
host three.example *.three.example {{
certificate {three.pem} {three.key}
}}
""")
    for name, it in (("one.example", one), ("a.one.example", one), ("A.One.Example", one), ("two.example", two),
                     ("www.two.example", two), ("a.b.one.example", one), ("x.two.example", one), (None, one),
                     ("unknown.example", one), ("three.example", three), ("a.three.example", three)):
        assert shown(server, name) == it.fingerprint, name


def test_a_host_without_a_usable_certificate_has_the_one_for_its_name(start, ca, state):
    one, two = ca.issue("first", ["first.example"]), ca.issue("second", ["second.example"])
    server = start(HTTPS + f"""certificate {one.pem} {one.key}
certificate {two.pem} {two.key}
state {state}
host second.example {{
certificate /none.pem
}}
""")
    assert shown(server, "second.example") == two.fingerprint and shown(server) == one.fingerprint


def test_rsa_and_ec_stand_side_by_side(start, ca):
    ec, rsa = ca.issue("side-ec", ["side.example"]), ca.issue("side-rsa", ["side.example"], "rsa")
    for first, second in (ec, rsa), (rsa, ec):
        server = start(HTTPS + f"certificate {first.pem} {first.key}\ncertificate {second.pem} {second.key}\n")
        assert shown(server, "side.example", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") == ec.fingerprint
        assert shown(server, "side.example", ciphers="ECDHE-RSA-AES128-GCM-SHA256") == rsa.fingerprint
        assert shown(server, "side.example") == first.fingerprint


# -- renewal --------------------------------------------------------------------------------------------------------


def test_files_that_change_are_read_again_and_connections_stay(start, ca, folder, hello_file):
    old, new = ca.issue("before", ["renewed.example"]), ca.issue("after", ["renewed.example"])
    file = folder / "both.pem"
    put(file, old.text())
    server = start(HTTPS + f"certificate {file}\n")
    with hello(server) as s:
        assert ask(s) and shown(server) == old.fingerprint
        put(file, new.text())
        eventually(lambda: shown(server) == new.fingerprint, "the new certificate")
        assert ask(s)
    assert "error" not in server.text()


def test_a_pair_that_is_half_replaced_is_never_shown(start, ca, folder):
    old, new = ca.issue("half-old", ["half.example"]), ca.issue("half-new", ["half.example"], "rsa")
    pem, key = folder / "half.pem", folder / "half.key"
    put(pem, old.pem.read_text())
    put(key, old.key.read_text())
    server = start(HTTPS + f"certificate {pem} {key}\n")
    put(pem, new.pem.read_text())
    server.reload()                     # reads it now, half as it is
    assert shown(server) == old.fingerprint
    server.line(r"do not belong together; the last good one stays in use")
    put(key, new.key.read_text())
    eventually(lambda: shown(server) == new.fingerprint, "the new certificate")


def test_a_broken_renewal_leaves_the_last_good_one(start, ca, folder, hello_file):
    good, next_one = ca.issue("last-good", ["last.example"]), ca.issue("last-next", ["last.example"])
    file = folder / "both.pem"
    put(file, good.text())
    server = start(BOTH + f"certificate {file}\n")
    put(file, "nonsense")
    server.line(r"both.pem: there is no certificate in it; the last good one stays in use")
    assert shown(server) == good.fingerprint
    server.reload()
    assert shown(server) == good.fingerprint
    file.unlink()
    server.reload()
    assert shown(server) == good.fingerprint
    assert plain_answers(server)
    put(file, next_one.text())
    eventually(lambda: shown(server) == next_one.fingerprint, "the next one")


def test_a_file_that_two_hosts_share_stays_with_both_when_it_breaks(start, ca, folder, state):
    it = ca.issue("shared", ["a.example", "b.example"])
    file = folder / "both.pem"
    put(file, it.text())
    server = start(HTTPS + "".join(f"host {x}.example {{\ncertificate {file}\n}}\n" for x in "ab") + f"state {state}\n")
    put(file, "nonsense")
    server.reload()
    assert {shown(server, f"{x}.example") for x in "ab"} == {it.fingerprint} and not state.exists()


def test_a_reload_that_is_refused_changes_no_certificate(start, ca, folder):
    good = ca.issue("refused", ["refused.example"])
    file = folder / "both.pem"
    put(file, good.text())
    server = start(HTTPS + f"certificate {file}\n")
    server.configuration.write_text(server.configuration.read_text() + "nonsense\n")
    server.reload(r"the configuration is refused")
    assert shown(server) == good.fingerprint
    server.configuration.write_text(server.configuration.read_text().replace("nonsense\n", ""))
    server.reload()
    assert shown(server) == good.fingerprint


def test_a_certificate_that_a_reload_adds_is_shown(start, ca, state):
    one = ca.issue("added", ["added.example"])
    server = start(HTTPS + f"state {state}\n")
    first = shown(server)
    text = server.configuration.read_text()
    server.configuration.write_text(text + f"certificate {one.pem} {one.key}\n")
    server.reload()
    assert shown(server) == one.fingerprint
    server.configuration.write_text(text)
    server.reload()
    assert shown(server) == first
