"""LOG and its salt: made once, refused where others may read it, renewed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.log.folder import LogSettings, check_columns, log_settings, make_log, read_salt, renew_salt, salts
from runtime.stream.log.errors import LogError
from tests.runtime.log.made import segment


def test_a_new_folder_has_a_salt_that_its_owner_alone_may_read(tmp_path):
    make_log(tmp_path / "LOG")
    salt = read_salt(tmp_path / "LOG")
    assert (tmp_path / "LOG/salt").stat().st_mode & 0o777 == 0o600
    make_log(tmp_path / "LOG")
    assert read_salt(tmp_path / "LOG") == salt


def test_processes_that_make_a_folder_at_once_go_on_with_one_salt(tmp_path):
    secrets_of = []
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            folder = tmp_path / str(number)
            found = list(pool.map(lambda _, folder=folder: (make_log(folder), read_salt(folder))[1], range(8)))
            secrets_of.append(set(found))
            assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert all(len(found) == 1 for found in secrets_of) and len(set().union(*secrets_of)) == 20


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda salt: salt.chmod(0o644), "may be read by others .mode 644., and it is a secret: chmod 600"),
        (lambda salt: salt.write_bytes(b"short"), "has 5 bytes, expected 32"),
    ],
)
def test_a_salt_that_is_none_is_refused(tmp_path, harm, sentence):
    make_log(tmp_path)
    harm(tmp_path / "salt")
    with pytest.raises(LogError, match=sentence):
        make_log(tmp_path)


def test_a_log_with_requests_does_not_get_another_salt(tmp_path):
    make_log(tmp_path)
    segment(tmp_path / "ready/a.seg", [])
    (tmp_path / "salt").unlink()
    with pytest.raises(LogError, match="salt is missing, with which the user keys of this log were made"):
        make_log(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LogError, match=r"cannot be written .Permission denied."):
        make_log(tmp_path / "LOG")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "LOG").write_text("")
    with pytest.raises(LogError, match=r"the request log .*LOG cannot be written \(Not a directory\)"):
        make_log(tmp_path / "LOG")


def test_a_renewed_salt_leaves_the_old_one_for_what_was_logged_with_it(tmp_path):
    make_log(tmp_path)
    old = read_salt(tmp_path)
    new = renew_salt(tmp_path)
    assert new != old
    assert salts(tmp_path) == [new, old]


def test_settings_go_by_way_of_variables(monkeypatch, tmp_path):
    settings = LogSettings(tmp_path, 0.25, ("web", "app"), ("device",))
    for name, value in settings.variables().items():
        monkeypatch.setenv(name, value)
    assert log_settings() == settings
    monkeypatch.setenv("CASCADE_LOG_SHARE", "1.5")
    with pytest.raises(LogError, match=r"must be from 0 to 1, got '1.5' in CASCADE_LOG_SHARE"):
        log_settings()
    monkeypatch.setenv("CASCADE_LOG", "")
    assert log_settings() is None


def test_settings_that_cannot_be_right_are_refused_in_an_image_too(tmp_path, monkeypatch):
    names = tuple(f"consumer-{number}" for number in range(51))
    for name, value in LogSettings(tmp_path, consumers=names).variables().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LogError, match="CASCADE_LOG_CONSUMERS names 51, expected at most 50"):
        log_settings()
    check_columns(LogSettings(tmp_path, dropped=("device",)), ["hour", "device"])
    with pytest.raises(LogError, match=r"'devise' is not to be logged .*, expected one of device, hour$"):
        check_columns(LogSettings(tmp_path, dropped=("devise",)), ["hour", "device"])
    with pytest.raises(LogError, match="expected one of none"):
        check_columns(LogSettings(tmp_path, dropped=("devise",)), [])
