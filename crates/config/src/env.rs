//! Environment variables as settings, by the rule of Kafka's container image.
//!
//! `KAFKA_` is removed, the rest becomes lower case, `_` becomes a dot, `__` an underscore and
//! `___` a dash. Variables that the image's scripts use for the Java process are left out.

/// Key that a variable sets, if it sets one.
pub fn key_of(variable: &str) -> Option<String> {
    if NOT_SETTINGS.contains(&variable) {
        return None;
    }
    let rest = variable.strip_prefix("KAFKA_")?;
    let dotted = rest.to_lowercase().replace('_', ".");
    Some(dotted.replace("...", "-").replace("..", "_"))
}

const NOT_SETTINGS: &[&str] = &[
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_image() {
        let got: Vec<Option<String>> = [
            "KAFKA_NODE_ID",
            "KAFKA_LISTENER_NAME_MY__LISTENER_X",
            "KAFKA_A___B",
            "KAFKA_HEAP_OPTS",
            "PATH",
        ]
        .iter()
        .map(|variable| key_of(variable))
        .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            got,
            [some("node.id"), some("listener.name.my_listener.x"), some("a-b"), None, None]
        );
    }
}
