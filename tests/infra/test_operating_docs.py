"""What docs/operating.md gives to type, held against the stack."""

import re
from typing import Any

import pytest

from tests.template import ROOT, Synthesize


def pairs(text: str) -> list[dict[str, str]]:
    """As the AWS command line reads `A=b,C=d A=e,C=f`."""
    return [dict(pair.split("=") for pair in entry.split(",")) for entry in text.split()]


@pytest.mark.scenario(59)
def test_a_library_table_that_is_made_by_hand_is_the_one_of_the_stack(template: Synthesize) -> None:
    prod = template("prod")
    library: Any = prod.referred(prod.services["downloader"].environment["LIBRARY_TABLE"])
    (typed,) = re.findall("^aws dynamodb create-table .*", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    options = dict(re.findall(r"--([a-z-]+) (.+?)(?= --|$)", typed))

    assert options["billing-mode"] == library["BillingMode"]
    assert pairs(options["attribute-definitions"]) == library["AttributeDefinitions"]
    assert pairs(options["key-schema"]) == library["KeySchema"]
