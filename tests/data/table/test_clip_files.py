"""Where the files of clips lie."""

from collections import Counter

from data_pipelines.table import shelved


def test_files_are_spread_over_256_folders(tmp_path):
    places = [shelved(tmp_path, f"clip-{number:06d}", ".mp4") for number in range(20_000)]
    counts = Counter(place.parent.name for place in places)
    assert len(counts) == 256 and max(counts.values()) < 2 * 20_000 / 256
    assert {place.parent.parent for place in places} == {tmp_path} and not list(tmp_path.iterdir())


def test_all_files_of_a_clip_lie_together(tmp_path):
    assert shelved(tmp_path, "a.b", ".json").parent == shelved(tmp_path, "a.b", ".mp4").parent
    assert shelved(tmp_path, "a", ".mp4") == tmp_path / "ca" / "a.mp4"  # sha256 of "a" begins with ca978112


def test_what_an_older_version_put_into_the_folder_itself_is_found(tmp_path):
    (tmp_path / "old.mp4").write_bytes(b"film")
    assert shelved(tmp_path, "old", ".mp4") == tmp_path / "old.mp4"
    assert shelved(tmp_path, "new", ".mp4").parent != tmp_path
