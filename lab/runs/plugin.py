"""The pytest plugin of the suites: options, IOMMU modes, one board a session, one result an attempt.

``pytest suites --lg-env targets/virt-smmu.yaml --iommu translated,off`` is all that a labgrid user
needs. Without ``--lg-env`` (or with an environment that is no target of ours) the plugin does nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.base.errors import LabError, SharelabError
from lab.places.model import LeaseLostError
from lab.runs.beside import MARK, last
from lab.runs.record import ATTEMPT, params

EVERY_DECODER = "every_decoder"
EVERY_DRIVER = "every_driver"
NONE = "none"
"""What stands in a test's name where a decoder has nothing of a kind: its cell says why."""

if TYPE_CHECKING:  # heavy, and not needed by a pytest that has no board
    from lab.boards.facts import Decoder
    from lab.runs.session import Session


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options beside labgrid's own."""
    group = parser.getgroup("sharelab")
    group.addoption("--iommu", metavar="MODE,...", help="IOMMU modes to boot (default: the target's)")
    group.addoption("--lab-results", metavar="FILE", type=Path, help="write one JSON line per result to FILE")
    group.addoption(
        "--lab-snapshot",
        action=argparse.BooleanOptionalAction,
        help="virtual boards go on from saved boots where they can (default: as LAB_SNAPSHOT says, else no)",
    )
    group.addoption(
        "--lab-own",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="parts of one's own in the image, as lab run's options: kernel=Image, modules=DIR (repeat)",
    )
    group.addoption("--lab-run", metavar="ID", default="", help="identity of the run in the results")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Open the lab before labgrid reads its environment, and hand labgrid the one made for this session."""
    config.addinivalue_line(
        "markers",
        f"{EVERY_DECODER}(address_bits_below=N): run on each decoder of the board, not on the first only; "
        "with a number on each that has fewer address lines",
    )
    config.addinivalue_line(
        "markers",
        f"{EVERY_DRIVER}: run on one decoder of each driver and set of codecs, not on the first only",
    )
    config.addinivalue_line(
        "markers", f"{MARK}(argv...): the program that the test looks at runs beside others"
    )
    config.addinivalue_line("markers", "path(name): the sharing path that the test is about")
    carried = [getattr(plugin, "opened_session", None) for plugin in config.pluginmanager.get_plugins()]
    try:
        opened = next(filter(None, carried), None) or _open(config)
    except SharelabError as error:
        raise pytest.UsageError(str(error)) from None
    if opened is None:
        return
    from lab.runs import fixtures, session

    config.stash[session.SESSION] = opened
    config.pluginmanager.register(Hooks(opened), "sharelab-session")
    config.pluginmanager.register(fixtures, "sharelab-fixtures")


def _open(config: pytest.Config) -> Session | None:
    """A session for the target that ``--lg-env`` or LG_ENV names; None where that is no target of ours."""
    env = config.getoption("lg_env", None) or os.environ.get("LG_ENV")
    if env is None:
        return None
    from lab.boards import load_target
    from lab.imaging.own.given import Own
    from lab.runs import session
    from lab.runs.lab import Lab, place_from_environment
    from lab.runs.request import parse_modes

    if not session.is_target(Path(env)):
        return None
    target = load_target(Path(env))
    modes = parse_modes(config.option.iommu, target)
    parts = Own.from_words(config.option.lab_own).check()
    lab = Lab(target, place=place_from_environment(), snapshots=config.option.lab_snapshot, own=parts)
    config.add_cleanup(lab.close)
    if not config.option.collectonly:
        if lab.remote:
            from lab.runs.holding import own

            lab.take(lab.place, own(lab.place))
        lab.prepare()
        config.option.lg_env = str(lab.open())
        lab.boot_early(modes[0])
    return session.Session(lab, modes, run=config.option.lab_run, results=config.option.lab_results)


class Hooks:
    """What pytest calls while a session with a board runs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test in each IOMMU mode (session scope, so that a mode is booted once), on its decoders."""
        if "iommu_mode" in metafunc.fixturenames:
            metafunc.parametrize("iommu_mode", self._session.modes, ids=str, scope="session")
        if "decoder" in metafunc.fixturenames:
            decoders = _meant(metafunc.definition, self._session.target.decoders)
            from lab.runs import streams

            kinds = {"sized": streams.named, "raw": streams.raw_formats}
            kind = next((name for name in kinds if name in metafunc.fixturenames), None)
            if kind is None:
                metafunc.parametrize("decoder", decoders, ids=[one.name for one in decoders], indirect=True)
            else:  # each decoder has its own
                pairs = [(one, value) for one in decoders for value in kinds[kind](one) or [NONE]]
                names = [f"{one.name}-{value}" for one, value in pairs]
                through = ["decoder", *(["sized"] if kind == "sized" else [])]
                metafunc.parametrize(("decoder", kind), pairs, ids=names, indirect=through)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """What the lab broke is tried again (`record.RETRIES`); a path's name is good for ``-k``."""
        if mark := item.get_closest_marker("path"):
            item.extra_keyword_matches.update(mark.args)
        if retries := self._session.retries:
            item.add_marker(
                pytest.mark.flaky(reruns=retries, only_rerun=[LabError], rerun_except=[LeaseLostError])
            )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """What the target has not is no cell; tests of programs beside the others come last.

        A decoder that a test is not about, and a virtual machine where the target runs none.
        """
        alone = self._session.target.vmm is None
        wants = self._session.wants
        if others := [
            item for item in items if not (_is_about(item) and wants(item)) or (alone and _crosses(item))
        ]:
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if item not in others]
        last(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The cells are planned: from now on one without a result is missing."""
        if not session.config.option.collectonly or self._session.planning:
            self._session.plan(session.items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        """An attempt begins."""
        self._session.begin(item)
        with self._session.lab.interruptible():
            yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None]:
        """A lost lease breaks it off."""
        with self._session.lab.interruptible():
            yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """A test whose decoder its stream does not get into ends with that; its board is booted by now."""
        from lab.runs.undriven import note, why_not_taken, why_undriven

        decoder = params(pyfuncitem).get("decoder")
        if decoder is None or pyfuncitem.get_closest_marker(MARK):
            return None
        why = why_undriven(decoder) or why_not_taken(pyfuncitem.funcargs)
        if not why:
            return None
        note(pyfuncitem.stash[ATTEMPT], decoder, why)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        """A lost lease breaks it off."""
        with self._session.lab.interruptible():
            yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Each phase is noted; with the last one the attempt's result is written."""
        report = yield
        self._session.phase(item, call)
        return report


def _crosses(item: pytest.Item) -> bool:
    """Whether the test's sharing path goes through a virtual machine."""
    from lab.sharing import PATHS, Boundary

    mark = item.get_closest_marker("path")
    return mark is not None and PATHS[mark.args[0]].boundary is Boundary.VM


def _meant(test: pytest.Item, decoders: Sequence[Decoder]) -> Sequence[Decoder]:
    """Which of a board's decoders the test runs on."""
    if test.get_closest_marker(EVERY_DECODER):
        return decoders
    if test.get_closest_marker(EVERY_DRIVER):
        return list({(one.driver, one.coded): one for one in reversed(decoders)}.values())[::-1]
    return decoders[:1]


def _is_about(item: pytest.Item) -> bool:
    """Whether the item's decoder is one that its mark `every_decoder` asks for."""
    mark = item.get_closest_marker(EVERY_DECODER)
    below = mark.kwargs.get("address_bits_below") if mark is not None else None
    return below is None or params(item)["decoder"].address_bits < below
