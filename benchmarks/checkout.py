"""What is measured is this checkout, whatever else is installed: import this before eventbus."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
_ROOT = str(HERE.parent)

if _ROOT not in sys.path:
    sys.path.insert(1, _ROOT)
# The processes that are started inherit it.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
