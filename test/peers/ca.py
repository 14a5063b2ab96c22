"""An authority for tests: keys and certificates by the openssl program, with whatever times, names and flaws."""
import hashlib
import re
import ssl
import subprocess
import time

CONFIGURATION = """[ca]
default_ca = it
[it]
database = {0}/index
new_certs_dir = {0}
serial = {0}/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
"""


def openssl(*args, **more):
    result = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=60, **more)
    assert result.returncode == 0, result.stderr
    return result.stdout


def moment(days):
    """So many days from now, the way `openssl ca` wants it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


class Issued:
    """A certificate and its key, each a file of its own: NAME.pem, NAME.key."""

    def __init__(self, folder, name):
        self.name, self.key, self.pem = name, folder / f"{name}.key", folder / f"{name}.pem"

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.pem.read_text())

    @property
    def fingerprint(self):
        return hashlib.sha256(self.der).hexdigest()

    def text(self):
        return self.pem.read_text() + self.key.read_text()

    def as_der(self):
        """The same as two files of DER: certificate, key."""
        files = self.pem.with_suffix(".der"), self.pem.with_suffix(".keyder")
        openssl("x509", "-in", self.pem, "-outform", "DER", "-out", files[0])
        openssl("pkey", "-in", self.key, "-outform", "DER", "-out", files[1])
        return files


class Authority:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "index").write_text("")
        (folder / "serial").write_text("1000\n")
        self.root = self.issue("root", by=None, ca=True)

    def make_key(self, path, kind):
        if kind == "rsa":
            openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
        else:
            openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}", "-out", path)

    def issue(self, name, names=(), kind="P-256", by="root", ca=False, days=(-1, 90), key=None, usage="serverAuth",
              subject=None, digest="sha256"):
        """A certificate for these DNS names or IP:..., by the root, an intermediate, or (None) itself."""
        it = Issued(self.folder, name)
        if key:
            it.key = key
        else:
            self.make_key(it.key, kind)
        extensions = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n" if ca else f"extendedKeyUsage = {usage}\n"
        if names:
            listed = ", ".join(x if ":" in x else f"DNS:{x}" for x in names)
            extensions += f"subjectAltName = {listed}\n"
        conf = self.folder / "ca.conf"
        conf.write_text(CONFIGURATION.format(self.folder) + "[extensions]\n" + extensions)
        request = self.folder / f"{name}.csr"
        openssl("req", "-new", "-key", it.key, "-subj", subject or f"/CN={name}", "-out", request)
        signer = ["-selfsign", "-keyfile", it.key]
        if by:
            signer = ["-cert", self.folder / f"{by}.pem", "-keyfile", self.folder / f"{by}.key"]
        openssl("ca", "-batch", "-notext", "-config", conf, *signer, "-in", request, "-out", it.pem, "-extensions",
                "extensions", "-md", digest, "-startdate", moment(days[0]), "-enddate", moment(days[1]))
        return it


def facts(pem):
    """What openssl says of a certificate: notBefore, notAfter, names, all as text."""
    text = openssl("x509", "-in", pem, "-noout", "-startdate", "-enddate", "-ext", "subjectAltName")
    return dict(line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line)) | {"text": text}
