"""Building on machines that lack something, or get it later."""
import os
import subprocess

import pytest

from stage import TOP

pytestmark = pytest.mark.once


def stub(folder, name, script):
    """A program of that name, which writes what it is asked to `called`."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>"{folder}/called"\n{script}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def tree(tmp_path):
    """What make needs of the sources, and a compiler that can link BearSSL when a file of that name says so."""
    for path in [TOP / "Makefile", *TOP.glob("*.[ch]")]:
        if path.name != "local.h":
            (tmp_path / path.name).symlink_to(path)
    stub(tmp_path, "compiler", 'case $* in *-include*-fsyntax-only*) exit ;;\n'
                               '*-include*-lbearssl) [ -e bearssl ]; exit ;; esac\n'
                               'while [ $# -gt 1 ]; do [ "$1" != -o ] || : >"$2"; shift; done')
    return tmp_path


def made(tree, *words):
    """What make compiles and links: names of rooms, and the last line."""
    (tree / "called").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(["make", "-s", f"CC={tree}/compiler", "WERROR=", *words], cwd=tree, env=environment, check=True)
    lines = (tree / "called").read_text().splitlines()
    return {line.split()[-1] for line in lines if " -c " in line}, [line for line in lines if " -c " not in line][-1:]


def test_a_library_that_is_installed_later_is_built_in(tree):
    rooms, link = made(tree)            # the header alone, as a compiler for another processor finds it
    assert "-DCONFIG_TLS=0" in link[0]
    assert "httpd.c" in rooms and "tls.c" not in rooms and "-lbearssl" not in link[0]
    assert made(tree)[0] == set(), "nothing has changed"
    (tree / "bearssl").touch()
    rooms, link = made(tree)
    assert {"httpd.c", "tls.c"} <= rooms, "the program would go on without TLS until make clean"
    assert "-lbearssl" in link[0] and "CONFIG_TLS" not in link[0]


def test_other_flags_of_the_linker_link_anew(tree):
    made(tree)
    assert "-Wl,-s" in made(tree, "LDFLAGS=-Wl,-s")[1][0]


def test_a_package_that_is_not_to_be_had_is_named_and_the_others_are_installed(tmp_path):
    stub(tmp_path, "dpkg-query", "exit 1")
    stub(tmp_path, "id", "echo 1000")
    stub(tmp_path, "sudo", "")
    stub(tmp_path, "apt-cache", 'shift\nfor p; do echo "$p:"; echo "  Installed: (none)"\n'
                                'case $p in php-fpm) echo "  Candidate: (none)" ;; gcc) ;;\n'
                                '*) echo "  Candidate: 1.2-3" ;; esac; done')
    done = subprocess.run([TOP / "test/setup", "run"], env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.partition("not to be had here: ")[2] for line in done.stderr.splitlines()] == ["gcc", "php-fpm"]
    installs = [line for line in (tmp_path / "called").read_text().splitlines() if " install " in line]
    assert len(installs) == 1 and " libbearssl-dev " in installs[0] and not {"gcc", "php-fpm"} & {*installs[0].split()}
