"""Go's TLS: a page, an upload, connections that are kept.  Go resumes by tickets alone, and BearSSL has none."""
import hashlib
import os
import shutil
import subprocess

import pytest

from test_tls import VERSION, keys, secure, write  # noqa: F401

pytestmark = [pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)"),
              pytest.mark.skipif(not shutil.which("go"), reason="no Go is installed"), pytest.mark.once,
              pytest.mark.xdist_group("go")]
CLIENT = """
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
)

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	url, file := os.Args[1], os.Args[3]
	pem, err := os.ReadFile(os.Args[2])
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	way := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(8)}}
	client := &http.Client{Transport: way}
	ask := func(what, method, path string, body []byte) {
		kept := false
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { kept = i.Reused }}
		r, err := http.NewRequest(method, url+path, bytes.NewReader(body))
		must(err)
		answer, err := client.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		must(err)
		got, err := io.ReadAll(answer.Body)
		must(err)
		answer.Body.Close()
		state := answer.TLS
		fmt.Printf("%s %d %x kept=%v resumed=%v %x %s %s\\n", what, answer.StatusCode, sha256.Sum256(got), kept,
			state.DidResume, state.Version, state.NegotiatedProtocol, tls.CipherSuiteName(state.CipherSuite))
	}
	data, err := os.ReadFile(file)
	must(err)
	ask("page", "GET", "/file", nil)
	ask("upload", "POST", "/app", data)
	way.CloseIdleConnections()
	ask("again", "GET", "/file", nil)
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Built once, with nothing fetched and nothing left in the home of whoever tests."""
    at = tmp_path_factory.mktemp("go")
    (at / "client.go").write_text(CLIENT)
    (at / "go.mod").write_text("module client\n\ngo 1.16\n")
    env = os.environ | {"GOCACHE": str(at / "cache"), "GOPATH": str(at / "path"), "GOFLAGS": "-mod=mod", "GOPROXY": "off",
                        "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    done = subprocess.run(["go", "build", "-o", at / "client", "."], cwd=at, env=env, capture_output=True, text=True)
    shutil.rmtree(at / "cache", ignore_errors=True)
    assert done.returncode == 0, done.stderr
    return at / "client"


@pytest.mark.parametrize("kind, letters", [("ec", "ECDSA"), ("rsa", "RSA")])
def test_go_asks_sends_and_keeps_its_connection(secure, www, backend, keys, program, kind, letters):  # noqa: F811
    data = write(www / "file", 500_000)
    peer = backend(lambda call: call.answer(hashlib.sha256(call.read_body()).hexdigest()))
    server = secure(f"fastcgi /app {peer.address}\n", kinds=(kind,))
    done = subprocess.run([program, f"https://localhost:{server.address(0)[1]}", keys[kind], www / "file"],
                          capture_output=True, text=True, timeout=60)
    page = hashlib.sha256(data).hexdigest()
    answer = hashlib.sha256(page.encode()).hexdigest()
    what = f"303 http/1.1 TLS_ECDHE_{letters}_WITH_"
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(what in line for line in lines), done.stdout + done.stderr
    assert [line.partition(" 303 ")[0] for line in lines] == [
        f"page 200 {page} kept=false resumed=false", f"upload 200 {answer} kept=true resumed=false",
        f"again 200 {page} kept=false resumed=false"]
