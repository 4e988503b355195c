"""The stages of the pipeline, which DVC runs as `python stages STAGE` and people as `python -m stages.STAGE`.

Any Python can parse this file, so that one that is too old is told so in a sentence.
"""

from stages.setup import environment

environment.ensure()

from stages.setup import process  # noqa: E402, F401
