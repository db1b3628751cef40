"""Checks that pip fetches a data set once, verified, and whole or not at all; pip is a stand-in."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from recpolicy import data
from recpolicy.data import download
from recpolicy.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("RECPOLICY_CACHE", str(folder))
    return folder


class Pip:
    """`subprocess.run`, but pip's download is a small wheel made here; `code` and `stderr` let it fail."""

    def __init__(self, code: int = 0, stderr: str = "") -> None:
        self.calls, self.code, self.stderr = 0, code, stderr

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.calls += 1
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
        if not self.code:
            make_wheel(Path(command[command.index("--dest") + 1]) / "recbole-1.2.1-py3-none-any.whl")
        return subprocess.CompletedProcess(command, self.code, "", self.stderr)


def make_wheel(path: Path) -> Path:
    wheel = download.WHEELS["ml-100k"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in wheel.files:
            archive.writestr(zipfile.ZipInfo(f"{wheel.folder}/{name}"), f"content of {name}")
    return path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    return pip


@pytest.fixture
def checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect the checksum of the stand-in wheel."""
    digest = hashlib.sha256(make_wheel(tmp_path / "same.whl").read_bytes()).hexdigest()
    monkeypatch.setattr(download, "WHEELS", {"ml-100k": replace(download.WHEELS["ml-100k"], sha256=digest)})


@pytest.mark.usefixtures("checksum")
def test_second_download_uses_cache(cache: Path, pip: Pip) -> None:
    folder = data.get("ml-100k")
    assert folder == cache / "ml-100k"
    assert sorted(p.name for p in folder.iterdir()) == sorted(download.WHEELS["ml-100k"].files)
    assert (folder / "ml-100k.item").read_text() == "content of ml-100k.item"
    assert data.get("ml-100k") == folder
    assert pip.calls == 1
    assert [p.name for p in cache.iterdir()] == ["ml-100k"]  # no half-done work is left


def test_wrong_checksum_is_refused_and_cache_stays_empty(cache: Path, pip: Pip) -> None:
    with pytest.raises(UsageError, match="not 9c9948202011") as caught:
        data.get("ml-100k")
    assert caught.value.where == "recbole-1.2.1-py3-none-any.whl"
    assert list(cache.iterdir()) == []


def test_failed_download_shows_pip_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = "WARNING: Retrying\nERROR: No matching distribution found for recbole==1.2.1\n"
    monkeypatch.setattr(subprocess, "run", Pip(1, stderr))
    with pytest.raises(UsageError, match=r"recbole==1\.2\.1: No matching distribution") as caught:
        data.get("ml-100k")
    assert "pip download --no-deps recbole==1.2.1" in caught.value.help
    assert list(cache.iterdir()) == []


def test_unwritable_cache_is_refused(cache: Path, pip: Pip) -> None:
    cache.write_text("a file in the way")
    with pytest.raises(UsageError, match="cannot write the cache") as caught:
        data.get("ml-100k")
    assert "RECPOLICY_CACHE" in caught.value.help
    assert pip.calls == 0


def test_unknown_dataset_lists_known_names() -> None:
    with pytest.raises(UsageError, match='no data set "ml-1m"') as caught:
        data.get("ml-1m")
    assert caught.value.help == "known: ml-100k"


def test_cache_folder_follows_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECPOLICY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache() == tmp_path / "recpolicy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache() == Path.home() / ".cache" / "recpolicy"
