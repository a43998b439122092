"""The JSON Schema (draft 2020-12) of ``kms.toml``, for editors: made from the options as data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kmscore.config import CORE
from kmscore.plugin import Option, OptionKind, ProviderType

_SECRET: Final[dict[str, Any]] = {
    "description": "A reference to a secret, never the secret itself.",
    "oneOf": [
        {
            "type": "object",
            "properties": {kind: {"type": "string", "minLength": 1} for kind in kinds},
            "required": list(kinds),
            "additionalProperties": False,
        }
        for kinds in (("env",), ("file",), ("prompt",), ("kms", "file"))
    ],
}

_KINDS: Final[dict[OptionKind, dict[str, Any]]] = {
    OptionKind.STRING: {"type": "string"},
    OptionKind.INTEGER: {"type": "integer"},
    OptionKind.NUMBER: {"type": "number"},
    OptionKind.BOOLEAN: {"type": "boolean"},
    OptionKind.PATH: {"type": "string", "minLength": 1},
    OptionKind.SECRET: {"$ref": "#/$defs/secret"},
    OptionKind.STRINGS: {"type": "array", "items": {"type": "string"}},
}


def config_schema(types: Iterable[ProviderType]) -> dict[str, Any]:
    """The schema for configurations that use these types of provider."""
    properties = {option.name: _option(option) for option in CORE}
    tables = [_provider(kind) for kind in types]
    properties["providers"] = {
        "description": "A table for each provider.",
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$"},
        "additionalProperties": {"type": "object", "required": ["type"], "oneOf": tables}
        if tables
        else False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kms.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {"secret": _SECRET},
    }


def _provider(kind: ProviderType) -> dict[str, Any]:
    table = _table(kind.options)
    table["description"] = kind.summary
    table["properties"] = {"type": {"const": kind.name}, **table["properties"]}
    table["required"] = ["type", *table.get("required", ())]
    return table


def _table(options: tuple[Option, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": "object",
        "properties": {option.name: _option(option) for option in options},
        "additionalProperties": False,
    }
    required = [option.name for option in options if option.required]
    if required:
        table["required"] = required
    return table


def _option(option: Option) -> dict[str, Any]:
    forms = [_form(kind, option) for kind in option.kinds]
    schema = forms[0] if len(forms) == 1 else {"anyOf": forms}
    described: dict[str, Any] = {"description": option.help, **schema}
    if option.default is not None and isinstance(option.default, str | int | float | bool):
        described["default"] = option.default
    return described


def _form(kind: OptionKind, option: Option) -> dict[str, Any]:
    if kind is OptionKind.TABLE:
        return _table(option.options) if option.options else {"type": "object"}
    if option.choices and kind is OptionKind.STRING:
        return {"enum": list(option.choices)}
    return dict(_KINDS[kind])
