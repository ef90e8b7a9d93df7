"""Runs axe-core in a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

SOURCE = (Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js").read_text("utf-8")
RUN = """async selector => {
  const { violations } = await axe.run(selector, { resultTypes: ['violations'] });
  return violations.flatMap(rule =>
    rule.nodes.map(node => `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary}`)
  );
}"""


def findings(page: Page, selector: str) -> list[str]:
    """Return what axe-core finds in an element, as sentences."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(SOURCE)
    found: list[str] = page.evaluate(RUN, selector)
    return found
