"""Turns values into a page of HTML: one file that loads nothing, runs nothing and sends nothing."""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from services.summarizer.page.wording import some_media


def render(template: str, **values: Any) -> bytes:
    """Return the page that a template in `templates/` makes of these values, in UTF-8.

    Every value is escaped. Raises `jinja2.UndefinedError` for a name that the template uses and nobody gave.
    """
    return _ENVIRONMENT.get_template(template).render(values).encode()


def _policy(style: str) -> str:
    """Return the page's Content-Security-Policy: nothing but its own style sheet, which the hash names.

    The hash rules out `style` attributes too. So a name that got past the escaping could neither run nor hide
    anything. Browsers ask for an icon unless a page has one: `data:` allows the empty one in `base.html`.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def environment(*loaders: BaseLoader) -> Environment:
    """Return what renders the templates of these loaders, and those here, which they may extend. Escapes all values."""
    made = Environment(
        loader=ChoiceLoader([*loaders, PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (resources.files(__package__) / "templates" / "style.css").read_text()
    made.filters |= {"number": "{:,}".format, "media": some_media}
    made.globals |= {"style": Markup(style), "policy": _policy(style)}  # noqa: S704  # our own file
    return made


_ENVIRONMENT = environment()
