"""Writes the reference pages that the program itself can tell: commands, settings and error codes."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from recpolicy.cli import COMMANDS

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
GENERATED = "<!-- This page is generated: `make pages` writes it anew. -->\n"

STAGES = {
    "1": "The text cannot be read",
    "2": "Names",
    "3": "Values and their kinds",
    "4": "Rules, branches and the header",
    "5": "Files, parameters, days and targets",
    "6": "Conflicts: no list can keep all of it",
    "7": "The catalog or its users do not have it",
    "8": "Tests",
}
"""Headings of the error codes, by the digit behind `E0`."""


def commands() -> str:
    """Returns the page of all commands and options, as their parsers know them."""
    parser = argparse.ArgumentParser(prog="recpolicy")
    subparsers = parser.add_subparsers()
    for command in COMMANDS:
        import_module(f"recpolicy.cli.{command}").add(subparsers)
    parts = [
        f"# Commands\n\n{GENERATED}",
        "`recpolicy COMMAND --help` prints the same. The exit code is 0 when all is well, 1 for findings in a policy,\n"
        "and 2 for wrong use, such as a file that does not exist.\n",
        "| command | what it does |\n|---|---|",
        *(f"| [`{name}`](#recpolicy-{name}) | {_cell(words)} |" for name, words in _helps(subparsers)),
        "",
        *(_command(name, one, dict(_helps(subparsers))[name]) for name, one in subparsers.choices.items()),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _helps(subparsers: Any) -> list[tuple[str, str]]:
    return [(action.dest, action.help or "") for action in subparsers._choices_actions]


def _command(name: str, parser: argparse.ArgumentParser, words: str) -> str:
    """One command and those below it."""
    words = parser.description or words
    words = words[:1].upper() + words[1:]
    lines = [f"## recpolicy {name}", "", words + "." * (not words.endswith(".")), ""]
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if below:
        return (
            "\n".join(lines)
            + "\n"
            + "\n".join(
                _command(f"{name} {one}", inner, dict(_helps(below[0]))[one]) for one, inner in below[0].choices.items()
            ).replace("## recpolicy", "### recpolicy")
        )
    listed = [action for action in parser._actions if action.dest != "help"]
    shown = " ".join(_synopsis(action) for action in sorted(listed, key=lambda action: bool(action.option_strings)))
    lines += ["```text", f"recpolicy {name} {shown}", "```", "", "| argument | meaning |", "|---|---|"]
    formatter = parser._get_formatter()
    for action in listed:
        words = formatter._expand_help(action) if action.help else ""
        lines.append(f"| {_argument(action)} | {_cell(words)} |")
    return "\n".join([*lines, ""])


def _value(action: argparse.Action) -> str:
    """What stands for the value of an argument; empty for a switch."""
    if action.nargs == 0:
        return ""
    name = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else None)
    name = name or (action.dest.upper() if action.option_strings else action.dest)
    name = name if isinstance(name, str) else " ".join(name)
    return {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def _synopsis(action: argparse.Action) -> str:
    words = " ".join(filter(None, (*action.option_strings[-1:], _value(action))))
    return words if action.required or not action.option_strings else f"[{words}]"


def _argument(action: argparse.Action) -> str:
    names = action.option_strings or [""]
    return ", ".join(f"`{f'{name} {_value(action)}'.strip()}`" for name in names).replace("|", "\\|")


def _cell(words: str) -> str:
    return re.sub(r"\s+", " ", words).replace("|", "\\|")


def settings() -> str:
    """Returns the page of all settings with their defaults, ranges and meanings."""
    from recpolicy.trainer.config import Config

    meanings = _meanings((ROOT / "trainer" / "config.py").read_text("utf-8"))
    config = Config().of_model(pretrained=True)
    top = [name for name, value in config if not hasattr(value, "model_dump")]
    sections = [name for name, value in config if hasattr(value, "model_dump")]
    lines = list(_toml(config, top, meanings))
    for section in sections:
        inner = getattr(config, section)
        lines += ["", *_comment(meanings.get((type(inner).__name__, ""), "")), f"[{section}]"]
        lines += list(_toml(inner, list(type(inner).model_fields), meanings))
    return f"""# Settings

{GENERATED}
A settings file is TOML; `recpolicy train` takes it with `--config FILE`. These are all settings with their defaults. A
setting that is not in the file keeps its default. A comment is above the setting that it explains. `prompt.think` has
the default 12 for pretrained language models and 0 for `tiny`.

```toml
{chr(10).join(lines)}
```

What the settings do is explained in [train](training.md), [credit](credit.md) and [targets](targets.md).
"""


def _meanings(source: str) -> dict[tuple[str, str], str]:
    """Returns the docstring behind each field of each class, and of the class itself under the name ''."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found[node.name, ""] = ast.get_docstring(node) or ""
            for field, after in zip(node.body, node.body[1:], strict=False):
                words = after.value if isinstance(after, ast.Expr) else None
                if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Constant):
                    found[node.name, ast.unparse(field.target)] = re.sub(r"\s+", " ", str(words.value))
    return found


def _toml(model: Any, names: list[str], meanings: dict[tuple[str, str], str]) -> Iterator[str]:
    for name in names:
        field = type(model).model_fields[name]
        meaning = meanings.get((type(model).__name__, name), "")
        yield from _comment(" ".join(filter(None, (meaning, *_allowed(field.annotation, field.metadata)))))
        yield f"{name} = {_written(getattr(model, name))}"


def _comment(words: str) -> list[str]:
    lines, line = [], "#"
    for word in words.split():
        if len(line) + len(word) > 100:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line] if words else []


def _allowed(kind: Any, limits: list[Any]) -> Iterator[str]:
    """The range of numbers, or the words, that a setting may have."""
    kinds = [kind, *get_args(kind)]
    limits = limits + [limit for one in kinds for limit in getattr(one, "__metadata__", ())]
    limits = [inner for limit in limits for inner in getattr(limit, "metadata", [limit])]
    bounds = {
        sign: getattr(limit, sign) for limit in limits for sign in ("ge", "gt", "le", "lt") if hasattr(limit, sign)
    }
    bounds = {sign: bound for sign, bound in bounds.items() if bound is not None and bound != 2**31}
    if "ge" in bounds and "le" in bounds:
        yield f"From {bounds['ge']:g} to {bounds['le']:g}."
    elif bounds:
        words = {"ge": "At least", "gt": "Above", "le": "At most", "lt": "Below"}
        yield " ".join(f"{words[sign]} {bound:g}." for sign, bound in bounds.items())
    for one in kinds:
        if get_origin(one) is Literal:
            yield "One of " + ", ".join(f'"{word}"' for word in get_args(one)) + "."


def _written(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return repr(value)


def errors() -> str:
    """Returns the index of all error codes, made from the first line of each page in `recpolicy/errors/pages`."""
    parts = [
        f"# Error codes\n\n{GENERATED}",
        "`recpolicy explain E0412` prints a page in the terminal. Each page has a wrong and a right example, and the\n"
        "tests run both.",
    ]
    stage = ""
    for path in sorted((ROOT / "recpolicy" / "errors" / "pages").glob("E*.md")):
        code, _, title = path.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(": ")
        if code[2] != stage:
            stage = code[2]
            parts.append(f"\n## {STAGES[stage]}\n\n| code | what is wrong |\n|---|---|")
        parts.append(f"| [{code}](../recpolicy/errors/pages/{path.name}) | {_cell(title)} |")
    return "\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Returns the text of each generated page by its file name."""
    return {"commands.md": commands(), "settings.md": settings(), "errors.md": errors()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, "utf-8")
        print(f"docs/{name}: {text.count(chr(10))} lines")
