//! The nearest known name of a misspelt key.

/// The name closest to `wrong`, if one is close enough to be meant.
///
/// Distance counts inserted, removed, replaced and swapped characters; up to a third of the
/// length, at most four, is close enough.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.len() / 3).min(4);
    let close = |name: &'a str| {
        let distance = distance(wrong, name);
        (distance <= limit).then_some((distance, name))
    };
    names.filter_map(close).min().map(|(_, name)| name)
}

/// Optimal string alignment distance. Works on bytes: the names are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut best = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped = 0 < row && 0 < column && left[row - 1] == *b && right[column - 1] == *a;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn misspelt_names_find_their_key() {
        let nearest = |wrong| nearest(wrong, table::broker_keys().map(|key| key.name));
        assert_eq!(nearest("log.retension.hours"), Some("log.retention.hours"));
        assert_eq!(nearest("num.partiitons"), Some("num.partitions"));
        assert_eq!(nearest("advertised.listener"), Some("advertised.listeners"));
        assert_eq!(nearest("confluent.telemetry.enabled"), None);
        assert_eq!(nearest("x"), None);
    }
}
