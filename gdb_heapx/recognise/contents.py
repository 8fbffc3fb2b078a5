"""What the bytes of a chunk are by themselves: text in some encoding."""

from __future__ import annotations

import re

from .kinds import Code, Key

WINDOW = 256  # bytes of a chunk that are looked at
SHORTEST = 4  # bytes, and units of UTF-16
ASCII, UTF8, UTF16 = range(1, 4)
ENCODINGS = ("text", "text, ASCII", "text, UTF-8", "text, UTF-16")
_PLAIN = rb"[\t\n\r\x20-\x7e]"
_WIDE = (  # RFC 3629, 4
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    rb"|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ASCII = re.compile(_PLAIN + rb"*")
_UTF8 = re.compile(rb"(?:" + _PLAIN + rb"|" + _WIDE + rb")*")
_UNITS = {  # Latin, Greek, Cyrillic, Armenian, Hebrew
    True: re.compile(rb"(?:[\t\n\r\x20-\x7e\xa0-\xff]\0|[\0-\xff][\1-\5]){4,}", re.DOTALL),
    False: re.compile(rb"(?:\0[\t\n\r\x20-\x7e\xa0-\xff]|[\1-\5][\0-\xff]){4,}", re.DOTALL),
}


def text_in(data: bytes, little: bool) -> Key | None:
    """Return what text a chunk's memory begins with, of which `data` are the first WINDOW bytes;
    None if it isn't text, or ends in the middle of something else.
    """
    whole = len(data)
    length, encoding = _length(_ASCII, data), ASCII
    if length < whole and data[length] >= 0x80:
        length, encoding = _length(_UTF8, data), UTF8
    if length >= SHORTEST and (_is_cut(data[length:], whole) or not data[length]):
        return _key(length, whole, encoding)
    length = _length(_UNITS[little], data)
    if length and (length >= whole - 1 or data[length : length + 2] == b"\0\0"):
        return _key(length, whole, UTF16) if _letters(data[:length], little) else None
    return None


def _length(pattern: re.Pattern[bytes], data: bytes) -> int:
    found = pattern.match(data)
    return found.end() if found else 0


def _is_cut(rest: bytes, whole: int) -> bool:
    """Tell whether text goes on to the end of what is looked at: a character may be cut there."""
    return not rest or (whole == WINDOW and len(rest) <= 3 and rest[0] >= 0xC2)


def _key(length: int, whole: int, encoding: int) -> Key:
    return Key(Code.TEXT if 2 * length >= whole else Code.BEGINS_WITH_TEXT, encoding)


def _letters(data: bytes, little: bool) -> bool:
    """Tell whether at least half of the units are letters: small numbers aren't."""
    text = data.decode("utf-16-le" if little else "utf-16-be")
    return 2 * sum(map(_is_letter, text)) >= len(text)


def _is_letter(character: str) -> bool:
    return "A" <= character <= "Z" or "a" <= character <= "z" or character >= "\xc0"


def beginning(data: bytes, encoding: int, little: bool) -> str:
    """Return the text that a chunk begins with, of which `data` are the first bytes."""
    if encoding == UTF16:
        data = data[: _length(_UNITS[little], data)]
        return data.decode("utf-16-le" if little else "utf-16-be")
    return data.partition(b"\0")[0].decode(errors="ignore")
