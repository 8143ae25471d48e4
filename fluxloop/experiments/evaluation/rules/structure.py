"""
Rules on the structure of the output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from ....storage.decoding import decode
from ...run_data import Run
from ..scores import Verdict
from .values import value_at


def json_schema(run: Run, *, schema: Any, target: str = "output") -> Verdict:
    """The value, or the JSON in it, is valid by *schema*: a JSON Schema, or the path of a file that has one."""
    from referencing.exceptions import Unresolvable

    value = value_at(run, target)
    try:
        if isinstance(value, str):
            try:
                value = decode(value.encode())
            except ValueError:
                if schema.is_valid(value):  # the schema asks for a text
                    return Verdict(1.0, True, "valid")
                return Verdict(0.0, False, f"{target} is not JSON")
        errors = sorted(schema.iter_errors(value), key=lambda error: [str(part) for part in error.path])
    except Unresolvable as error:
        raise ValueError(f"the schema refers to {error.ref}, which is not in it") from None
    if not errors:
        return Verdict(1.0, True, "valid")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Verdict(0.0, False, f"{errors[0].json_path}: {errors[0].message:.200}{more}")


def load_schema(options: dict[str, Any], base: Path) -> None:
    """Read the schema and make its validator, once."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = options["schema"]
    if isinstance(schema, str):
        path = base / schema
        try:
            schema = orjson.loads(path.read_bytes())
        except OSError as error:
            raise ValueError(f"schema: could not read {path}: {error.strerror or error}") from None
        except orjson.JSONDecodeError as error:
            raise ValueError(f"schema: {path} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError(f"schema must be a mapping or the path of a JSON file, got {schema!r:.60}")
    validator = validator_for(schema)
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"schema is not a valid JSON Schema: {error.json_path}: {error.message}") from None
    # An empty registry: by default, jsonschema downloads schemas that are referred to by URL.
    options["schema"] = validator(schema, registry=Registry(), format_checker=validator.FORMAT_CHECKER)
