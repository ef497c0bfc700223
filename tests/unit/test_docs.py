"""What the documents say is true."""

import re
from pathlib import Path

import pytest

from tracking.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_the_readme_lists_every_setting_as_the_code_has_it() -> None:
    from waymark.doctor import markdown_table, settings_rows  # noqa: PLC0415 -- slow to import

    assert markdown_table(settings_rows(load_settings())) in (ROOT / "README.md").read_text(), (
        "generate it anew: waymark doctor --markdown"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_named_in_the_documents_exist(page: Path) -> None:
    known = {f"WAYMARK_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"WAYMARK_[A-Z_]+[A-Z]", page.read_text()))
    assert {name for name in named - known if not name.startswith("WAYMARK_TEST_")} == set()
