"""How every page is made: one file that asks the network for nothing and runs no script.

Its policy allows one style sheet, named by its digest, and images inside the file, whatever a file name or a
label says.
"""

import base64
import hashlib
from importlib import resources

from kiyome.report import find_view as shown

NUMBERS = (shown.chance, shown.count, shown.percent, shown.score)
FILTERS = {"shown": shown.shown, **{each.__name__: each for each in NUMBERS}}


def render_page(name: str, *, style: str = "page", **values: object) -> str:
    """The template `name`.html with its values, and the sheet `style`.css."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("kiyome.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    css = resources.files("kiyome.report").joinpath("templates", f"{style}.css").read_text("utf-8")
    return environment.get_template(f"{name}.html").render(
        **values,
        css=Markup(css),  # noqa: S704 - our own file, byte for byte as hashed
        policy=content_security_policy(css),
    )


def content_security_policy(css: str) -> str:
    """The policy under which a page shows images it holds and this one style sheet, and does nothing else.

    >>> content_security_policy("p { color: red }").split("; ")[:2]
    ["default-src 'none'", 'img-src data:']
    """
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
