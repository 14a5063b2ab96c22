"""TLS in Chromium: a page of many parts, an upload, WebSocket, and a second visit."""
import hashlib
import random

import pytest

from test_proxy_real import node, program       # noqa: F401  a fixture
from test_tls import VERSION, keys, secure      # noqa: F401  fixtures
from test_wordpress import chromium, run

pytestmark = [pytest.mark.once, pytest.mark.skipif("CONFIG_TLS 1" not in VERSION, reason="this build has no TLS (CONFIG_TLS)")]

PARTS = 40
SIZE = 8_000_000


@pytest.fixture(scope="module")
def browser():
    with chromium("ignore-certificate-errors") as driver:       # that of the tests has no root
        yield driver


@pytest.fixture
def site(secure, program, www, browser):        # noqa: F811
    """The server with a page, and Node's server behind it; the browser is there."""
    for i in range(PARTS):
        (www / f"{i}.js").write_text(f"window.parts = (window.parts || 0) + {1 << i % 20};" + "/" * 997 * i)
    (www / "index.html").write_text("".join(f"<script src={i}.js></script>" for i in range(PARTS)))
    (www / "body.bin").write_bytes(random.Random(3).randbytes(SIZE))
    server = secure(f"timeout keep 1\ntimeout idle 1\nindex index.html\nproxy /app/ {node(program)}\n")
    browser.get(f"https://localhost:{server.address(0)[1]}/")
    return server


def test_a_page_of_forty_parts_is_whole(site, browser):
    assert run(browser, "return window.parts") == 2 * ((1 << 20) - 1)
    loaded = run(browser, "return performance.getEntriesByType('resource')"
                          ".filter(e => e.name.endsWith('.js')).map(e => [e.responseStatus, e.nextHopProtocol])")
    assert loaded == [[200, "http/1.1"]] * PARTS


def test_what_is_uploaded_and_fetched_is_the_same(site, browser, www):
    told = run(browser, "const body = await (await fetch('/body.bin')).arrayBuffer();"
                        "return (await fetch('/app/hash', { method: 'POST', body })).text()")
    assert told == hashlib.sha256((www / "body.bin").read_bytes()).hexdigest()


def test_websocket_over_tls_brings_messages_back_in_order(site, browser):
    assert run(browser, """
        const socket = new WebSocket('wss://' + location.host + '/app/'), seen = [];
        await new Promise((go, fail) => { socket.onopen = go; socket.onerror = () => fail('not opened'); });
        const all = new Promise(go => socket.onmessage = e => { seen.push(e.data.length); seen.length == 200 && go(); });
        for (let i = 0; i < 200; i++)
            socket.send('x'.repeat(i * i));
        await all;
        socket.close();
        return seen.every((n, i) => n == i * i)""")


def test_a_second_visit_finds_the_parts_unchanged(site, browser):
    browser.refresh()
    assert run(browser, "return window.parts") == 2 * ((1 << 20) - 1)
    assert run(browser, "return performance.getEntriesByType('navigation')[0].responseStatus") in (200, 304)
