from visionkit.text import printable


def test_names_of_files_are_short_and_on_one_line():
    assert printable("my photo ä.png") == "my photo ä.png"
    assert printable("a\nb") == r"'a\nb'"
    assert printable("a" * 1000) == "a" * 200
