import base64
import shutil
from pathlib import Path

import minisign
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.captioner.checkpoint import MANIFEST, SIGNATURE, WEIGHTS, read_manifest, seal
from stages.captioner.command_line import InputError
from stages.captioner.commands.signature import make_keys, needs_password, sign, verify
from stages.captioner.runtimes.captioner import open_captioner

# Made by minisign 0.11 itself, of the four bytes «test».
PUBLIC_KEY = "RWQIVzPPmSCCm3TcO3l0TUnaCLOwKG9qIl3WyTtbofQfjbHPDqlGcKeN"
TEST_SIGNATURE = b"""untrusted comment: signature from minisign secret key
RUQIVzPPmSCCmzwFseAzkfrKfA+7mUjYP7nef9Zr1027h3MwDZbL0VqAwQ4Jp9oHp99QtYU3fdSyMcfCX/jDD5tYQSWOn46DvA4=
trusted comment: timestamp:1795651343\tfile:test\thashed
hIhNu6AZeNSiCIBa8sp6qjcinoRyoMzFGq/87GVojsd0NsA0u+C2KVqGWt+B7ZA1JOsZ8lxC7+h2qJBanZEeCw==
"""


@pytest.fixture
def copy(baseline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baseline, tmp_path / "copy"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_keys(tmp_path / "me.key", "")
    return tmp_path / "me.key"


def test_a_signed_checkpoint_is_verified_and_opened(copy: Path, key: Path) -> None:
    assert verify(copy) is None
    assert sign(copy, key, None) == copy / SIGNATURE
    comment = verify(copy, Path(f"{key}.pub"))
    assert comment and comment.startswith("timestamp:")
    assert verify(copy) is None
    open_captioner(copy).close()


def test_a_signature_is_no_file_of_the_manifest(copy: Path, key: Path) -> None:
    manifest = read_manifest(copy)
    sign(copy, key, None)
    seal(copy, manifest)
    assert read_manifest(copy) == manifest


def test_another_key_is_refused(copy: Path, key: Path, tmp_path: Path) -> None:
    sign(copy, key, None)
    other = make_keys(tmp_path / "other.key", "")
    with pytest.raises(InputError, match=r"not what the owner of .*other\.key\.pub signed \(incompatible key"):
        verify(copy, other)
    # One that claims to be the same, by the number that a key has.
    own, forged = (base64.b64decode(file.read_bytes().splitlines()[1]) for file in (Path(f"{key}.pub"), other))
    other.write_bytes(b"untrusted comment: mine\n" + base64.b64encode(own[:10] + forged[10:]) + b"\n")
    with pytest.raises(InputError, match=r"not what the owner of .* signed \(signature verification failed\)"):
        verify(copy, other)


def test_a_manifest_or_comment_that_was_changed_is_refused(copy: Path, key: Path) -> None:
    sign(copy, key, None)
    for file in (MANIFEST, SIGNATURE):
        before = (copy / file).read_bytes()
        (copy / file).write_bytes(before.replace(b"timestamp:1", b"timestamp:2").replace(b"\n}", b"\n\n}"))
        assert (copy / file).read_bytes() != before
        with pytest.raises(InputError, match="signature verification failed"):
            verify(copy, Path(f"{key}.pub"))
        (copy / file).write_bytes(before)


def test_files_that_were_changed_and_sealed_again_are_refused(copy: Path, key: Path) -> None:
    sign(copy, key, None)
    weights = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    seal(copy, read_manifest(copy))
    assert verify(copy) is None
    with pytest.raises(InputError, match="signature verification failed"):
        verify(copy, Path(f"{key}.pub"))


def test_a_signed_checkpoint_that_was_damaged_is_refused(copy: Path, key: Path) -> None:
    sign(copy, key, None)
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{WEIGHTS} is damaged"):
        verify(copy, Path(f"{key}.pub"))
    with pytest.raises(InputError, match=f"{WEIGHTS} is damaged"):
        sign(copy, key, None)


def test_no_signature_is_refused_if_a_key_is_given(copy: Path, key: Path) -> None:
    with pytest.raises(InputError, match="is not signed"):
        verify(copy, Path(f"{key}.pub"))


def test_a_key_with_a_password_needs_it(copy: Path, tmp_path: Path) -> None:
    public = make_keys(tmp_path / "me.key", "open sesame")
    assert needs_password(tmp_path / "me.key")
    for wrong in (None, "", "sesame"):
        with pytest.raises(InputError, match=r"can't sign \(wrong password"):
            sign(copy, tmp_path / "me.key", wrong)
    sign(copy, tmp_path / "me.key", "open sesame")
    verify(copy, public)


def test_keys_are_private_and_never_overwritten(key: Path) -> None:
    assert key.stat().st_mode & 0o077 == 0
    before = key.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        make_keys(key, "")
    assert key.read_bytes() == before
    with pytest.raises(InputError, match="can't be written"):
        make_keys(key / "below.key", "")


def test_what_is_no_key_is_one_sentence(copy: Path, key: Path, tmp_path: Path) -> None:
    sign(copy, key, None)
    with pytest.raises(InputError, match="absent can't be read"):
        verify(copy, tmp_path / "absent")
    with pytest.raises(InputError, match=r"me\.key is not a public key"):
        verify(copy, key)
    with pytest.raises(InputError, match=r"me\.key\.pub is not a secret key"):
        sign(copy, Path(f"{key}.pub"), None)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.integers(0, 400), st.booleans())
def test_whatever_a_signature_or_a_key_holds_is_one_sentence(
    baseline: Path, tmp_path: Path, more: bytes, at: int, in_key: bool
) -> None:
    if not (tmp_path / "me.key").exists():
        shutil.copytree(baseline, tmp_path / "copy")
        make_keys(tmp_path / "me.key", "")
        sign(tmp_path / "copy", tmp_path / "me.key", None)
    public = tmp_path / "me.key.pub"
    file = public if in_key else tmp_path / "copy" / SIGNATURE
    before = file.read_bytes()
    file.write_bytes(before[:at] + more + before[at + len(more) :])
    try:
        verify(tmp_path / "copy", public)
    except InputError:
        pass
    finally:
        file.write_bytes(before)


def test_the_format_is_minisign_s() -> None:
    minisign.PublicKey.from_base64(PUBLIC_KEY).verify(b"test", minisign.Signature.from_bytes(TEST_SIGNATURE))
