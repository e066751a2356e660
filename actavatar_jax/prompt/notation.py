"""The notation of time windows in text: what is read as one, and what only looks like one.

A window is two times with a range sign or word between them; what follows is its action, up to the next window. This
is all of the grammar, in examples (docs/prompts.md has them with their meanings):

    times      2  2.5  2s  2 sec  2 seconds  2秒  2000ms  0:02  0:00:02.5  00:00:02,500  0m2s  50 frames  40%
    ranges     0-2s  0s - 2s  0–2s  0~2s  0->2s  0→2s  0 --> 2s  0..2s  0 to 2s  0 until 2s  0至2秒  between 0 and 2s
    before     from 0 to 2s  at 0-2s  time: 0-2s  t=0-2s  第0-2秒  seconds 0-2  frames 0-50
    brackets   [0-2s]  [[0-2s]]  【0-2s】  〔0-2s〕; with a unit or a colon also (0-2s) {0-2s} <0-2s> 「0-2s」
    none       0-2s: where a sentence begins; 0:00-0:02 where a line begins
    labels     Phase-1 [0-2s]:  Phase 1: [0-2s]  [Phase 1: 0-2s]  **[0-2s]**; where a line begins - [0-2s]  1. [0-2s]

A number without a unit has that of the other one, or else counts seconds; 25 frames are a second; shares need a clip of
known length, and brackets. Square brackets that hold anything else with two numbers and a range or a unit are wrong, as
are round ones that begin as a window does. Other ranges of time, `for 2-3 s`, are words. `windows.split` goes by this.
"""

# ruff: noqa: RUF001, RUF002  (letters that look like others are what this is about)

import re

ACCEPTED = "[0-2s], [0:00-0:02], [frames 0-50] or [0%-40%], before its action"

# ---- two times

_SIGN = r"(?:-{1,2}>|={1,2}>|[-\u2010-\u2015\u2212~\u301c\u223c\u2192\u21d2\u27f6\u2794\u279c])"
_BETWEEN = rf" ?(?:{_SIGN}|\.{{2,3}}|…|至|到|(?:to|until|till|through)(?![a-z])) ?"
_UNIT = r"(?:seconds?|secs?\.?|s|milliseconds?|ms|frames?|f|%|秒钟?|帧|フレーム)"


def _time(name: str) -> str:
    clock = r"-?\d{1,6}(?::[0-5]?\d){1,2}(?:[.,]\d{1,20})?"
    minutes = r"\d{1,4} ?m(?:in)? ?[0-5]?\d(?:\.\d{1,20})?(?= ?s)"
    number = r"-?(?:\d{1,6}(?:\.\d{1,20})?|\.\d{1,20})"
    return rf"(?P<{name}>{clock}|{minutes}|{number})(?: ?(?P<{name}_unit>{_UNIT})(?![a-z]))?"


_TIMES = (
    r"(?:(?P<between>between )|(?:from|at|time)(?: ?[:=])? ?|t ?[:=] ?|第)?"
    r"(?:(?P<unit>seconds?|secs?|frames?)(?: ?[:=])? ?)?"
    rf"{_time('start')}(?(between) and |{_BETWEEN})(?:frame )?{_time('end')}(?![a-z0-9]|[:.,]\d)"
)
WINDOW = re.compile(_TIMES, re.IGNORECASE)

# ---- where to look for them: in brackets of two kinds, of at most 80 letters, and bare

CANDIDATE = re.compile(
    r"[\[【〔]{1,2}(?P<square>[^\[\]【】〔〕]{0,80})(?P<closed>[\]】〕]{1,2})?"
    r"|[({<«「『《](?P<round>(?:[^\[\]【】〔〕(){}<>«»「」『』《》]|(?<=[-=])>){0,80})(?P<shut>[)}>»」』》])?"
    rf"|(?P<bare>(?<![\w.:,/%$€£-]){_TIMES})",
    re.IGNORECASE,
)

# ---- what square brackets hold that may be meant as times

_SPELLED = r"-?[0-9.:,]*[0-9][0-9.:,]* ?(?:s|secs?|seconds?|ms|m|mins?|minutes?|f|frames?|秒|%)?"
_ONE = rf"{_SPELLED}|[a-z?]|start|end|"
ALMOST = re.compile(
    rf"(?:{_ONE}) ?(?:{_SIGN}| to ) ?(?:{_ONE})|(?:at|from|until|after|before|first|last)? ?(?:{_SPELLED})"
    r"|-?[0-9.:]+ ?[,;/ ] ?-?[0-9.:]+",
    re.IGNORECASE,
)
RANGE = re.compile(rf"\d[^\d]{{0,12}}?{_BETWEEN}[^\d]{{0,6}}\d", re.IGNORECASE)
MEASURE = re.compile(r"\d ?(?:s|secs?|seconds?|ms|frames?|秒|帧)(?![a-z])", re.IGNORECASE)
NUMBERS = re.compile(r"\d[\d.,:]*")

# ---- what stands around a window

_MARKER = r"(?<=\n)(?:[-+*•·] |\d{1,3}[.)] |\d{1,4}\n)"  # of lists; SRT files have a line with a number
_MARK = r"[*_`]{1,2}"  # of bold letters
LABEL = re.compile(r"phase[- ]?\d{1,4} ?[:,]?\s?", re.IGNORECASE)
BEFORE = re.compile(
    rf"(?P<marker>{_MARKER})?(?P<mark>{_MARK})?(?P<label>(?<![^\s*_`]){LABEL.pattern})?\Z", re.IGNORECASE
)
AFTER = re.compile(r"(?:(?:s|secs?)(?![a-z0-9])|秒)?\s*(?::|[-\u2013\u2014](?=\s))?")
CLOSING = re.compile(rf"(?:{_MARK})? ?:?")
COLON = re.compile(rf"(?:{_MARK})?\s?:(?!\d)")
SENTENCE = re.compile(r"(?:\n|[.!?;:,|。！？]\s?)\Z")
LABEL_ALONE = re.compile(r"(?<!\S)((?i:phase)-[0-9]+|(?:(?<=[.!?;\n] )|(?<=\n)|(?<![\s\S]))Phase ?[0-9]+) ?:")
