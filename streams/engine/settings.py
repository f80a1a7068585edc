"""How the engine reaches the broker and how much it takes on at once."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Assignment = Literal["cooperative-sticky", "roundrobin", "range"]
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression = Literal["none", "lz4", "zstd", "snappy", "gzip"]

# librdkafka refuses by the size of the whole record: with room for its framing our own check,
# which names topic and size, always comes first.
_FRAMING_BYTES = 64 * 1024
_EMBEDDED_SESSION_TIMEOUT_MS = 6_000


class EngineSettings(BaseModel):
    """Everything the engine can be told; each bound is named with its unit.

    `client_config` are librdkafka settings added last, for what has no field here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    brokers: str = Field(min_length=1, description="host:port, several separated by commas")
    group_id: str = Field(min_length=1)
    instance_id: str | None = Field(
        default=None, description="static membership: unique a worker, the same across restarts"
    )
    client_id: str = "payout-streams"
    assignment: Assignment = "cooperative-sticky"

    session_timeout_ms: int = Field(default=30_000, ge=1_000)
    heartbeat_ms: int = Field(default=500, ge=100)
    poll_interval_max_ms: int = Field(default=300_000, ge=10_000)
    fetch_wait_max_ms: int = Field(default=100, ge=1, le=10_000)
    fetch_min_bytes: int = Field(default=1, ge=1)
    commit_interval_ms: int = Field(default=200, ge=10)

    batch_messages_max: int = Field(default=500, ge=1, le=100_000)
    inbox_messages_max: int = Field(
        default=20_000, ge=1, description="a topic: waiting and in hand, before it is paused"
    )
    message_bytes_max: int = Field(default=1_000_000, ge=1_024, le=100_000_000)

    drain_timeout_s: float = Field(default=10.0, gt=0, description="for a batch in hand to finish")
    stop_timeout_s: float = Field(
        default=25.0, gt=0, description="for a whole stop; then the process is ended"
    )
    progress_timeout_s: float = Field(
        default=60.0, gt=0, description="work waiting and none finished: the process is ended"
    )
    heal_timeout_s: float = Field(default=300.0, gt=0, description="for one call of on_assigned")
    heal_attempts_max: int = Field(default=3, ge=1)

    linger_ms: float = Field(default=1.0, ge=0)
    delivery_timeout_ms: int = Field(default=30_000, ge=1_000)
    compression: Compression = "none"
    outbox_messages_max: int = Field(default=100_000, ge=1, description="produced, unacknowledged")

    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    ssl_key_password: SecretStr | None = None
    client_config: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.heartbeat_ms * 3 > self.session_timeout_ms:
            raise ValueError("heartbeat_ms must be at most a third of session_timeout_ms")
        if self.inbox_messages_max < self.batch_messages_max:
            raise ValueError("inbox_messages_max must hold one batch of batch_messages_max")
        if self.stop_timeout_s <= self.drain_timeout_s:
            raise ValueError("stop_timeout_s must be longer than drain_timeout_s")
        if self.session_timeout_ms >= self.poll_interval_max_ms:
            raise ValueError("poll_interval_max_ms must be longer than session_timeout_ms")
        if self.drain_timeout_s * 1000 >= self.poll_interval_max_ms:
            raise ValueError("poll_interval_max_ms must be longer than drain_timeout_s")
        sasl = self.security_protocol.startswith("SASL")
        if sasl and not (self.sasl_mechanism and self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs sasl_mechanism, "
                "sasl_username and sasl_password"
            )
        return self

    @classmethod
    def embedded(cls, brokers: str, group_id: str, **changes: Any) -> Self:
        """Settings for the embedded broker: a join takes half the session timeout there."""
        defaults: dict[str, Any] = {
            "session_timeout_ms": _EMBEDDED_SESSION_TIMEOUT_MS,
            "assignment": "range",
            # That broker answers a fetch when the wait is over, not when a message comes.
            "fetch_wait_max_ms": 10,
        }
        return cls(brokers=brokers, group_id=group_id, **{**defaults, **changes})

    def connection(self) -> dict[str, Any]:
        """librdkafka settings every client of the broker needs: address, TLS, SASL."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.brokers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            # An outage is noticed and left quickly; the defaults wait up to ten seconds.
            "reconnect.backoff.max.ms": 1_000,
            "socket.keepalive.enable": True,
            "log.connection.close": False,
        }
        optional = {
            "sasl.mechanisms": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": _revealed(self.sasl_password),
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": _revealed(self.ssl_key_password),
        }
        config.update({name: value for name, value in optional.items() if value is not None})
        config.update(self.client_config)
        return config

    def consumer(self) -> dict[str, Any]:
        """librdkafka settings of the consumer."""
        config: dict[str, Any] = {
            "group.id": self.group_id,
            "partition.assignment.strategy": self.assignment,
            "session.timeout.ms": self.session_timeout_ms,
            "heartbeat.interval.ms": self.heartbeat_ms,
            "max.poll.interval.ms": self.poll_interval_max_ms,
            "fetch.wait.max.ms": self.fetch_wait_max_ms,
            "fetch.min.bytes": self.fetch_min_bytes,
            # What is fetched ahead is thrown away when its topic is paused: keep it to an inbox.
            "queued.min.messages": self.inbox_messages_max,
            "queued.max.messages.kbytes": 16 * 1024,
            # librdkafka's second of rest after each full queue would bound the whole flow.
            "fetch.queue.backoff.ms": 10,
            "fetch.error.backoff.ms": 100,
            "socket.timeout.ms": 10_000,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
        }
        if self.instance_id is not None:
            config["group.instance.id"] = self.instance_id
        return {**config, **self.connection()}

    def producer(self) -> dict[str, Any]:
        """librdkafka settings of the producer: idempotent, Java's partitioner."""
        return {
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": self.linger_ms,
            "compression.type": self.compression,
            "message.timeout.ms": self.delivery_timeout_ms,
            "message.max.bytes": self.message_bytes_max + _FRAMING_BYTES,
            "queue.buffering.max.messages": self.outbox_messages_max,
            **self.connection(),
        }


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
