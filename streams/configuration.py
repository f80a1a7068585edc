"""The page `docs/configuration.md`, made from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from models.config import Section, basis_points
from models.fraudrules import FraudRule
from models.policy import (
    DebtPolicy,
    ExplorePolicy,
    FraudPolicy,
    FxPolicy,
    ReinvestPolicy,
    SpendbackPolicy,
    TillPolicy,
)
from models.schedules import Schedule
from rails.registry import PROVIDERS
from streams.settings import (
    DEFAULTS,
    ENV_FILE,
    SECRETS_DIR,
    Settings,
    rail_fields,
    setting_names,
    variable,
)

_HEAD = f"""# Configuration

<!-- Made by `payouts config reference` from streams/settings.py and rails/*/settings.py. -->

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
    ("Ports", "metrics_host"),
    ("API", "api_host"),
    ("Notices", "notices_url"),
    ("Logs", "log_format"),
)
"""A table's title and the setting it begins with; each provider's table follows."""


def configuration_markdown() -> str:
    """The whole page, ending in a newline."""
    titles = {first: title for title, first in _GROUPS}
    titles |= {
        next(iter(rail_fields(one.settings))): one.settings.title for one in PROVIDERS.values()
    }
    tables: dict[str, list[str]] = {}
    title = ""
    for name in setting_names():
        title = titles.get(name, title)
        tables.setdefault(title, []).append(_row(name, Settings.model_fields[name]))
    lines = [_HEAD]
    for title, rows in tables.items():
        lines += [
            f"\n## {title}\n",
            "| variable | default | values | meaning |",
            _RULE,
            *rows,
        ]
        if title == "Rules and files":
            for head, section in _POLICY_SECTIONS:
                lines += [f"\n{head}\n", "| key | default | values | meaning |", _RULE]
                lines += [_policy_row(n, f) for n, f in section.model_fields.items()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


_RULE = "| --- | --- | --- | --- |"

_POLICY_SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    (
        "The policy's section `till` says how purchases are paid from the wallet\n"
        "([Purchases](money.md#purchases)):",
        TillPolicy,
    ),
    (
        "Its section `reinvest` says what sellers get on top of the earnings that they turn into "
        "credit\n([Reinvesting](money.md#reinvesting)):",
        ReinvestPolicy,
    ),
    ("Its section `debt` says how [debt](money.md#debt) is worked off:", DebtPolicy),
    (
        "Its section `spendback` says what becomes of credit whose grant a return "
        "[undoes](money.md#spendback):",
        SpendbackPolicy,
    ),
    ("Its section `fx` says how money is [converted](money.md#conversions):", FxPolicy),
    (
        "Its section `release` is a list of schedules for what is [released later]"
        "(money.md#released-later); the first that\nfits applies, and a condition that is left out "
        "fits all:",
        Schedule,
    ),
    (
        "Its section `fraud` says what is paid at once, and what is held "
        "([Deciding](fraud.md#deciding)):",
        FraudPolicy,
    ),
    ("In it, `rules` is a list; all conditions of a rule have to fit:", FraudRule),
    ("And `explore` says what is let through by chance:", ExplorePolicy),
)


def _policy_row(name: str, field: FieldInfo) -> str:
    default, values = "" if field.is_required() else _default(field), _values(field)
    if any(getattr(each, "func", None) is basis_points for each in field.metadata):
        default = default and f"`{field.default / 100:g}`"
        values = "0 to 100"
    cells = (f"`{field.alias or name}`", default, values, field.description or "")
    return "| " + " | ".join(cells) + " |"


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{variable(name)}`", _default(field), _values(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory or value is None or value in ("", ()) or isinstance(value, SecretStr):
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
    if origin is Mapping:
        return "amounts by currency"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "a section"
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if origin in (UnionType, Union):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    kinds: dict[Any, str] = {
        bool: "`true`, `false`",
        int: "a percentage",
        Decimal: "0 to 1",
        Path: "path",
        SecretStr: "secret",
    }
    return kinds.get(annotation, "text")
