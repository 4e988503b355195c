"""What `pip install -e .` puts on the path: replaced, as it is imported, by the package in stages/captioner itself."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

package = Path(__file__).parents[1] / "stages" / "captioner"
spec = spec_from_file_location(__name__, package / "__init__.py", submodule_search_locations=[str(package)])
assert spec and spec.loader
sys.modules[__name__] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[__name__])
