"""A caption in XMP: as a packet of its own, or put into one with nothing else in it touched.

What is there is parsed only to find places among its bytes. So comments, prefixes, wrappers and line ends stay.
"""

import re
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from ..command_line import brief

MOST_ELEMENTS = 100_000
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
# What a picture shows, and what is read out to who can't see it: their prefixes, namespaces and names.
PROPERTIES = (
    ("dc", "http://purl.org/dc/elements/1.1/", "description"),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "AltTextAccessibility"),
)
DESCRIBED = f"{PROPERTIES[0][1]} {PROPERTIES[0][2]}"
PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
TAG = re.compile(rb"<([^\s/>]+)(?:\"[^\"]*\"|'[^']*'|[^\"'>])*>")
ANY_TAG = re.compile(rb"<[^>]*>")
# What XML can't hold.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Edit = tuple[int, int, bytes]  # bytes from one place to another, and what takes their place


@dataclass
class Element:
    """An element and its places: where its first tag begins, where that ends, and where its last tag begins."""

    name: str  # namespace, blank, name
    attributes: dict[str, str]
    begins: int
    opened: int
    closed: int
    empty: bool = False  # a single tag
    children: list["Element"] = field(default_factory=list)

    def named(self, name: str) -> list["Element"]:
        """Its children of this name."""
        return [child for child in self.children if child.name == name]


def describes(content: bytes) -> bool:
    """Whether XMP has a description that says anything. Raises ValueError if it is none."""
    descriptions = _rdf(content).named(f"{RDF} Description")
    if any(own.attributes.get(DESCRIBED, "").strip() for own in descriptions):
        return True
    properties = [found for own in descriptions for found in own.named(DESCRIBED)]
    return any(ANY_TAG.sub(b"", content[found.opened : found.closed]).strip() for found in properties)


def with_caption(content: bytes, caption: str) -> bytes:
    """XMP whose description and alternative text, in the language «x-default», are a caption, and all else as it was.

    Raises ValueError if it is no XMP, or has these in a form that can't be changed without a loss.
    """
    rdf = _rdf(content)
    descriptions = rdf.named(f"{RDF} Description")
    text = escape(FORBIDDEN.sub("", caption)).encode()
    edits: list[Edit] = []
    added = b""
    for prefix, space, name in PROPERTIES:
        if any(f"{space} {name}" in own.attributes for own in descriptions):
            raise ValueError(f"has {prefix}:{name} as an attribute, which can't name languages")
        if found := [child for own in descriptions for child in own.named(f"{space} {name}")]:
            edits.append(_say(content, found[0], text))
        else:
            added += b'  <%b:%b xmlns:%b="%b">%b</%b:%b>\n' % (
                *(part.encode() for part in (prefix, name, prefix, space)),
                _alternatives(text),
                *(part.encode() for part in (prefix, name)),
            )
    if added and descriptions:
        edits.append(_append(content, descriptions[0], added))
    elif added:
        description = _in_rdf(b'<rdf:Description rdf:about=""', b"\n" + added + b" ")
        edits.append(_append(content, rdf, b" " + description + b"\n"))
    for begin, end, new in sorted(edits, reverse=True):
        content = content[:begin] + new + content[end:]
    _rdf(content)
    return content


def packet(caption: str) -> bytes:
    """XMP that has nothing but a caption."""
    return with_caption(PACKET.encode(), caption)


def _in_rdf(tag: bytes, content: bytes) -> bytes:
    """An element of RDF, whatever prefix that has where it goes."""
    name = tag[1:].split()[0]
    return b'%b xmlns:rdf="%b">%b</%b>' % (tag, RDF.encode(), content, name)


def _item(text: bytes) -> bytes:
    return _in_rdf(b'<rdf:li xml:lang="x-default"', text)


def _alternatives(text: bytes) -> bytes:
    return _in_rdf(b"<rdf:Alt", _item(text))


def _say(content: bytes, found: Element, text: bytes) -> Edit:
    """Makes a property's text in «x-default» another one, and leaves those in other languages."""
    lists = found.named(f"{RDF} Alt")
    if not lists and not found.children and not found.attributes:
        return _fill(content, found, _alternatives(text))
    if len(found.children) != 1 or not lists:
        raise ValueError("has a description that is no list of languages")
    items = lists[0].named(f"{RDF} li")
    default = next((item for item in items if item.attributes.get(LANGUAGE) == "x-default"), None)
    if default is None:
        return _fill(content, lists[0], _item(text) + content[lists[0].opened : lists[0].closed])
    if default.children:
        raise ValueError("has a description with parts")
    return _fill(content, default, text)


def _fill(content: bytes, element: Element, inner: bytes) -> Edit:
    """Makes what is between an element's tags something else."""
    if not element.empty:
        return element.opened, element.closed, inner
    found = TAG.match(content, element.begins)
    assert found
    return element.opened - 2, element.opened, b">%b</%b>" % (inner, found[1])


def _append(content: bytes, element: Element, more: bytes) -> Edit:
    """Puts lines behind all that is between an element's tags, but for the blanks before its last."""
    if element.empty:
        return _fill(content, element, b"\n" + more)
    place = element.opened + len(content[element.opened : element.closed].rstrip())
    return place, place, b"\n" + more.rstrip()


def _rdf(content: bytes) -> Element:
    """The element of RDF, as the document's own or within it. Raises ValueError if there is none."""
    try:
        document = _parse(content)
    except (ExpatError, UnicodeError, ValueError) as error:
        raise ValueError(f"is no XMP ({brief(error)})") from None
    for element in (document, *document.children):
        if element.name == f"{RDF} RDF":
            return element
    raise ValueError("is no XMP (it has no rdf:RDF)")


def _parse(content: bytes) -> Element:
    """A document's element. Raises ExpatError, UnicodeError or ValueError if it is not well-formed XML in UTF-8 without
    a document type, in which entities would be defined, or has absurdly many elements."""
    content.decode("utf-8")
    parser = ParserCreate("utf-8", namespace_separator=" ")
    path, found = [Element("", {}, 0, 0, 0)], 0

    def open_(name: str, attributes: dict[str, str]) -> None:
        nonlocal found
        found += 1
        if found > MOST_ELEMENTS:
            raise ValueError(f"it has more than {MOST_ELEMENTS:,} elements")
        begins = parser.CurrentByteIndex
        tag = TAG.match(content, begins)
        if tag is None:
            raise ValueError("its tags can't be told apart")
        element = Element(name, attributes, begins, tag.end(), tag.end(), tag[0].endswith(b"/>"))
        path[-1].children.append(element)
        path.append(element)

    def close(_: str) -> None:
        element = path.pop()
        if not element.empty:
            element.closed = parser.CurrentByteIndex

    def declare(_: str, encoding: str | None, __: int) -> None:
        if encoding and encoding.lower() != "utf-8":
            raise ValueError(f"it is in {encoding}, not in UTF-8")

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which could define entities")

    parser.StartElementHandler, parser.EndElementHandler = open_, close
    parser.XmlDeclHandler, parser.StartDoctypeDeclHandler = declare, refuse
    parser.Parse(content, True)
    return path[0].children[0]
