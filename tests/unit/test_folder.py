"""Which folders may keep two leaders apart."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from onduty.errors import DirectoryRefused
from onduty.folder import file_system, prepare, scope_folder

MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:30 / /srv rw shared:2 - nfs4 server:/export rw
31 30 0:31 / /srv/local\\040disk rw shared:3 - xfs /dev/vdb rw
32 22 0:32 / /mnt/share rw - fuse.sshfs host:/ rw
33 22 0:33 / /over rw - overlay overlay rw
"""


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """Who can write there can take the lock away."""
    folder = tmp_path / "instance" / "onduty" / "app"

    prepare(folder)
    prepare(folder)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_two_may_look_at_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of one worker, or containers that share it and have the same pid in each."""
    unlink, others = os.unlink, [tmp_path / "app"]

    def unlink_later(path: Path) -> None:
        if others:
            prepare(others.pop())
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_later)

    prepare(tmp_path / "app")

    assert list((tmp_path / "app").iterdir()) == []


def test_two_names_never_share_a_folder(tmp_path: Path) -> None:
    """Not even when they are spelt alike once cleaned."""
    names = ["app", "a/p", "a p", "a.p", "..", "", "x" * 100, "x" * 101, "Ünï"]

    folders = {scope_folder(tmp_path, name) for name in names}

    assert len(folders) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/app", "ext4"),
        ("/srv/app", "nfs4"),
        ("/srvx/app", "ext4"),
        ("/srv/local disk/app", "xfs"),
        ("/mnt/share", "fuse.sshfs"),
        ("/over/lay", "overlay"),
    ],
)
def test_the_file_system_is_that_of_the_longest_mount_point(path: str, kind: str) -> None:
    """As the kernel lists them."""
    assert file_system(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its locks exclude can't be seen from here."""
    monkeypatch.setattr("onduty.folder.file_system", lambda folder: "nfs4")

    with pytest.raises(DirectoryRefused, match=r"nfs4.*ONDUTY_DIR"):
        prepare(tmp_path / "app")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both users named."""
    folder = tmp_path / "app"
    prepare(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(DirectoryRefused, match=r"belongs to user \d+.*54321"):
        prepare(folder)


def test_a_parent_that_all_may_write_to_is_refused(tmp_path: Path) -> None:
    """Anybody could put another folder in its place; a sticky one, like /tmp, is fine."""
    tmp_path.chmod(0o777)
    with pytest.raises(DirectoryRefused, match="chmod o-w"):
        prepare(tmp_path / "app")

    tmp_path.chmod(0o1777)
    prepare(tmp_path / "app")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """With the path and the remedy."""
    (tmp_path / "app").write_text("")

    with pytest.raises(DirectoryRefused, match=r"app is not a folder.*ONDUTY_DIR"):
        prepare(tmp_path / "app")


def test_a_missing_parent_is_made_so_that_it_is_not_refused(tmp_path: Path) -> None:
    """Also by a service manager's umask of 0."""
    before = os.umask(0)
    try:
        prepare(tmp_path / "base" / "app")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "base").stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a link away takes root")
def test_a_link_that_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    """In a folder like /tmp it could be another one in a moment, and so could the lock. One's own is fine."""
    (tmp_path / "mine").mkdir()
    link = tmp_path / "app"
    link.symlink_to(tmp_path / "mine")
    prepare(link)
    os.chown(link, 54321, 54321, follow_symlinks=False)

    with pytest.raises(DirectoryRefused, match="link that user 54321 has made"):
        prepare(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_disk_that_is_read_only_is_refused(tmp_path: Path) -> None:
    """Root is refused too: here it is the disk that says no."""
    folder = tmp_path / "app"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", folder], check=True)
    try:
        with pytest.raises(DirectoryRefused, match="Read-only"):
            prepare(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_folder_that_this_user_may_not_enter_is_refused_to_whoever_reads(tmp_path: Path) -> None:
    """As a script does that asks for the history: the error says whose folder it is, and what to do."""
    program = (
        "import os, sys; from onduty import OnDuty; os.setuid(65534)\n"
        "duty = OnDuty(lambda environ, start_response: [], name='shop', dir=sys.argv[1])\n"
        "for ask in (duty.status, duty.leader, duty.task(name='t')(lambda: None).runs):\n"
        "    try: ask()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    tmp_path.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    said = done.stdout.splitlines()
    assert len(said) == 3, done.stderr
    assert all(
        re.match(r"DirectoryRefused .*shop can't be entered \(Permission denied\).*ONDUTY_DIR", one) for one in said
    )
