"""Who may do what: nobody anything without the token, nobody by way of another site's page."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.results.sample import run
from tests.web.served import TOKEN, Served, served

RUN = run([]).id


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


def ask(lab: Served, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
    host = urlsplit(lab.url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        names["Content-Type"] = "application/x-www-form-urlencoded"
    text = urlencode(body) if isinstance(body, dict) else body
    connection.request(method, path, text, names)  # type: ignore[arg-type]
    answer = connection.getresponse()
    answer.text = answer.read().decode(errors="replace")  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize(
    "path", ["/", "/runs", "/matrix", f"/runs/{RUN}", "/static/page.js", "/nothing", "/sign-in"]
)
def test_every_answer_has_the_policy(lab: Served, path: str) -> None:
    answer = ask(lab, "GET", path)
    policy = answer.getheader("content-security-policy") or ""
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert answer.getheader("x-content-type-options") == "nosniff"


@pytest.mark.parametrize("deed", ["reserve", "release", "power"])
def test_without_the_token_nothing_can_be_done(lab: Served, deed: str) -> None:
    path = f"/boards/rock5b/{deed}"
    assert ask(lab, "POST", path, {"action": "cycle"}, Origin=lab.url).status == 403
    wrong = "Bearer a token of a tesT"
    assert ask(lab, "POST", path, {"action": "cycle"}, Origin=lab.url, Authorization=wrong).status == 403
    assert ask(lab, "GET", path, Authorization=f"Bearer {TOKEN}").status == 405


def test_another_sites_form_is_refused(lab: Served) -> None:
    cookie = signed_in(lab)
    for origin in ("https://elsewhere.example", "null"):
        answer = ask(lab, "POST", "/boards/rock5b/reserve", {"for": "1h"}, Origin=origin, Cookie=cookie)
        assert answer.status == 403
    assert ask(lab, "POST", "/boards/rock5b/reserve", {"for": "1h"}, Cookie=cookie).status == 403
    assert '"acquired": null' in lab.lab.lab_says("boards", "--json", "name=rock5b")


def signed_in(lab: Served) -> str:
    answer = ask(lab, "POST", "/sign-in", {"name": "alice", "token": TOKEN}, Origin=lab.url)
    cookie = answer.getheader("set-cookie") or ""
    assert answer.status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    return cookie.partition(";")[0]


@pytest.mark.parametrize("who", [{"name": "alice", "token": "wrong"}, {"name": "a b", "token": TOKEN}, {}])
def test_a_wrong_token_or_name_signs_nobody_in(lab: Served, who: dict[str, str]) -> None:
    answer = ask(lab, "POST", "/sign-in", who, Origin=lab.url)
    assert answer.status == 403
    assert answer.getheader("set-cookie") is None


def test_signing_out_ends_the_session_on_the_server(lab: Served) -> None:
    cookie = signed_in(lab)
    assert "sign out" in ask(lab, "GET", "/", Cookie=cookie).text  # type: ignore[attr-defined]
    assert ask(lab, "POST", "/sign-out", {}, Origin=lab.url, Cookie=cookie).status == 303
    assert "sign out" not in ask(lab, "GET", "/", Cookie=cookie).text  # type: ignore[attr-defined]


def test_a_program_uses_the_token_itself(lab: Served) -> None:
    token = f"Bearer {TOKEN}"
    answer = ask(lab, "POST", "/boards/evk8mq/reserve", {"for": "30m"}, Authorization=token)
    assert answer.status == 200
    again = ask(lab, "POST", "/boards/evk8mq/reserve", {"for": "30m"}, Authorization=token)
    assert again.status == 409
    assert ask(lab, "POST", "/boards/evk8mq/release", {}, Authorization=token).status == 200


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/boards/nosuch/reserve", {"for": "1h"}),
        ("/boards/rock5b/reserve", {"for": "soon"}),
        ("/boards/rock5b/reserve", {"for": "99999h"}),
        ("/boards/rock5b/reserve", {"for": "0s"}),
        ("/boards/rock5b/release", {}),
        ("/boards/rock5b/power", {"action": "cycle"}),
    ],
)
def test_what_cannot_be_done_is_said(lab: Served, path: str, form: dict[str, str]) -> None:
    answer = ask(lab, "POST", path, form, Authorization=f"Bearer {TOKEN}")
    assert answer.status == 409
    assert "Traceback" not in answer.text  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/nosuch",
        "/runs/..%2f..%2fetc/",
        "/runs/..",
        f"/runs/{RUN}/cell",
        f"/runs/{RUN}/cell?target=x&iommu=off&test=y",
        f"/runs/{RUN}/cell?target=x&iommu=sideways&test=y",
        "/compare/x",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_what_is_not_there_is_not_found(lab: Served, path: str) -> None:
    answer = ask(lab, "GET", path)
    assert answer.status == 404
    assert "import" not in answer.text  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", ["names=nosuch", "by=colour", "iommu=sideways", "names=" + "a+" * 90])
def test_a_comparison_that_cannot_be_is_said(lab: Served, asked: str) -> None:
    answer = ask(lab, "GET", f"/compare?{asked}")
    assert answer.status == 400
    assert "notice" in answer.text  # type: ignore[attr-defined]


def test_a_body_that_no_form_has_is_refused(lab: Served) -> None:
    assert ask(lab, "POST", "/sign-in", "x" * 100_000, Origin=lab.url).status in (400, 413)


def test_a_page_without_a_token_only_shows(tmp_path: Path) -> None:
    with served(tmp_path, token="") as lab:
        assert "read-only" in ask(lab, "GET", "/").text  # type: ignore[attr-defined]
        assert ask(lab, "GET", "/sign-in").status == 403
        assert ask(lab, "POST", "/sign-in", {"name": "a", "token": ""}, Origin=lab.url).status == 403
        for given in ("Bearer ", "Bearer x"):
            answer = ask(lab, "POST", "/boards/rock5b/reserve", {}, Origin=lab.url, Authorization=given)
            assert answer.status == 403
