"""What the pictures of a result say, as far as a program can tell."""

from matplotlib.figure import Figure

from iosim.model.stages import Stage
from iosim.results.pictures import COLOURS, _latency, _stages
from tests.support import scenario, simulate

ROWS = [(0, "W", 0, 8), (1_000_000, "R", 0, 8), (2_000_000, "R", 8, 8), (3_000_000, "F", 0, 0)]


def test_every_stage_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(Stage)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_legend_says_so_where_a_curve_has_no_place_on_the_axis() -> None:
    """Without write cache a flush takes no time, which a logarithmic axis does not have."""
    axes = Figure().subplots()
    _latency(simulate(scenario([{"cache": "directsync"}]), ROWS), axes)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:4] == [
        "reads (2)",
        "writes (1)",
        "flushes (1, all 0)",
        "all requests (4)",
    ]


def test_stages_that_nobody_was_in_have_no_bar() -> None:
    axes = Figure().subplots()
    result = simulate(scenario([{}]), ROWS)
    _stages(result, axes)
    table = result.requests
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        stage.label for stage in Stage if table[f"{stage.label}_ns"].any()
    ]
