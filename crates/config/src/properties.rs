//! Reader for Java's properties format, the syntax of `server.properties`.
//!
//! As `java.util.Properties`: comments with `#` or `!`, keys ended by `=`, `:` or white space,
//! backslash escapes, lines continued by a trailing backslash. Differences: the text is UTF-8, and
//! every entry knows its line. Repeated keys are all returned; the last one counts.

use std::iter::Peekable;
use std::str::Chars;

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Key, without escapes.
    pub key: String,
    /// Value, without escapes.
    pub value: String,
    /// Number of the line where the entry begins, from 1.
    pub line: usize,
}

/// A `\u` escape that is not four hexadecimal digits, or half of a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a \\u escape needs four hexadecimal digits and must be a character")]
pub struct SyntaxError {
    /// Number of the line where the entry begins, from 1.
    pub line: usize,
}

/// Reads all entries of a file, in order.
pub fn parse(text: &str) -> Result<Vec<Property>, SyntaxError> {
    let mut entries = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        let unescape = |part: &str| unescape(part).ok_or(SyntaxError { line });
        entries.push(Property { key: unescape(key)?, value: unescape(value)?, line });
    }
    Ok(entries)
}

/// Writes one entry so that [`parse`] reads it back.
pub fn format_entry(key: &str, value: &str) -> String {
    format!("{}={}", escape(key, true), escape(value, false))
}

/// Lines with their continuations joined, without comments and blank lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut done = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, raw) in physical_lines(text).into_iter().enumerate() {
        let content = raw.trim_start_matches(BLANK);
        let (number, mut joined) = match open.take() {
            Some(begun) => begun,
            None if content.is_empty() || content.starts_with(['#', '!']) => continue,
            None => (at + 1, String::new()),
        };
        match without_continuation(content) {
            Some(part) => {
                joined.push_str(part);
                open = Some((number, joined));
            }
            None => {
                joined.push_str(content);
                done.push((number, joined));
            }
        }
    }
    done.extend(open);
    done.retain(|(_, line)| !line.is_empty());
    done
}

fn physical_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..)).unwrap_or("");
    }
    lines.push(rest);
    lines
}

/// The line without the backslash that continues it, if one does.
fn without_continuation(line: &str) -> Option<&str> {
    let slashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if slashes % 2 == 1 { line.strip_suffix('\\') } else { None }
}

/// Raw key and raw value of a logical line.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, char) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if char == '\\' {
            escaped = true;
        } else if char == '=' || char == ':' || BLANK.contains(&char) {
            let (key, rest) = line.split_at(at);
            let rest = rest.trim_start_matches(BLANK);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (key, rest.trim_start_matches(BLANK));
        }
    }
    (line, "")
}

fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

/// The character of a `\uXXXX` escape, or of two that form a surrogate pair.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    let first = hex4(chars)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first);
    }
    let second = match (chars.next(), chars.next()) {
        (Some('\\'), Some('u')) => hex4(chars)?,
        _ => return None,
    };
    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)
}

fn hex4(chars: &mut Peekable<Chars<'_>>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| Some(number * 16 + chars.next()?.to_digit(16)?))
}

fn escape(text: &str, key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, char) in text.chars().enumerate() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if key || at == 0 => out.push_str("\\ "),
            '=' | ':' if key || at == 0 => {
                out.push('\\');
                out.push(char);
            }
            '#' | '!' if key && at == 0 => {
                out.push('\\');
                out.push(char);
            }
            other => out.push(other),
        }
    }
    out
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> String {
        match parse(text) {
            Ok(entries) => entries
                .iter()
                .map(|entry| format!("{}: {:?} = {:?}\n", entry.line, entry.key, entry.value))
                .collect(),
            Err(error) => format!("! {error}\n"),
        }
    }

    #[test]
    fn separators_comments_and_continuations() {
        let got = check(
            "\
# comment
  ! comment \\
a=1
b : 2
c\t3
d
e = x = y
f = one, \\
    two, \\
    # three
g=back\\\\
h=\\
key\\ with\\ blanks\\=1 = v \r\n\
\u{c}last=end\\",
        );
        assert_eq!(
            got,
            r#"3: "a" = "1"
4: "b" = "2"
5: "c" = "3"
6: "d" = ""
7: "e" = "x = y"
8: "f" = "one, two, # three"
11: "g" = "back\\"
12: "h" = "key with blanks=1 = v "
14: "last" = "end"
"#
        );
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(
            check(r"a=\t\n\r\f\q\u00e9\ud83d\ude00"),
            "1: \"a\" = \"\\t\\n\\r\\u{c}qé😀\"\n"
        );
        for wrong in [r"a=\u12", r"a=\u12g4", r"a=\ud83d", r"a=\ud83d\u0041", r"a=\udc00"] {
            assert!(check(wrong).starts_with("! line 1:"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((".+", ".*"), 0..8)) {
            let mut text = String::new();
            for (key, value) in &entries {
                text.push_str(&format_entry(key, value));
                text.push('\n');
            }
            let read = parse(&text).unwrap();
            let read: Vec<_> = read.into_iter().map(|entry| (entry.key, entry.value)).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ab\\\\u0-9=: \t\r\n#!]{0,64}") {
            if let Ok(entries) = parse(&text) {
                prop_assert!(entries.len() <= text.len());
                prop_assert!(entries.is_sorted_by_key(|entry| entry.line));
            }
        }
    }
}
