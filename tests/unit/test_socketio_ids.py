"""Session ids name their owner, and nothing that is not one of ours names anybody."""

from __future__ import annotations

import os

import pytest

from onduty.socketio.ids import Ids, is_token, owner_of


def test_an_id_begins_with_its_owner_and_keeps_all_of_what_engine_io_drew() -> None:
    """So it is as hard to guess as before, and any worker can read whose it is."""
    ids = Ids(lambda: "what-engine.io-drew")

    sid = ids.new()

    assert owner_of(sid) == ids.token
    assert sid == ids.token + "what-engine.io-drew"


def test_a_process_keeps_its_token_and_a_forked_child_draws_another() -> None:
    """Also where the fork is C's own and tells nobody: the token belongs to the pid."""
    ids = Ids(lambda: "x" * 20)
    read, write = os.pipe()
    before = ids.token

    child = os.fork()
    if child == 0:
        os.write(write, ids.token.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        in_child = told.read()

    assert ids.token == before
    assert is_token(in_child)
    assert in_child != before


@pytest.mark.parametrize(
    "sid",
    [
        None,
        "",
        "short",
        "12345678",
        "1234567812345",
        "../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "/tmp/a/and-then-some-more",
        "abc\x00defgh12345678",
        "abcdefgh 12345678901234567890",
        "abcdefgh\n12345678901234567890",
        "ab.defgh12345678901234567890",
        "äbcdefgh12345678901234567890",
        "abcdefgh" + "x" * 500,
    ],
)
def test_what_is_no_id_of_ours_names_no_owner(sid: str | None) -> None:
    """Truncated, over-long, with a path in it, with what is no letter: nobody is asked for it."""
    assert owner_of(sid) is None


@pytest.mark.parametrize("text", [None, 12345678, "", "1234567", "123456789", "1234567/", "../../..", "abcdefg\n"])
def test_only_eight_plain_characters_are_a_token(text: object) -> None:
    """It stands in a file name."""
    assert not is_token(text)
