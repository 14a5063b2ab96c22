"""WordPress for real: installed, written and read in Chromium, through cubhttpd, php-fpm and mariadb."""
import contextlib
import json
import os
import random
import re
import shutil
import struct
import tempfile
import urllib.parse
import zlib

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from stage import TOP, Stage

TITLE, USER, PASSWORD = "The Bear Cub's Notes", "keeper", "honey-9-Blossom-and-4-Birches"
# What must never be run, in a place where only running it would show the product.
POISON = b"<?php echo 'ran ' . 6 * 7 * 1009; ?>"
RAN = b"ran 42378"


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(width=1100, height=800):
    """A PNG of a megabyte or so, with a script in its comment."""
    dice = random.Random(7)
    rows = b"".join(b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 90 + dice.getrandbits(6)))
                                     for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + png_chunk(b"tEXt", b"Comment\0" + POISON) + png_chunk(b"IDAT", zlib.compress(rows, 1))
            + png_chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def folder():
    path = tempfile.mkdtemp(prefix="wordpress-")
    os.chmod(path, 0o755)           # so that root's tests run it as an ordinary user
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def stage(folder):
    with Stage(TOP / "demo/wordpress", folder) as stage:
        yield stage
        assert len(stage.processes()) >= 5              # the script, the server, php-fpm and a worker, mariadb
        assert stage.end() == {}


@contextlib.contextmanager
def chromium(*more):
    """A driver of a browser that knows no host but localhost, with more flags if need be."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    profile = tempfile.mkdtemp(prefix="chromium-")
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
                 "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost", "window-size=1280,1600",
                 f"user-data-dir={profile}", *more):
        options.add_argument("--" + flag)
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


def run(browser, script, *arguments):
    """The value that an async function with this body returns in the page."""
    answer = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        f"(async (...args) => {{ {script} }})(...arguments)"
        ".then(value => done([value]), fault => done(String(fault.message || fault)))",
        *arguments)
    assert isinstance(answer, list), answer
    return answer[0]


class Blog:
    """The browser at the blog's door."""

    def __init__(self, stage, browser):
        self.stage, self.browser, self.home = stage, browser, stage.home

    def go(self, path):
        self.browser.get(self.home + path)

    def find(self, css):
        return WebDriverWait(self.browser, 40).until(lambda b: b.find_element(By.CSS_SELECTOR, css), css)

    def fill(self, **fields):
        for name, value in fields.items():
            self.browser.execute_script("arguments[0].value = arguments[1]", self.find(f"[name={name}]"), value)

    def submit(self, css):
        """Click, and wait until the next page is there."""
        page = self.find("html")
        self.find(css).click()
        WebDriverWait(self.browser, 40).until(lambda b: b.find_element(By.CSS_SELECTOR, "html") != page)
        return self.find("body").text

    def run(self, script, *arguments):
        return run(self.browser, script, *arguments)

    def media(self, wish):
        """What the REST interface answers about pictures."""
        path, _, query = wish.partition("?")
        status, _, body = self.stage.fetch(f"/wordpress/?rest_route=/wp/v2/media{path}&{query}")
        assert status == 200
        return json.loads(body)

    def broken(self):
        """What this page asked for and did not get."""
        return self.run("return performance.getEntriesByType('resource')"
                        ".filter(e => e.responseStatus >= 400).map(e => [e.responseStatus, e.name])")


@pytest.fixture(scope="module")
def blog(stage, browser):
    """Installed by the web installer, and its owner logged in."""
    blog = Blog(stage, browser)
    blog.go("")
    assert browser.current_url == blog.home + "/wp-admin/install.php"
    blog.fill(weblog_title=TITLE, user_name=USER, admin_password=PASSWORD, admin_password2=PASSWORD,
              admin_email="keeper@example.org")
    assert "Success!" in blog.submit("#submit")
    blog.go("/wp-login.php")
    blog.fill(log=USER, pwd=PASSWORD)
    assert "Dashboard" in blog.submit("#wp-submit")
    return blog


@pytest.fixture(scope="module")
def upload(blog, folder):
    """(number, path, bytes) of a picture that the media page's uploader has sent."""
    data, path = picture(), os.path.join(folder, "cub.png")
    with open(path, "wb") as file:
        file.write(data)
    blog.go("/wp-admin/media-new.php")
    blog.find(".moxie-shim input[type=file]").send_keys(path)
    blog.find(".media-item .edit-attachment")
    found = blog.media("?_fields=id,source_url")
    assert len(found) == 1
    return found[0]["id"], urllib.parse.urlsplit(found[0]["source_url"]).path, data


@pytest.fixture(scope="module")
def post(blog, upload):
    """(number, address, broken parts of the editor) of a post with the picture in it, published by the block editor."""
    blog.go("/wp-admin/post-new.php")
    blog.find(".block-editor-block-list__layout, iframe[name=editor-canvas]")       # a frame since WordPress 6.3
    broken = blog.broken()
    number, address = blog.run("""
        const [id, url] = args, editor = wp.data.dispatch('core/editor'), blocks = wp.blocks;
        await wp.data.dispatch('core/block-editor').insertBlocks([
            blocks.createBlock('core/paragraph', {content: 'Found some honey \\u2014 and a picture of it.'}),
            blocks.createBlock('core/image', {id, url, sizeSlug: 'full'})]);
        editor.editPost({title: 'A day in the woods', slug: 'a-day-in-the-woods', status: 'publish'});
        await editor.savePost();
        if (!wp.data.select('core/editor').didPostSaveRequestSucceed())
            throw new Error('the post was not saved');
        const post = wp.data.select('core/editor');
        return [post.getCurrentPostId(), post.getPermalink()]""", upload[0], upload[1])
    return number, address, broken


def test_https_serves_pages_that_stay_with_https(blog, stage):
    status, body = stage.secure_fetch("/")
    assert status == 200 and stage.secure_home.encode() in body
    assert b"http://localhost" not in body


def test_pages_of_the_administration_get_all_their_parts(blog):
    for path in ("/wp-admin/", "/wp-admin/edit.php", "/wp-admin/upload.php", "/wp-admin/options-general.php"):
        blog.go(path)
        assert blog.find("#wpadminbar")
        assert blog.broken() == []


def test_a_picture_comes_back_as_it_went_in(stage, upload):
    _, path, data = upload
    status, fields, body = stage.fetch(path)
    assert (status, fields["content-type"], body == data) == (200, "image/png", True)


@pytest.mark.parametrize("wish, first, last", [("0-99", 0, 99), ("1000-", 1000, None), ("-500", -500, None)])
def test_a_range_of_the_picture_is_that_part_of_it(stage, upload, wish, first, last):
    _, path, data = upload
    status, fields, body = stage.fetch(path, Range="bytes=" + wish)
    part = data[first:] if last is None else data[first:last + 1]
    begin = first % len(data)
    assert status == 206
    assert fields["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"
    assert body == part


def test_smaller_pictures_were_made_and_are_served(blog, stage, upload):
    sizes = [size["source_url"] for size in blog.media(f"/{upload[0]}")["media_details"]["sizes"].values()]
    assert len(sizes) >= 4
    for url in sizes:
        status, fields, body = stage.fetch(urllib.parse.urlsplit(url).path)
        assert (status, fields["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")


def test_the_editor_publishes_a_post_with_the_picture(blog, post):
    _, address, broken = post
    assert broken == []
    # The installer asks itself over the network whether such addresses work, and takes ?p=1 when they do not.
    assert re.fullmatch(re.escape(blog.home) + r"/(\d+/\d\d/\d\d/)?a-day-in-the-woods/", address)
    blog.browser.get(address)
    assert "A day in the woods" in blog.find("h1.wp-block-post-title").text
    assert "Found some honey \u2014 and a picture of it." in blog.find(".entry-content").text
    assert blog.run("const picture = document.querySelector('.entry-content img');"
                    "await picture.decode(); return picture.naturalWidth") == 1100
    assert blog.broken() == []
    (TOP / "build").mkdir(exist_ok=True)
    assert blog.browser.save_screenshot(str(TOP / "build/wordpress.png"))


def test_a_post_is_read_at_its_own_name(blog, stage, post):
    blog.go("/wp-admin/options-permalink.php")
    blog.find("input[value='/%postname%/']").click()
    assert "Permalink structure updated" in blog.submit("#submit")
    blog.go("/a-day-in-the-woods/")
    assert blog.browser.current_url == blog.home + "/a-day-in-the-woods/"
    assert "A day in the woods" in blog.find("h1.wp-block-post-title").text
    status, fields, body = stage.fetch("/wordpress/a-day-in-the-woods/")
    assert (status, b"Found some honey" in body) == (200, True)
    status, fields, body = stage.fetch("/wordpress/wp-json/wp/v2/posts?slug=a-day-in-the-woods")
    assert (status, b"Found some honey" in body) == (200, True)
    status, fields, body = stage.fetch("/wordpress/a-day-in-the-fields/")
    assert (status, b"</html>" in body) == (404, True)


def test_a_comment_is_posted_and_its_redirect_followed(blog, post):
    blog.go(f"/?p={post[0]}")
    blog.fill(comment="May I have some?")
    blog.submit("#commentform input[type=submit]")
    assert re.search(r"#comment-\d+$", blog.browser.current_url)
    assert "May I have some?" in blog.find(".wp-block-comments").text


def test_a_missing_script_is_404_and_php_never_hears_of_it(blog, stage, folder):
    for path in ("/wordpress/gone.php", "/wordpress/wp-admin/gone.php", "/gone.php"):
        assert stage.fetch(path)[0] == 404
    with open(os.path.join(folder, "run/php-access.log")) as log:
        lines = log.read()
    assert "install.php" in lines
    assert "gone.php" not in lines


def test_a_picture_with_a_script_in_it_is_not_run_by_a_name_behind_it(blog, stage, folder, upload):
    _, path, data = upload
    shutil.copy(os.path.join(folder, "cub.png"), os.path.join(folder, "site/wordpress/cub.png"))
    for address in (path, "/wordpress/cub.png"):
        assert stage.fetch(address)[2] == data
        for tail in ("/x.php", "/.php", "%00.php", "%2Fx.php", "\\x.php", ".php"):
            status, _, body = stage.fetch(address + tail)
            assert status in (400, 404), tail
            assert RAN not in body


def test_a_script_among_the_uploads_is_not_run(blog, stage, folder):
    place = os.path.join(folder, "site/wordpress/wp-content/uploads/evil.php")
    with open(place, "wb") as file:
        file.write(POISON)
    for tail in ("", "/", "/x", "/x.php", "?a=b"):
        assert RAN not in stage.fetch("/wordpress/wp-content/uploads/evil.php" + tail)[2]
    os.replace(place, os.path.join(folder, "site/wordpress/evil.php"))
    assert RAN in stage.fetch("/wordpress/evil.php")[2]     # the script itself is sound
