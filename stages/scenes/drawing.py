"""Paints a scene of the demo's little world as a picture of 192 x 192 pixels.

Everything is drawn larger and reduced at the end, which smooths the edges.
"""

import random
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from stages.scenes.composition import INDOORS, Scene
from stages.scenes.layout import Place, Stroke, arrange, strokes

SIDE = 192
OVERSAMPLING = 2
CANVAS = SIDE * OVERSAMPLING

RGB = tuple[int, int, int]
Pen = ImageDraw.ImageDraw

PAINTS: dict[str, RGB] = {
    "red": (212, 44, 44),
    "orange": (240, 138, 36),
    "yellow": (246, 208, 48),
    "green": (38, 150, 70),
    "blue": (46, 92, 212),
    "purple": (132, 62, 168),
    "pink": (244, 150, 184),
    "brown": (138, 84, 44),
    "black": (42, 40, 46),
    "white": (246, 246, 244),
    "gray": (140, 142, 150),
    "dark": (50, 45, 55),
    "skin": (232, 184, 140),
    "hair": (95, 55, 30),
    "navy": (58, 62, 96),
    "glass": (182, 216, 234),
    "wood": (128, 84, 48),
    "leaf": (70, 142, 66),
    "forest": (40, 104, 58),
    "grass": (110, 190, 70),
    "gold": (242, 196, 72),
    "tyre": (32, 32, 36),
    "metal": (176, 180, 188),
    "stone": (122, 122, 130),
    "slate": (142, 144, 154),
    "brick": (158, 82, 62),
    "tan": (222, 190, 150),
    "cream": (244, 232, 206),
    "rose": (222, 110, 140),
    "cherry": (204, 40, 60),
    "snow": (250, 252, 255),
}
OUTLINE = PAINTS["dark"]
DRAWN_WITHOUT_COLOR = "gray"  # a kind without colors has strokes of fixed paints only

# Sky and ground out of doors, wall and floor inside; each has several.
COLORS_BEHIND: dict[str, tuple[tuple[RGB, ...], tuple[RGB, ...]]] = {
    "park": (((150, 206, 248), (176, 216, 246)), ((118, 184, 92), (100, 170, 96), (140, 190, 96))),
    "beach": (((146, 212, 250), (190, 222, 244)), ((240, 218, 166), (228, 204, 150))),
    "street": (((176, 204, 230), (198, 206, 216)), ((128, 128, 134), (110, 112, 120))),
    "snow": (((196, 214, 236), (176, 204, 238)), ((240, 244, 250), (228, 236, 246))),
    "desert": (((250, 214, 160), (166, 210, 240)), ((226, 170, 104), (214, 150, 96))),
    "kitchen": (((232, 238, 236), (206, 226, 222), (240, 230, 204)), ((206, 202, 194), (226, 214, 196))),
    "bedroom": (((226, 204, 220), (198, 212, 234), (236, 222, 190)), ((176, 142, 106), (150, 132, 152))),
    "library": (((110, 74, 46), (92, 62, 44)), ((140, 62, 58), (74, 92, 84))),
    "cellar": (((166, 96, 76), (150, 104, 88)), ((128, 122, 116), (110, 108, 108))),
}
LIGHT_COLORS: dict[str, tuple[RGB, float, float]] = {  # a color, and between which shares of it veil the picture
    "day": ((255, 246, 226), 0.0, 0.08),
    "night": ((8, 10, 44), 0.5, 0.7),
    "rain": ((96, 108, 126), 0.22, 0.4),
    "fog": ((206, 210, 214), 0.4, 0.62),
    "dim": ((18, 12, 10), 0.46, 0.68),
}


def draw(scene: Scene, seed: int) -> Image.Image:
    """The picture of a scene: RGB, 192 x 192. The seed settles looks, sizes and whatever else nobody mentions."""
    dice = random.Random(f"drawing {seed}")
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    _draw_background(canvas, scene, dice)
    _draw_litter(ImageDraw.Draw(canvas), dice)
    for place in arrange(scene, seed):
        _draw_place(canvas, place, dice)
    if scene.light == "rain":
        _draw_rain(ImageDraw.Draw(canvas), dice)
    return _light(canvas.reduce(OVERSAMPLING), scene.light, dice)


def _light(picture: Image.Image, light: str, dice: random.Random) -> Image.Image:
    """Veils the picture as the light does, and adds a camera's noise."""
    color, least, most = LIGHT_COLORS[light]
    picture = Image.blend(picture, Image.new("RGB", picture.size, color), dice.uniform(least, most))
    row, column = dice.randrange(SIDE), dice.randrange(SIDE)
    noise = _noise()[row : row + SIDE, column : column + SIDE]
    strength = dice.choice((1, 2, 3))
    return Image.fromarray(np.clip(np.asarray(picture, np.int16) + noise * strength, 0, 255).astype(np.uint8))


@cache
def _noise() -> np.ndarray:
    """Twice as wide and high as a picture, so that each takes another part of it: int16."""
    values = np.random.default_rng(0).normal(0, 2.2, (2 * SIDE, 2 * SIDE, 3))
    rounded: np.ndarray = values.round().astype(np.int16)
    return rounded


# Things


def _draw_place(canvas: Image.Image, place: Place, dice: random.Random) -> None:
    """Draws one thing, or several of a kind from left to right."""
    count, one = place.thing.count, place.width / (1 + (place.thing.count - 1) * place.spacing)
    for number in range(count):
        x = place.x + (number - (count - 1) / 2) * one * place.spacing
        jitter = (dice.uniform(-0.012, 0.012), dice.uniform(0.92, 1.06)) if count > 1 else (0.0, 1.0)
        _draw_thing(canvas, place, x, place.y + jitter[0], place.height * jitter[1], dice)


def _draw_thing(canvas: Image.Image, place: Place, x: float, y: float, height: float, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    body = _vary(PAINTS[place.thing.color or DRAWN_WITHOUT_COLOR], dice)
    own = {"body": body, "shade": _shade(body, 0.68), "tint": _mix(body, (255, 255, 255), 0.35)}
    scale, side = height * CANVAS, -1 if place.mirrored else 1
    for stroke in strokes(place.thing.kind, place.look):
        color = own.get(stroke[1]) or PAINTS[stroke[1]]
        moved = _move(stroke, x * CANVAS, y * CANVAS, scale, side)
        _paint(pen, moved, color, OUTLINE if stroke[1] in own else None)
        if stroke[1] == "body" and place.thing.pattern:
            _paint_pattern(canvas, moved, place.thing.pattern, body, scale)


def _move(stroke: Stroke, x: float, y: float, scale: float, side: int) -> Stroke:
    """The stroke in the canvas's pixels, boxes with left and top first. Mirrored if `side` is -1."""
    shape, paint, numbers = stroke
    widths: tuple[float, ...] = ()
    if shape in ("line", "arc"):
        widths, numbers = (max(1.0, numbers[0] * scale),), numbers[1:]
    if shape in ("line", "poly"):
        points = [x + side * n * scale if not i % 2 else y - n * scale for i, n in enumerate(numbers)]
        return shape, paint, (*widths, *points)
    left, bottom, right, top, *more = numbers
    across = sorted((x + side * left * scale, x + side * right * scale))
    down = sorted((y - top * scale, y - bottom * scale))
    if shape == "round":
        more = [more[0] * scale]
    elif more and side < 0:
        more = [180 - more[1], 180 - more[0]]
    return shape, paint, (*widths, across[0], down[0], across[1], down[1], *more)


def _paint(pen: Pen, stroke: Stroke, color: RGB | int, outline: RGB | None = None) -> None:
    shape, _, numbers = stroke
    if shape == "oval":
        pen.ellipse(numbers, color, outline)
    elif shape == "box":
        pen.rectangle(numbers, color, outline)
    elif shape == "frame":
        pen.rectangle(numbers, outline=color, width=4)
    elif shape == "round":
        smaller = min(numbers[2] - numbers[0], numbers[3] - numbers[1])
        pen.rounded_rectangle(numbers[:4], min(numbers[4], smaller / 2 - 2) if smaller > 6 else 0, color, outline)
    elif shape == "poly":
        pen.polygon(numbers, color, outline)
    elif shape == "line":
        pen.line(numbers[1:], color, width=round(numbers[0]), joint="curve")
    elif shape == "arc":
        pen.arc(numbers[1:5], numbers[5], numbers[6], color, width=round(numbers[0]))
    else:
        pen.pieslice(numbers[:4], numbers[4], numbers[5], color, outline)


def _paint_pattern(canvas: Image.Image, stroke: Stroke, pattern: str, body: RGB, scale: float) -> None:
    """Paints stripes or dots over a stroke, and nowhere else."""
    mask = Image.new("L", canvas.size)
    _paint(ImageDraw.Draw(mask), stroke, 255)
    if box := mask.getbbox():
        period = max(6, round(scale * 0.17 / 2) * 2)
        mask = ImageChops.multiply(mask.crop(box), _pattern(pattern, period).crop(box))
        canvas.paste((70, 60, 84) if sum(body) > 480 else (250, 244, 226), box, mask)


@lru_cache(maxsize=64)
def _pattern(pattern: str, period: int) -> Image.Image:
    """A mask of the whole canvas, 255 where the pattern's second color is."""
    rows, columns = np.mgrid[:CANVAS, :CANVAS]
    if pattern == "striped":
        second = (rows + columns // 3) % period < 0.45 * period
    else:
        shifted = columns + (rows // period % 2) * (period // 2)
        second = (rows % period - period / 2) ** 2 + (shifted % period - period / 2) ** 2 < (0.32 * period) ** 2
    return Image.fromarray((second * 255).astype(np.uint8))


# What is behind


def _draw_background(canvas: Image.Image, scene: Scene, dice: random.Random) -> None:
    above, below = (dice.choice(colors) for colors in COLORS_BEHIND[scene.place])
    above, below = _vary(above, dice), _vary(below, dice)
    horizon = round(CANVAS * dice.uniform(0.44, 0.58))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle([0, 0, CANVAS, horizon], fill=above)
    pen.rectangle([0, horizon, CANVAS, CANVAS], fill=below)
    if scene.place not in INDOORS:
        _draw_sky(pen, scene.light, above, dice)
    details = {
        "park": _draw_park,
        "beach": _draw_beach,
        "street": _draw_street,
        "snow": _draw_snow,
        "desert": _draw_desert,
        "kitchen": _draw_kitchen,
        "bedroom": _draw_bedroom,
        "library": _draw_library,
        "cellar": _draw_cellar,
    }
    details[scene.place](canvas, horizon, above, below, dice)


def _draw_sky(pen: Pen, light: str, sky: RGB, dice: random.Random) -> None:
    x, y = dice.uniform(0.08, 0.92) * CANVAS, dice.uniform(0.07, 0.16) * CANVAS
    if light == "night":
        _disc(pen, x, y, 21, (255, 255, 240))
        _disc(pen, x + 9, y - 5, 18, sky)
        return
    if light == "day" and dice.random() < 0.7:
        _disc(pen, x, y, 22, (255, 226, 96))
    for _ in range(dice.randrange(3)):
        cloud = _mix(sky, (255, 255, 255), 0.75) if light == "day" else _shade(sky, 0.8)
        left, top = dice.uniform(0, 0.85) * CANVAS, dice.uniform(0.05, 0.28) * CANVAS
        for step, radius in enumerate((12, 19, 13)):
            _disc(pen, left + 19 * step, top, radius, cloud)


def _draw_park(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    for _ in range(dice.randrange(3, 8)):
        x, radius = dice.uniform(0, CANVAS), dice.uniform(12, 30)
        pen.pieslice(
            [x - 1.6 * radius, horizon - radius, x + 1.6 * radius, horizon + radius], 180, 360, _shade(below, 0.78)
        )
    if dice.random() < 0.6:
        bend, foot = dice.uniform(0.2, 0.8) * CANVAS, dice.uniform(0.1, 0.9) * CANVAS
        pen.polygon(
            [(bend - 9, horizon), (bend + 9, horizon), (foot + 80, CANVAS), (foot - 80, CANVAS)], (208, 192, 154)
        )
    _texture(canvas, (0, horizon), "tufts", _shade(below, 0.8), dice)


def _draw_beach(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    shore = horizon + round(CANVAS * dice.uniform(0.07, 0.14))
    sea = _vary((54, 152, 192), dice)
    pen.rectangle([0, horizon, CANVAS, shore], fill=sea)
    for _ in range(12):
        x, y = dice.uniform(-20, CANVAS), dice.uniform(horizon + 4, shore - 4)
        pen.line([x, y, x + dice.uniform(14, 40), y], fill=_mix(sea, (255, 255, 255), 0.5), width=2)
    for x in range(-14, CANVAS, 36):
        pen.ellipse([x, shore - 7, x + 40, shore + 8], fill=(242, 250, 254))
    _texture(canvas, (0, shore + 8), "grains", _shade(below, 0.82), dice)


def _draw_street(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    x = -dice.uniform(0, 40)
    while x < CANVAS:
        width, height = dice.uniform(40, 80), dice.uniform(40, 126)
        wall = _shade((172, 164, 172), dice.uniform(0.75, 1.05))
        pen.rectangle([x, horizon - height, x + width - 3, horizon], fill=wall)
        for top in range(int(horizon - height) + 9, horizon - 15, 24):
            for left in range(int(x) + 7, int(x + width) - 15, 19):
                pen.rectangle([left, top, left + 8, top + 11], fill=_shade(wall, 0.8))
        x += width
    pen.rectangle([0, horizon, CANVAS, horizon + 13], fill=(198, 194, 190))
    line = round(CANVAS * dice.uniform(0.7, 0.95))
    for left in range(dice.randrange(-60, 0), CANVAS, 70):
        pen.rectangle([left, line, left + 36, line + 6], fill=(236, 236, 230))
    _texture(canvas, (0, horizon + 13), "grains", _shade(below, 0.85), dice)


def _draw_snow(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    for _ in range(dice.randrange(1, 5)):
        x, half, height = dice.uniform(0, CANVAS), dice.uniform(46, 114), dice.uniform(34, 100)
        pen.polygon([(x - half, horizon), (x, horizon - height), (x + half, horizon)], fill=_shade(above, 0.78))
        cap = [
            (x - half * 0.3, horizon - height * 0.7),
            (x, horizon - height),
            (x + half * 0.3, horizon - height * 0.7),
        ]
        pen.polygon(cap, fill=(248, 250, 254))
    for _ in range(dice.randrange(3, 9)):
        x, y, half = dice.uniform(0, CANVAS), dice.uniform(horizon + 14, CANVAS), dice.uniform(20, 60)
        pen.ellipse([x - half, y, x + half, y + dice.uniform(4, 11)], fill=_shade(below, 0.93))


def _draw_desert(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    for _ in range(dice.randrange(1, 4)):
        x, half, height = dice.uniform(0, CANVAS), dice.uniform(27, 74), dice.uniform(20, 66)
        mesa = [
            (x - half, horizon),
            (x - 0.7 * half, horizon - height),
            (x + 0.7 * half, horizon - height),
            (x + half, horizon),
        ]
        pen.polygon(mesa, fill=_shade(below, 0.74))
    for _ in range(dice.randrange(4, 9)):
        x, y, half = dice.uniform(0, CANVAS), dice.uniform(horizon + 7, CANVAS), dice.uniform(40, 100)
        pen.arc([x - half, y, x + half, y + 24], 190, 350, fill=_shade(below, 0.86), width=3)
    _texture(canvas, (0, horizon), "grains", _shade(below, 0.88), dice)


def _draw_kitchen(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    _texture(canvas, (0, 0), "tiles", _shade(above, 0.86), dice, bottom=horizon)
    _texture(canvas, (0, horizon), "chessboard", _shade(below, 0.78), dice)
    _draw_skirting(canvas, horizon, _shade(above, 0.7))


def _draw_bedroom(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    _texture(
        canvas, (0, 0), dice.choice(("wallpaper", "dots")), _mix(above, (255, 255, 255), 0.5), dice, bottom=horizon
    )
    _texture(canvas, (0, horizon), "planks", _shade(below, 0.82), dice)
    if dice.random() < 0.5:
        pen, left = ImageDraw.Draw(canvas), dice.uniform(0.05, 0.7) * CANVAS
        pen.rectangle([left, 27, left + 80, 107], fill=(190, 220, 240), outline=(250, 250, 250), width=6)
        pen.line([left + 40, 27, left + 40, 107], fill=(250, 250, 250), width=5)
    _draw_skirting(canvas, horizon, (246, 242, 236))


def _draw_library(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    spines = [_mix(above, PAINTS[name], 0.35) for name in ("red", "green", "blue", "tan", "gray", "gold")]
    height = dice.randrange(44, 60)
    for shelf in range(dice.randrange(5, 27), horizon, height):
        x = 0.0
        while x < CANVAS:
            width, tall = dice.uniform(8, 17), dice.uniform(0.6, 0.86) * height
            pen.rectangle([x, shelf + height - tall, x + width - 2, shelf + height - 5], fill=dice.choice(spines))
            x += width
        pen.rectangle([0, shelf + height - 5, CANVAS, shelf + height], fill=_shade(above, 0.75))
    pen.rectangle([0, horizon, CANVAS, CANVAS], fill=below)
    _texture(canvas, (0, horizon), "dots", _shade(below, 0.85), dice)


def _draw_cellar(canvas: Image.Image, horizon: int, above: RGB, below: RGB, dice: random.Random) -> None:
    _texture(canvas, (0, 0), "bricks", _shade(above, 0.76), dice, bottom=horizon)
    _texture(canvas, (0, horizon), "grains", _shade(below, 0.8), dice)


def _draw_skirting(canvas: Image.Image, horizon: int, color: RGB) -> None:
    ImageDraw.Draw(canvas).rectangle([0, horizon - 7, CANVAS, horizon + 1], fill=color)


def _draw_litter(pen: Pen, dice: random.Random) -> None:
    """Leaves, stones and scraps, which have no name and are nothing to mention."""
    for _ in range(dice.choice((0, 3, 6, 10))):
        x, y, size = dice.uniform(0, CANVAS), dice.uniform(0.62, 1.0) * CANVAS, dice.uniform(3, 7)
        color: RGB = (dice.randrange(60, 240), dice.randrange(60, 220), dice.randrange(50, 200))
        points = [(x + dice.uniform(-1, 1) * size * 1.5, y + dice.uniform(-0.7, 0.7) * size) for _ in range(4)]
        pen.polygon(points, fill=color)


def _draw_rain(pen: Pen, dice: random.Random) -> None:
    for _ in range(70):
        x, y = dice.uniform(-20, CANVAS), dice.uniform(-20, CANVAS)
        pen.line([x, y, x - 7, y + 23], fill=(206, 218, 234), width=2)


def _texture(
    canvas: Image.Image, corner: tuple[int, int], name: str, color: RGB, dice: random.Random, bottom: int = CANVAS
) -> None:
    """Paints a texture in a color from a corner to the canvas's right edge and the bottom."""
    box = (*corner, CANVAS, bottom)
    left, top = dice.randrange(CANVAS // 2), dice.randrange(CANVAS // 2)
    mask = _texture_mask(name, dice.choice((0.8, 1.0, 1.3)))
    canvas.paste(color, box, mask.crop((left, top, left + box[2] - box[0], top + box[3] - box[1])))


@cache
def _texture_mask(name: str, scale: float) -> Image.Image:
    """A mask larger than the canvas, of which each picture takes another part."""
    side = CANVAS + CANVAS // 2
    rows, columns = (axis / scale for axis in np.mgrid[:side, :side])
    if name in ("tufts", "grains"):
        return _scattered(name, side, scale)
    masks = {
        "tiles": (rows % 32 < 3) | (columns % 32 < 3),
        "chessboard": (rows // 24 + columns // 40) % 2 == 0,
        "wallpaper": columns % 30 < 14,
        "dots": (rows % 24 - 12) ** 2 + ((columns + rows // 24 % 2 * 12) % 24 - 12) ** 2 < 18,
        "planks": (rows % 23 < 2) | ((columns + rows // 23 * 51) % 127 < 2),
        "bricks": (rows % 20 < 3) | ((columns + rows // 20 % 2 * 21) % 42 < 3),
    }
    return Image.fromarray((masks[name] * 255).astype(np.uint8))


def _scattered(name: str, side: int, scale: float) -> Image.Image:
    mask, dice = Image.new("L", (side, side)), random.Random(name)
    pen = ImageDraw.Draw(mask)
    for _ in range(round(1400 / scale)):
        x, y, size = dice.uniform(0, side), dice.uniform(0, side), scale * dice.uniform(1.5, 3)
        if name == "tufts":
            pen.line([x - size, y - 3 * size, x, y, x + size, y - 3 * size], fill=200, width=2)
        else:
            pen.ellipse([x, y, x + size, y + size], fill=200)
    return mask


# Small helpers


def _disc(pen: Pen, x: float, y: float, radius: float, color: RGB) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)


def _vary(color: RGB, dice: random.Random) -> RGB:
    """Nearly the same color, as no two red things are of the same red."""
    red, green, blue = (min(255, max(0, channel + dice.randrange(-14, 15))) for channel in color)
    return red, green, blue


def _shade(color: RGB, light: float) -> RGB:
    red, green, blue = (min(255, round(channel * light)) for channel in color)
    return red, green, blue


def _mix(color: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (round((1 - share) * own + share * its) for own, its in zip(color, other, strict=True))
    return red, green, blue
