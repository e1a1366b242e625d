"""`make docs`: writes docs/events/ and the tables of README.md. A test fails when the committed files differ."""

import json
import sys
from typing import Any

from services.shared.events import EVENT_TYPES
from tools.docs.asyncapi import asyncapi
from tools.docs.pages import events_page, with_tables
from tools.docs.schemas import UndocumentedError, schema_of
from tools.template import ROOT

FOLDER = ROOT / "docs" / "events"
README = ROOT / "README.md"


def documents() -> dict[str, str]:
    """Return the content of every file in docs/events by its name."""
    schemas = {name: schema_of(event_type) for name, event_type in EVENT_TYPES.items()}
    return {
        **{f"{name}.schema.json": _json(schema) for name, schema in schemas.items()},
        "asyncapi.json": _json(asyncapi()),
        "README.md": events_page(schemas),
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all documents, and delete the schemas of events that no longer exist."""
    try:
        written = documents()
    except UndocumentedError as error:
        sys.exit(str(error))
    for path in FOLDER.glob("*.schema.json"):
        if path.name not in written:
            path.unlink()
    for name, content in written.items():
        (FOLDER / name).write_text(content)
    README.write_text(with_tables(README.read_text()))


if __name__ == "__main__":
    main()
