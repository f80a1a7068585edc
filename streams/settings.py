"""Settings: one object read from the environment at start, checked, and passed on.

Every setting is an environment variable ``PAYOUTS_<NAME>``. ``PAYOUTS_SECRETS_DIR`` names a
directory with one file per variable (a mounted Kubernetes or Docker secret), ``PAYOUTS_ENV_FILE``
a file of ``NAME=value`` lines; neither is read unless named. The environment wins over both.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.shards import SHARDS
from rails.destination import KeysInvalid, Seal
from rails.registry import PROVIDERS
from rails.settings import RailSettings
from streams.notices.endpoint import Endpoint, EndpointInvalid, check_url, key_of, origin_of

PREFIX = "PAYOUTS_"
"""What every variable's name begins with."""

SECRETS_DIR = PREFIX + "SECRETS_DIR"
"""Variable that names a directory with one file per setting, the file named as the variable."""

ENV_FILE = PREFIX + "ENV_FILE"
"""Variable that names a file of ``NAME=value`` lines."""

DEFAULTS = Path(__file__).parent / "defaults"
"""Where the packaged plan, policy, campaigns and model lie."""

_DAY_MS = 24 * 60 * 60 * 1000

# Variables with the prefix that are read outside of the settings: by the loader and by the tests.
_OTHER_VARIABLES = frozenset({SECRETS_DIR, ENV_FILE, PREFIX + "TEST_REDIS_URL"})


class SettingsError(ValueError):
    """The environment cannot be used. One line: the variable, what is wrong, what to do."""


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def _broker_list(value: str) -> str:
    addresses = [address.strip() for address in value.split(",")]
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError(f"{address[:80]!r} is not host:port; write host:port,host:port")
    return ",".join(addresses)


def _redis_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("write redis://host:port/0, or rediss:// for TLS")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("no host in it; write redis://host:port/0")
    return value


def _collector_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("write http://host:4318, without /v1/traces")
    return value


Role = Literal["book", "pay", "webhooks", "notices"]

ROLES: tuple[Role, ...] = ("book", "pay", "webhooks", "notices")
"""Everything a worker can do."""


def _words(value: object) -> object:
    if not isinstance(value, str):
        return value
    named = {word.strip() for word in value.split(",") if word.strip()}
    # In the order of declaration, so that equal roles give equal group names; unknown ones last.
    return tuple(role for role in ROLES if role in named) + tuple(sorted(named - set(ROLES)))


Port = Annotated[int, Field(ge=0, le=65_535)]


def rail_fields(kind: type[RailSettings]) -> dict[str, Any]:
    """The settings of a provider's rail, by name, as ``create_model`` takes them."""
    fields: dict[str, Any] = {}
    for name, declared in kind.model_fields.items():
        field = copy(declared)
        field.description = (declared.description or "").replace("{title}", kind.title)
        fields[f"{kind.provider}_{name}"] = (field.annotation, field)
    return fields


if TYPE_CHECKING:

    class _OfRails(BaseSettings):
        """The settings of all providers, which their folders declare."""

else:
    _OfRails = create_model(
        "_OfRails",
        __base__=BaseSettings,
        **{
            name: field
            for one in PROVIDERS.values()
            for name, field in rail_fields(one.settings).items()
        },
    )

_IN_RAILS = tuple(_OfRails.model_fields)


class Settings(_OfRails):
    """Everything that differs between two installations.

    Beside what stands here, each provider's settings are fields ``<provider>_<field>``.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    # Kafka
    kafka_brokers: Annotated[str, AfterValidator(_broker_list)] = Field(
        "127.0.0.1:9092", description="brokers to start from, as host:port,host:port"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to speak to the brokers"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, used with a SASL protocol"
    )
    kafka_sasl_username: str = Field("", description="SASL user name")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password")
    kafka_ssl_ca: Path | None = Field(
        None, description="PEM file of the authorities to trust; the system's if unset"
    )
    kafka_ssl_cert: Path | None = Field(None, description="PEM file of the client certificate")
    kafka_ssl_key: Path | None = Field(None, description="PEM file of the client's private key")
    kafka_ssl_key_password: SecretStr = Field(
        SecretStr(""), description="password of the client's private key"
    )
    partitions: int = Field(
        16, ge=1, le=SHARDS, description=f"partitions of every topic; must divide {SHARDS}"
    )
    topic_replication: int = Field(
        1, ge=1, le=9, description="replicas of a topic that `payouts topics create` makes"
    )

    # Worker
    roles: Annotated[tuple[Role, ...], NoDecode, BeforeValidator(_words)] = Field(
        ROLES,
        min_length=1,
        description="what a worker does, as book,pay,webhooks,notices: book events, talk to rails, "
        "receive their webhooks, notify the company; workers with the same roles share a group",
    )
    group_id: str = Field(
        "payouts", min_length=1, max_length=200, description="consumer group of the workers"
    )
    group_instance_id: str = Field(
        "",
        max_length=200,
        description="this worker's fixed name for static membership; empty for dynamic",
    )
    assignment_strategy: Literal["cooperative-sticky", "range", "roundrobin"] = Field(
        "range",
        description="how partitions are spread; the same for all workers of a group; "
        "cooperative-sticky may leave all of a topic with one worker",
    )
    session_timeout_ms: int = Field(
        10_000, ge=1_000, le=1_800_000, description="silence after which a worker is dead, in ms"
    )
    fetch_wait_ms: int = Field(
        100,
        ge=1,
        le=10_000,
        description="longest wait of a fetch for fetch_min_bytes to come together, in ms",
    )
    fetch_min_bytes: int = Field(
        1,
        ge=1,
        le=104_857_600,
        description="a fetch answers with this much, in bytes; 100000 and a wait of 10 ms trade "
        "latency for CPU",
    )
    message_bytes_max: int = Field(
        4_194_304,
        ge=1_048_576,
        le=100_000_000,
        description="largest message that is taken or sent, in bytes, refused ones included",
    )
    batch_max: int = Field(
        500, ge=1, le=10_000, description="largest batch an agent gets, in messages"
    )
    stall_timeout_s: int = Field(
        60,
        ge=5,
        le=3_600,
        description="work waiting and nothing finished for this long ends the worker, in s",
    )
    drain_timeout_s: int = Field(
        20, ge=1, le=600, description="longest wait for batches in hand on stop or revoke, in s"
    )
    retry_timeout_s: int = Field(
        60,
        ge=1,
        le=3_600,
        description="how long an unreachable Kafka or Redis is retried before the end, in s",
    )

    # Redis
    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis or Valkey >= 7 as redis://, rediss:// (TLS) or unix://",
    )
    redis_username: str = Field("", description="Redis ACL user; the default user if unset")
    redis_password: SecretStr = Field(
        SecretStr(""), description="Redis password, rather here than in the address"
    )
    redis_cluster: bool = Field(False, description="whether the address is of a Redis Cluster")
    redis_ssl_ca: Path | None = Field(
        None, description="PEM file of the authorities to trust for rediss://"
    )

    # Rules
    event_retention_days: int = Field(
        90,
        ge=1,
        le=3_650,
        description="how long event ids are remembered; older events are refused, in days",
    )
    waiting_days: int = Field(
        30,
        ge=1,
        le=365,
        description="how long an early event waits for what it depends on, in days",
    )
    plan: Path = Field(DEFAULTS / "plan.yaml", description="commission plan, YAML file")
    policy: Path = Field(DEFAULTS / "policy.yaml", description="payout policy, YAML file")
    campaigns: Path = Field(
        DEFAULTS / "campaigns.yaml", description="spendback campaigns, YAML file"
    )
    model: Path = Field(DEFAULTS / "model.json", description="fraud model, JSON file")
    model_challenger: Path | None = Field(
        None, description="a fraud model that scores in the shadow of the other, JSON file"
    )
    explore_key: SecretStr = Field(
        SecretStr(""),
        description="by which chance draws sales that are let through, 16 to 64 characters; "
        "without it none are",
    )
    account_key: SecretStr = Field(
        SecretStr(""),
        description="by which sellers who are paid to one account are told, 16 to 64 characters; "
        "without it nobody is",
    )
    seal_keys: SecretStr = Field(
        SecretStr(""),
        description="keys that seal destinations, as id:base64key,id2:base64key; the first seals",
    )

    # Ports
    metrics_host: str = Field(
        "127.0.0.1", description="address that /metrics, /healthz and /readyz listen on"
    )
    metrics_port: Port = Field(9464, description="their port; 0 takes a free one")
    heartbeat_timeout_s: int = Field(
        15, ge=1, le=600, description="/healthz fails when the event loop is stuck this long, in s"
    )
    webhook_host: str = Field("127.0.0.1", description="address that rails' webhooks arrive at")
    webhook_port: Port = Field(8443, description="their port; 0 takes a free one")

    # API
    api_host: str = Field("127.0.0.1", description="address that the HTTP API listens on")
    api_port: Port = Field(8080, description="its port; 0 takes a free one")
    api_keys: Path | None = Field(
        None, description="YAML file of the API's keys, as `payouts api-key create` writes it"
    )
    api_requests_per_second: int = Field(
        100, ge=1, le=100_000, description="requests a second that a key may send, per process"
    )
    api_burst: int = Field(
        200, ge=1, le=1_000_000, description="requests that a key may send at once after a pause"
    )
    api_concurrency: int = Field(
        256, ge=1, le=10_000, description="requests under way at a time, per process"
    )
    api_body_bytes_max: int = Field(
        65_536, ge=1_024, le=1_048_576, description="largest body of a request, in bytes"
    )
    api_timeout_s: int = Field(
        10, ge=1, le=60, description="longest wait for a body, Kafka or Redis, in s; then 503"
    )

    # Notices
    notices_url: str = Field(
        "", repr=False, description="where the company takes notices; without it none are sent"
    )
    notices_plain_http_allowed: bool = Field(
        False, description="whether that may be http to another host; for tests only"
    )
    notices_secret: SecretStr = Field(
        SecretStr(""), description="what signs notices: `whsec_` and base64 of 24 to 64 bytes"
    )
    notices_secret_next: SecretStr = Field(
        SecretStr(""), description="a second one that signs as well, while the first is replaced"
    )
    notices_timeout_s: int = Field(
        15, ge=1, le=60, description="longest wait for the company's answer, in s"
    )
    notices_concurrency: int = Field(
        32, ge=1, le=1_000, description="notices under way at a time, per worker"
    )

    # Logs
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="a JSON object a line, or text for people; auto: text on a terminal, else JSON",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severity that is written"
    )

    # Traces
    traces_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of events whose way is traced; 0 turns tracing off, more needs the "
        "extra `traces`",
    )
    traces_url: Annotated[str, AfterValidator(_collector_url)] = Field(
        "",
        repr=False,
        description="collector that takes OTLP over HTTP, such as http://collector:4318; empty "
        "for where OTEL_EXPORTER_OTLP_ENDPOINT says, else this machine",
    )
    traces_to_rails: bool = Field(
        False, description="whether requests to providers have the header traceparent"
    )

    @field_validator("kafka_security_protocol", "kafka_sasl_mechanism", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("explore_key", "account_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().encode()
        if key and not 16 <= len(key) <= 64:
            raise ValueError("a key is of 16 to 64 bytes")
        return value

    @field_validator("partitions")
    @classmethod
    def _divides_shards(cls, value: int) -> int:
        if SHARDS % value:
            raise ValueError(f"{value} does not divide {SHARDS}; use 1, 2, 4, 8, 16, 32 or 64")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password.get_secret_value()
        ):
            raise ValueError(
                f"{variable('kafka_security_protocol')}={self.kafka_security_protocol} needs "
                f"{variable('kafka_sasl_username')} and {variable('kafka_sasl_password')}; set both"
            )
        if (self.kafka_ssl_cert is None) != (self.kafka_ssl_key is None):
            raise ValueError(
                f"{variable('kafka_ssl_cert')} and {variable('kafka_ssl_key')} go together; "
                "set both or neither"
            )
        return self

    @property
    def group(self) -> str:
        """The consumer group of a worker with these roles: its members subscribe alike."""
        # With or without notices: a topic that some members take does not concern the others.
        if set(self.roles) >= set(ROLES) - {"notices"}:
            return self.group_id
        return "-".join((self.group_id, *self.roles))

    @property
    def draws_by(self) -> bytes:
        """The key by which chance draws sales to let through; empty: none are."""
        return self.explore_key.get_secret_value().encode()

    @property
    def accounts_by(self) -> bytes:
        """The key that fingerprints accounts; empty: none are."""
        return self.account_key.get_secret_value().encode()

    @property
    def event_retention_ms(self) -> int:
        """How long event ids are remembered, in milliseconds."""
        return self.event_retention_days * _DAY_MS

    @property
    def waiting_ms(self) -> int:
        """How long an early event waits, in milliseconds."""
        return self.waiting_days * _DAY_MS

    @property
    def redis_address(self) -> str:
        """The Redis address without user and password, to show to people."""
        parts = urlsplit(self.redis_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    @property
    def notices_origin(self) -> str:
        """Where notices go, without path and query, to show to people; empty if nowhere."""
        return origin_of(self.notices_url) if self.notices_url else ""

    def kafka_client(self) -> dict[str, str]:
        """What every librdkafka client needs: brokers, TLS and SASL. Holds secrets."""
        client = {
            "bootstrap.servers": self.kafka_brokers,
            "security.protocol": self.kafka_security_protocol,
        }
        if self.kafka_security_protocol.startswith("SASL"):
            client["sasl.mechanism"] = self.kafka_sasl_mechanism
            client["sasl.username"] = self.kafka_sasl_username
            client["sasl.password"] = self.kafka_sasl_password.get_secret_value()
        files = {
            "ssl.ca.location": self.kafka_ssl_ca,
            "ssl.certificate.location": self.kafka_ssl_cert,
            "ssl.key.location": self.kafka_ssl_key,
        }
        client |= {name: str(path) for name, path in files.items() if path is not None}
        if password := self.kafka_ssl_key_password.get_secret_value():
            client["ssl.key.password"] = password
        return client

    def redis_options(self) -> dict[str, str]:
        """Keyword arguments beside the address for a redis-py client. Holds secrets."""
        options = {}
        if self.redis_username:
            options["username"] = self.redis_username
        if password := self.redis_password.get_secret_value():
            options["password"] = password
        if self.redis_ssl_ca is not None:
            options["ssl_ca_certs"] = str(self.redis_ssl_ca)
        return options

    def notices(self) -> Endpoint | None:
        """Where notices go; None if nowhere.

        Raises:
            SettingsError: an address or a secret that cannot be used, named by its variable.
        """
        if not self.notices_url:
            return None
        try:
            check_url(self.notices_url, plain_http_allowed=self.notices_plain_http_allowed)
        except EndpointInvalid as error:
            raise SettingsError(f"{variable('notices_url')}: {error}") from None
        secrets = []
        for name in ("notices_secret", "notices_secret_next"):
            secret: SecretStr = getattr(self, name)
            if name == "notices_secret" or secret.get_secret_value():
                try:
                    key_of(secret)
                except EndpointInvalid as error:
                    raise SettingsError(f"{variable(name)}: {error}") from None
                secrets.append(secret)
        return Endpoint(self.notices_url, secrets, self.notices_timeout_s, self.notices_concurrency)

    def seal(self) -> Seal:
        """What seals and opens destinations. Raises SettingsError."""
        try:
            return Seal.parse(self.seal_keys.get_secret_value())
        except KeysInvalid as error:
            name = variable("seal_keys")
            raise SettingsError(
                f"{name}: {error}; set it to id:base64key of 32 random bytes"
            ) from None

    def rails(self) -> dict[str, RailSettings]:
        """The rails there are, by name: one a provider that is set up.

        Raises:
            SettingsError: a value that a rail refuses, named by its variable.
        """
        return {name: self.rail(name) for name in PROVIDERS if self.has_rail(name)}

    def has_rail(self, name: str) -> bool:
        """Whether a provider is set up here."""
        field = PROVIDERS[name].settings.exists_by
        value = getattr(self, f"{name}_{field}") if field else True
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    def rail(self, name: str) -> RailSettings:
        """The settings of a provider's rail.

        Raises:
            SettingsError: a value that the rail refuses, named by its variable.
        """
        kind: type[RailSettings] = PROVIDERS[name].settings
        values = {field: getattr(self, f"{name}_{field}") for field in kind.model_fields}
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            problems = _one_line(error, f"{PREFIX}{name.upper()}_")
            fields = re.compile(rf"(?<![\w-])({'|'.join(kind.model_fields)})(?![\w-])")
            named = fields.sub(lambda found: variable(f"{name}_{found[0]}"), problems)
            raise SettingsError(named) from None


def setting_names() -> list[str]:
    """The names of all settings in the order of reading: a rail's behind those of the others."""
    return [*(name for name in Settings.model_fields if name not in _IN_RAILS), *_IN_RAILS]


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings; `overrides` win over the environment.

    Raises:
        SettingsError: one line that names every wrong variable and what to do about it.
    """
    secrets_dir = os.environ.get(SECRETS_DIR) or None
    if secrets_dir is not None and not Path(secrets_dir).is_dir():
        raise SettingsError(
            f"{SECRETS_DIR}: {secrets_dir} is not a directory; mount it or unset it"
        )
    env_file = os.environ.get(ENV_FILE) or None
    if env_file is not None and not Path(env_file).is_file():
        raise SettingsError(f"{ENV_FILE}: {env_file} is not a file; create it or unset it")
    try:
        return Settings(_secrets_dir=secrets_dir, _env_file=env_file, **overrides)
    except ValidationError as error:
        raise SettingsError(_one_line(error, PREFIX)) from None


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Variables with our prefix that no setting reads, each with the nearest real name.

    They are no error: a Kubernetes service called `payouts` adds some to every container.
    """
    known = {variable(name) for name in setting_names()}
    return [
        (name, next(iter(difflib.get_close_matches(name, known, 1, 0.8)), None))
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known | _OTHER_VARIABLES
    ]


def _one_line(error: ValidationError, prefix: str) -> str:
    return "; ".join(_problem(detail, prefix) for detail in error.errors(include_url=False))


def _problem(detail: ErrorDetails, prefix: str) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = prefix + str(detail["loc"][0]).upper()
    return f"{name}: {message[0].lower()}{message[1:]}"
