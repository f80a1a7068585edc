"""Visa lets nobody in without a certificate that it has signed, and we believe no other server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from models.payouts import FailureCategory, PayoutState
from rails.rail import Outcome
from rails.sandbox.authority import Authority, Identity
from rails.sandbox.server import Sandbox, serve
from rails.visa.rail import visa_rail
from rails.visa.settings import VisaSettings
from tests.rails.contract import World
from tests.rails.visa import test_rail


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def sandbox(authority: Authority) -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0, authority=authority) as running:
        yield running


def settings(
    sandbox: Sandbox, authority: Path | None, client: Identity | None = None
) -> VisaSettings:
    certificate, key = client or (None, None)
    made = sandbox.rail_settings(
        "visa",
        base_url=sandbox.tls_url,
        certificate=certificate,
        key=key,
        authority=authority,
        timeout_s=3,
    )
    assert isinstance(made, VisaSettings)
    return made


async def pay(sandbox: Sandbox, made: VisaSettings) -> tuple[Outcome, int]:
    """What became of a push, and how often it was executed."""
    rail = visa_rail(made)
    world = World(test_rail.TestVisa.config, sandbox, rail)
    instruction, outcome = await world.submit(world.instruction())
    await rail.close()
    return outcome, world.executions(instruction)


async def test_who_has_a_certificate_is_served(sandbox: Sandbox, authority: Authority) -> None:
    made = settings(sandbox, authority.certificate, authority.issue("client"))
    assert made.root.startswith("https://")
    outcome, executions = await pay(sandbox, made)
    assert outcome.state in {PayoutState.ACCEPTED, PayoutState.SETTLED}
    assert executions == 1


async def test_a_certificate_of_another_authority_is_refused(
    sandbox: Sandbox, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "another authority").issue("client")
    outcome, executions = await pay(sandbox, settings(sandbox, authority.certificate, stranger))
    # The server's refusal may come after the request was written: it proves nothing to us.
    assert (outcome.state, executions) == (PayoutState.UNKNOWN, 0)
    assert sandbox.providers["visa"].counts["create"] == 0


async def test_a_servers_certificate_lets_no_client_in(
    sandbox: Sandbox, authority: Authority, tmp_path: Path
) -> None:
    server = Identity(tmp_path / "server.pem", tmp_path / "server.key")
    outcome, executions = await pay(sandbox, settings(sandbox, authority.certificate, server))
    assert (outcome.state, executions) == (PayoutState.UNKNOWN, 0)


async def test_without_a_certificate_nobody_is_served(
    sandbox: Sandbox, authority: Authority
) -> None:
    outcome, executions = await pay(sandbox, settings(sandbox, authority.certificate))
    assert (outcome.state, executions) == (PayoutState.UNKNOWN, 0)
    assert sandbox.providers["visa"].counts["create"] == 0


async def test_a_server_nobody_vouches_for_is_sent_nothing(
    sandbox: Sandbox, authority: Authority
) -> None:
    outcome, executions = await pay(sandbox, settings(sandbox, None, authority.issue("client")))
    assert (outcome.state, outcome.category) == (PayoutState.FAILED, FailureCategory.RETRYABLE)
    assert outcome.reason == "clientconnectorcertificateerror"
    assert executions == 0


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    client, other = authority.issue("client"), authority.issue("other")
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(client.key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    empty = tmp_path / "empty"
    empty.touch()
    missing = tmp_path / "missing"
    wrong = {
        "certificate and key are needed together": {"certificate": client.certificate},
        "certificate and key cannot be used: no such file": {
            "certificate": missing,
            "key": client.key,
        },
        "certificate and key cannot be used: they are no pair in PEM": {
            "certificate": client.certificate,
            "key": other.key,
        },
        "certificate and key cannot be used: they": {"certificate": empty, "key": client.key},
        "cannot be used: they are no pair in PEM without a passphrase": {
            "certificate": client.certificate,
            "key": locked,
        },
        "authority cannot be used: no such file": {**client._asdict(), "authority": missing},
        "authority cannot be used: it is no PEM": {**client._asdict(), "authority": empty},
    }
    for message, files in wrong.items():
        with pytest.raises(ValueError, match=message):
            VisaSettings.model_validate(files)
    assert VisaSettings.model_validate(client._asdict()).tls() is not None
    assert VisaSettings().tls() is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"acquiring_bin": "12345"}, "acquiring_bin is 6 to 11 digits"),
        ({"acquirer_country": "USA"}, "acquirer_country is a country of ISO 3166-1 in 3 digits"),
        ({"merchant_category": "60120"}, "merchant_category is a category"),
        ({"business_application": "fd"}, "business_application is two capitals"),
        ({"company_country": "US"}, "company_country is a country of ISO 3166-1 in 3 capitals"),
    ],
)
def test_settings_that_visa_does_not_take(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VisaSettings.model_validate(fields)
