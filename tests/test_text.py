from visionkit.text import counted, printable


def test_names_of_files_are_short_and_on_one_line():
    assert printable("my photo ä.png") == "my photo ä.png"
    assert printable("a\nb") == r"'a\nb'"
    assert printable("a" * 1000) == "a" * 200


def test_a_noun_follows_its_number():
    assert [counted(count, "error") for count in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]
