//! References in values: `${env:NAME}`, `${file:/path:key}`, `${dir:/path:name}`.
//!
//! As Kafka's config providers (KIP-297), with these differences. The names `env` and `file` work
//! without being declared; other names need `config.providers` and
//! `config.providers.NAME.class` with Kafka's environment, file or directory provider. A
//! reference that cannot be resolved is an error instead of being left in the value. Of the
//! providers' parameters `allowed.paths` is honoured and others are refused. A reference to an
//! undeclared provider is left as it is, as in Kafka.

use std::collections::BTreeMap;

use crate::{error::ConfigError, properties, settings::Texts, value::split_list};

/// Access to the world for references in values. The caller decides what it reads.
pub trait Lookup {
    /// Value of an environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// Text of a file, or why it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// A [`Lookup`] that finds nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoLookup;

impl Lookup for NoLookup {
    fn env(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("files are not available here".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Env,
    File,
    Directory,
}

#[derive(Clone, Debug)]
struct Provider {
    kind: Kind,
    /// Paths that may be read; none means all.
    allowed: Vec<String>,
}

/// The declared providers of one configuration.
#[derive(Debug)]
pub(crate) struct Providers {
    by_name: BTreeMap<String, Provider>,
}

impl Providers {
    /// Reads `config.providers` and the keys that belong to it.
    pub(crate) fn read(texts: &Texts) -> Result<Self, ConfigError> {
        let plain = |kind| Provider { kind, allowed: Vec::new() };
        let mut by_name = BTreeMap::from([
            ("env".to_owned(), plain(Kind::Env)),
            ("file".to_owned(), plain(Kind::File)),
        ]);
        let declared = texts.get("config.providers").map_or("", String::as_str);
        for name in split_list(declared) {
            let kind = kind_of(&name, texts)?;
            let allowed = allowed_paths(&name, texts)?;
            by_name.insert(name, Provider { kind, allowed });
        }
        Ok(Self { by_name })
    }

    /// The text with its references replaced, or `None` when there is nothing to replace.
    pub(crate) fn resolve(
        &self,
        key: &str,
        text: &str,
        lookup: &dyn Lookup,
    ) -> Result<Option<String>, ConfigError> {
        let mut out = String::new();
        let mut rest = text;
        let mut replaced = false;
        while let Some((before, reference, after)) = next_reference(rest) {
            out.push_str(before);
            let (name, inner) = reference.split_once(':').unwrap_or((reference, ""));
            match self.by_name.get(name) {
                Some(provider) => {
                    let value = provider.look_up(inner, lookup).map_err(|why| {
                        ConfigError::rule(format!("{key}: ${{{reference}}}: {why}"))
                    })?;
                    out.push_str(&value);
                    replaced = true;
                }
                None => out.push_str(&format!("${{{reference}}}")),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(replaced.then_some(out))
    }
}

impl Provider {
    fn look_up(&self, inner: &str, lookup: &dyn Lookup) -> Result<String, String> {
        if self.kind == Kind::Env {
            let missing = || format!("environment variable {inner} is not set");
            return lookup.env(inner).ok_or_else(missing);
        }
        let (path, name) = inner.rsplit_once(':').ok_or("expected path:key")?;
        if !self.allowed.is_empty() && !self.allowed.iter().any(|root| is_below(path, root)) {
            return Err(format!("{path} is not in allowed.paths"));
        }
        if self.kind == Kind::Directory {
            return lookup.file(&format!("{path}/{name}"));
        }
        let entries = properties::parse(&lookup.file(path)?).map_err(|why| why.to_string())?;
        let found = entries.into_iter().rev().find(|entry| entry.key == name);
        found.map(|entry| entry.value).ok_or_else(|| format!("{path} has no key {name}"))
    }
}

fn kind_of(name: &str, texts: &Texts) -> Result<Kind, ConfigError> {
    let key = format!("config.providers.{name}.class");
    let class = texts.get(&key).ok_or_else(|| ConfigError::Missing { name: key.clone() })?;
    match class.rsplit('.').next() {
        Some("EnvVarConfigProvider") => Ok(Kind::Env),
        Some("FileConfigProvider") => Ok(Kind::File),
        Some("DirectoryConfigProvider") => Ok(Kind::Directory),
        _ => {
            let reason = "Java classes cannot be loaded; Kafka's EnvVarConfigProvider, \
                          FileConfigProvider and DirectoryConfigProvider exist here";
            Err(ConfigError::value(&key, class, reason))
        }
    }
}

fn allowed_paths(name: &str, texts: &Texts) -> Result<Vec<String>, ConfigError> {
    let prefix = format!("config.providers.{name}.param.");
    let mut allowed = Vec::new();
    for (key, text) in texts.range(prefix.clone()..) {
        match key.strip_prefix(&prefix) {
            Some("allowed.paths") => allowed = split_list(text),
            Some(_) => {
                let reason = "this parameter does not exist here, so it would not protect anything";
                return Err(ConfigError::value(key, text, reason));
            }
            None => break,
        }
    }
    Ok(allowed)
}

fn is_below(path: &str, root: &str) -> bool {
    let inside = match path.strip_prefix(root.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    };
    inside && !path.split('/').any(|part| part == "..")
}

/// Text before the next `${..:..}`, what is in it, and text after it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find("${") {
        let begin = from + at;
        let inner = text.get(begin + 2..)?;
        let end = inner.find('}')?;
        let reference = inner.get(..end)?;
        if reference.contains(':') {
            return Some((text.get(..begin)?, reference, inner.get(end + 1..)?));
        }
        from = begin + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World;

    impl Lookup for World {
        fn env(&self, name: &str) -> Option<String> {
            (name == "RACK").then(|| "r1".to_owned())
        }

        fn file(&self, path: &str) -> Result<String, String> {
            match path {
                "/etc/s.properties" => Ok("pass=a:b\npass=c\n".to_owned()),
                "/run/secrets/token" => Ok("t0".to_owned()),
                _ => Err("no such file".to_owned()),
            }
        }
    }

    fn check(declared: &[(&str, &str)], text: &str) -> String {
        let texts = declared.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let resolved = Providers::read(&texts).and_then(|all| all.resolve("k", text, &World));
        match resolved {
            Ok(Some(text)) => text,
            Ok(None) => "unchanged".to_owned(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(check(&[], "${env:RACK}-${env:RACK}!"), "r1-r1!");
        assert_eq!(check(&[], "x${file:/etc/s.properties:pass}y"), "xcy");
        assert_eq!(check(&[], "${other:x} ${x} $ {"), "unchanged");
        let dir = [
            ("config.providers", "dir"),
            (
                "config.providers.dir.class",
                "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            ),
        ];
        assert_eq!(check(&dir, "${dir:/run/secrets:token}"), "t0");
    }

    #[test]
    fn what_cannot_be_resolved_is_an_error() {
        assert_eq!(
            check(&[], "${env:NOPE}"),
            "! k: ${env:NOPE}: environment variable NOPE is not set"
        );
        assert!(check(&[], "${file:/nope:k}").ends_with("no such file"));
        assert!(check(&[], "${file:/etc/s.properties:k}").ends_with("has no key k"));
        assert!(check(&[("config.providers", "v")], "x").starts_with("! Missing required"));
        let vault = [("config.providers", "v"), ("config.providers.v.class", "a.VaultProvider")];
        assert!(check(&vault, "x").contains("Java classes cannot be loaded"));
    }

    #[test]
    fn allowed_paths_bound_what_is_read() {
        let bounded = [
            ("config.providers", "file"),
            ("config.providers.file.class", "FileConfigProvider"),
            ("config.providers.file.param.allowed.paths", "/etc"),
        ];
        assert_eq!(check(&bounded, "${file:/etc/s.properties:pass}"), "c");
        assert!(check(&bounded, "${file:/etc2/s.properties:pass}").contains("allowed.paths"));
        assert!(check(&bounded, "${file:/etc/../x:pass}").contains("allowed.paths"));
    }
}
