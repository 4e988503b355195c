import re
import shutil
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.inspection.bounds import LARGEST_GRAPH
from stages.captioner.inspection.openvino_graph import inspect_openvino_graph
from tests.conftest import Build

BOMB = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))


@pytest.fixture
def graph(build: Build, tmp_path: Path) -> Path:
    for suffix in (".xml", ".bin"):
        shutil.copyfile(build("openvino_int8") / f"decoder{suffix}", tmp_path / f"decoder{suffix}")
    return tmp_path / "decoder.xml"


def change(graph: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, graph.read_text(), count=1)
    assert count == 1
    graph.write_text(text)


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        (r"^", '<!DOCTYPE net SYSTEM "file:///etc/passwd">', "DOCTYPE"),
        (r"^", f'<!DOCTYPE net [<!ENTITY e0 "x">{BOMB}]>', "DOCTYPE"),
        (r'name="tokens"', 'name="&other;"', "undefined entity"),
        (r"</layers>", "", "mismatched tag"),
        (r'version="11"', 'version="99"', "no net of version"),
        (r'offset="\d+"', 'offset="999999999999999999"', "ends at byte"),
        (r'offset="\d+"', 'offset="18446744073709551615"', "no offset"),
        (r'offset="\d+"', 'offset="-8"', "no offset"),
        (r'offset="\d+"', 'offset="0x0"', "no offset"),
        (r' offset="\d+"', "", "no offset"),
        (r'(type="Const".*\n.*) size="\d+"', r'\1 size="12"', "has 12 bytes"),
        (r'shape="3"', 'shape="4"', "has 24 bytes"),
        (r'shape="3"', 'shape="?"', "has 24 bytes"),
        (r'shape="3"', 'shape="4294967296,4294967296"', "more than 2147483648 elements"),
        (r'shape="3"', 'shape="0,99999999999999999"', "more than 2147483648 elements"),
        (r'shape="\?,\d+,\d+,\d+"', 'shape="?,4,64,6500000000"', "more than 2147483648 elements"),
        (r'shape="3"', 'shape="three"', "no shape"),
        (r'element_type="i64" shape="3"', 'element_type="string" shape="3"', "elements of type"),
        (r'type="Gather"', 'type="Loop"', "operator 'Loop'"),
        (r'type="ShapeOf" version="opset3"', 'type="ShapeOf" version="extension"', "operator 'ShapeOf'"),
        (r'(type="Gather".*\n\s*<data )', r'\1 offset="0" size="1" ', "Gather has weights"),
        (r"</layers>", "<layer type='Add' version='opset1'><body/></layer></layers>", "has <body>"),
        (r"<rt_info>", "<rt_info>" + "<a>" * 50 + "</a>" * 50, "lie within each other"),
        (r"</layers>", "<layer type='Add' version='opset1'/>" * 10_001 + "</layers>", "more than 10000 operators"),
    ],
)
def test_a_graph_that_could_harm_is_refused(graph: Path, pattern: str, replacement: str, reason: str) -> None:
    inspect_openvino_graph(graph)
    change(graph, pattern, replacement)
    with pytest.raises(InputError, match=rf"decoder\.xml is not a graph that may be opened .*{reason}"):
        inspect_openvino_graph(graph)


def test_weights_that_were_cut_off_or_are_missing_are_found(graph: Path) -> None:
    weights = graph.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a constant ends at byte"):
        inspect_openvino_graph(graph)
    weights.unlink()
    with pytest.raises(InputError, match=r"decoder\.bin can't be read"):
        inspect_openvino_graph(graph)


def test_a_graph_of_gigabytes_is_not_read(graph: Path) -> None:
    with graph.open("r+b") as stream:
        stream.truncate(1024**4)
    with pytest.raises(InputError, match=f"more than the {LARGEST_GRAPH:,} bytes"):
        inspect_openvino_graph(graph)
