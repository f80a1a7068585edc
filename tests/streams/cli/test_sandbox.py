"""`payouts sandbox`: serves until it is told to stop."""

import signal
import subprocess
import sys
from urllib.request import urlopen

from typer.testing import CliRunner

from streams.cli import app
from tests.streams.cli.test_cli import one_line

COMMAND = [sys.executable, "-c", "from streams.cli import main; main()", "sandbox", "--port"]


def test_it_says_where_it_is_and_stops_on_a_signal() -> None:
    with subprocess.Popen(
        [*COMMAND, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        with urlopen(f"{url}/sandbox/books", timeout=5) as answer:
            assert answer.status == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


def test_a_port_in_use_is_one_line() -> None:
    with subprocess.Popen(
        [*COMMAND, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        port = child.stdout.readline().split(":")[-1].strip()
        result = CliRunner().invoke(app, ["sandbox", "--port", port])
        child.terminate()
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in one_line(result.stderr)
