"""What is set before the first product runs."""

import os
import subprocess
import sys

import pytest

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("own", "found"), [(None, "64"), ("7", "7")])
def test_compiled_products_are_few_unless_somebody_says_otherwise(own: str | None,
                                                                  found: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != NAME}
    said = subprocess.run(
        [sys.executable, "-c", f"import os, backbone.model; print(os.environ[{NAME!r}])"],
        env=environment if own is None else {**environment, NAME: own}, check=True,
        capture_output=True, text=True).stdout
    assert said.strip() == found
