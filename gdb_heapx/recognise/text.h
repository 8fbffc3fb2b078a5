/* Text, as contents.py defines it.  */

enum { WINDOW = 256, SHORTEST = 4, ASCII = 1, UTF8, UTF16 };

ALWAYS u64 is_plain(uint8_t b) { return (b >= 0x20 && b < 0x7f) || b == '\t' || b == '\n' || b == '\r'; }
ALWAYS u64 goes_on(const uint8_t *p, u64 low, u64 high) { return *p >= low && *p <= high; }

/* Return the length of the character that begins there (RFC 3629), 0 if none does.  */
ALWAYS u64 character(const uint8_t *p, u64 left)
{
    uint8_t b = *p;
    if (is_plain(b))
        return 1;
    u64 length = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (!length || length > left)
        return 0;
    u64 low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80, high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    for (u64 i = 1; i < length; i++, low = 0x80, high = 0xbf)
        if (!goes_on(p + i, low, high))
            return 0;
    return length;
}

/* Return how many bytes of text there are in UTF-16, up to a zero or the end; 0 if it isn't text of letters.  */
ALWAYS u64 wide_text_in(const uint8_t *p, u64 whole)
{
    u64 length = 0, letters = 0;
    for (; length + 1 < whole; length += 2) {
        uint8_t low = p[length], high = p[length + 1];
        if (high ? high > 5 : !(is_plain(low) || low >= 0xa0))
            break;
        letters += high ? 1 : ((low | 32) >= 'a' && (low | 32) <= 'z') || low >= 0xc0;
    }
    u64 ends = length + 1 >= whole || !(p[length] || p[length + 1]);
    return length >= 2 * SHORTEST && 4 * letters >= length && ends ? length : 0;
}

/* Return how many bytes of text there are, up to a zero or the end, and their encoding; 0 if it isn't text.  */
ALWAYS u64 text_in(const uint8_t *p, u64 whole, u64 *encoding)
{
    u64 length = 0;
    while (length < whole && is_plain(p[length]))
        length++;
    *encoding = length < whole && p[length] >= 0x80 ? UTF8 : ASCII;
    for (u64 more = *encoding == UTF8; more && length < whole; length += more)
        more = character(p + length, whole - length);
    u64 left = whole - length, is_cut = !left || (whole == WINDOW && left <= 3 && p[length] >= 0xc2);
    if (length >= SHORTEST && (is_cut || !p[length]))
        return length;
    *encoding = UTF16;
    return wide_text_in(p, whole);
}
