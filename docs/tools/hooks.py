"""Adds to the site what lies outside of docs/, and shows policies in colour. MkDocs calls the functions `on_...`."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pygments import lexers
from pygments.lexer import RegexLexer, words
from pygments.lexers import LEXERS
from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String, Text

ROOT = Path(__file__).parents[2]

ERRORS = "recpolicy/errors/pages"

PAGES = {
    "grammar/README.md": "language.md",
    "CONTRIBUTING.md": "contributing.md",
    "BENCHMARKS.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
"""Pages of the site whose text lies elsewhere in the repository."""

KEYWORDS = (
    "ago and any at because between block boost bury case distinct expect false from hard in is item last least let "
    "limit missing more most next_items not now of on or over override param per policy quota ramp reward target test "
    "than the to top true until use user weight when where within"
)


class PolicyLexer(RegexLexer):  # type: ignore[misc]
    """Colours policies."""

    name = "policy"
    tokens = {  # noqa: RUF012
        "root": [
            (r"#.*", Comment.Single),
            (r'"(?:\\.|[^"\\\n])*"', String),
            (r"\d{4}-\d{2}-\d{2}", Literal.Date),
            (r"\d+(?:\.\d+)?%?", Number),
            (r"(item|user)(\.)(\w+|`[^`]*`)", Name.Attribute),
            (words(KEYWORDS.split(), prefix=r"\b", suffix=r"\b"), Keyword),
            (r"\b[a-z_]+(?=\()", Name.Function),
            (r"\w+", Name),
            (r"[<>=+\-*/]+", Operator),
            (r".|\n", Text),
        ]
    }


def on_config(config: Any) -> Any:
    """Makes the lexer known to Pygments."""
    LEXERS["PolicyLexer"] = (__name__, PolicyLexer.name, ("policy",), ("*.policy",), ())
    lexers._lexer_cache[PolicyLexer.name] = PolicyLexer
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of PAGES, a page for each error code, and the files that pages link to."""
    for source, page in PAGES.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=_text(source)))
    for path in sorted((ROOT / ERRORS).glob("E*.md")):
        files.append(File.generated(config, f"errors/{path.name}", content=_text(f"{ERRORS}/{path.name}")))
    for file in list(files.documentation_pages()):
        for target in _links(file.content_string):
            linked = _repository_path(_source(file.src_uri), target)
            if linked is not None and _page(linked) is None and (ROOT / linked).is_file():
                name = f"files/{linked}"
                if files.get_file_from_path(name) is None:
                    files.append(File.generated(config, name, content=_text(linked)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leads links to where the site has their targets, and writes fences as the site's Markdown wants them."""
    here = page.file.src_uri

    def led(link: re.Match[str]) -> str:
        target, hash, anchor = link[2].partition("#")
        path = _repository_path(_source(here), target)
        if path is None:
            return link[0]
        there = _page(path) or f"files/{path}"
        if files.get_file_from_path(there) is None:
            if (ROOT / path).is_dir():  # the site has no folders to look into
                return link[1][1:].removesuffix("](")
            return link[0]
        return f"{link[1]}{posixpath.relpath(there, posixpath.dirname(here) or '.')}{hash}{anchor})"

    def fenced(fence: re.Match[str]) -> str:
        indent, language, rest = fence[1], fence[2], fence[3].strip()
        words = rest.split()
        title = f"wrong: {words[-1]}" if words[0] == "bad" else rest
        return f"{indent}```{language}" if rest == "bad" else f'{indent}``` {{ .{language} title="{title}" }}'

    outside = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    outside[::2] = [re.sub(r"(!?\[[^\]]*\]\()([^)\s]+)\)", led, part) for part in outside[::2]]
    return re.sub(r"^( *)```(\w+) +(\S.*)$", fenced, "".join(outside), flags=re.MULTILINE)


def _text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def _source(page: str) -> str:
    """Where the text of a page of the site lies in the repository."""
    for source, name in PAGES.items():
        if name == page != "index.md":
            return source
    return f"{ERRORS}/{page[7:]}" if page.startswith("errors/") else f"docs/{page}"


def _page(path: str) -> str | None:
    """The page of the site that shows a file of the repository."""
    folder, _, name = path.rpartition("/")
    if folder == ERRORS:
        return f"errors/{name}"
    return PAGES.get(path) or (path[5:] if path.startswith("docs/") else None)


def _links(text: str) -> list[str]:
    return [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]


def _repository_path(source: str, target: str) -> str | None:
    """The file of the repository that a link on `source` leads to; None for a link elsewhere or within the page."""
    if not target or ":" in target or target.startswith("#"):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
