"""Pages lead to each other: links have targets, and every page has a link."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say after #."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_lead_somewhere(pages):
    """Files and headings that a page links to are there."""
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_every_page_is_within_reach_of_the_readme(pages):
    """A page that nothing links to is not found."""
    linked = {ROOT / "README.md"}
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            linked.add((page.parent / target).resolve())
    assert set(pages) - linked == set()
