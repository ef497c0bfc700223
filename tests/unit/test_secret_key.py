"""The secret key of a data folder: made once, and nobody else reads it."""

from pathlib import Path

from waymark.secret_key import made_secret_key, secret_key_of


def test_it_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    assert secret_key_of(tmp_path) is None
    made = made_secret_key(tmp_path)
    assert made == made_secret_key(tmp_path) == secret_key_of(tmp_path)
    assert len(made) == 64
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("from elsewhere\n")
    assert made_secret_key(tmp_path) == "from elsewhere"


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()
    assert secret_key_of(tmp_path) is None
