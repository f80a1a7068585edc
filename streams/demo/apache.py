"""A real Apache Kafka in child processes: KRaft, one JVM a broker, on free ports of 127.0.0.1.

For the tests, the fault runs and the benchmarks; gone with the process that started it. It needs
Java >= 17 and the jars that `make test-kafka` gets with Maven.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from streams.demo.process import ChildProcess, free_port

VERSION = "4.1.1"
"""Of Apache Kafka; `tests/kafka/pom.xml` names the same."""

READY_TIMEOUT_S = 60.0
LEADER_TIMEOUT_S = 30.0
REPLICATION_MAX = 3
_METADATA_TIMEOUT_S = 2.0
_POLL_INTERVAL_S = 0.05
_STOP_TIMEOUT_S = 15.0

_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "DIRECT",
    "listener.security.protocol.map": "DIRECT:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Every topic is made on purpose, and no election loses what was acknowledged.
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # A group forms at once, members may be dead after a second.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A killed broker is noticed, and its partitions led by others, after three seconds, not nine.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Small, for a machine that has other work.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
}
"""What every broker is told, whatever their number; the rest is Apache Kafka's own default."""

_JAVA_OPTIONS = (
    "-Xms128m",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    "-Dorg.apache.logging.log4j.level=WARN",
)
_BRIEFLY = "-XX:TieredStopAtLevel=1"


class ApacheUnavailable(RuntimeError):
    """No Apache Kafka can be run or asked here; the message says in one line what to do."""


def jars_directory() -> Path:
    """Where the jars of Apache Kafka are kept between runs.

    Raises:
        ApacheUnavailable: they are not there, or there is no `java` to run them.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "payout-streams" / f"kafka-{VERSION}"
    advice = "run `make test-kafka`, which gets it with Java and Maven, or set KAFKA_BOOTSTRAP"
    if shutil.which("java") is None:
        raise ApacheUnavailable(f"no java on the PATH for Apache Kafka: {advice}")
    if not any(directory.glob("kafka_*.jar")):
        raise ApacheUnavailable(f"no Apache Kafka in {directory}: {advice}")
    return directory


class ApacheKafka:
    """Brokers that are controllers as well; each can be killed, frozen and started again.

    With three, every partition has three replicas and a write needs two of them. A broker has two
    listeners: clients that start from `bootstrap` talk to it directly, those that start from
    `outside_bootstrap` to the ports `advertised`, which are the caller's, with a proxy to
    `outside_ports` behind each. A majority of the brokers has to be alive for a leader to change.

    Brokers that live for minutes only, or are killed again and again, are `brief`: Java compiles
    their code quickly rather than well, and three take 36 s of CPU for their first half minute in
    place of 62 s.
    """

    def __init__(
        self,
        jars: Path,
        *,
        brokers: int = 1,
        directory: Path | None = None,
        advertised: Sequence[int] | None = None,
        brief: bool = False,
    ) -> None:
        if brokers < 1 or (advertised is not None and len(advertised) != brokers):
            raise ValueError(f"{brokers} brokers with the advertised ports {advertised}")
        self._jars = jars
        self._java_options = (*_JAVA_OPTIONS, _BRIEFLY) if brief else _JAVA_OPTIONS
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="payouts-kafka-"))
        self.ports = [free_port() for _ in range(brokers)]
        self.outside_ports = [free_port() for _ in range(brokers)]
        self.advertised = list(advertised or self.outside_ports)
        self._controller_ports = [free_port() for _ in range(brokers)]
        self._children: dict[int, ChildProcess] = {}

    @property
    def brokers(self) -> int:
        """How many brokers there are, dead ones included."""
        return len(self.ports)

    @property
    def replication(self) -> int:
        """How many replicas a partition has that is made without asking for a number."""
        return min(self.brokers, REPLICATION_MAX)

    @property
    def bootstrap(self) -> str:
        """host:port of every broker's direct listener."""
        return _addresses(self.ports)

    @property
    def outside_bootstrap(self) -> str:
        """host:port of every broker as it is advertised to workers."""
        return _addresses(self.advertised)

    def log(self, broker: int) -> Path:
        """Where a broker's output goes."""
        return self.directory / f"broker-{broker}.log"

    def start(self) -> Self:
        """Format what is not formatted, start all brokers and return when all serve.

        Raises:
            ApacheUnavailable: they do not come up within 60 s, with the end of a log.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        everyone = range(self.brokers)
        self._format([broker for broker in everyone if not self._meta(broker).exists()])
        for broker in everyone:
            self._launch(broker)
        for broker in everyone:
            self._await(broker, self.brokers)
        self._await_groups()
        return self

    def stop(self) -> None:
        """End all brokers, in order if their directory stays; remove it if it is their own."""
        children, self._children = self._children, {}
        for child in children.values():
            # Told together: the last ones would wait in vain for a majority to let them go.
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGKILL if self._own_directory else signal.SIGTERM)
        for child in children.values():
            child.stop(_STOP_TIMEOUT_S)
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self, broker: int) -> None:
        """End a broker as a power cut of its process would (SIGKILL); its data stay."""
        child = self._children.pop(broker, None)
        if child is not None:
            child.kill()

    def start_broker(self, broker: int) -> None:
        """Start a broker that is down, on its ports and data, and return when it serves.

        Raises:
            ApacheUnavailable: it does not come up within 60 s.
        """
        self.launch(broker)
        self._await(broker, 1)

    def launch(self, broker: int) -> None:
        """Start a broker that is down, and do not wait for it. From the main thread its process
        ends with ours, however that ends."""
        if broker not in self.alive():
            self._launch(broker)

    def pause(self, broker: int) -> None:
        """Freeze a broker (SIGSTOP): connections stay open and nothing answers."""
        self._running(broker).signal(signal.SIGSTOP)

    def resume(self, broker: int) -> None:
        """Let a frozen broker go on."""
        self._running(broker).signal(signal.SIGCONT)

    def alive(self) -> list[int]:
        """The brokers whose process runs, frozen ones included."""
        return [n for n, child in sorted(self._children.items()) if child.exit_code() is None]

    def pid(self, broker: int) -> int:
        """A broker's process id.

        Raises:
            ApacheUnavailable: it does not run.
        """
        return self._running(broker).pid

    def leader(self, topic: str, partition: int) -> int:
        """The broker that leads a partition.

        Raises:
            ApacheUnavailable: it has no leader, or does not exist, for 30 s.
        """
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while time.monotonic() < deadline:
            metadata = _metadata(self.bootstrap, topic)
            found = metadata.topics.get(topic) if metadata else None
            partitions = found.partitions if found is not None and found.error is None else {}
            if partition in partitions and partitions[partition].leader in self.alive():
                return int(partitions[partition].leader)
            time.sleep(_POLL_INTERVAL_S)
        raise ApacheUnavailable(f"{topic}[{partition}] has no leader")

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _running(self, broker: int) -> ChildProcess:
        child = self._children.get(broker)
        if child is None or child.exit_code() is not None:
            raise ApacheUnavailable(f"broker {broker} does not run")
        return child

    def _data(self, broker: int) -> Path:
        return self.directory / f"broker-{broker}"

    def _meta(self, broker: int) -> Path:
        return self._data(broker) / "meta.properties"

    def _format(self, brokers: Sequence[int]) -> None:
        # All at once: most of the time is the JVM's own.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tools = []
        for broker in brokers:
            # One argument: an id may begin with a dash.
            config = str(self._configure(broker))
            order = ("format", f"--cluster-id={cluster}", "--config", config)
            tools.append(self._java(broker, "kafka.tools.StorageTool", *order))
        deadline = time.monotonic() + READY_TIMEOUT_S
        for tool in tools:
            _until(lambda tool=tool: tool.exit_code() is not None, deadline)  # type: ignore[misc]
            if tool.exit_code() != 0:
                tool.kill()
                raise ApacheUnavailable(f"Apache Kafka's format failed: {tool.log_tail()}")

    def _launch(self, broker: int) -> None:
        self._children[broker] = self._java(broker, "kafka.Kafka", str(self._configure(broker)))

    def _java(self, broker: int, main: str, *arguments: str) -> ChildProcess:
        command = ["java", *self._java_options, "-cp", f"{self._jars}/*", main, *arguments]
        return ChildProcess(command, self.log(broker), self.directory)

    def _configure(self, broker: int) -> Path:
        path = self.directory / f"broker-{broker}.properties"
        lines = [f"{name}={value}" for name, value in self._properties(broker).items()]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        return path

    def _properties(self, broker: int) -> Mapping[str, str]:
        replicas = str(self.replication)
        in_sync = str(max(1, self.replication - 1))
        direct = f"DIRECT://127.0.0.1:{self.ports[broker]}"
        voters = enumerate(self._controller_ports)
        return {
            **_SETTINGS,
            "node.id": str(broker),
            "log.dirs": str(self._data(broker)),
            "listeners": f"{direct},OUTSIDE://127.0.0.1:{self.outside_ports[broker]},"
            f"CONTROLLER://127.0.0.1:{self._controller_ports[broker]}",
            "advertised.listeners": f"{direct},OUTSIDE://127.0.0.1:{self.advertised[broker]}",
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in voters),
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
        }

    def _await_groups(self) -> None:
        """Wait until groups are coordinated: the topic of their offsets is made when first asked.

        It is asked as a consumer: an AdminClient that asks a coordinator which is still loading
        for a group's offsets makes librdkafka 2.x end the process with a segmentation fault.
        """
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "payouts", "log_level": 0}
        )

        def coordinated() -> bool:
            try:
                consumer.committed([TopicPartition("sales", 0)], timeout=_METADATA_TIMEOUT_S)
            except KafkaException:
                return False
            return True

        try:
            if not _until(coordinated, time.monotonic() + READY_TIMEOUT_S):
                raise ApacheUnavailable("Apache Kafka coordinates no groups")
        finally:
            consumer.close()

    def _await(self, broker: int, others: int) -> None:
        """Wait until a broker answers and knows itself and as many as ``others`` as serving."""
        child = self._running(broker)
        address = _addresses([self.ports[broker]])

        def serves() -> bool:
            if child.exit_code() is not None:
                raise ApacheUnavailable(f"Apache Kafka's broker {broker} ended: {child.log_tail()}")
            metadata = _metadata(address)
            return (
                metadata is not None
                and broker in metadata.brokers
                and len(metadata.brokers) >= others
            )

        if not _until(serves, time.monotonic() + READY_TIMEOUT_S):
            raise ApacheUnavailable(
                f"Apache Kafka's broker {broker} does not serve after {READY_TIMEOUT_S:.0f} s: "
                f"{child.log_tail()}"
            )


def _addresses(ports: Sequence[int]) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in ports)


def _metadata(bootstrap: str, topic: str | None = None) -> ClusterMetadata | None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return admin.list_topics(topic, timeout=_METADATA_TIMEOUT_S)
    except KafkaException:
        return None


def _until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for something, until ``deadline`` of the monotonic clock; whether it came."""
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True
