"""How Sphinx builds these pages: `tox run -e docs`. It needs no network and no framework."""

import re
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

import fmnist

project = "fmnist"
release = fmnist.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"fmnist {release}"

myst_heading_anchors = 3
myst_heading_slug_func = "github"  # the same anchors as where the files are read unbuilt

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "model_config",
}
autodoc_mock_imports = ["jax", "keras", "tensorflow"]
default_role = "code"  # what stands in single backticks
smartquotes_action = "qe"  # dashes are those of options

# Names of other projects have no page here, and their inventories would have to be downloaded.
nitpick_ignore_regex = [("py:.*", r"(?!fmnist\.).*")]
# Variables of types: a signature needs them, a reader does not.
nitpick_ignore = [
    ("py:class", f"fmnist.{name}")
    for name in (
        *(
            "cli.session.Function",
            "session.launch.Turn",
            "data.preprocess.Images",
            "data.preprocess.Labels",
        ),
        *("report.archive.R", "report.archive.T", "report.choose.OfMode"),
    )
]

OUTSIDE = re.compile(r"(?<!!)(\[[^]]*\])\((\.\./[^)#]*)(#[^)]*)?\)")
MARKUP = re.compile(r"`[^`]*`|[|*]|(?<=\w)_(?!\w)")


def with_files_outside(_app: Sphinx, _name: str, content: list[str]) -> None:
    """Make links to the project's other files downloads: they are no pages here. Images stay."""
    content[0] = OUTSIDE.sub(r"\1(path:\2)", content[0])


def as_written(  # Sphinx's signature
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Read a docstring as sentences in Google style, and no character in them as markup.

    Sphinx's own reading of that style takes what stands before a colon in the docstring of an
    attribute for its type: these stay as they are.
    """
    lines[:] = [
        MARKUP.sub(lambda m: m[0] if m[0].startswith("`") else f"\\{m[0]}", line) for line in lines
    ]
    if what not in {"attribute", "data", "property"}:
        config = Config(napoleon_use_ivar=True)
        lines[:] = GoogleDocstring(lines, config, app, what, name, obj, options).lines()  # type: ignore[arg-type]  # napoleon's Config is meant for it


def without_fields(  # Sphinx's signature
    _app: Sphinx,
    _what: str,
    _name: str,
    obj: object,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Leave out the signature that pydantic makes of a class: its fields stand below it."""
    fields = isinstance(obj, type) and issubclass(obj, BaseModel)
    return ("", None) if fields else (signature, returned)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have pages and docstrings read as they are written."""
    app.connect("source-read", with_files_outside)
    app.connect("autodoc-process-docstring", as_written)
    app.connect("autodoc-process-signature", without_fields)
    return {"parallel_read_safe": True}
