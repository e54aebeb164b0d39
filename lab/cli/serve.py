"""``lab serve``: the lab as web pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.coordinator import Address
from lab.cli.results import StoreOption


def serve(
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; 0.0.0.0:8080 is every interface.")
    ] = "127.0.0.1:8080",
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs.")] = Path("results"),
    store: StoreOption = None,
    coordinator: Address = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Whoever knows what is in it may reserve, release and switch boards (default: LAB_TOKEN).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show boards, queue, running tests, matrices and runs as live web pages.

    Without a token the pages only show. Put a proxy with TLS before it where others can listen.

    Examples:
      lab serve
      lab serve --listen 0.0.0.0:8080 --token-file ~/.config/sharelab/token
    """
    import uvicorn

    from lab.base.errors import ConfigError, LabError
    from lab.base.ui import err
    from lab.cli.results import store_path
    from lab.places.address import coordinator_address
    from lab.web import Settings, make_app

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"'{listen}' is not HOST:PORT", hint="--listen 127.0.0.1:8080")
    token = _token(token_file)
    settings = Settings(store_path(store), results, coordinator_address(coordinator), token)
    config = uvicorn.Config(
        make_app(settings),
        host=host.strip("[]"),
        port=int(port),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    try:
        socket = config.bind_socket()
    except SystemExit:  # uvicorn has logged why
        raise LabError(f"cannot listen on {listen}", hint="--listen HOST:PORT with another port") from None
    socket.listen(config.backlog)  # from here on whoever reads the line below is answered
    address = f"http://{host}:{socket.getsockname()[1]}/"
    err.print(
        f"serving {address}  [dim]{'sign in to change something' if token else 'read-only'}[/]", markup=True
    )
    uvicorn.Server(config).run(sockets=[socket])


def _token(path: Path | None) -> str:
    """The token of the file or of the environment; empty where none is given. Raises ConfigError."""
    from lab.base.errors import ConfigError

    if path is None:
        token = os.environ.get("LAB_TOKEN", "").strip()
        where = "LAB_TOKEN"
    else:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read ({error})", file=path) from None
        where = str(path)
        if not token:
            raise ConfigError("there is no token in it", file=path, hint="openssl rand -hex 16 makes one")
    if token and len(token) < 12:
        raise ConfigError(f"{where}: a token has 12 signs or more", hint="openssl rand -hex 16 makes one")
    return token
