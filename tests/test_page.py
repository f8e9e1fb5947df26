"""Pages: figures on dark paper, and what is trusted."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from stemdist.figures import new_figure
from stemdist.page.dark import INK, PAPER, darken
from stemdist.page.elements import Drawing, Page, Section


def drawn():
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o-", color="black", label="ink")
    axes.plot([0, 1], [1, 0], "s-", color="#0072B2", mfc="white", label="blue")
    axes.scatter([0, 1], [0, 1], c=[0.0, 1.0], cmap="viridis", edgecolors="0.5")
    axes.fill_between([0, 1], [0, 1], color="0.9")
    axes.pcolormesh([0, 1], [0, 1], [[0.0, 1.0], [1.0, 0.0]], cmap="viridis")
    axes.grid(color="0.92")
    axes.set_title("title")
    axes.legend()
    figure.draw_without_rendering()
    return figure, axes


def test_greys_are_mirrored_and_colours_stay():
    figure, axes = drawn()
    mapped = [item for item in axes.collections if item.get_array() is not None]
    before = [(item.get_facecolor().copy(), item.get_edgecolor().copy()) for item in mapped]
    darken(figure)
    figure.draw_without_rendering()
    ink, blue = axes.get_lines()
    assert to_rgb(figure.get_facecolor()) == pytest.approx((PAPER,) * 3)
    assert to_rgb(axes.get_facecolor()) == pytest.approx((PAPER,) * 3)
    for colour in (ink.get_color(), ink.get_markerfacecolor(), axes.title.get_color()):
        assert to_rgb(colour) == pytest.approx((INK,) * 3)
    assert to_rgb(blue.get_color()) == to_rgb("#0072B2")
    assert to_rgb(blue.get_markerfacecolor()) == pytest.approx((PAPER,) * 3)
    for text in (*axes.get_xticklabels(), *axes.get_legend().get_texts()):
        assert to_rgb(text.get_color()) == pytest.approx((INK,) * 3)
    for line in axes.get_xgridlines():
        assert max(to_rgb(line.get_color())) < 0.25
    (band,) = (item for item in axes.collections if item.get_array() is None)
    assert band.get_facecolor()[0, :3].max() < 0.25
    assert len(mapped) == 2
    for item, (face, edge) in zip(mapped, before, strict=True):
        np.testing.assert_array_equal(item.get_facecolor(), face)
        np.testing.assert_array_equal(item.get_edgecolor(), edge)


def test_what_draws_itself_is_written_as_it_is_and_described():
    parts = [Drawing(html="<div id='d'></div>", alt='a "plot"')]
    html = Page(title="<t>", lines=[], sections=[Section(title="s", parts=parts)]).html()
    assert "<div id='d'></div>" in html
    assert 'aria-label="a &#34;plot&#34;"' in html
    assert "<t>" not in html
    assert '<p class="verdict">' not in html
