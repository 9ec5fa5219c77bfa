//! Rules about one source file.

use super::Complaint;
use crate::source::Source;

/// Crates that decide and never act: no clock, no file, no thread, no chance.
pub(super) const CORES: [&str; 9] =
    ["codec", "types", "config", "record", "protocol", "quorum", "metadata", "group", "log"];

/// What a core must not touch, and what to do instead.
const WORLD: [(&str, &str); 9] = [
    ("Instant::now", "take `now: MonoTime` as an argument"),
    ("SystemTime::now", "take `WallTime` as an argument"),
    ("thread::spawn", "let the shell that owns this core supply the thread"),
    ("thread::sleep", "return a deadline from poll_timeout"),
    ("std::net::Tcp", "sockets belong to `net`"),
    ("std::fs::", "go through the storage door (`log/src/storage`)"),
    ("std::env::var", "take the value as an argument"),
    ("tokio::", "a core takes events and returns effects"),
    ("rand::", "take the random number as an argument"),
];

/// Files that may touch one of these, with the only word allowed to them.
const DOORS: [(&str, &str); 6] = [
    ("crates/log/src/storage/", "std::fs::"),
    ("crates/log/src/storage.rs", "std::fs::"),
    ("crates/quorum/src/storage/fs.rs", "std::fs::"),
    // A file range is a value that names an open file; only `net` reads it.
    ("crates/codec/src/records.rs", "std::fs::"),
    ("crates/log/src/flusher.rs", "thread::spawn"),
    ("crates/config/src/environment.rs", "std::env::var"),
];

/// Checks one source.
pub(super) fn check(source: &Source, complaints: &mut Vec<Complaint>) {
    head(source, complaints);
    unfinished_work(source, complaints);
    tests_come_last(source, complaints);
    if source.path.starts_with("crates/") || source.path.starts_with("benches/") {
        test_manners(source, complaints);
    }
    if source.path == "crates/broker/src/error_code.rs" {
        exhaustive(source, complaints);
    }
    core_purity(source, complaints);
    unsafe_code(source, complaints);
}

/// The word in a line that marks unfinished work.
pub(crate) fn unfinished(line: &str) -> Option<&'static str> {
    // Spelled in two halves so that this file does not find itself.
    const MARKS: [&str; 4] =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    MARKS.into_iter().find(|mark| {
        line.match_indices(mark).any(|(at, _)| {
            !is_word(line[..at].chars().next_back())
                && !is_word(line[at + mark.len()..].chars().next())
        })
    })
}

fn complain(
    source: &Source,
    line: usize,
    what: impl Into<String>,
    instead: &'static str,
) -> Complaint {
    Complaint { place: format!("{}:{}", source.path, line + 1), what: what.into(), instead }
}

fn head(source: &Source, complaints: &mut Vec<Complaint>) {
    let first = source.text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let included = first.starts_with("#![doc = include_str!");
    if !first.starts_with("//!") && !included {
        complaints.push(complain(
            source,
            0,
            "no `//!` head",
            "say what this file is and what it deliberately does not do",
        ));
    }
}

fn unfinished_work(source: &Source, complaints: &mut Vec<Complaint>) {
    const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
    for (at, line) in source.text.lines().enumerate() {
        if let Some(mark) = unfinished(line).filter(|_| line.contains("//")) {
            complaints.push(complain(
                source,
                at,
                format!("{mark} comment"),
                "do it, or open an issue and leave no mark",
            ));
        }
    }
    let code: String = source.code.iter().collect();
    for (at, line) in code.lines().enumerate() {
        for name in MACROS.iter().filter(|m| line.contains(*m)) {
            complaints.push(complain(
                source,
                at,
                format!("`{name}`"),
                "finish it; an error value beats a panic",
            ));
        }
    }
}

fn tests_come_last(source: &Source, complaints: &mut Vec<Complaint>) {
    let code: String = source.code.iter().collect();
    let mut inside = false;
    for (at, line) in code.lines().enumerate() {
        let is_test = source.test.get(at).copied().unwrap_or(false);
        inside |= is_test && line.trim_start().starts_with("mod tests {");
        if inside && !is_test && !line.trim().is_empty() {
            complaints.push(complain(
                source,
                at,
                "code after `mod tests`",
                "tests stand last in a file",
            ));
            return;
        }
    }
}

fn test_manners(source: &Source, complaints: &mut Vec<Complaint>) {
    const BANNED: [(&str, &str); 4] = [
        ("#[ignore", "a test runs or goes; long runs are commands of `cargo xtask`"),
        ("#[should_panic", "return an error and assert on it"),
        ("thread::sleep(", "wait for a condition with `ottla_testkit::wait_for`"),
        ("time::sleep(", "wait for a condition with `ottla_testkit::wait_for`"),
    ];
    let whole_file = source.is_test_file();
    let code: String = source.code.iter().collect();
    for (at, line) in code.lines().enumerate() {
        if !whole_file && !source.test.get(at).copied().unwrap_or(false) {
            continue;
        }
        for (word, instead) in BANNED.iter().filter(|b| line.contains(b.0)) {
            complaints.push(complain(source, at, format!("`{word}` in a test"), instead));
        }
    }
}

fn exhaustive(source: &Source, complaints: &mut Vec<Complaint>) {
    for (at, line) in source.production_code().lines().enumerate() {
        if line.trim_start().starts_with("_ =>") {
            complaints.push(complain(
                source,
                at,
                "`_ =>` in the error table",
                "name every variant, so that a new one must be given its Kafka code",
            ));
        }
    }
}

fn core_purity(source: &Source, complaints: &mut Vec<Complaint>) {
    let Some(name) = source.path.strip_prefix("crates/").and_then(|p| p.split('/').next()) else {
        return;
    };
    if !CORES.contains(&name) || source.is_test_file() {
        return;
    }
    for (at, line) in source.production_code().lines().enumerate() {
        for (word, instead) in WORLD.iter().filter(|w| line.contains(w.0)) {
            let allowed =
                DOORS.iter().any(|(path, door)| source.path.starts_with(path) && door == word);
            if !allowed {
                complaints.push(complain(source, at, format!("`{word}` in a core"), instead));
            }
        }
    }
}

fn unsafe_code(source: &Source, complaints: &mut Vec<Complaint>) {
    // What tests alone need: an allocator that counts, unsafe by its trait, and an ioctl that cuts power.
    const ARGUED: [&str; 3] =
        ["crates/sys/", "crates/testkit/src/memory.rs", "crates/testkit/src/power.rs"];
    if ARGUED.iter().any(|place| source.path.starts_with(place)) {
        return;
    }
    for (at, line) in source.production_code().lines().enumerate() {
        if line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl") {
            complaints.push(complain(
                source,
                at,
                "unsafe outside crate `sys`",
                "offer a safe function in `sys`, with its argument in docs/decisions",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(&Source::parse(path, text.to_string()), &mut found);
        found.into_iter().map(|c| format!("{}: {}", c.place, c.what)).collect()
    }

    #[test]
    fn a_file_needs_a_head() {
        assert_eq!(
            complaints("crates/log/src/a.rs", "fn f() {}\n"),
            ["crates/log/src/a.rs:1: no `//!` head"]
        );
        assert_eq!(
            complaints("crates/log/src/a.rs", "//! Head.\nfn f() {}\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_core_reads_no_clock_but_its_tests_may_name_one() {
        let text = "//! Head.\nfn f() { Instant::now(); }\n#[cfg(test)]\nmod tests {\n    fn g() { Instant::now(); }\n}\n";
        assert_eq!(
            complaints("crates/group/src/a.rs", text),
            ["crates/group/src/a.rs:2: `Instant::now` in a core"]
        );
        assert_eq!(complaints("crates/broker/src/a.rs", text), Vec::<String>::new());
    }

    #[test]
    fn the_storage_door_may_touch_files() {
        let text = "//! Head.\nfn f() { std::fs::read(p); }\n";
        assert_eq!(complaints("crates/log/src/storage/fs.rs", text), Vec::<String>::new());
        assert_eq!(complaints("crates/log/src/log.rs", text).len(), 1);
    }

    #[test]
    fn tests_neither_sleep_nor_hide() {
        let text =
            concat!("//! Head.\n#[test]\n#[ig", "nore]\nfn t() { std::thread::sle", "ep(d); }\n");
        assert_eq!(complaints("crates/log/tests/a.rs", text).len(), 2);
    }

    #[test]
    fn the_error_table_names_every_variant() {
        let text = "//! Head.\nfn f() {\n    match x {\n        _ => 1,\n    }\n}\n";
        assert_eq!(complaints("crates/broker/src/error_code.rs", text).len(), 1);
        assert_eq!(complaints("crates/broker/src/other.rs", text).len(), 0);
    }

    #[test]
    fn marks_of_unfinished_work_are_words() {
        assert_eq!(unfinished(concat!("// TO", "DO: later")), Some(concat!("TO", "DO")));
        assert_eq!(unfinished(concat!("let XX", "XL = 1;")), None);
    }

    #[test]
    fn nothing_follows_the_tests() {
        let text = "//! Head.\n#[cfg(test)]\nmod tests {\n}\nfn late() {}\n";
        assert_eq!(
            complaints("crates/log/src/a.rs", text),
            ["crates/log/src/a.rs:5: code after `mod tests`"]
        );
    }
}
