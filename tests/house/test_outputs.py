"""Checks that files are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recpolicy import cli, outputs

POLICY = 'policy "p" { language = 1\ndata = "simulator"\nslate = 3 }\nreward r weight 1 = distance(item.genres)\n'


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("before")
    with pytest.raises(RuntimeError), outputs.whole(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert (path.read_text(), names(tmp_path)) == ("before", ["f"])


def test_new_file_has_the_mode_of_the_umask_and_old_file_keeps_its_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        outputs.write(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    outputs.write(tmp_path / "new", "y")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


def test_link_is_kept_and_planted_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link.part").symlink_to("victim")
    outputs.write(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert ((tmp_path / "real").read_text(), (tmp_path / "victim").read_text()) == ("after", "precious")


def test_device_is_written_itself() -> None:
    outputs.write(Path("/dev/null"), "x")
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_disk_leaves_the_policy_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.policy"
    path.write_text(POLICY)

    def full(self: Path, content: bytes) -> int:
        with open("/dev/full", "wb", buffering=0) as device:
            return device.write(content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert cli.main(["fmt", str(path)]) == 2
    assert "no space left on device" in capsys.readouterr().err
    assert (path.read_text(), names(tmp_path)) == (POLICY, ["p.policy"])
