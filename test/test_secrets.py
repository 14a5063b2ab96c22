"""What secrets are in the time that something takes: valgrind tells of each branch and address that depends on one."""
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT

pytestmark = [pytest.mark.once,
              pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
              pytest.mark.skipif("CONFIG_TLS 1" not in subprocess.run([BINARY, "-V"], capture_output=True, text=True).stdout,
                                 reason="this build has no TLS (CONFIG_TLS)")]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """complaints(what): what valgrind says of it; what is right and what is wrong has to come out right, too."""
    program = tmp_path_factory.mktemp("secrets") / "secrets"
    subprocess.run(["make", "-s", "-C", ROOT, "build/default/rooms.a"], check=True)
    subprocess.run(["cc", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64", "-std=c11", "-O2", "-ffunction-sections",
                    f"-I{ROOT}", "-o", program, ROOT / "test/peers/secrets.c", ROOT / "build/default/rooms.a",
                    "-Wl,--gc-sections", "-lbearssl"], check=True)

    def go(what):
        done = subprocess.run(["valgrind", "-q", program, what], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return re.findall(r"^==\d+== ((?:Conditional|Use of uninit|Syscall).*)$", done.stderr, re.M)
    return go


def test_a_comparison_of_passwords_takes_as_long_wherever_they_differ(complaints):
    assert complaints("same") == []


def test_a_comparison_that_stops_early_would_be_found(complaints):
    assert complaints("leaky")


def test_padding_and_mac_of_a_record_lead_to_one_branch_at_the_end(complaints):
    """The one that says whether the record was good: as soon as the padding had one of its own, it would be two."""
    assert len(complaints("cbc")) == 1
