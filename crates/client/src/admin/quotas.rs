//! Quotas of clients.

use ottla_codec::Str;
use ottla_protocol::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, alter_client_quotas_request,
    describe_client_quotas_request,
};

use super::Admin;
use super::topics::no_answer;
use crate::error::{ClientError, Refusal};

/// What a quota is for; an entity has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaType {
    /// A user, by principal.
    User,
    /// A client, by the id that it gives itself.
    ClientId,
    /// An address.
    Ip,
}

impl QuotaType {
    /// Its name in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ClientId => "client-id",
            Self::Ip => "ip",
        }
    }
}

/// Whose quotas are asked for, of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    /// Those of this name.
    Exact(String),
    /// Those that hold for whoever has none of their own.
    Default,
    /// All.
    Any,
}

/// Quotas of one entity.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientQuotas {
    /// Types (`user`, `client-id`, `ip`) and names; no name is the default.
    pub entity: Vec<(String, Option<String>)>,
    /// Keys and values.
    pub values: Vec<(String, f64)>,
}

impl Admin {
    /// Quotas of the entities that match; `strict` leaves out those with more types than asked for.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn describe_client_quotas(
        &self,
        filter: &[(QuotaType, QuotaMatch)],
        strict: bool,
    ) -> Result<Vec<ClientQuotas>, ClientError> {
        let component = |(kind, wanted): &(QuotaType, QuotaMatch)| {
            let (match_type, match_) = match wanted {
                QuotaMatch::Exact(name) => (0, Some(Str::from(name.as_str()))),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            let entity_type = Str::from_static(kind.name());
            describe_client_quotas_request::ComponentData { entity_type, match_type, match_ }
        };
        let components = filter.iter().map(component).collect();
        let request = DescribeClientQuotasRequest { components, strict };
        let response = self.client.any(&request).await?;
        let what = || "quotas".to_owned();
        Refusal::check(response.error_code, response.error_message.as_deref(), what)?;
        let name = |name: Str| name.as_str().to_owned();
        let found = response.entries.unwrap_or_default().into_iter().map(|entry| {
            let entity = entry.entity.into_iter();
            let values = entry.values.into_iter();
            ClientQuotas {
                entity: entity
                    .map(|one| (name(one.entity_type), one.entity_name.map(name)))
                    .collect(),
                values: values.map(|one| (name(one.key), one.value)).collect(),
            }
        });
        Ok(found.collect())
    }

    /// Sets quotas of one entity, given by types and names (no name is the default); a value of
    /// `None` removes one.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn alter_client_quotas(
        &self,
        entity: &[(QuotaType, Option<&str>)],
        changes: &[(&str, Option<f64>)],
    ) -> Result<(), ClientError> {
        let part = |(kind, name): &(QuotaType, Option<&str>)| {
            let entity_type = Str::from_static(kind.name());
            alter_client_quotas_request::EntityData {
                entity_type,
                entity_name: name.map(Str::from),
            }
        };
        let change = |(key, value): &(&str, Option<f64>)| alter_client_quotas_request::OpData {
            key: Str::from(*key),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        };
        let entry = alter_client_quotas_request::EntryData {
            entity: entity.iter().map(part).collect(),
            ops: changes.iter().map(change).collect(),
        };
        let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
        let response = self.client.any(&request).await?;
        let what = || "quotas".to_owned();
        let entry = response.entries.first().ok_or_else(|| no_answer(what()))?;
        Ok(Refusal::check(entry.error_code, entry.error_message.as_deref(), what)?)
    }
}
