"""The page `docs/configuration.md`, made from the settings."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from streams.settings import DEFAULTS, ENV_FILE, SECRETS_DIR, Settings, variable

_HEAD = f"""# Configuration

<!-- Made by `payouts config reference`; change the descriptions in streams/settings.py. -->

Every setting is an environment variable. A wrong one ends the start with one line that names it.

Two more variables say where else to look; the environment wins over both:

- `{SECRETS_DIR}`: a directory with one file per setting, named as its variable, for mounted
  secrets.
- `{ENV_FILE}`: a file of `NAME=value` lines. A `.env` in the working directory is not read
  unless it is named here.

`payouts config show` prints what is in effect, without the secrets; `payouts doctor` checks it
against the running servers.
"""

_GROUPS: tuple[tuple[str, str], ...] = (
    ("Kafka", "kafka_brokers"),
    ("Worker", "roles"),
    ("Redis", "redis_url"),
    ("Rules and files", "event_retention_days"),
    ("PayPal", "paypal_base_url"),
    ("Ports", "metrics_host"),
    ("Logs", "log_format"),
)


def configuration_markdown() -> str:
    """The whole page, ending in a newline."""
    lines = [_HEAD]
    titles = {first: title for title, first in _GROUPS}
    for name, field in Settings.model_fields.items():
        if name in titles:
            lines += [
                f"\n## {titles[name]}\n",
                "| variable | default | values | meaning |",
                "| --- | --- | --- | --- |",
            ]
        cells = (f"`{variable(name)}`", _default(field), _values(field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    if isinstance(value, Path):
        return f"packaged `{value.relative_to(DEFAULTS)}`"
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    bounds = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "le")
        if getattr(item, name, None) is not None
    }
    if bounds:
        return f"{bounds.get('ge', '')} to {bounds.get('le', '')}"
    return _kind(field.annotation)


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is tuple:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if origin in (UnionType, Union):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    kinds: dict[Any, str] = {bool: "`true`, `false`", Path: "path", SecretStr: "secret"}
    return kinds.get(annotation, "text")
