//! "Did you mean": names that exist and are close to one that does not.

use ottla_client::Client;
use ottla_types::ErrorCode;

use crate::exit::Failure;

/// Adds the nearest existing topic to a failure about a topic that does not exist.
pub(crate) async fn with_topic(client: &Client, wrong: &str, failure: Failure) -> Failure {
    let Ok(metadata) = client.metadata(None, false).await else { return failure };
    let names = metadata.topics.iter().map(|topic| topic.name.as_str());
    with_name(wrong, names, failure)
}

/// Adds the nearest of `names`.
pub(crate) fn with_name<'a>(
    wrong: &str,
    names: impl Iterator<Item = &'a str>,
    failure: Failure,
) -> Failure {
    match ottla_config::nearest(wrong, names) {
        // It exists; something below it does not, such as a partition.
        Some(near) if near == wrong => failure,
        Some(near) => {
            let rest = failure.hint.as_deref().map(|hint| format!(" {hint}")).unwrap_or_default();
            failure.with_hint(format!("Did you mean {near}?{rest}"))
        }
        None => failure,
    }
}

/// Whether an error is about something that does not exist.
pub(crate) fn is_missing(code: Option<ErrorCode>) -> bool {
    matches!(code, Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::GroupIdNotFound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_near_name_is_offered_first() {
        let failure =
            || Failure::new(Exit::NotFound, "topic ordres: unknown").with_hint("List them.");
        let hint =
            |names: &[&str]| with_name("ordres", names.iter().copied(), failure()).hint.unwrap();
        assert_eq!(hint(&["orders", "payments"]), "Did you mean orders? List them.");
        assert_eq!(hint(&["payments"]), "List them.");
        assert_eq!(hint(&["ordres", "orders"]), "List them.");
    }
}
