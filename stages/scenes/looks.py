"""How each kind of thing in a drawn scene may look: a few strokes in a small notation, read by `drawing`.

A look is a row of strokes, painted in their order: a shape, a paint and numbers. A thing is 1 high and stands with the
middle of its foot at (0, 0), y points up. The paint `body` is the thing's own color and takes its pattern, `shade` and
`tint` are that color darker and lighter; every other paint is the same for all.

    oval, box, frame   paint left bottom right top         (a frame is a box that is not filled)
    round              paint left bottom right top radius
    poly               paint x y x y x y ...
    line               paint width x y x y ...
    arc                paint width left bottom right top from to     (degrees, clockwise from three o'clock)
    pie                paint left bottom right top from to
"""

MAN = "round body -.17 .36 .17 .8 .06; oval skin -.1 .79 .1 1"
WOMAN = "round hair -.13 .66 .13 1 .1; poly body -.08 .8 .08 .8 .24 .22 -.24 .22; oval skin -.09 .79 .09 .98"
BOY = "round body -.2 .26 .2 .66 .06; oval skin -.17 .63 .17 .97"
GIRL = "poly body -.1 .66 .1 .66 .28 .2 -.28 .2; oval skin -.17 .62 .17 .96"
DOG = "round body -.62 .34 .5 .72 .18"
CAT_FACE = "oval grass -.24 .72 -.16 .82; oval grass .0 .72 .08 .82"
HORSE_LEGS = "box body -.46 0 -.36 .5; box shade -.32 0 -.23 .5; box shade .22 0 .31 .5; box body .35 0 .45 .5"
COW_LEGS = "box body -.55 0 -.43 .4; box shade -.38 0 -.28 .4; box shade .22 0 .32 .4; box body .38 0 .5 .4"
WHEELS = "oval tyre -.8 0 -.36 .4; oval metal -.68 .11 -.48 .29; oval tyre .36 0 .8 .4; oval metal .48 .11 .68 .29"
SPOKES = "arc tyre .05 -.86 0 -.24 .6 0 360; arc tyre .05 .24 0 .86 .6 0 360"
SOFA_FEET = "box dark -.95 0 -.85 .1; box dark .85 0 .95 .1"

LOOKS: dict[str, tuple[str, ...]] = {
    # People
    "man": (
        "box navy -.14 0 -.02 .4; box navy .02 0 .14 .4; line body .09 -.15 .74 -.23 .46;"
        "line body .09 .15 .74 .23 .46;"
        f"oval skin -.27 .4 -.19 .48; oval skin .19 .4 .27 .48; {MAN}; pie dark -.11 .8 .11 1.01 180 360",
        "line navy .12 -.06 .4 -.17 .03; line navy .12 .06 .4 .15 .03; line body .09 -.14 .74 -.26 .98;"
        f"line body .09 .15 .74 .24 .47; oval skin -.31 .96 -.22 1.05; {MAN}; box wood -.16 .93 .16 .97;"
        "box wood -.1 .96 .1 1.05",
        f"box dark -.14 0 -.02 .4; box dark .02 0 .14 .4; {MAN}; line shade .09 -.15 .74 -.2 .56 .06 .54;"
        "line shade .09 .15 .74 .2 .56 -.06 .54; pie hair -.11 .8 .11 1.01 180 360; oval hair -.08 .76 .08 .86",
    ),
    "woman": (
        "box skin -.1 0 -.04 .25; box skin .04 0 .1 .25; line skin .06 -.08 .74 -.22 .5;"
        f"line skin .06 .08 .74 .22 .5; {WOMAN};"
        "pie hair -.11 .8 .11 1.01 180 360",
        "line skin .07 -.05 .25 -.13 .02; line skin .07 .05 .25 .12 .02; line skin .06 -.08 .76 -.24 1;"
        f"line skin .06 .08 .74 .22 .5; {WOMAN}; oval hair -.07 .94 .07 1.06; pie hair -.11 .8 .11 1.01 180 360",
        "box dark -.1 0 -.03 .3; box dark .03 0 .1 .3; line body .08 -.1 .74 -.2 .5; line body .08 .1 .74 .2 .5;"
        f"{WOMAN};"
        "oval gold -.2 .9 .2 .96; pie gold -.12 .84 .12 1.05 180 360",
    ),
    "boy": (
        "box skin -.16 0 -.04 .3; box skin .04 0 .16 .3; box navy -.19 .14 .19 .32; line body .1 -.18 .6 -.3 .36;"
        f"line body .1 .18 .6 .3 .36; {BOY}; pie hair -.18 .66 .18 1.02 180 360",
        "line navy .12 -.08 .3 -.2 .03; line navy .12 .08 .3 .18 .03; line body .1 -.18 .6 -.34 .86;"
        "line body .1 .18 .6 .34 .86;"
        f"{BOY}; pie cherry -.19 .68 .19 1.02 180 360; box cherry -.32 .82 0 .87",
    ),
    "girl": (
        "box skin -.13 0 -.05 .22; box skin .05 0 .13 .22; line skin .08 -.1 .6 -.28 .36;"
        "line skin .08 .1 .6 .28 .36;"
        f"oval hair -.32 .56 -.14 .84; oval hair .14 .56 .32 .84; {GIRL}; pie hair -.18 .66 .18 1.02 180 360",
        "line white .08 -.08 .22 -.18 .02; line white .08 .08 .22 .16 .02; line skin .08 -.1 .6 -.32 .84;"
        f"line skin .08 .1 .6 .28 .36; round gold -.2 .48 .2 .98 .12; {GIRL}; pie gold -.18 .66 .18 1.02 180 360",
    ),
    # Animals
    "dog": (
        "box body -.56 0 -.42 .5; box shade -.34 0 -.24 .5; box shade .18 0 .28 .5; box body .34 0 .48 .5;"
        f"line body .12 .46 .62 .78 .98; {DOG}; oval body -.92 .52 -.4 1.02; round body -1.12 .56 -.72 .8 .1;"
        "oval dark -1.16 .68 -1.04 .8; oval shade -.58 .5 -.38 .98; oval dark -.78 .8 -.7 .88",
        "poly body -.3 .1 .4 0 .42 .4 -.1 .78; box body -.36 0 -.22 .5; oval body -.1 0 .5 .42;"
        "line body .1 .44 .1 .72 .3;"
        "oval body -.5 .55 .05 1; round body -.7 .58 -.32 .8 .08; oval dark -.75 .68 -.63 .79;"
        "oval dark -.36 .8 -.28 .88;"
        "poly shade -.12 .92 .1 1.02 .08 .7",
    ),
    "cat": (
        "arc body .12 -.05 .02 .66 1 270 90; oval body -.35 0 .45 .68; poly body -.46 .8 -.44 1.14 -.22 .96;"
        f"poly body .28 .8 .26 1.14 .04 .96; oval body -.5 .5 .32 1.04; {CAT_FACE}; oval cherry -.12 .64 -.04 .7",
        "box body -.4 0 -.3 .4; box shade -.24 0 -.15 .4; box shade .2 0 .3 .4; box body .36 0 .46 .4;"
        "line body .1 .46 .5 .7 .6 .72 1.1; round body -.46 .28 .52 .62 .16; poly body -.78 .8 -.78 1.08 -.58 .94;"
        "poly body -.26 .8 -.28 1.08 -.48 .94; oval body -.84 .5 -.22 .98; oval grass -.72 .72 -.63 .82;"
        "oval grass -.45 .72 -.36 .82",
    ),
    "horse": (
        f"{HORSE_LEGS}; line dark .09 .46 .62 .62 .22; oval body -.52 .36 .52 .72;"
        "poly body -.5 .5 -.2 .62 -.46 1 -.66 .92;"
        "line dark .08 -.22 .66 -.46 .98; poly body -.44 1.02 -.4 .86 -.78 .7 -.84 .8;"
        "poly body -.5 .98 -.44 1.08 -.42 .98;"
        "oval dark -.62 .86 -.57 .91",
        "line body .1 -.4 .45 -.62 .22 -.56 .05; line shade .09 -.3 .45 -.2 0;"
        "line shade .09 .28 .45 .5 .2 .44 .02;"
        "line body .1 .4 .45 .6 .05; line white .09 .46 .6 .8 .5; oval body -.52 .36 .52 .72;"
        "poly body -.52 .5 -.22 .62 -.5 1 -.72 .9;"
        "line white .08 -.24 .66 -.5 .98; poly body -.48 1.02 -.44 .86 -.84 .74 -.88 .84;"
        "oval dark -.66 .88 -.61 .93",
    ),
    "cow": (
        f"{COW_LEGS}; line dark .04 .6 .7 .7 .25; round body -.62 .34 .62 .84 .1; oval pink -.02 .28 .3 .42;"
        "round body -.98 .52 -.56 .94 .1; round pink -1.04 .48 -.74 .66 .08; line white .06 -.92 .92 -.98 1.04;"
        "line white .06 -.66 .92 -.6 1.04; oval dark -.9 .76 -.83 .83",
        f"{COW_LEGS}; line dark .04 .6 .7 .74 .3; round body -.62 .34 .62 .84 .16; oval pink -.02 .28 .3 .42;"
        "round body -.98 .12 -.58 .52 .1; round pink -1.02 .04 -.74 .2 .06;"
        "poly body -.62 .7 -.3 .7 -.6 .3 -.8 .4;"
        "line white .06 -.94 .5 -1.02 .62; oval dark -.9 .34 -.83 .41",
    ),
    "sheep": (
        "box dark -.4 0 -.3 .35; box dark -.2 0 -.1 .35; box dark .16 0 .26 .35; box dark .34 0 .44 .35;"
        "oval body -.66 .3 -.2 .76; oval body -.4 .44 .1 .92; oval body 0 .44 .46 .92; oval body .24 .3 .68 .76;"
        "oval body -.4 .24 .4 .66;"
        "oval dark -.84 .5 -.5 .92; oval body -.74 .78 -.46 1; oval white -.78 .68 -.7 .76",
        "box wood -.4 0 -.3 .35; box wood .34 0 .44 .35; oval body -.62 .26 .62 .88; oval body -.5 .56 -.1 .96;"
        "oval body .1 .56 .5 .96;"
        "oval tan -.86 .44 -.48 .86; oval tan -.56 .66 -.36 .8; oval body -.8 .74 -.5 .98;"
        "oval dark -.78 .64 -.71 .71",
    ),
    "pig": (
        "box rose -.44 0 -.3 .35; box rose -.2 0 -.08 .35; box rose .18 0 .3 .35; box rose .36 0 .5 .35;"
        "oval pink -.66 .2 .66 .92;"
        "arc rose .06 .6 .5 .86 .8 90 30; oval pink -.98 .3 -.42 .9; poly rose -.8 .8 -.72 1 -.6 .84;"
        "oval rose -1.08 .42 -.8 .7;"
        "oval dark -1.02 .5 -.98 .6; oval dark -.92 .5 -.88 .6; oval dark -.78 .68 -.7 .76",
        "box rose -.42 0 -.28 .35; box rose .36 0 .5 .35; oval pink -.66 .14 .66 .84; oval pink -.96 .04 -.46 .6;"
        "oval rose -1.04 0 -.8 .26; poly rose -.62 .52 -.44 .78 -.4 .5; oval dark -.8 .34 -.72 .42;"
        "line rose .06 .62 .6 .8 .8",
    ),
    "elephant": (
        "box slate -.5 0 -.28 .5; box stone -.22 0 -.04 .5; box stone .16 0 .34 .5; box slate .36 0 .58 .5;"
        "oval slate -.6 .3 .66 .98;"
        "line slate .05 .62 .7 .76 .4; oval slate -.92 .48 -.4 1; line slate .14 -.82 .62 -.92 .3 -.88 .08;"
        "oval stone -.62 .46 -.3 .94;"
        "line white .06 -.78 .5 -.98 .42; oval dark -.8 .78 -.74 .84",
        "box slate -.5 0 -.28 .5; box stone -.22 0 -.04 .5; box stone .16 0 .34 .5; box slate .36 0 .58 .5;"
        "oval slate -.6 .28 .66 .9;"
        "line slate .05 .62 .6 .7 .3; oval slate -.9 .44 -.4 .96; line slate .14 -.84 .68 -1 .8 -1.04 1.04;"
        "oval stone -.6 .42 -.28 .9;"
        "oval dark -.78 .74 -.72 .8",
    ),
    "bird": (
        "line orange .05 -.02 .3 -.06 0; line orange .05 .12 .3 .12 0; poly body .3 .5 .95 .62 .9 .36;"
        "oval body -.45 .22 .5 .8;"
        "oval body -.66 .5 -.16 1; poly orange -.62 .8 -.62 .68 -.9 .72; oval dark -.5 .76 -.42 .86;"
        "poly shade -.1 .6 .62 .5 .2 .34",
        "poly shade -.1 .5 .5 1.05 .62 .5; poly body .4 .5 1 .66 1 .34; oval body -.55 .28 .55 .68;"
        "poly body -.2 .5 .1 1.1 .3 .5;"
        "oval body -.82 .4 -.38 .82; poly orange -.78 .66 -.78 .54 -1.04 .58; oval dark -.68 .62 -.6 .72",
    ),
    "duck": (
        "line orange .06 -.1 .2 -.14 0; line orange .06 .14 .2 .12 0; poly body .3 .5 .85 .72 .5 .2;"
        "oval body -.6 .1 .62 .62;"
        "poly body -.6 .4 -.3 .4 -.3 .8 -.56 .8; oval body -.72 .58 -.24 1; round orange -1 .66 -.66 .78 .05;"
        "oval dark -.56 .8 -.48 .88;"
        "oval shade -.16 .24 .46 .5",
        "poly body .3 .4 .85 .62 .5 .1; oval body -.62 0 .62 .56; poly body -.6 .3 -.3 .3 -.32 .8 -.56 .8;"
        "oval grass -.72 .56 -.24 1;"
        "box white -.6 .5 -.3 .57; round gold -1 .64 -.66 .76 .05; oval white -.56 .8 -.48 .88;"
        "poly shade -.1 .44 .6 .5 .2 .16",
    ),
    "rabbit": (
        "oval white .42 .1 .66 .34; oval body -.4 0 .55 .56; oval body -.46 0 0 .2; oval body -.66 .3 -.1 .74;"
        "oval body -.5 .62 -.34 1.06;"
        "oval body -.3 .62 -.14 1.06; oval pink -.45 .68 -.39 .98; oval dark -.52 .52 -.44 .62;"
        "oval pink -.7 .44 -.6 .52",
        "oval body -.32 0 .32 .56; oval white -.16 .06 .16 .46; oval body -.34 0 -.04 .14;"
        "oval body .04 0 .34 .14; oval body -.3 .4 .3 .8;"
        "oval body -.24 .68 -.06 1.1; oval body .06 .68 .24 1.1; oval pink -.19 .74 -.11 1.02;"
        "oval pink .11 .74 .19 1.02;"
        "oval dark -.16 .58 -.08 .68; oval dark .08 .58 .16 .68; oval rose -.05 .5 .05 .56",
    ),
    # Vehicles
    "car": (
        "poly body -.7 .55 -.42 .98 .38 .98 .72 .55; poly glass -.56 .58 -.36 .9 -.04 .9 -.04 .58;"
        "poly glass .04 .58 .04 .9 .34 .9 .56 .58;"
        f"round body -1.1 .18 1.1 .6 .12; {WHEELS}; oval gold -1.1 .38 -1 .5",
        "round body -.9 .5 .8 1 .14; box glass -.78 .6 -.3 .9; box glass -.2 .6 .24 .9; box glass .32 .6 .68 .9;"
        f"round body -1.06 .16 1 .64 .1; {WHEELS}; oval gold -1.06 .38 -.96 .5",
        "poly body -.2 .56 .1 .92 .5 .92 .8 .56; poly glass -.08 .6 .14 .86 .44 .86 .64 .6;"
        "poly body -1.2 .2 -1.1 .5 -.2 .62 1.1 .62 1.16 .2;"
        f"{WHEELS}; oval gold -1.14 .38 -1.02 .48",
    ),
    "bus": (
        "round body -.95 .12 .95 1 .08; box glass -.86 .54 -.54 .86; box glass -.46 .54 -.14 .86;"
        "box glass -.06 .54 .26 .86;"
        "box glass .34 .54 .66 .86; box shade .72 .2 .88 .86; oval tyre -.66 0 -.36 .3; oval tyre .3 0 .6 .3;"
        "box white -.95 .36 .66 .42",
        "round body -.8 .12 .8 1 .08; box glass -.7 .7 -.34 .92; box glass -.26 .7 .1 .92;"
        "box glass .18 .7 .54 .92; box glass -.7 .36 -.34 .56;"
        "box glass -.26 .36 .1 .56; box dark .3 .18 .5 .58; box shade -.8 .6 .8 .65; oval tyre -.6 0 -.34 .26;"
        "oval tyre .4 0 .66 .26",
    ),
    "truck": (
        "box body -.3 .24 1.1 1; box dark -.98 .16 1.1 .26; poly shade -1 .24 -1 .54 -.78 .86 -.38 .86 -.38 .24;"
        "poly glass -.92 .56 -.76 .78 -.52 .78 -.52 .56;"
        "oval tyre -.84 0 -.5 .34; oval tyre .1 0 .44 .34; oval tyre .62 0 .96 .34",
        "poly wood -.3 .34 1.1 .34 1.1 .56 -.3 .56; oval stone -.1 .44 .4 .78; oval stone .3 .44 .9 .84;"
        "box dark -.98 .18 1.1 .36;"
        "round body -1.02 .2 -.36 .96 .08; box glass -.94 .56 -.6 .86; oval tyre -.86 0 -.5 .36;"
        "oval tyre .56 0 .92 .36",
    ),
    "bicycle": (
        f"{SPOKES}; line body .07 .55 .3 .18 .78 -.05 .28 .55 .3; line body .07 .18 .78 -.38 .8 -.05 .28;"
        "line body .07 -.55 .3 -.36 .98;"
        "line tyre .07 -.52 .98 -.24 1; line tyre .09 .08 .84 .32 .84",
        f"{SPOKES}; line body .07 .55 .3 .2 .74 -.02 .28 .55 .3; line body .07 -.02 .28 -.4 .7;"
        "line body .07 -.55 .3 -.38 .96;"
        "box wood -.78 .7 -.46 .92; line tyre .07 -.46 1 -.22 .96; line tyre .09 .1 .8 .36 .8",
    ),
    "boat": (
        "line wood .04 0 .2 0 1; poly white -.04 .34 -.04 .98 -.5 .38; poly body .06 .34 .06 .96 .62 .34;"
        "poly wood -.7 .28 .7 .28 .46 0 -.5 0",
        "box white -.36 .4 .3 .74; box glass -.28 .5 -.1 .66; box glass 0 .5 .18 .66; box cherry .06 .74 .24 1;"
        "poly body -.86 .46 .86 .42 .6 0 -.62 0;"
        "line white .05 -.74 .3 .72 .28",
    ),
    "train": (
        "box dark -1.2 .1 1.2 .2; round body -1.2 .18 .1 .66 .08; box shade .1 .18 .74 1; box glass .2 .6 .62 .88;"
        "box dark -1.02 .64 -.84 .98;"
        "oval gold -.6 .6 -.36 .8; box wood .8 .2 1.3 .6; oval tyre -1.1 0 -.78 .32; oval tyre -.68 0 -.36 .32;"
        "oval tyre -.22 0 .1 .32; oval tyre .28 0 .66 .38;"
        "oval tyre .86 0 1.14 .28",
        "poly body -1.3 .12 -1.24 .5 -.9 .96 1.3 .96 1.3 .12; poly glass -1.14 .54 -.88 .86 -.7 .86 -.7 .54;"
        "box glass -.5 .54 -.2 .82; box glass -.1 .54 .2 .82;"
        "box glass .3 .54 .6 .82; box glass .7 .54 1 .82; box white -1.24 .34 1.3 .42; box dark -1.2 0 -.7 .12;"
        "box dark .6 0 1.1 .12",
    ),
    "airplane": (
        "poly body .7 .5 1.1 1 1.25 1 1.15 .45; round body -1.2 .3 1.2 .68 .18;"
        "poly shade -.2 .44 .5 -.02 .7 -.02 .4 .46; oval glass -1.08 .46 -.82 .62;"
        "oval glass -.6 .48 -.5 .6; oval glass -.34 .48 -.24 .6; oval glass -.08 .48 .02 .6;"
        "oval glass .18 .48 .28 .6; oval glass .44 .48 .54 .6",
        "line metal .05 -1.06 .2 -1.06 .96; poly body .5 .62 1.1 .6 1.2 .9 1 .9; oval body -1 .22 .8 .78;"
        "box shade -.5 .8 .3 .94; box shade -.5 .2 .3 .32;"
        "line dark .04 -.3 .3 -.3 .84; line dark .04 .14 .3 .14 .84; oval tyre -.6 0 -.36 .22",
    ),
    # Furniture
    "table": (
        "box shade -.82 0 -.7 .85; box shade .7 0 .82 .85; box body -1 .82 1 1",
        "box shade -.09 .1 .09 .9; poly shade -.4 0 .4 0 .09 .2 -.09 .2; oval body -.9 .78 .9 1",
    ),
    "chair": (
        "box body -.34 .4 -.24 1; box body -.34 .84 .3 1; box body .2 .4 .3 1; box body -.34 .6 .3 .72;"
        "box body -.4 .36 .4 .5; box shade -.38 0 -.28 .38;"
        "box shade .28 0 .38 .38; box shade -.26 .1 -.2 .38; box shade .2 .1 .26 .38",
        "poly body .2 .4 .34 1 .46 1 .34 .4; box body -.4 .38 .36 .5; line shade .08 -.34 .38 -.36 0;"
        "line shade .08 .3 .38 .4 0",
    ),
    "sofa": (
        f"{SOFA_FEET}; round body -.9 .3 .9 1 .12; round tint -.7 .3 -.02 .56 .08; round tint .02 .3 .7 .56 .08;"
        "round shade -1.06 .1 -.7 .66 .12;"
        "round shade .7 .1 1.06 .66 .12; box shade -.72 .1 .72 .32",
        f"{SOFA_FEET}; oval body -1 .2 1 1.05; round tint -.8 .24 .8 .52 .1; round shade -1.1 .1 -.78 .76 .16;"
        "round shade .78 .1 1.1 .76 .16; box shade -.8 .1 .8 .3",
    ),
    "bed": (
        "box wood -1.2 0 -1.06 1; box wood 1.06 0 1.2 .66; box white -1.06 .2 1.06 .5;"
        "round white -1.02 .44 -.56 .7 .1; round body -.5 .16 1.06 .62 .08;"
        "box shade -.5 .5 -.36 .62",
        "round shade -1.2 0 -1 1.05 .08; box white -1.06 .16 1.2 .42; round body -.62 .12 1.2 .58 .1;"
        "round tint -1 .4 -.66 .72 .08; box dark -1.1 0 -1 .16; box dark 1.08 0 1.18 .16",
    ),
    "lamp": (
        "box metal -.03 .06 .03 .7; oval metal -.22 0 .22 .1; poly body -.16 1 .16 1 .3 .62 -.3 .62",
        "oval wood -.2 0 .2 .5; box metal -.04 .44 .04 .66; round body -.34 .6 .34 1 .08",
    ),
    "bench": (
        "box shade -.9 0 -.78 .5; box shade .78 0 .9 .5; box body -1.1 .44 1.1 .58; box body -1.1 .66 1.1 .78;"
        "box body -1.1 .86 1.1 .98; box shade -.84 .5 -.76 1; box shade .76 .5 .84 1",
        "box dark -.9 0 -.8 .6; box dark .8 0 .9 .6; box body -1.1 .56 1.1 .76; line dark .06 -.84 .7 -.96 1;"
        "line dark .06 .84 .7 .96 1; box body -1.14 .86 1.14 1",
    ),
    # Small things
    "apple": (
        "oval body -.46 0 .2 .86; oval body -.2 0 .46 .86; line wood .08 0 .72 .06 1;poly leaf .06 .86 .4 1.02 .3 .82",
        "oval body -.46 0 .46 .88; line wood .08 0 .8 -.08 1.02; oval tint -.3 .5 -.12 .72",
    ),
    "banana": (
        "poly gold -.9 .9 -.8 .5 -.4 .14 .2 0 .7 .16 .95 .5 .8 .56 .4 .46 -.1 .5 -.5 .74 -.76 1;"
        "line wood .12 -.86 .9 -.84 1.04",
        "poly gold -.9 .1 -.74 .5 -.36 .82 .2 .96 .7 .8 .94 .46 .78 .42 .4 .54 -.1 .5 -.5 .3 -.72 0;"
        "line wood .12 -.84 .1 -.9 -.04",
    ),
    "cup": (
        "arc body .12 .2 .26 .72 .8 270 90; poly body -.46 1 .46 1 .36 0 -.36 0; oval shade -.46 .9 .46 1.08",
        "arc body .1 .26 .3 .8 .84 270 90; round body -.46 .04 .46 .9 .16; box shade -.56 0 .56 .08;"
        "oval dark -.44 .82 .44 .98",
    ),
    "bottle": (
        "box body -.09 .6 .09 .94; round body -.22 0 .22 .7 .1; box white -.22 .2 .22 .44; box dark -.1 .92 .1 1",
        "poly body -.08 .9 .08 .9 .12 .62 .26 .4 .26 0 -.26 0 -.26 .4 -.12 .62; box gold -.1 .86 .1 1;"
        "oval tint -.18 .1 -.1 .4",
    ),
    "ball": (
        "oval body -.5 0 .5 1; oval tint -.28 .58 -.04 .84",
        "oval body -.5 0 .5 1; arc white .08 -.9 .04 -.1 .96 300 60; arc white .08 .1 .04 .9 .96 120 240",
    ),
    "book": (
        "poly body -.6 .1 .5 0 .6 .9 -.5 1; poly white -.6 .1 .5 0 .5 -.08 -.6 .02; line gold .05 -.3 .72 .3 .66",
        "poly body -.9 0 .9 0 .9 .2 -.9 .2; poly white 0 .16 -.84 .3 -.84 .9 0 .72;"
        "poly white 0 .16 .84 .3 .84 .9 0 .72; line body .1 -.88 .2 -.88 .92; line body .1 .88 .2 .88 .92;"
        "line dark .05 0 .16 0 .72",
    ),
    "clock": (
        "oval body -.5 0 .5 1; oval white -.38 .12 .38 .88; line dark .07 0 .5 0 .8; line dark .07 0 .5 .22 .4",
        "line dark .08 -.3 .1 -.4 0; line dark .08 .3 .1 .4 0; oval gold -.46 .78 -.1 1.04;"
        "oval gold .1 .78 .46 1.04; oval body -.48 .02 .48 .94; oval white -.34 .16 .34 .8;"
        "line dark .07 0 .48 -.2 .6; line dark .07 0 .48 .02 .74",
    ),
    "umbrella": (
        "line wood .05 0 .04 0 .95; arc wood .05 -.16 0 0 .16 0 180; pie body -.66 .14 .66 1 180 360;"
        "line shade .03 0 1 0 .58; line shade .03 .02 1 .36 .58; line shade .03 -.02 1 -.36 .58",
        "line metal .04 0 0 0 1; poly body -.74 .56 -.5 .86 0 1 .5 .86 .74 .56;"
        "poly shade -.22 .56 -.16 .86 0 1 .16 .86 .22 .56",
    ),
    "balloon": (
        "line dark .02 0 .4 .04 .2 -.02 0; oval body -.32 .34 .32 1; poly body -.06 .3 .06 .3 0 .38;"
        "oval tint -.18 .7 -.04 .88",
        "line white .02 0 .4 -.05 .22 .03 0; poly body 0 .34 -.34 .7 -.3 .9 -.14 1 0 .9 .14 1 .3 .9 .34 .7",
    ),
    "kite": (
        "line dark .02 0 .34 .1 .2 -.06 .1 .04 0; poly body 0 1 .32 .7 0 .3 -.32 .7; line dark .02 0 1 0 .3;"
        "line dark .02 -.32 .7 .32 .7",
        "line dark .02 .1 .5 .2 .2 .1 0; poly body -.6 .5 0 1 .6 .5 0 .66; poly shade 0 .66 .1 .3 -.1 .3",
    ),
    "vase": (
        "poly body -.2 1 .2 1 .12 .8 .32 .5 .3 .2 .16 0 -.16 0 -.3 .2 -.32 .5 -.12 .8; oval shade -.2 .96 .2 1.04",
        "line leaf .04 0 .6 -.2 .9; line leaf .04 0 .6 .18 .94; oval cherry -.3 .82 -.12 1;"
        "oval gold .1 .86 .28 1.04; oval rose -.08 .86 .1 1.04; poly body -.24 .7 .24 .7 .18 0 -.18 0",
    ),
    "cake": (
        "oval metal -.7 0 .7 .14; box body -.56 .08 .56 .6; oval white -.56 .5 .56 .7; line rose .06 0 .64 0 .9;"
        "oval gold -.05 .86 .05 1",
        "box wood -.5 0 .5 .2; box body -.5 .2 .5 .36; box wood -.5 .36 .5 .52;"
        "poly body -.54 .5 -.5 .72 .5 .72 .54 .5; oval cherry -.12 .7 .12 .96",
    ),
    "suitcase": (
        "frame dark -.2 .8 .2 1; round body -.66 0 .66 .86 .08; box shade -.46 0 -.36 .86;"
        "box shade .36 0 .46 .86; box gold -.08 .66 .08 .76",
        "frame metal -.16 .76 .16 1.04; round body -.36 .06 .36 .82 .08; line shade .04 -.14 .12 -.14 .76;"
        "line shade .04 .14 .12 .14 .76; oval tyre -.3 0 -.16 .1; oval tyre .16 0 .3 .1",
    ),
    "hat": (
        "pie body -.52 -.6 .52 1.1 180 360; oval body -1 .06 1 .44; box dark -.52 .28 .52 .44;box body -.52 .4 .52 .5",
        "box body -.44 .2 .44 1; box shade -.44 .24 .44 .42; oval body -.8 0 .8 .26",
    ),
    "guitar": (
        "box wood -.05 .4 .05 .92; box dark -.08 .88 .08 1; oval body -.26 0 .26 .4; oval body -.2 .26 .2 .56;"
        "oval dark -.08 .26 .08 .4; line white .02 0 .14 0 .9",
        "line wood .09 -.02 .3 .34 .94; line dark .12 .33 .9 .37 1; oval body -.36 0 .16 .38;"
        "oval body -.22 .2 .22 .52; oval dark -.1 .24 .06 .38",
    ),
    # What does not move
    "tree": (
        "box wood -.05 0 .05 .5; oval leaf -.38 .34 .02 .74; oval leaf -.02 .34 .38 .74; oval leaf -.26 .5 .26 1;"
        "oval forest -.1 .5 .18 .72",
        "box wood -.05 0 .05 .3; poly forest -.34 .2 .34 .2 0 .62; poly forest -.28 .44 .28 .44 0 .82;"
        "poly forest -.2 .66 .2 .66 0 1",
        "line wood .05 0 0 .04 .4 -.02 .8; line leaf .05 -.02 .8 -.34 .62; line leaf .05 -.02 .8 .32 .62;"
        "line leaf .05 -.02 .8 -.26 .94; line leaf .05 -.02 .8 .26 .96; line forest .05 -.02 .8 .02 1;"
        "oval wood -.08 .7 .04 .8",
    ),
    "flower": (
        "line leaf .07 0 0 0 .6; oval leaf .02 .2 .26 .32; oval body -.3 .62 0 .88; oval body 0 .62 .3 .88;"
        "oval body -.15 .74 .15 1.02; oval body -.15 .48 .15 .76; oval gold -.1 .66 .1 .84",
        "line leaf .07 0 0 0 .6; poly leaf 0 .06 -.2 .5 -.06 .1; poly leaf 0 .06 .2 .46 .06 .1;"
        "poly body -.24 1 -.24 .6 0 .48 .24 .6 .24 1 .1 .8 0 1 -.1 .8",
    ),
    "house": (
        "box body -.44 0 .44 .62; poly brick -.56 .6 0 1 .56 .6; box glass -.32 .3 -.12 .5;"
        "box glass .12 .3 .32 .5; box wood -.08 0 .1 .26; box brick .22 .72 .34 .98",
        "box body -.3 0 .3 .74; poly slate -.38 .72 0 1 .38 .72; box glass -.2 .48 -.06 .64;"
        "box glass .06 .48 .2 .64; box glass -.2 .22 -.06 .38; box wood .04 0 .2 .3",
        "box body -.62 0 .62 .54; poly wood -.7 .52 -.5 .9 .5 .9 .7 .52; box glass -.5 .2 -.26 .42;"
        "box glass .26 .2 .5 .42; box dark -.12 0 .12 .38",
    ),
    "tent": (
        "poly body -.9 0 0 1 .9 0; poly dark -.26 0 0 .66 .26 0; line shade .04 0 1 0 .66",
        "pie body -.9 -.96 .9 .98 180 360; poly shade -.3 0 0 .74 .3 0; line dark .03 0 .98 0 .74",
    ),
    "mushroom": (
        "round cream -.16 0 .16 .6 .1; pie body -.5 .06 .5 1.02 180 360; oval white -.3 .64 -.14 .8;"
        "oval white 0 .76 .16 .92; oval white .2 .58 .34 .72",
        "poly cream -.2 0 .2 0 .1 .6 -.1 .6; poly body -.54 .5 -.3 .8 0 1 .3 .8 .54 .5;"
        "poly shade -.54 .5 .54 .5 .3 .42 -.3 .42",
    ),
    "cactus": (
        "round leaf -.12 0 .12 1 .12; line leaf .13 -.1 .4 -.34 .4 -.34 .72; line leaf .13 .1 .52 .34 .52 .34 .82;"
        "line forest .02 0 .04 0 .94",
        "poly brick -.28 .3 .28 .3 .2 0 -.2 0; oval leaf -.24 .24 .24 .9; oval leaf .1 .6 .36 .86;"
        "oval rose -.08 .84 .08 1; line forest .02 0 .3 0 .84",
    ),
    "snowman": (
        "oval snow -.36 0 .36 .5; oval snow -.26 .36 .26 .74; oval snow -.18 .62 .18 .92;"
        "box dark -.22 .86 .22 .9; box dark -.14 .88 .14 1; poly orange 0 .8 0 .74 -.26 .76;"
        "oval dark -.1 .8 -.05 .85; oval dark .05 .8 .1 .85; line wood .03 -.22 .56 -.5 .7;"
        "line wood .03 .22 .56 .5 .7",
        "oval snow -.4 0 .4 .6; oval snow -.26 .46 .26 .94; line cherry .09 -.22 .56 .22 .56;"
        "line cherry .08 .14 .56 .18 .36; poly orange 0 .78 0 .7 .28 .74; oval dark -.1 .78 -.04 .84;"
        "oval dark .06 .78 .12 .84; pie cherry -.24 .7 .24 1.04 180 360; oval white -.06 .98 .06 1.1",
    ),
    "streetlight": (
        "box dark -.03 0 .03 .86; poly gold -.09 .98 .09 .98 .05 .84 -.05 .84; oval dark -.1 0 .1 .06;"
        "poly dark -.11 .97 .11 .97 0 1.04",
        "line metal .04 0 0 0 .9 .06 .98 .26 .98; oval gold .18 .9 .36 .98; oval metal -.08 0 .08 .05",
    ),
}
