"""Turns KQL into the query that Kibana and OpenSearch Dashboards send for it, as far as our own queries use the language.

What is sent for which form is that of `@kbn/es-query` and of `opensearch_query/kuery` (`functions/is`, `range`, `exists`, `and`,
`or`, `not`): a word becomes `match`, a phrase `match_phrase`, a lone star `exists`, other wildcards `query_string`, and a value
without a field `multi_match` over the index's default fields. Newer Kibanas send `term` and `wildcard` for a field that is a
keyword in all indices; which fields are has to be said. OpenSearch Dashboards sends numbers as numbers, Kibana as text.
"""

import json
import re
from collections.abc import Collection
from functools import partial
from typing import Any

Query = dict[str, Any]

TOKEN = re.compile(r'\s*("(?:\\.|[^"\\])*"|[()]|<=|>=|[<>:]|(?:\\.|[^\s()<>:"\\])+)')
KEYWORDS = ("and", "or", "not")
CONSTANTS = {"true": True, "false": False, "null": None}
NUMBER = re.compile(r"-?[1-9]+\d*(\.\d+)?|-?0\.\d*[1-9]+|0|0.0|\.\d+")  # the one in Dashboards' grammar
BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def to_query(text: str, keywords: Collection[str] = (), *, store: str = "elasticsearch") -> Query:
    """The query for *text* as the product of *store* sends it, with *keywords* a newer Kibana; raises ValueError."""
    if not text.strip():
        return {"match_all": {}}
    tokens = TOKEN.findall(text)
    if "".join(tokens).replace(" ", "") != re.sub(r"\s", "", text) and '"' not in text:
        raise ValueError(f"cannot be read: {text}")
    parser = _Parser(tokens, keywords, has_numbers=store == "opensearch")
    query = parser.any_of(parser.clause)
    if parser.tokens:
        raise ValueError(f"left over: {parser.tokens}")
    return query


class _Parser:
    def __init__(self, tokens: list[str], keywords: Collection[str], *, has_numbers: bool) -> None:
        self.tokens = tokens
        self.has_numbers = has_numbers
        self.matches = partial(_is, keywords)

    def peek(self) -> str:
        return self.tokens[0].lower() if self.tokens else ""

    def take(self, *wanted: str) -> bool:
        if self.peek() in wanted:
            self.tokens.pop(0)
            return True
        return False

    def any_of(self, one: Any) -> Query:
        queries = [self.all_of(one)]
        while self.take("or"):
            queries.append(self.all_of(one))
        return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}

    def all_of(self, one: Any) -> Query:
        queries = [self.negated(one)]
        while self.take("and"):
            queries.append(self.negated(one))
        return queries[0] if len(queries) == 1 else {"bool": {"filter": queries}}

    def negated(self, one: Any) -> Query:
        if self.take("not"):
            return {"bool": {"must_not": self.negated(one)}}
        return one()

    def clause(self) -> Query:
        if self.take("("):
            inner = self.any_of(self.clause)
            self.close()
            return inner
        value, quoted = self.literal()
        if self.take(":"):
            if self.take("("):
                inner = self.any_of(lambda: self.matches(value, *self.value()))
                self.close()
                return inner
            return self.matches(value, *self.value())
        if self.peek() in BOUNDS:
            bound = BOUNDS[self.tokens.pop(0)]
            return {"range": {value: {bound: self.meant(*self.literal())}}}
        return self.matches(None, self.meant(value, quoted), quoted)

    def close(self) -> None:
        if not self.take(")"):
            raise ValueError(f"a bracket is missing before {self.tokens}")

    def value(self) -> tuple[Any, bool]:
        text, quoted = self.literal()
        return self.meant(text, quoted), quoted

    def meant(self, text: str, quoted: bool) -> Any:
        """A value as it stands in the query."""
        if quoted:
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        return json.loads(text) if self.has_numbers and NUMBER.fullmatch(text) and text[0] != "." else text

    def literal(self) -> tuple[str, bool]:
        """One value: a phrase, or all the words up to the next sign or keyword."""
        words: list[str] = []
        while self.tokens and self.peek() not in (*KEYWORDS, *BOUNDS, "(", ")", ":"):
            word = self.tokens.pop(0)
            if word.startswith('"'):
                return re.sub(r"\\(.)", r"\1", word[1:-1]), True
            words.append(re.sub(r"\\(.)", r"\1", word))
        if not words:
            raise ValueError(f"a value is missing before {self.tokens}")
        return " ".join(words), False


def _is(keywords: Collection[str], field: str | None, value: Any, quoted: bool) -> Query:
    if "*" in str(value) and not quoted:
        if value == "*":
            return {"exists": {"field": field}} if field else {"match_all": {}}
        # The products' own expression: from + to = is a range, and so digits and dots are escaped too.
        escaped = re.sub(r'[+-=&|><!(){}\[\]^"~?:\\/]', r"\\\g<0>", value)
        if field in keywords:
            return {"wildcard": {field: {"value": escaped}}}
        return {"query_string": {"query": escaped, **({"fields": [field]} if field else {})}}
    if field is None:
        return {"multi_match": {"type": "phrase" if quoted else "best_fields", "query": value, "lenient": True}}
    if field in keywords:
        return {"term": {field: {"value": value}}}
    return {"match_phrase" if quoted else "match": {field: value}}
