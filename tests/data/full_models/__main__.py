"""python -m tests.data.full_models FOLDER"""

import sys
from pathlib import Path

from tests.data.full_models import main

main(Path(sys.argv[1]))
