"""What the documents say can be pasted, and numbers that they name are those of the program."""
import re
import subprocess

import pytest

from conftest import BINARY, ROOT

pytestmark = pytest.mark.once
VERSION = subprocess.run([BINARY, "-V"], capture_output=True, text=True, timeout=20).stdout


def manual(name):
    """Its literal blocks and lines; lines in a row are one."""
    found = re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed|((?:^\.Dl .*\n)+)", (ROOT / name).read_text(), re.M)
    return [block or re.sub("^.Dl ", "", lines, flags=re.M) for block, lines in found]


def examples():
    """(where, configuration): what is no configuration, such as php's, is left out, and what a shell prints of one is not."""
    blocks = [(name, block) for name in ("cubhttpd.conf.5", "cubhttpd.8") for block in manual(name)]
    blocks += [("README", re.sub("^    ", "", block, flags=re.M))
               for block in re.findall(r"(?:^    .*\n)+", (ROOT / "README").read_text(), re.M) if "listen   80" in block]
    for name, block in blocks:
        if block.startswith((";", "file:line", "# ")):
            continue
        if "$ " in block:       # what `cat` or `grep` shows of a configuration, up to the next command
            found = re.search(r"^\$ (?:cat|grep \w+) /etc/cubhttpd\.conf\n((?:[^$].*\n)+)", block, re.M)
            if not found:
                continue
            block = found[1]
        yield name, block


ALL = list(examples())


@pytest.mark.parametrize("where, text", ALL, ids=[f"{w}-{t.split(maxsplit=1)[0]}-{i}" for i, (w, t) in enumerate(ALL)])
def test_an_example_is_taken_as_it_stands(folder, ca, where, text):
    (folder / "cubhttpd.types").write_text("application/x-my-thing  thing thg\n")
    (folder / "family.pem").write_bytes(ca.root.pem.read_bytes())
    text = text.replace("/etc/cubhttpd/", f"{folder}/").replace("/etc/cubhttpd.types", f"{folder}/cubhttpd.types")
    if not re.search("^root", text, re.M):
        text = f"root {folder}\n" + text
    (folder / "x.conf").write_text(text)
    done = subprocess.run([BINARY, "-t", "-f", folder / "x.conf"], capture_output=True, text=True, timeout=20)
    if "is not in this build" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert not re.sub(r"^warning: .*: No such file or directory\n", "", done.stderr, flags=re.M), done.stderr


def test_examples_are_found():
    assert len(ALL) > 50 and {where for where, _ in ALL} == {"cubhttpd.conf.5", "cubhttpd.8", "README"}


def tracked(pattern):
    return subprocess.run(["git", "-C", ROOT, "ls-files", pattern], capture_output=True, text=True).stdout.split()


def test_every_room_is_on_the_plan():
    """HACKING.md names all rooms and none that is gone; bench/README.md its files."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    named = set(re.findall(r"`([\w.]+\.[ch])`", (ROOT / "HACKING.md").read_text()))
    rooms = {name for name in tracked("*.c") if "/" not in name}
    assert rooms <= named, rooms - named
    assert named - {"local.h"} <= {name.rpartition("/")[2] for name in tracked("*.[ch]")}
    text = (ROOT / "bench/README.md").read_text()
    assert all(f"`{name[6:]}`" in text for name in tracked("bench/*.py") + tracked("bench/*.c"))


def plan(folder, clients="40 400", scripts=4, sessions=8, tls=False):
    (folder / "x.conf").write_text(f"listen 127.0.0.1:8000\nroot /\nclients {clients}\nscripts {scripts}\n"
                                   + f"listen 127.0.0.1:8443 tls\nsessions {sessions}\n" * tls)
    said = subprocess.run([BINARY, "-t", "-f", folder / "x.conf"], capture_output=True, text=True, timeout=20).stdout
    return int(re.search(r"in all (\d+) bytes", said)[1])


@pytest.mark.parametrize("tls", [False, True])
def test_what_one_more_of_each_takes_is_told(folder, tls):
    if tls and "CONFIG_TLS 1" not in VERSION:
        pytest.skip("this build has no TLS (CONFIG_TLS)")
    table = (ROOT / "SMALL.md").read_text().partition("| per | bytes")[2].partition("\n\n")[0]
    told = [int(row.rpartition("| ")[2].strip(" |").replace(",", "")) for row in table.splitlines()[2:]]
    least = plan(folder, tls=tls)
    each = {told[tls]: (plan(folder, clients="140 400", tls=tls) - least) / 100,
            told[2 + tls]: (plan(folder, clients="40 1400", tls=tls) - least) / 1000}
    if tls:
        each[told[5]] = (plan(folder, sessions=1008, tls=True) - least) / 1000
    elif re.search("CONFIG_(FCGI|SCGI|CGI|PROXY) 1", VERSION):
        each[told[4]] = (plan(folder, scripts=104) - least) / 100
    assert all(abs(number - is_so) <= 0.03 * is_so for number, is_so in each.items()), each


def test_what_can_be_left_out_is_called_so():
    text = (ROOT / "SMALL.md").read_text()
    words = {word for row in re.findall(r"^\| [^|]* \| `([A-Z_0-9 ]+)` \|$", text, re.M) for word in row.split()}
    assert len(words) > 15 and words <= set(re.findall(r"^CONFIG_(\w+) ", VERSION, re.M))


def rows():
    table = (ROOT / "SMALL.md").read_text().partition("| the machine has |")[2].partition("\n\n")[0]
    cells = [[cell.strip(" `") for cell in line.strip("| ").split("|")] for line in ("x |" + table).splitlines()]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("column", range(4), ids=["32", "64", "128", "default"])
def test_the_plans_of_small_machines_are_those_of_the_program(folder, column):
    table = rows()
    for tls in (False, "CONFIG_TLS 1" in VERSION):
        lines = [f"{word} {table[word][column].partition('`')[0]}" for word in ("clients", "scripts", "proxied")]
        lines += [f"sessions {table['sessions'][column]}", "listen 127.0.0.1:8443 tls"] if tls else []
        (folder / "x.conf").write_text("listen 127.0.0.1:8000\nroot /\n" + "\n".join(lines) + "\n")
        plan = subprocess.run([BINARY, "-t", "-f", folder / "x.conf"], capture_output=True, text=True, timeout=20).stdout
        needed = int(re.search(r"in all (\d+) bytes", plan)[1])
        told = float(table["plan with TLS" if tls else "plan, at the most"][column].split()[0])
        assert abs(needed / 1e6 - told) <= 0.12, (lines, needed)
        if column < 3:
            assert needed <= int(table["memory`, to be told of a mistake"][column].rstrip("m")) << 20
