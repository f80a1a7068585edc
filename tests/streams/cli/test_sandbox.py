"""`payouts sandbox`: serves until it is told to stop."""

import inspect
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from rails.registry import provider
from rails.sandbox.bank import link_fields
from rails.sandbox.server import PROVIDERS, run_sandbox, sandbox_rail_settings
from streams.cli import app
from streams.cli.console import console
from streams.cli.sandbox import _tell, _webhook_urls, sandbox
from streams.settings import load_settings, unknown_variables
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


def test_its_defaults_are_the_servers() -> None:
    own = inspect.signature(sandbox).parameters
    served = inspect.signature(run_sandbox).parameters
    assert set(own) - {"webhook_url"} == set(served) - {"webhook_urls", "fault_bp", "on_ready"}
    for name in set(own) - {"webhook_url"}:
        assert own[name].default == served[name].default, name


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


def test_webhooks_go_where_their_provider_is_named() -> None:
    assert _webhook_urls([]) == {}
    assert _webhook_urls(["http://a/x?b=c"]) == {"paypal": "http://a/x?b=c"}
    assert _webhook_urls(["adyen=http://a/", "paypal=https://b/"]) == {
        "adyen": "http://a/",
        "paypal": "https://b/",
    }


@pytest.mark.parametrize(
    ("urls", "line"),
    [
        (
            ["pigeon=http://a/"],
            "--webhook-url: no provider 'pigeon'; there are adyen, circle, ",
        ),
        (["adyen=nowhere"], "--webhook-url: 'nowhere' is no address; write adyen=http://host"),
        (["nowhere"], "--webhook-url: 'nowhere' is no address; write paypal=http://host:port/p"),
        (["http://a/", "paypal=http://b/"], "--webhook-url: paypal is named twice"),
    ],
)
def test_a_wrong_webhook_address_is_one_line(urls: list[str], line: str) -> None:
    words = [word for url in urls for word in ("--webhook-url", url)]
    result = CliRunner().invoke(app, ["sandbox", "--port", "0", *words])
    assert result.exit_code == 2
    assert one_line(result.stderr).startswith(f"Error: {line}"), result.stderr


def test_it_prints_the_settings_of_rails_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(console(), "print", lambda text, **_: printed.append(text))
    _tell("http://127.0.0.1:1")
    told = dict(line.split("=", 1) for line in printed[1:])
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert not unknown_variables(told)
    rails = load_settings().rails()
    assert list(rails) == list(PROVIDERS)
    for name, rail in rails.items():
        assert rail == sandbox_rail_settings("http://127.0.0.1:1", name)


def test_it_prints_the_settings_of_a_link_to_its_bank(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed: list[str] = []
    monkeypatch.setattr(console(), "print", lambda text, **_: printed.append(text))
    _tell("http://127.0.0.1:1", bank_directory=tmp_path)
    told = dict(line.split("=", 1) for line in printed[1:])
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert not unknown_variables(told)
    rail = load_settings().rails()["iso20022"]
    assert rail == provider("iso20022").settings(**link_fields(tmp_path))


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ["sandbox", "--port", "0", "--bank-directory", str(tmp_path / "file" / "bank")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert one_line(result.stderr).startswith("Error: --bank-directory: cannot make it")
