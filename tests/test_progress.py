"""How long a run will take, on made-up clocks."""

from __future__ import annotations

import pytest

from custom.progress import Forecast, duration


def test_the_forecast_comes_once_after_the_first_minute() -> None:
    forecast = Forecast(total=10_000, started=0.0)
    assert forecast.lines(1.0, 100, learning=True) == []
    assert forecast.lines(59.0, 5_900, learning=True) == []
    # 100 steps/s: 61 s gone, 3,900 steps left
    assert forecast.lines(61.0, 6_100, learning=True) == [
        "the whole run will take about 2 min (100 steps/s)"
    ]
    assert forecast.lines(62.0, 6_200, learning=True) == []


def test_the_warm_up_does_not_make_it_look_fast() -> None:
    forecast = Forecast(total=100_000, started=0.0)
    [waiting] = forecast.lines(70.0, 70_000, learning=False)
    assert "once the agent learns" in waiting
    assert forecast.lines(70.5, 70_000, learning=False) == []
    assert forecast.lines(71.0, 70_001, learning=True) == []
    [line] = forecast.lines(91.0, 70_201, learning=True)  # 200 steps in 20 s
    assert "51 min (10 steps/s)" in line  # 91 s + 29,799 steps / 10 a second


def test_more_than_a_day_says_how_to_ask_for_less() -> None:
    forecast = Forecast(total=50_000_000, started=0.0)
    forecast.lines(0.0, 0, learning=True)
    whole, less = forecast.lines(100.0, 10_000, learning=True)
    assert "5 d 18 h" in whole  # 5e7 / 100 seconds
    assert "STEPS=8640000" in less


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
