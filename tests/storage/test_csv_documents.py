"""CSV files, row by row."""

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import read_csv


def rows(tmp_path, content: bytes):
    (tmp_path / "a.csv").write_bytes(content)
    return list(read_csv(tmp_path / "a.csv", ("a", "b")))


def test_rows_are_counted_as_a_spreadsheet_does(tmp_path):
    found = rows(tmp_path, b'\xef\xbb\xbfa,b,,\r\n1,"two\nlines",x,y\r\n\r\n\xff,4,,\r\n')
    assert found == [(2, {"a": "1", "b": "two\nlines"}), (4, {"a": "\ufffd", "b": "4"})]


def test_one_bad_row_is_one_value(tmp_path):
    endless = b'"' + b"x\n" * 70_000  # a quote that nothing closes
    found = dict(rows(tmp_path, b"a,b\n1,2\n3\n" + endless + b"5,6\n"))
    assert found.pop(2) == {"a": "1", "b": "2"} and found[max(found)] == {"a": "5", "b": "6"}
    assert "a.csv row 3: 1 values, the header has 2 columns" in str(found[3])
    assert "a.csv row 4: not CSV" in str(found[4]) and "lines 4 to 70003 are lost" in str(found[4])


@pytest.mark.parametrize("content", [b"", b"a\n1\n", b"\0"])
def test_a_header_that_lacks_a_column_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="row 1 has no column"):
        rows(tmp_path, content)
