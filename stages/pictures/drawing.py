"""Paints a scene of the demo's little world as a 128 x 128 picture.

Everything is drawn three times too large and reduced at the end, which smooths the edges. Positions and sizes are in
pixels of that larger canvas; a thing stands with the middle of its foot at `(x, y)` and is `size` high.
"""

import random

from PIL import Image, ImageDraw

from stages.pictures.scenes import Scene

SIDE = 128
OVERSAMPLING = 3
CANVAS = SIDE * OVERSAMPLING

RGB = tuple[int, int, int]
PALETTE: dict[str, RGB] = {
    "red": (214, 45, 45),
    "blue": (45, 90, 214),
    "green": (30, 150, 75),
    "yellow": (245, 205, 40),
    "brown": (140, 85, 40),
    "black": (35, 35, 40),
    "white": (248, 248, 248),
}
OUTLINE: RGB = (50, 45, 55)
SKIN: RGB = (232, 184, 140)
HAIR: RGB = (95, 55, 30)
TYRE: RGB = (30, 30, 35)
GLASS: RGB = (180, 215, 235)

SKIES: dict[str, RGB] = {"sun": (150, 208, 250), "rain": (160, 168, 180), "night": (28, 34, 74)}
GROUNDS: dict[str, RGB] = {
    "park": (112, 184, 92),
    "beach": (238, 214, 160),
    "street": (128, 128, 134),
    "snow": (238, 243, 250),
    "field": (222, 190, 92),
}

Pen = ImageDraw.ImageDraw


def draw(scene: Scene, seed: int) -> Image.Image:
    """The picture of a scene: RGB, 128 x 128. The seed settles positions, sizes and other things nobody mentions."""
    dice = random.Random(f"drawing {seed}")
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(canvas)
    _draw_background(pen, scene, dice)
    _draw_third(pen, scene, random.Random(f"third {seed}"))
    _draw_things(pen, scene, dice)
    if scene.weather == "night":
        canvas = Image.blend(canvas, Image.new("RGB", canvas.size, (10, 14, 50)), 0.25)
    if scene.weather == "rain":
        _draw_rain(ImageDraw.Draw(canvas), dice)
    picture = canvas.reduce(OVERSAMPLING)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if dice.random() < 0.5 else picture


# The background


def _draw_background(pen: Pen, scene: Scene, dice: random.Random) -> None:
    night = scene.weather == "night"
    horizon = round(CANVAS * dice.uniform(0.42, 0.52))
    pen.rectangle([0, 0, CANVAS, CANVAS], fill=SKIES[scene.weather])
    _draw_sky(pen, scene.weather, dice)
    ground = GROUNDS[scene.place]
    pen.rectangle([0, horizon, CANVAS, CANVAS], fill=_shade(ground, 0.6) if night else ground)
    details = {
        "park": _draw_park,
        "beach": _draw_beach,
        "street": _draw_street,
        "snow": _draw_snow,
        "field": _draw_field,
    }
    details[scene.place](pen, horizon, 0.6 if night else 1.0, dice)


def _draw_sky(pen: Pen, weather: str, dice: random.Random) -> None:
    x, y = dice.uniform(0.08, 0.92) * CANVAS, dice.uniform(0.08, 0.16) * CANVAS
    if weather == "sun":
        _disc(pen, x, y, 26, (255, 222, 80))
    elif weather == "night":
        _disc(pen, x, y, 24, (240, 238, 215))
        _disc(pen, x + 10, y - 6, 20, SKIES["night"])
        for _ in range(14):
            _disc(pen, dice.uniform(0, CANVAS), dice.uniform(0, 0.38) * CANVAS, 2.5, (240, 240, 220))
    for _ in range(dice.choice((1, 2)) if weather != "night" else 0):
        cloud = (250, 252, 255) if weather == "sun" else (120, 128, 142)
        left, top = dice.uniform(0, 0.85) * CANVAS, dice.uniform(0.05, 0.25) * CANVAS
        for step, radius in enumerate((14, 20, 15)):
            _disc(pen, left + 20 * step, top, radius, cloud)


def _draw_park(pen: Pen, horizon: int, light: float, dice: random.Random) -> None:
    for _ in range(4):
        _disc(pen, dice.uniform(0, CANVAS), horizon, dice.uniform(14, 24), _shade((84, 150, 78), light))
    bend = dice.uniform(0.3, 0.7) * CANVAS
    path = [(bend - 12, horizon), (bend + 12, horizon), (bend + 90, CANVAS), (bend - 90, CANVAS)]
    pen.polygon(path, fill=_shade((206, 190, 150), light))
    for _ in range(8):
        _disc(pen, dice.uniform(0, CANVAS), dice.uniform(horizon + 30, CANVAS), 3, _shade((250, 240, 250), light))


def _draw_beach(pen: Pen, horizon: int, light: float, dice: random.Random) -> None:
    shore = horizon + round(CANVAS * dice.uniform(0.1, 0.16))
    pen.rectangle([0, horizon, CANVAS, shore], fill=_shade((50, 150, 190), light))
    for x in range(-20, CANVAS, 40):
        pen.ellipse([x, shore - 9, x + 44, shore + 9], fill=_shade((240, 250, 255), light))
    for _ in range(6):
        _disc(pen, dice.uniform(0, CANVAS), dice.uniform(shore + 30, CANVAS), 4, _shade((214, 170, 120), light))


def _draw_street(pen: Pen, horizon: int, light: float, dice: random.Random) -> None:
    x = -dice.uniform(0, 40)
    while x < CANVAS:
        width, height = dice.uniform(40, 70), dice.uniform(50, 110)
        gray = _shade((168, 160, 170), light * dice.uniform(0.8, 1.0))
        pen.rectangle([x, horizon - height, x + width - 4, horizon], fill=gray)
        for row in range(int(height // 28)):
            top = horizon - height + 10 + 28 * row
            pen.rectangle([x + 10, top, x + 20, top + 12], fill=(236, 222, 150) if light < 1 else GLASS)
        x += width
    pen.rectangle([0, horizon, CANVAS, horizon + 16], fill=_shade((196, 192, 188), light))
    line = round(CANVAS * 0.94)
    for x in range(-10, CANVAS, 70):
        pen.rectangle([x, line, x + 36, line + 8], fill=_shade((240, 240, 240), light))


def _draw_snow(pen: Pen, horizon: int, light: float, dice: random.Random) -> None:
    for _ in range(3):
        x, half, height = dice.uniform(0, CANVAS), dice.uniform(50, 100), dice.uniform(40, 80)
        peak = horizon - height
        pen.polygon([(x - half, horizon), (x, peak), (x + half, horizon)], fill=_shade((140, 160, 190), light))
        cap = [(x - half * 0.3, peak + height * 0.3), (x, peak), (x + half * 0.3, peak + height * 0.3)]
        pen.polygon(cap, fill=_shade((245, 248, 252), light))
    for _ in range(5):
        x, y, half = dice.uniform(0, CANVAS), dice.uniform(horizon + 30, CANVAS), dice.uniform(20, 50)
        pen.ellipse([x - half, y, x + half, y + 8], fill=_shade((214, 224, 238), light))


def _draw_field(pen: Pen, horizon: int, light: float, dice: random.Random) -> None:
    centre = dice.uniform(0.3, 0.7) * CANVAS
    for row in range(-9, 10):
        furrow = [(centre + row * 24, horizon), (centre + row * 95, CANVAS)]
        pen.line(furrow, fill=_shade((190, 152, 60), light), width=5)
    for x in range(0, CANVAS, 48):
        pen.rectangle([x, horizon - 24, x + 7, horizon + 6], fill=_shade((120, 84, 50), light))
    for height in (18, 6):
        pen.rectangle([0, horizon - height, CANVAS, horizon - height + 5], fill=_shade((140, 98, 58), light))


def _draw_rain(pen: Pen, dice: random.Random) -> None:
    for _ in range(55):
        x, y = dice.uniform(-20, CANVAS), dice.uniform(-20, CANVAS)
        pen.line([x, y, x - 7, y + 24], fill=(205, 218, 235), width=3)


# Where the things go


def _draw_third(pen: Pen, scene: Scene, dice: random.Random) -> None:
    """The thing in the background, if there is one, at either side and farther away than the others."""
    for thing in scene.things[2:]:
        x = CANVAS * dice.choice((dice.uniform(0.1, 0.16), dice.uniform(0.84, 0.9)))
        _draw_thing(pen, thing.kind, PALETTE.get(thing.color, OUTLINE), x, CANVAS * dice.uniform(0.58, 0.64), 0.72)


def _draw_things(pen: Pen, scene: Scene, dice: random.Random) -> None:
    foot = CANVAS * dice.uniform(0.84, 0.93)
    scale = dice.uniform(0.92, 1.12)
    first, color = scene.things[0].kind, PALETTE.get(scene.things[0].color, OUTLINE)
    if len(scene.things) == 1:
        _draw_thing(pen, first, color, CANVAS * dice.uniform(0.32, 0.68), foot, scale)
        return
    second, other_color = scene.things[1].kind, PALETTE.get(scene.things[1].color, OUTLINE)
    middle = CANVAS * dice.uniform(0.46, 0.54)
    if scene.relation == "rides":
        _draw_rider(pen, first, color, second, other_color, (middle, foot), scale)
    elif scene.relation == "holds":
        _draw_holder(pen, first, color, second, other_color, (middle, foot), scale)
    elif scene.relation in ("under", "in_front_of"):
        _draw_thing(pen, second, other_color, middle + dice.uniform(-20, 20), foot - 26, scale * 1.2)
        _draw_thing(pen, first, color, middle + dice.uniform(-70, -30), foot + 8, scale * 0.92)
    else:
        gap = 78 if scene.relation == "owns" else 96
        left, right = middle - gap + dice.uniform(-10, 4), middle + gap + dice.uniform(-4, 10)
        if scene.relation == "owns":
            hand, collar = (left + 28, foot - 66 * scale), (right - 30, foot - 42 * scale)
            pen.line([hand, collar], fill=OUTLINE, width=4)
        _draw_thing(pen, first, color, left, foot + dice.uniform(-12, 0), scale)
        _draw_thing(pen, second, other_color, right, foot + dice.uniform(-12, 0), scale)


HEIGHTS = {
    "man": 190,
    "woman": 180,
    "child": 120,
    "dog": 84,
    "cat": 76,
    "horse": 150,
    "car": 96,
    "bus": 140,
    "bicycle": 96,
    "house": 190,
    "tree": 230,
}


def _draw_thing(pen: Pen, kind: str, color: RGB, x: float, y: float, scale: float) -> None:
    painters = {
        "man": _draw_man,
        "woman": _draw_woman,
        "child": _draw_child,
        "dog": _draw_dog,
        "cat": _draw_cat,
        "horse": _draw_horse,
        "car": _draw_car,
        "bus": _draw_bus,
        "bicycle": _draw_bicycle,
        "house": _draw_house,
        "tree": _draw_tree,
    }
    painters[kind](pen, x, y, HEIGHTS[kind] * scale, color)


def _draw_rider(
    pen: Pen, person: str, color: RGB, mount: str, mount_color: RGB, foot: tuple[float, float], scale: float
) -> None:
    x, y = foot
    _draw_thing(pen, mount, mount_color, x, y, scale * 1.1)
    saddle = y - (92 if mount == "horse" else 40) * scale
    _draw_thing(pen, person, color, x - 14 * scale, saddle, scale * (0.72 if person != "child" else 0.9))


def _draw_holder(
    pen: Pen, person: str, color: RGB, held: str, held_color: RGB, foot: tuple[float, float], scale: float
) -> None:
    x, y = foot
    _draw_thing(pen, person, color, x, y, scale)
    height = HEIGHTS[person] * scale
    hand_x, hand_y = x + 0.2 * height, y - 0.52 * height
    if held == "umbrella":
        top = y - 1.02 * height
        pen.line([hand_x, hand_y, hand_x, top - 40], fill=OUTLINE, width=6)
        pen.pieslice(
            [hand_x - 92, top - 62, hand_x + 92, top + 70], 180, 360, fill=held_color, outline=OUTLINE, width=3
        )
    else:
        top = y - 1.25 * height
        pen.line([hand_x, hand_y, hand_x + 36, top + 30], fill=OUTLINE, width=3)
        pen.ellipse([hand_x + 4, top - 44, hand_x + 68, top + 36], fill=held_color, outline=OUTLINE, width=3)


# People


def _draw_man(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    _draw_legs(pen, x, y, size, 0.36)
    pen.rounded_rectangle(_box(x, y, size, -0.16, 0.8, 0.16, 0.34), size * 0.05, fill=color, outline=OUTLINE, width=3)
    _draw_arms(pen, x, y, size, color)
    _disc(pen, x, y - size * 0.89, size * 0.095, SKIN)
    pen.pieslice(_box(x, y, size, -0.1, 1.0, 0.1, 0.8), 180, 360, fill=OUTLINE)


def _draw_woman(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    pen.rounded_rectangle(_box(x, y, size, -0.13, 1.0, 0.13, 0.7), size * 0.1, fill=HAIR)
    _draw_legs(pen, x, y, size, 0.25)
    skirt = [(x - size * 0.09, y - size * 0.78), (x + size * 0.09, y - size * 0.78)]
    skirt += [(x + size * 0.25, y - size * 0.2), (x - size * 0.25, y - size * 0.2)]
    pen.polygon(skirt, fill=color, outline=OUTLINE, width=3)
    _draw_arms(pen, x, y, size, color)
    _disc(pen, x, y - size * 0.87, size * 0.085, SKIN)


def _draw_child(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    _draw_legs(pen, x, y, size, 0.28)
    pen.rounded_rectangle(_box(x, y, size, -0.2, 0.66, 0.2, 0.24), size * 0.08, fill=color, outline=OUTLINE, width=3)
    _draw_arms(pen, x, y, size, color)
    _disc(pen, x, y - size * 0.82, size * 0.17, SKIN)
    pen.pieslice(_box(x, y, size, -0.18, 1.02, 0.18, 0.66), 180, 360, fill=(190, 120, 50))


def _draw_legs(pen: Pen, x: float, y: float, size: float, hip: float) -> None:
    for side in (-1, 1):
        leg = _box(x + side * size * 0.075, y, size, -0.055, hip, 0.055, 0.0)
        pen.rectangle(leg, fill=(62, 66, 98))


def _draw_arms(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    for side in (-1, 1):
        shoulder, hand = (x + side * size * 0.12, y - size * 0.7), (x + side * size * 0.2, y - size * 0.48)
        pen.line([shoulder, hand], fill=color, width=round(size * 0.09))
        _disc(pen, *hand, size * 0.045, SKIN)


# Animals


def _draw_dog(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    _draw_four_legs(pen, x, y, size, color, 0.5, 0.4)
    pen.line([x + size * 0.5, y - size * 0.6, x + size * 0.85, y - size * 1.0], fill=color, width=round(size * 0.14))
    pen.ellipse(_box(x, y, size, -0.65, 0.8, 0.65, 0.28), fill=color, outline=OUTLINE, width=3)
    pen.ellipse(_box(x, y, size, -0.95, 1.1, -0.38, 0.58), fill=color, outline=OUTLINE, width=3)
    pen.ellipse(_box(x, y, size, -1.15, 0.85, -0.75, 0.6), fill=color, outline=OUTLINE, width=3)
    _disc(pen, x - size * 1.1, y - size * 0.76, size * 0.07, TYRE)
    pen.ellipse(_box(x, y, size, -0.58, 1.1, -0.36, 0.55), fill=_shade(color, 0.6), outline=OUTLINE, width=2)


def _draw_cat(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    pen.arc(_box(x, y, size, 0.2, 1.1, 0.95, 0.0), 270, 90, fill=color, width=round(size * 0.13))
    pen.ellipse(_box(x, y, size, -0.35, 0.75, 0.5, 0.0), fill=color, outline=OUTLINE, width=3)
    for side in (-1, 1):
        tip = x - size * 0.15 + side * size * 0.28
        ear = [
            (tip, y - size * 1.3),
            (tip - side * size * 0.3, y - size * 1.0),
            (tip + side * size * 0.02, y - size * 0.85),
        ]
        pen.polygon(ear, fill=color, outline=OUTLINE, width=2)
    pen.ellipse(_box(x, y, size, -0.5, 1.12, 0.2, 0.55), fill=color, outline=OUTLINE, width=3)
    for side in (-1, 1):
        _disc(pen, x - size * 0.15 + side * size * 0.15, y - size * 0.88, size * 0.07, (110, 190, 70))


def _draw_horse(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    mane = _shade(color, 0.55)
    _draw_four_legs(pen, x, y, size, color, 0.42, 0.46)
    pen.line([x + size * 0.5, y - size * 0.62, x + size * 0.68, y - size * 0.25], fill=mane, width=round(size * 0.1))
    pen.ellipse(_box(x, y, size, -0.55, 0.75, 0.55, 0.35), fill=color, outline=OUTLINE, width=3)
    neck = [(x - size * 0.5, y - size * 0.5), (x - size * 0.2, y - size * 0.65)]
    neck += [(x - size * 0.5, y - size * 1.08), (x - size * 0.72, y - size * 0.95)]
    pen.polygon(neck, fill=color, outline=OUTLINE, width=3)
    pen.line([neck[1], neck[2]], fill=mane, width=round(size * 0.09))
    muzzle = [(x - size * 0.48, y - size * 1.08), (x - size * 0.45, y - size * 0.9)]
    muzzle += [(x - size * 0.88, y - size * 0.74), (x - size * 0.95, y - size * 0.86)]
    pen.polygon(muzzle, fill=color, outline=OUTLINE, width=3)


def _draw_four_legs(pen: Pen, x: float, y: float, size: float, color: RGB, spread: float, top: float) -> None:
    for along in (-spread, -spread * 0.6, spread * 0.6, spread):
        leg = _box(x + along * size, y, size, -0.06, top, 0.06, 0.0)
        pen.rectangle(leg, fill=color, outline=OUTLINE, width=2)


# Vehicles


def _draw_car(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    cabin = [(x - size * 0.6, y - size * 0.55), (x - size * 0.35, y - size)]
    cabin += [(x + size * 0.35, y - size), (x + size * 0.65, y - size * 0.55)]
    pen.polygon(cabin, fill=color, outline=OUTLINE, width=3)
    for left, right in ((-0.42, -0.05), (0.05, 0.45)):
        pen.rectangle(_box(x, y, size, left, 0.9, right, 0.58), fill=GLASS)
    pen.rounded_rectangle(_box(x, y, size, -1.0, 0.6, 1.0, 0.16), size * 0.12, fill=color, outline=OUTLINE, width=3)
    for along in (-0.58, 0.58):
        _draw_wheel(pen, x + along * size, y - size * 0.18, size * 0.2)


def _draw_bus(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    pen.rounded_rectangle(_box(x, y, size, -0.78, 1.0, 0.78, 0.14), size * 0.07, fill=color, outline=OUTLINE, width=3)
    for left in (-0.66, -0.32, 0.02, 0.36):
        pen.rectangle(_box(x, y, size, left, 0.88, left + 0.26, 0.58), fill=GLASS)
    for along in (-0.45, 0.45):
        _draw_wheel(pen, x + along * size, y - size * 0.14, size * 0.14)


def _draw_bicycle(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    wheel = size * 0.3
    for along in (-0.55, 0.55):
        centre = x + along * size
        pen.ellipse([centre - wheel, y - 2 * wheel, centre + wheel, y], outline=TYRE, width=6)
    back, front, pedal = (x + size * 0.55, y - wheel), (x - size * 0.55, y - wheel), (x, y - wheel * 0.9)
    seat, bar = (x + size * 0.18, y - size * 0.72), (x - size * 0.38, y - size * 0.78)
    pen.line([back, seat, pedal, back], fill=color, width=9)
    pen.line([seat, bar, pedal], fill=color, width=9)
    pen.line([front, bar, (bar[0] - size * 0.02, y - size * 0.98)], fill=color, width=9)
    pen.line([bar[0] - 14, y - size * 0.98, bar[0] + 12, y - size * 0.98], fill=TYRE, width=7)
    pen.line([seat[0] - 14, y - size * 0.78, seat[0] + 16, y - size * 0.78], fill=TYRE, width=9)


def _draw_wheel(pen: Pen, x: float, y: float, radius: float) -> None:
    _disc(pen, x, y, radius, TYRE)
    _disc(pen, x, y, radius * 0.45, (190, 190, 195))


# What does not move


def _draw_house(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    pen.rectangle(_box(x, y, size, -0.42, 0.62, 0.42, 0.0), fill=color, outline=OUTLINE, width=3)
    roof = [(x - size * 0.54, y - size * 0.6), (x, y - size), (x + size * 0.54, y - size * 0.6)]
    pen.polygon(roof, fill=(112, 72, 62), outline=OUTLINE, width=3)
    pen.rectangle(_box(x, y, size, -0.3, 0.5, -0.1, 0.3), fill=GLASS, outline=OUTLINE, width=3)
    pen.rectangle(_box(x, y, size, 0.1, 0.5, 0.3, 0.3), fill=GLASS, outline=OUTLINE, width=3)
    pen.rectangle(_box(x, y, size, 0.08, 0.24, 0.26, 0.0), fill=(96, 62, 40))


def _draw_tree(pen: Pen, x: float, y: float, size: float, color: RGB) -> None:
    pen.rectangle(_box(x, y, size, -0.05, 0.5, 0.05, 0.0), fill=(104, 70, 42))
    for along, up, radius in ((-0.2, 0.62, 0.2), (0.2, 0.62, 0.2), (0.0, 0.78, 0.22), (0.0, 0.56, 0.2)):
        _disc(pen, x + along * size, y - up * size, radius * size, (44, 118, 58))


# Small helpers


def _disc(pen: Pen, x: float, y: float, radius: float, color: RGB) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)


def _box(x: float, y: float, size: float, left: float, top: float, right: float, bottom: float) -> list[float]:
    """A rectangle in shares of `size`: left and right of the middle, top and bottom above the foot."""
    return [x + left * size, y - top * size, x + right * size, y - bottom * size]


def _shade(color: RGB, light: float) -> RGB:
    red, green, blue = (min(255, round(channel * light)) for channel in color)
    return red, green, blue
