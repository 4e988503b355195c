"""Who made a checkpoint: signatures over its manifest in minisign's format, which minisign, rsign2 and others share.

The manifest has the hash of every other file, so a signature over it is one over the checkpoint. Ed25519 by the library
py-minisign, the package's extra [signing]; opening a checkpoint needs neither.
"""

import importlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import MANIFEST, SIGNATURE, manifest_bytes, parse_manifest, read_small, verify_files
from ..command_line import InputError, brief, printable
from ..inspection.files import inspect_files

LARGEST = 64 * 1024  # bytes of a key or a signature, which have a few hundred


def verify(checkpoint: Path, public_key: Path | None = None) -> str | None:
    """Checks a checkpoint's files as opening it does, and who signed it if a public key is given.

    Returns the comment that was signed along, such as the time, or None without a key.

    Raises InputError if a file is missing, surplus, altered or may not be opened; with a key, also if the checkpoint is
    not signed, or was signed with another key, or is not what was signed.
    """
    content = manifest_bytes(checkpoint)
    comment = _verify_signature(checkpoint, content, public_key) if public_key else None
    manifest = parse_manifest(checkpoint, content)
    verify_files(checkpoint, manifest)
    inspect_files(checkpoint, manifest)
    return comment


def _verify_signature(checkpoint: Path, content: bytes, public_key: Path) -> str:
    minisign = _library()
    key = _parse(minisign.PublicKey, public_key, "a public key of minisign")
    if not os.path.lexists(checkpoint / SIGNATURE):
        raise InputError(f"{checkpoint} is not signed, it has no {SIGNATURE}: ask who made it for one that is")
    signature = _parse(minisign.Signature, checkpoint / SIGNATURE, "a signature of minisign")
    try:
        key.verify(content, signature)
    except minisign.VerifyError as error:
        raise InputError(
            f"{checkpoint / MANIFEST} is not what the owner of {public_key} signed ({brief(error)}): use that key's "
            "checkpoint, or the key of who made this one, if you trust them"
        ) from None
    except ValueError as error:  # from the curve, of which not every 32 bytes are a point
        raise InputError(f"{public_key} is no key ({brief(error)}): fetch it again") from None
    return printable(signature.trusted_comment)


def sign(checkpoint: Path, secret_key: Path, password: str | None) -> Path:
    """Checks a checkpoint and signs its manifest. Returns the signature's file.

    Raises InputError if the checkpoint can't be opened, or the key can't be used or needs another password.
    """
    minisign = _library()
    content = manifest_bytes(checkpoint)
    manifest = parse_manifest(checkpoint, content)
    verify_files(checkpoint, manifest)
    inspect_files(checkpoint, manifest)
    with _parse(minisign.SecretKey, secret_key, "a secret key of minisign") as key:
        try:
            key.decrypt(password or "")
            signature = key.sign(content)
        except ValueError as error:
            raise InputError(f"{secret_key} can't sign ({brief(error)}): use its password") from None
    file = checkpoint / SIGNATURE
    _write(file, bytes(signature) + b"\n", mode=0o644)
    return file


def needs_password(secret_key: Path) -> bool:
    """Whether a secret key is encrypted. Raises InputError if it is none."""
    key = _parse(_library().SecretKey, secret_key, "a secret key of minisign")
    return bool(key.is_encrypted())


def make_keys(secret_key: Path, password: str) -> Path:
    """Writes a new secret key, encrypted unless the password is empty, and its public key beside it, with `.pub`.

    Returns the public key's file. Raises InputError if either is there already or can't be written.
    """
    public_key = secret_key.with_name(f"{secret_key.name}.pub")
    for file in (secret_key, public_key):
        if os.path.lexists(file):
            raise InputError(f"{file} is there already, and may be in use: choose another name")
    pair = _library().KeyPair.generate()
    with pair.secret_key as key:
        if password:
            key.encrypt(password)
        _write(secret_key, bytes(key) + b"\n", mode=0o600)
    _write(public_key, bytes(pair.public_key) + b"\n", mode=0o644)
    return public_key


def _library() -> Any:
    try:
        return importlib.import_module("minisign")
    except ImportError as error:
        raise InputError(
            f"signatures can't be read here ({brief(error)}): install blip-on-cpu with its extra [signing]"
        ) from None


def _parse(kind: Any, file: Path, what: str) -> Any:
    content = read_small(file, LARGEST)
    try:
        return kind.from_bytes(content)
    except ValueError as error:
        raise InputError(f"{file} is not {what} ({brief(error)}): name another file") from None


def _write(file: Path, content: bytes, mode: int) -> None:
    """Writes a file whole or not at all; nobody else may read it before it has its mode."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
        unfinished.replace(file)
    except OSError as error:
        raise InputError(f"{file} can't be written ({error.strerror}): choose a folder of yours") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
