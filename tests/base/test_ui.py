"""What comes from elsewhere reaches the terminal as it is written, and steers nothing."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from lab.base import ui


@pytest.fixture
def screen(monkeypatch):
    file = io.StringIO()
    for console in (ui.out, ui.err):
        monkeypatch.setattr(console, "_file", file)  # undone, `file` would be this test's stdout for good
    return file


@pytest.mark.parametrize("text", ["[/x] [bold]name[/]", "power:on:2", "https://[::1]/"])
def test_a_text_is_printed_as_it_is(screen, text):
    ui.out.print(text)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(text)
    ui.out.print(table)
    with ui.task(text):
        pass
    assert screen.getvalue().splitlines() == [text, text]


def test_no_text_moves_the_cursor(screen):
    ui.out.print("a\x1b[2Jb\x9bc")
    assert screen.getvalue() == "a?[2Jb?c\n"


def test_a_word_on_a_raw_terminal_begins_at_its_left_edge(screen):
    ui.aside("gone\x1b[2J")
    assert screen.getvalue() == "\r\nlab: gone?[2J\r\n"
