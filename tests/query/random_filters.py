"""Records and trees of conditions on them, by chance, so that conditions select some and not all."""

from random import Random

from treering.v1.log_pb2 import AttributeFilter, LogFilter, LogRecord, NumberRange, OffsetRange, Position, TextCondition

LOG = 7
BEGIN = 1_700_000_000_000_000_000
ARRIVAL = 1_800_000_000_000_000_000
SECOND = 1_000_000_000

SERVICES = ["", "shop", "Shop", "auth", "ünï", "o'brien"]
ENVIRONMENTS = ["", "prod", "dev"]
SEVERITIES = [0, 1, 5, 9, 10, 13, 17, 18, 24]
TRACES = [b"", b"t" * 16, bytes(range(16))]
WORDS = [
    "Payment",
    "timeout",
    "time-out",
    "user_7",
    "İstanbul",
    "STRASSE",
    "straße",
    "ΣΊΣΥΦΟΣ",
    "refused",
    "\N{KELVIN SIGN}8s",
    "naïve",
    "nai\u0308ve",
    "x\ny",
    "100%",
    "a.b",
    "٣",
    "4711",
]
BETWEEN = [" ", " ", "-", ", ", "_", "\n", "…", ""]
KEYS = ["status", "path", "ms", "né", "nobody's"]
VALUES = [
    "",
    "200",
    "404",
    "500.0",
    "5e2",
    " 500 ",
    "-1",
    "nan",
    "inf",
    "1e400",
    "0x10",
    "1_000",
    "/api/Users",
    "/API/",
    "Straße 7",
    "x\ny",
    "٣",
]
NUMBERS = [-1.0, 0.0, 200.0, 404.0, 500.0, 1e300, float("inf"), float("-inf")]
EXPRESSIONS = [
    r"time.?out",
    r"^zz",
    r"\d+",
    r"(payment|refused)",
    r"nothing|PAYMENT|zz-",
    r"a\.b",
    r"x.y",
    r"(?s)x.y",
    r"[0-9]+",
    r"k8",
    r"zz[ ,_-]+p",
    r"stra(ss|ß)e",
    r"7$",
    r"σίσυφοσ",
    r"",
    r"^/api/?",
    r"(a|b|)+x?",
]
TEXTS = ["", "PAY", "timeOUT", "istan", "straße", "STRASSE", "σίσυφος", "k8s", "7", "a.b", "x\ny", "%", "/api", "ï", "zz " + "x" * 250]
PHRASES = [
    "payment",
    "TIME out",
    "user 7",
    "user_7",
    "straße",
    "zz",
    "naïve",
    "nai\u0308ve",
    "nai",
    "a b",
    "refused, payment!",
    "k8s",
    "٣",
    "İstanbul",
]
SINGLE_WORDS = [
    "payment",
    "Payment",
    "timeout",
    "user",
    "7",
    "straße",
    "STRASSE",
    "zz",
    "naïve",
    "nai",
    "k8s",
    "istanbul",
    "σίσυφος",
    "404",
]
ABOUTS = ["money", "machines"]


def records(random: Random, count: int) -> list[LogRecord]:
    """Records of which neighbours are alike in service and time, as in a real log, so that segments differ."""
    return [_record(random, number, count) for number in range(count)]


def _record(random: Random, number: int, count: int) -> LogRecord:
    services = SERVICES[:3] if number < count // 2 else SERVICES[2:]
    parts = ["zz"]
    for _ in range(random.randrange(4)):
        parts += [random.choice(BETWEEN), random.choice(WORDS)]
    return LogRecord(
        time_unix_nano=BEGIN + number * SECOND + random.randrange(3) * SECOND,
        severity=random.choice(SEVERITIES),
        service=random.choice(services),
        environment=random.choice(ENVIRONMENTS),
        message="".join(parts),
        attributes={key: random.choice(VALUES) for key in random.sample(KEYS[:-1], random.randrange(4))},
        trace_id=random.choice(TRACES),
    )


class Trees:
    """Trees over a number of records.

    Args:
        random: Where chance comes from.
        count: How many records there are.
        patterns: Ids of patterns, and of templates.
        with_about: Whether there may be conditions on meaning.
    """

    def __init__(self, random: Random, count: int, patterns: list[int], templates: list[int], *, with_about: bool = True) -> None:
        self._random = random
        self._count = count
        self._patterns = [*patterns, 1, 2**64 - 1]
        self._templates = [*templates, 1]
        self._with_about = with_about

    def tree(self, depth: int = 3) -> LogFilter:
        """A filter, with others in it while `depth` is left."""
        random = self._random
        node = LogFilter()
        for _ in range(random.choice((0, 1, 1, 2)) if depth else random.choice((1, 1, 2))):
            node.MergeFrom(self._condition())
        _make_possible(node)
        if depth:
            for branches in (node.all_of, node.any_of, node.none_of):
                if random.random() < 0.4:
                    branches.extend(self.tree(depth - 1 - random.randrange(2) if depth > 1 else 0) for _ in range(random.randrange(1, 4)))
        return node

    def _condition(self) -> LogFilter:
        kinds = [
            self._time,
            self._arrival,
            self._severity,
            self._names,
            self._attribute,
            self._attribute,
            self._message,
            self._message,
            self._ids,
            self._places,
        ]
        return self._random.choice(kinds)()

    def _time(self) -> LogFilter:
        start, end = self._ends(BEGIN, SECOND)
        return self._random.choice(
            [
                LogFilter(start_time_unix_nano=start),
                LogFilter(end_time_unix_nano=end),
                LogFilter(start_time_unix_nano=start, end_time_unix_nano=end),
            ]
        )

    def _arrival(self) -> LogFilter:
        start, end = self._ends(ARRIVAL, 1)
        return self._random.choice([LogFilter(arrival_start_time_unix_nano=start), LogFilter(arrival_end_time_unix_nano=end)])

    def _ends(self, begin: int, step: int) -> tuple[int, int]:
        first = self._random.randrange(self._count)
        return begin + first * step, begin + (first + self._random.randrange(1, self._count)) * step

    def _severity(self) -> LogFilter:
        # 0 is a severity of records, and none that a filter names.
        low, high = (level or None for level in sorted(self._random.choices(SEVERITIES, k=2)))
        return self._random.choice(
            [LogFilter(min_severity=low), LogFilter(max_severity=high), LogFilter(min_severity=low, max_severity=high)]
        )

    def _names(self) -> LogFilter:
        services = self._random.choices(SERVICES, k=self._random.randrange(1, 3))
        return self._random.choice(
            [LogFilter(services=services), LogFilter(services=services), LogFilter(environments=self._random.choices(ENVIRONMENTS, k=1))]
        )

    def _attribute(self) -> LogFilter:
        random = self._random
        wanted = AttributeFilter(key=random.choice(KEYS), exclude=random.random() < 0.3)
        match random.randrange(4):
            case 0:
                wanted.values.extend(random.choices(VALUES, k=random.randrange(1, 4)))
            case 1:
                wanted.text.extend(self._text() for _ in range(random.randrange(1, 3)))
            case 2:
                wanted.number.CopyFrom(self._range())
        return LogFilter(attributes=[wanted])

    def _range(self) -> NumberRange:
        low, high = sorted(self._random.sample(NUMBERS, 2))
        return self._random.choice(
            [
                NumberRange(),
                NumberRange(at_least=low),
                NumberRange(above=low),
                NumberRange(at_most=high),
                NumberRange(below=high),
                NumberRange(at_least=low, below=high),
                NumberRange(above=low, at_most=high),
                NumberRange(at_least=high, at_most=high),
            ]
        )

    def _text(self) -> TextCondition:
        kinds = {
            "contains": TEXTS,
            "prefix": TEXTS,
            "equals": [*TEXTS, *VALUES],
            "word": SINGLE_WORDS,
            "phrase": PHRASES,
            "matches": EXPRESSIONS,
        }
        name = self._random.choice(list(kinds))
        return TextCondition(**{name: self._random.choice(kinds[name])}, case_sensitive=self._random.random() < 0.3)

    def _message(self) -> LogFilter:
        if self._random.random() < 0.3:
            return LogFilter(message_contains=self._random.choice(TEXTS))
        return LogFilter(message=[self._text() for _ in range(self._random.randrange(1, 3))])

    def _ids(self) -> LogFilter:
        random = self._random
        if self._with_about and random.random() < 0.2:
            return LogFilter(about=random.choice(ABOUTS))
        if random.random() < 0.2:
            return LogFilter(trace_id=random.choice(TRACES[1:]))
        if random.random() < 0.5:
            return LogFilter(template_ids=random.choices(self._templates, k=random.randrange(1, 4)))
        many = list(range(3, 150)) * (random.random() < 0.2)  # so many that they are joined instead of spelled out
        return LogFilter(pattern_ids=[*random.choices(self._patterns, k=random.randrange(1, 5)), *many])

    def _places(self) -> LogFilter:
        random = self._random
        if random.random() < 0.5:
            log_ids = [LOG, LOG, LOG, 8]
            return LogFilter(
                positions=[
                    Position(log_id=random.choice(log_ids), offset=random.randrange(self._count)) for _ in range(random.randrange(1, 9))
                ]
            )
        runs = [sorted(random.sample(range(self._count + 1), 2)) for _ in range(random.randrange(1, 4))]
        return LogFilter(
            ranges=[OffsetRange(log_id=random.choice((LOG, LOG, 8)), first_offset=first, end_offset_exclusive=end) for first, end in runs]
        )


def _make_possible(node: LogFilter) -> None:
    """Takes bounds away that together are refused."""
    if 0 < node.end_time_unix_nano <= node.start_time_unix_nano:
        node.end_time_unix_nano = 0
    if 0 < node.arrival_end_time_unix_nano <= node.arrival_start_time_unix_nano:
        node.arrival_end_time_unix_nano = 0
    if 0 < node.max_severity < node.min_severity:
        node.ClearField("max_severity")
