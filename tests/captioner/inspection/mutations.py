"""Damages files of checkpoints, blindly and by their structure, by a seed."""

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

import onnx
from google.protobuf.message import Message

WEIRD: list[Any] = [
    None, True, 0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**63), 10**30, 1e308, 0.5, "", "x", "../x", "/etc/passwd", "\0",
    "a" * 5000, [], {}, [[]], [-1], [0], [2**62, 2**62], [1] * 50, {"": {}}, {"type": "Replace"}, "\u2028", "é",
]  # fmt: skip
NUMBERS = ["0", "-1", "1", "", " 1", "1e3", "0x10", "18446744073709551615", "9" * 40, "1,1", "-1,?", "?", "1..", "NaN"]
TEXTS = [
    "",
    "Loop",
    "If",
    "Const",
    "Parameter",
    "string",
    "i4",
    "u1",
    "f64",
    "opset1",
    "experimental",
    "../x",
    "é",
    "&lt;",
]


def flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncate(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def insert(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content) + 1)
    more = dice.choice((dice.randbytes(8), b"\0" * 16, b"\xff" * 10, b"<", b"]]]]", b'"', b"{", content[at : at + 100]))
    return content[:at] + more + content[at:]


def remove(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + content[at + dice.choice((1, 4, 100)) :]


BLIND = (flip, truncate, insert, remove)


def change_json(content: bytes, dice: random.Random) -> bytes:
    """Replaces, removes or adds something anywhere in it."""
    root = json.loads(content)
    parent, key = {"": root}, ""
    while isinstance(parent[key], dict | list) and parent[key] and dice.random() < 0.8:
        parent = parent[key]
        key = dice.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    action = dice.choice(("replace", "replace", "replace", "remove", "add"))
    if action == "remove" and key != "":
        del parent[key]
    elif action == "add" and isinstance(parent[key], dict):
        parent[key][dice.choice(("x", "auto_map", "_attn_implementation", "type"))] = dice.choice(WEIRD)
    else:
        parent[key] = dice.choice(WEIRD)
    return json.dumps(parent[""] if key == "" else root).encode()


def change_safetensors(content: bytes, dice: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    header, rest = content[8 : 8 + length], content[8 + length :]
    changed = change_json(header, dice)
    claimed = dice.choice((len(changed), len(changed), len(changed), 2**63, 0, len(content), len(content) - 8))
    return struct.pack("<Q", claimed) + changed + rest


def change_xml(content: bytes, dice: random.Random) -> bytes:
    """Changes an attribute, a number, an element's name, or puts in what XML may have."""
    text = content.decode()
    if dice.random() < 0.2:
        at = dice.choice([0, *(found.start() for found in re.finditer("<layer |<data |<dim>|</net>", text))])
        more = dice.choice(
            ("<!DOCTYPE net>", "<!-- -->", "<?x y?>", "<![CDATA[x]]>", "<body>", "<a>" * 40, "&e;", "<data/>")
        )
        return (text[:at] + more + text[at:]).encode()
    pattern, values = dice.choice(
        (
            (r'(?:offset|size|shape|id|from-layer|to-port)="([^"]*)"', NUMBERS),
            (r"<dim>([^<]*)</dim>", NUMBERS),
            (r'(?:type|element_type|version|precision|names|variable_id)="([^"]*)"', TEXTS),
            (r"<(\w+)", ["net", "layer", "data", "body", "rt_info", "weights"]),
        )
    )
    found = dice.choice(list(re.finditer(pattern, text)))
    return (text[: found.start(1)] + dice.choice(values) + text[found.end(1) :]).encode()


def change_onnx(content: bytes, dice: random.Random) -> bytes:
    """Changes a field anywhere in it, such as a shape, a place, an operator or what an operator is connected to."""
    model = onnx.load_from_string(content)
    message: Message = model.graph
    while True:
        fields = [(field, value) for field, value in message.ListFields()]
        field, value = dice.choice(fields)
        inner = list(value) if field.is_repeated else [value]
        if field.type != field.TYPE_MESSAGE:
            break
        chosen = dice.choice(inner)
        if not chosen.ListFields():
            break
        message = chosen
    _set(message, field, dice)
    return bytes(model.SerializeToString())


def _set(message: Message, field: Any, dice: random.Random) -> None:
    weird: dict[int, list[Any]] = {
        field.TYPE_STRING: ["", "Loop", "If", "ConstantOfShape", "Expand", "../x", "/etc/passwd", "-1", "9" * 30, "0"],
        field.TYPE_BYTES: [b"", b"\xff" * 8, b"\0" * 4000],
        field.TYPE_INT64: [0, -1, 1, 2**31, 2**62, 2**63 - 1],
        field.TYPE_INT32: [0, -1, 1, 8, 16, 22, 99],
        field.TYPE_ENUM: [0, 1],
        field.TYPE_FLOAT: [0.0, float("nan"), float("inf")],
    }
    if field.type not in weird or dice.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        values = getattr(message, field.name)
        if values and dice.random() < 0.7:
            values[dice.randrange(len(values))] = dice.choice(weird[field.type])
        else:
            values.extend(dice.choices(weird[field.type], k=2))
    else:
        values = [
            value
            for value in weird[field.type]
            if field.type != field.TYPE_ENUM or value in field.enum_type.values_by_number
        ]
        setattr(message, field.name, dice.choice(values))


BY_STRUCTURE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".json": change_json,
    ".safetensors": change_safetensors,
    ".xml": change_xml,
    ".onnx": change_onnx,
}


def mutate(name: str, content: bytes, seed: int) -> bytes:
    """A damaged file of that name: half of them blindly, the others by their structure, as far as there is one."""
    dice = random.Random(seed)
    by_structure = next((change for end, change in BY_STRUCTURE.items() if name.endswith(end)), None)
    if by_structure is None or dice.random() < 0.4:
        return dice.choice(BLIND)(content, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        try:
            content = by_structure(content, dice)
        except (ValueError, LookupError, TypeError, AttributeError, onnx.shape_inference.InferenceError):
            break  # one change took away what the next one needs
    return content
