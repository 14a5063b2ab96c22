"""Java's TLS: a page, an upload, and a session that is resumed."""
import hashlib
import shutil
import subprocess

import pytest

from test_tls import VERSION, keys, secure, write  # noqa: F401

pytestmark = [pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)"),
              pytest.mark.skipif(not shutil.which("java") or not shutil.which("javac"), reason="no JDK is installed"),
              pytest.mark.once]
CLIENT = """
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.util.HexFormat;
import javax.net.ssl.*;

public class Client {
	public static void main(String[] a) throws Exception {
		KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
		known.load(null);
		try (InputStream in = new FileInputStream(a[1])) {
			known.setCertificateEntry("cub", CertificateFactory.getInstance("X.509").generateCertificate(in));
		}
		TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
		trust.init(known);
		SSLContext context = SSLContext.getInstance("TLS");
		context.init(null, trust.getTrustManagers(), null);
		HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());

		byte[] data = Files.readAllBytes(Path.of(a[2]));
		HttpsURLConnection up = (HttpsURLConnection) new URL(a[0] + "/app").openConnection();
		up.setDoOutput(true);
		up.setFixedLengthStreamingMode(data.length);
		try (OutputStream out = up.getOutputStream()) { out.write(data); }
		System.out.println("upload " + new String(up.getInputStream().readAllBytes()));
		HttpsURLConnection down = (HttpsURLConnection) new URL(a[0] + "/file").openConnection();
		byte[] got = down.getInputStream().readAllBytes();
		System.out.println("page " + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(got)));

		byte[][] ids = new byte[2][];
		long[] made = new long[2];
		URI at = URI.create(a[0]);
		for (int i = 0; i < 2; i++) {
			try (SSLSocket s = (SSLSocket) context.getSocketFactory().createSocket(at.getHost(), at.getPort())) {
				SSLParameters p = s.getSSLParameters();
				p.setEndpointIdentificationAlgorithm("HTTPS");          // without it Java resumes nothing
				s.setSSLParameters(p);
				s.startHandshake();
				ids[i] = s.getSession().getId();
				made[i] = s.getSession().getCreationTime();
				System.out.println(s.getSession().getProtocol() + " " + s.getSession().getCipherSuite());
			}
		}
		System.out.println("resumed " + (MessageDigest.isEqual(ids[0], ids[1]) && made[0] == made[1]));
	}
}
"""


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_java_asks_sends_and_resumes(secure, www, folder, backend, keys, kind):  # noqa: F811
    data = write(www / "file", 500_000)
    (folder / "Client.java").write_text(CLIENT)
    peer = backend(lambda call: call.answer(hashlib.sha256(call.read_body()).hexdigest()))
    server = secure(f"fastcgi /app {peer.address}\n", kinds=(kind,))
    certificate = folder / "crt"
    certificate.write_text(keys[kind].read_text().split("-----END PRIVATE KEY-----\n")[1])
    done = subprocess.run(["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", folder / "Client.java",
                           f"https://localhost:{server.address(0)[1]}", certificate, www / "file"],
                          capture_output=True, text=True, timeout=120)
    right = hashlib.sha256(data).hexdigest()
    assert done.stdout.startswith(f"upload {right}\npage {right}\nTLSv1.2 TLS_ECDHE_"), done.stdout + done.stderr
    assert done.stdout.endswith("resumed true\n"), done.stdout
