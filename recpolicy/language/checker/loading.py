"""Reads the text of a policy, by path or by the name of a sample, and the schema that its header names."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from recpolicy import schema as schemas
from recpolicy import sources
from recpolicy.errors import UsageError, names
from recpolicy.errors.near import near
from recpolicy.language.checker.header import Report, Settings
from recpolicy.schema import Schema
from recpolicy.span import Source

MAX_BYTES = 4_000_000
"""Of a policy file: some 50,000 lines."""


def samples() -> tuple[str, ...]:
    """Returns the names of the policies that come with the package."""
    folder = files("recpolicy.policies").iterdir()
    return tuple(sorted(f.name.removesuffix(".policy") for f in folder if f.name.endswith(".policy")))


def read(policy: str) -> tuple[Source, Path]:
    """Reads a policy file or a sample policy; returns its text and the folder that its own paths start from.

    Raises UsageError if there is no such file or it is not text.
    """
    path = Path(policy)
    if path.suffix != ".policy" and policy in samples():
        text = files("recpolicy.policies").joinpath(f"{policy}.policy").read_text("utf-8")
        return Source(f"{policy}.policy", text), Path()
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"no policy `{policy}`: {_reason(error)}", help=_help(policy)) from None
    return decoded(raw, policy), path.parent


def decoded(raw: bytes, name: str) -> Source:
    """Returns the text of a policy file. Raises UsageError if it is too large or not text."""
    if len(raw) > MAX_BYTES:
        raise UsageError(f"a policy of {len(raw):,} bytes", where=name, help=f"at most {MAX_BYTES:,} bytes are read")
    try:
        return Source(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        help = "save the policy as UTF-8"
        raise UsageError(f"byte {error.start + 1} is not UTF-8 text", where=name, help=help) from None


def schema_of(settings: Settings, folder: Path, report: Report) -> Schema | None:
    """Reads the schema that the header names, or reports why it cannot; relative paths start from `folder`."""
    named = settings.schema or settings.data
    if named is None:
        return None
    try:
        if settings.schema is not None:
            if not (folder / named.value).is_file():
                report(names.no_schema_file(named.span, named.value))
                return None
            return schemas.load(folder / named.value)
        schema = data_schema(named.value, folder)
    except UsageError as error:
        report(names.unusable_schema(named.span, error.message, error.where, error.help))
        return None
    if schema is None:
        report(names.unknown_data(named.span, named.value, near(named.value, schemas.BUILTIN), schemas.BUILTIN))
    return schema


def data_schema(name: str, folder: Path) -> Schema | None:
    """Reads the schema of a built-in data set, a data folder or a database; returns None for any other name.

    Raises UsageError for a folder or a database whose schema cannot be read.
    """
    if (builtin := schemas.builtin(name)) is not None:
        return builtin
    source = sources.beside(name, folder)
    if source is None:
        return None
    if (stated := sources.own_schema(source)) is not None:
        return schemas.load(stated)
    from recpolicy import tables  # reads files: only for folders without a schema

    return tables.open(source).schema


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "not a usable path"


def _help(policy: str) -> str:
    known = samples()
    close = near(Path(policy).stem, known)
    if close is not None:
        return f"did you mean the sample policy `{close}`?"
    return f"give a file, or one of the samples: {', '.join(known)}"
