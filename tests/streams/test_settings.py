"""Settings: read from the environment, refused in one line that names the variable."""

import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, create_model, model_validator

from rails.registry import PROVIDERS, Provider
from rails.settings import RailSettings, TextList
from streams.configuration import configuration_markdown
from streams.doctor import Status, _rails
from streams.settings import (
    ENV_FILE,
    PREFIX,
    SECRETS_DIR,
    Settings,
    SettingsError,
    load_settings,
    rail_fields,
    unknown_variables,
    variable,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", "a:1, b:2")
    monkeypatch.setenv("PAYOUTS_REDIS_CLUSTER", "true")
    monkeypatch.setenv("PAYOUTS_LOG_LEVEL", "debug")
    settings = load_settings()
    assert settings.kafka_brokers == "a:1,b:2"
    assert settings.redis_cluster is True
    assert settings.log_level == "DEBUG"
    assert settings.event_retention_ms == 90 * 86_400_000


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "8")
    assert load_settings(partitions=32).partitions == 32


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("kafka_brokers", "localhost", "host:port"),
        ("kafka_brokers", "localhost:99999", "host:port"),
        ("partitions", "12", "does not divide 64"),
        ("partitions", "many", "valid integer"),
        ("redis_url", "http://localhost", "redis://host:port/0"),
        ("redis_url", "redis://", "no host"),
        ("session_timeout_ms", "5", "greater than or equal to 1000"),
        ("assignment_strategy", "sticky", "'cooperative-sticky'"),
        ("traces_ratio", "1.5", "less than or equal to 1"),
        ("traces_ratio", "nan", "finite"),
        ("traces_url", "collector:4318", "http://host:4318"),
        ("log_format", "xml", "'auto', 'json' or 'text'"),
        ("metrics_port", "70000", "65535"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable(field), value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    message = str(refused.value)
    assert message.startswith(variable(field) + ": ")
    assert says in message
    assert "\n" not in message


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "7")
    monkeypatch.setenv("PAYOUTS_BATCH_MAX", "0")
    with pytest.raises(SettingsError, match=r"PAYOUTS_PARTITIONS: .*; PAYOUTS_BATCH_MAX: "):
        load_settings()


def test_sasl_needs_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SettingsError, match="PAYOUTS_KAFKA_SASL_PASSWORD"):
        load_settings()


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(SettingsError, match="PAYOUTS_KAFKA_SSL_KEY"):
        load_settings(kafka_ssl_cert="/tmp/cert.pem")


def test_security_reaches_the_kafka_client() -> None:
    client = load_settings(
        kafka_security_protocol="sasl_ssl",
        kafka_sasl_username="user",
        kafka_sasl_password="pass",
        kafka_ssl_ca="/ca.pem",
        kafka_ssl_cert="/cert.pem",
        kafka_ssl_key="/key.pem",
        kafka_ssl_key_password="word",
    ).kafka_client()
    assert client == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "user",
        "sasl.password": "pass",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/cert.pem",
        "ssl.key.location": "/key.pem",
        "ssl.key.password": "word",
    }


def test_a_plain_kafka_client_carries_no_credentials() -> None:
    client = load_settings(kafka_sasl_username="user", kafka_sasl_password="p").kafka_client()
    assert not [name for name in client if name.startswith("sasl")]


def test_secrets_come_from_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "PAYOUTS_REDIS_PASSWORD").write_text("from a file\n")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    settings = load_settings()
    assert settings.redis_password.get_secret_value() == "from a file"
    assert settings.redis_options() == {"password": "from a file"}


def test_a_missing_secrets_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS_DIR, "/nowhere")
    with pytest.raises(SettingsError, match=f"^{SECRETS_DIR}: /nowhere is not a directory"):
        load_settings()


def test_an_env_file_is_read_only_when_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PAYOUTS_GROUP_ID=from-file\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings().group_id == "payouts"
    monkeypatch.setenv(ENV_FILE, str(tmp_path / ".env"))
    assert load_settings().group_id == "from-file"


def test_secrets_are_in_no_repr() -> None:
    settings = load_settings(
        kafka_sasl_password="hunter2",
        redis_url="redis://user:hunter2@host:1/0",
        redis_password="hunter2",
        seal_keys="k:hunter2",
        paypal_client_secret="hunter2",
        adyen_api_key="hunter2",
        adyen_webhook_key="hunter2",
    )
    assert "hunter2" not in repr(settings)
    assert settings.redis_address == "redis://host:1/0"


def test_the_rail_gets_its_settings() -> None:
    rail = load_settings(paypal_timeout_s=3, paypal_client_secret="s").rail("paypal")
    assert rail.timeout_ms == 3000
    assert rail.client_secret.get_secret_value() == "s"


def test_a_rails_settings_come_from_wherever_others_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "PAYOUTS_ADYEN_API_KEY").write_text("from a secret\n")
    (tmp_path / "env").write_text("PAYOUTS_ADYEN_BALANCE_ACCOUNT=from-a-file\n")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    monkeypatch.setenv(ENV_FILE, str(tmp_path / "env"))
    monkeypatch.setenv("PAYOUTS_PAYPAL_WEBHOOK_CERT_PREFIXES", "https://a/, https://b/")
    monkeypatch.setenv("PAYOUTS_PAYPAL_CLIENT_ID", "")
    rails = load_settings().rails()
    assert rails["adyen"].api_key.get_secret_value() == "from a secret"
    assert rails["adyen"].balance_account == "from-a-file"
    assert rails["paypal"].webhook_cert_prefixes == ("https://a/", "https://b/")
    assert rails["paypal"].client_id == ""


def test_a_rails_value_out_of_bounds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_ADYEN_TIMEOUT_S", "301")
    with pytest.raises(SettingsError, match=r"^PAYOUTS_ADYEN_TIMEOUT_S: .*300"):
        load_settings()


class PigeonSettings(RailSettings):
    """Of a provider that nobody has heard of."""

    provider = "pigeon"
    title = "Pigeon"
    exists_by = "loft_key"
    needs = ("certificate",)

    loft_key: SecretStr = Field(SecretStr(""), description="key of the loft, for {title}")
    certificate: Path | None = Field(None, description="PEM file of {title}'s")
    routes: TextList = Field((), description="where to fly")

    @model_validator(mode="after")
    def _short(self) -> "PigeonSettings":
        if len(self.routes) > 1:
            raise ValueError("routes is one route, whatever loft_key says")
        return self


@pytest.fixture
def with_pigeon(monkeypatch: pytest.MonkeyPatch) -> type[Settings]:
    """The settings of an installation whose registry has one more provider."""
    capabilities = PROVIDERS["paypal"].capabilities
    one = Provider(PigeonSettings, capabilities, lambda _: None, lambda _settings, _name: None)
    monkeypatch.setitem(PROVIDERS, "pigeon", one)
    return create_model("WithPigeon", __base__=Settings, **rail_fields(PigeonSettings))


def test_a_new_provider_is_a_class_and_a_line(
    with_pigeon: type[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert with_pigeon.model_fields["pigeon_loft_key"].description == "key of the loft, for Pigeon"
    assert "pigeon" not in with_pigeon().rails()
    monkeypatch.setenv("PAYOUTS_PIGEON_LOFT_KEY", "hunter2")
    [finding] = [one for one in _rails(with_pigeon()) if one.what == "pigeon"]
    assert (finding.status, finding.advice) == (Status.WARN, "set PAYOUTS_PIGEON_CERTIFICATE")
    monkeypatch.setenv("PAYOUTS_PIGEON_CERTIFICATE", str(tmp_path / "cert.pem"))
    [finding] = [one for one in _rails(with_pigeon()) if one.what == "pigeon"]
    assert finding.status is Status.FAIL
    assert finding.detail.startswith("PAYOUTS_PIGEON_CERTIFICATE: ")
    (tmp_path / "cert.pem").write_text("PEM")
    [finding] = [one for one in _rails(with_pigeon()) if one.what == "pigeon"]
    assert (finding.status, finding.detail) == (Status.OK, "Pigeon")
    rail = with_pigeon().rails()["pigeon"]
    assert rail.certificate == tmp_path / "cert.pem"
    assert "hunter2" not in repr(rail) + repr(with_pigeon())


def test_what_a_class_refuses_names_its_variables(
    with_pigeon: type[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYOUTS_PIGEON_ROUTES", "a,b")
    with pytest.raises(SettingsError) as caught:
        with_pigeon().rail("pigeon")
    assert str(caught.value) == (
        "PAYOUTS_PIGEON_ROUTES is one route, whatever PAYOUTS_PIGEON_LOFT_KEY says"
    )


def test_there_is_adyen_where_it_has_a_key() -> None:
    assert list(load_settings().rails()) == ["paypal"]
    settings = load_settings(
        adyen_api_key="k", adyen_balance_account="BA1", adyen_webhook_key="ab" * 32
    )
    rail = settings.rails()["adyen"]
    assert (rail.provider, rail.balance_account) == ("adyen", "BA1")
    assert rail.api_key.get_secret_value() == "k"
    assert "abab" not in repr(rail)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"adyen_base_url": "http://example.com"}, r"^PAYOUTS_ADYEN_BASE_URL must be https"),
        ({"adyen_webhook_key": "abcd"}, r"^PAYOUTS_ADYEN_WEBHOOK_KEY is 32 or more hexadecimal"),
        ({"adyen_webhook_key": "x" * 64}, r"^PAYOUTS_ADYEN_WEBHOOK_KEY is 32 or more hexadecimal"),
    ],
)
def test_what_is_wrong_with_adyen_is_named(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(adyen_api_key="k", **wrong).rails()


def test_what_a_rail_refuses_names_the_variable() -> None:
    with pytest.raises(SettingsError, match=r"^PAYOUTS_PAYPAL_BASE_URL must be https"):
        load_settings(paypal_base_url="http://example.com").rail("paypal")


def test_a_misspelt_variable_is_found() -> None:
    environ = {"PAYOUTS_KAFKA_BROKER": "x", "PAYOUTS_PORT_80_TCP": "x", "PAYOUTS_PLAN": "x"}
    assert unknown_variables(environ) == [
        ("PAYOUTS_KAFKA_BROKER", "PAYOUTS_KAFKA_BROKERS"),
        ("PAYOUTS_PORT_80_TCP", None),
    ]


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_says_what_it_means_with_its_unit(field: str) -> None:
    description = Settings.model_fields[field].description or ""
    assert len(description) > 10
    for suffix, unit in (("_ms", "in ms"), ("_s", "in s"), ("_days", "in days")):
        assert not field.endswith(suffix) or description.count(unit), f"{field} needs its unit"


def test_the_configuration_page_is_current() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert page == configuration_markdown(), "run `payouts config reference --write`"
