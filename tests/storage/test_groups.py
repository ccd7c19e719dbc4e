import pytest

from decaseg.storage.groups import read_groups


def write(folder, text, encoding="utf-8"):
    path = folder / "groups.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("case,scanner\na,GE\nb,Siemens\n", None),
        ("\ufeffcase;scanner\r\na;GE\r\nb;Siemens\r\n", "scanner"),
        ("\ufeffscanner;case\nGE;a\nSiemens;b\n", "scanner"),
        ("scanner\tCase\tsite\nGE\ta.nii.gz\t1\nSiemens\tb.nii\t2\n", "scanner"),
        ("patient, scanner ,site\n a ,GE,1\n\nb, Siemens ,2\n,,\n", "scanner"),
        ('case,scanner\na,GE\n"b","Siemens"', None),
    ],
)
def test_tables_as_people_have_them(tmp_path, text, column):
    assert read_groups(write(tmp_path, text), column) == ("scanner", {"a": "GE", "b": "Siemens"})


def test_an_empty_cell_is_unknown(tmp_path):
    assert read_groups(write(tmp_path, "case,scanner\na,\n"), None)[1] == {"a": "unknown"}


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("case,scanner\na,GE\na,GE\n", None, "row 3 has case a a second time"),
        ("case,scanner\na,GE\na.nii.gz,GE\n", None, "row 3 has case a a second time"),
        ("case,scanner,site\na,GE,1\n", None, "--group-by is missing; choose --group-by from scanner, site"),
        ("case,scanner\na,GE\n", "site", "has no column 'site' to group by; choose --group-by from scanner"),
        ("case,scanner\na,GE\n", "case", "has no column 'case' to group by"),
        ("case\na\n", None, "--group-by is missing; choose --group-by from more than one column"),
        ("case,scanner,scanner\na,GE,1\n", "scanner", "has the column 'scanner' twice"),
        ("case,scanner\na,GE,3\n", None, "row 2 has 3 cells, the header 2"),
        ("case,scanner\n,GE\n", None, "row 2 names no case"),
        ("case,scanner\n", None, "has no lines of cases"),
        ("", None, "has no lines of cases"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path, text, column, message):
    with pytest.raises(ValueError, match=message) as error:
        read_groups(write(tmp_path, text), column)
    assert "groups.csv: " in str(error.value)


def test_what_is_no_csv_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        read_groups(tmp_path / "none.csv", None)
    with pytest.raises(ValueError, match="is a folder"):
        read_groups(tmp_path, None)
    with pytest.raises(ValueError, match="not UTF-8"):
        read_groups(write(tmp_path, "case,scanner\nä,GE\n", "latin-1"), None)
