//! Subscriptions by regular expression. Kafka takes RE2's syntax; crate `regex` is of the same
//! family (no backtracking, so no pattern takes exponential time) and this file bridges what is
//! written differently: `\Q...\E`, and the words for what is wrong.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, ErrorKind};

/// Memory that one compiled expression may take. Ours: a pattern comes from any client.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const NESTING_MAX: u32 = 250;

/// Compiles an expression that must match a whole name.
///
/// # Errors
/// What is wrong with it, in RE2's words.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let pattern = unquoted(pattern);
    if let Err(error) =
        ast::parse::ParserBuilder::new().nest_limit(NESTING_MAX).build().parse(&pattern)
    {
        return Err(words(error.kind()).to_owned());
    }
    let whole = format!(r"\A(?:{pattern})\z");
    RegexBuilder::new(&whole)
        .size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX + 2)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
            _ => "invalid character class range".to_owned(),
        })
}

/// Whether an expression is one that groups can subscribe by (RE2's syntax).
///
/// # Errors
/// What is wrong with it, in RE2's words.
pub fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(|_| ())
}

/// Replaces quoted parts by escaped ones.
fn unquoted(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        if let Some(quoted) = from.strip_prefix(r"\Q") {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(text));
            rest = after;
        } else {
            // The backslash and what it escapes.
            let taken: usize = from.chars().take(2).map(char::len_utf8).sum();
            let (escape, after) = from.split_at(taken);
            plain.push_str(escape);
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

fn words(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ClassUnclosed => "missing closing ]",
        ErrorKind::ClassRangeInvalid
        | ErrorKind::ClassRangeLiteral
        | ErrorKind::ClassEscapeInvalid
        | ErrorKind::UnicodeClassInvalid => "invalid character class range",
        ErrorKind::GroupUnclosed => "missing closing )",
        ErrorKind::GroupUnopened => "unexpected )",
        ErrorKind::GroupNameDuplicate { .. } => "duplicate capture group name",
        ErrorKind::GroupNameEmpty
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameUnexpectedEof => "invalid named capture",
        ErrorKind::RepetitionMissing => "missing argument to repetition operator",
        ErrorKind::RepetitionCountInvalid => "invalid repeat count",
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression",
        ErrorKind::FlagUnrecognized
        | ErrorKind::FlagUnexpectedEof
        | ErrorKind::FlagDuplicate { .. }
        | ErrorKind::FlagRepeatedNegation { .. }
        | ErrorKind::FlagDanglingNegation
        | ErrorKind::UnsupportedLookAround => "invalid or unsupported Perl syntax",
        ErrorKind::NestLimitExceeded(_) => "expression nests too deeply",
        _ => "invalid escape sequence",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match_and_errors_have_words() {
        let matches = |pattern: &str, name: &str| compile(pattern).unwrap().is_match(name);
        assert!(matches("foo.*", "foobar"));
        assert!(!matches("foo", "foobar"));
        assert!(matches("a|b", "b") && !matches("a|b", "ab"));
        assert!(matches(r"\Qa.b\E-[0-9]+", "a.b-12") && !matches(r"\Qa.b\E", "axb"));
        let error = |pattern: &str| compile(pattern).unwrap_err();
        assert_eq!(error("["), "missing closing ]");
        assert_eq!(error("("), "missing closing )");
        assert_eq!(error("a)"), "unexpected )");
        assert_eq!(error("*a"), "missing argument to repetition operator");
        assert_eq!(error("(?<!a)"), "invalid or unsupported Perl syntax");
        assert_eq!(error(r"a\"), "trailing backslash at end of expression");
        assert_eq!(error("a{1000}{1000}{1000}"), "expression too large");
    }
}
