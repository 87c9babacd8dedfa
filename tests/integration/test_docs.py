"""What is written about podd is held against its sources. No daemon is needed."""
import re

import yaml

from lib.daemon import SOURCE

TABLE = re.compile(r"static const struct key (\w+)\[\] = \{(.*?)\n\};", re.S)
ENTRY = re.compile(r'\{"(\w+)", (\w+)(.*?)\}', re.S)
# Readers of lists of mappings, whose table is not in the entry.
LISTS = {"read_registries": "registry_keys", "read_mirrors": "mirror_keys"}


def config_keys():
    """The dotted paths of all keys that podd.yaml may have, from the tables that read it."""
    source = (SOURCE / "src/podd/config_file.c").read_text()
    tables = dict(TABLE.findall(source))
    assert len(tables) > 5

    def walk(table, prefix):
        for name, reader, rest in ENTRY.findall(tables[table]):
            below = re.search(r"\.keys = (\w+)", rest)
            below = below.group(1) if below else LISTS.get(reader)
            yield prefix + name, below is not None
            if below:
                yield from walk(below, f"{prefix}{name}.")
    return dict(walk("top_keys", ""))


def test_the_page_of_podd_yaml_has_every_key_and_no_other():
    page = (SOURCE / "docs/man/podd.yaml.5").read_text()
    keys = config_keys()
    assert "logs.max_size" in keys and "registries.mirrors.url" in keys
    explained = re.findall(r"^\.TP\n\.B ([a-z_.]+)$", page, re.M)
    assert len(explained) == len(set(explained))
    assert set(explained) - set(keys) == set(), "explained, but not read"
    # A mapping needs no words of its own.
    assert {k for k, mapping in keys.items() if not mapping} - set(explained) == set()


def test_the_example_of_podd_yaml_has_only_keys_that_there_are():
    text = (SOURCE / "contrib/podd.yaml").read_text()
    keys = set(config_keys())

    def walk(value, prefix=""):
        for item in value if isinstance(value, list) else [value]:
            for name, below in (item.items() if isinstance(item, dict) else ()):
                yield prefix + name
                yield from walk(below, f"{prefix}{name}.")
    # With what is commented out, which must be right as well.
    uncommented = re.sub(r"^# (?=\w+:|  )", "", text, flags=re.M)
    for form in (text, uncommented):
        assert set(walk(yaml.safe_load(form))) <= keys
    assert "listen" in yaml.safe_load(uncommented)


DECLARATION = re.compile(r"^\s*(?:(message|enum|rpc|service) (\w+)|(?:repeated )?(?:[\w.]+|map<.*>) (\w+) = \d+;"
                         r"|([A-Z_]+) = \d+;)")


def uncommented(source):
    """What is declared without a comment above it or behind it."""
    above = False
    for number, line in enumerate(source.splitlines(), 1):
        found = DECLARATION.match(line)
        if found and not above and not re.search(r"[;{] +//", line):
            yield f"{number}: {next(filter(None, found.groups()[1:]))}"
        above = line.lstrip().startswith("//")


def test_everything_in_the_api_is_explained():
    source = (SOURCE / "proto/podd.proto").read_text()
    assert len(DECLARATION.findall("  string a = 1;")) == 1
    assert list(uncommented("message A {\n  // B.\n  string b = 1;\n  int32 c = 2;\n}")) == ["1: A", "4: c"]
    source = source.replace("service Podd {", "// The service.\nservice Podd {")
    assert list(uncommented(source)) == []
    # Not more than a line of the page can show.
    assert [line for line in source.splitlines() if len(line) > 101] == []
