//! Client quotas, and blocks of producer ids.
//!
//! Quotas are stored and answered; enforcing them is not the controller's. Source: Kafka's
//! `ClientQuotaControlManager` and `ProducerIdControlManager`.

use std::collections::BTreeMap;

use ottla_types::{BrokerEpoch, ErrorCode, NodeId, ProducerId};

use super::op::Op;
use super::request::{AlterQuotas, ApiError, Outcome, Response};
use crate::generated::{ClientQuotaRecord, ProducerIdsRecord};
use crate::image::QuotaEntity;
use crate::record::Record;

/// Ids of one block.
const PRODUCER_ID_BLOCK: u32 = 1_000;

/// Type of a quota's value.
#[derive(Clone, Copy)]
enum QuotaType {
    Double,
    Int,
    Long,
}

impl Op<'_> {
    /// AlterClientQuotas.
    pub(super) fn alter_quotas(&mut self, request: &AlterQuotas) -> Result<Response, ApiError> {
        let mut results: BTreeMap<QuotaEntity, Outcome> = BTreeMap::new();
        let mut records = Vec::new();
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        for change in &request.entries {
            let entity = QuotaEntity(change.entity.iter().cloned().collect());
            let mut keys: Vec<&String> = change.ops.iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
            // Kafka has words for a key that comes twice, and then says this over them.
            let outcome = if results.contains_key(&entity) || twice {
                invalid(format!("Ignoring duplicate entity {entity}"))
            } else {
                self.quota_records(&entity, &change.ops).map(|new| records.extend(new))
            };
            results.insert(entity, outcome);
        }
        if !request.validate_only {
            for record in records {
                self.push(record);
            }
        }
        Ok(Response::QuotasAltered(results.into_iter().collect()))
    }

    fn quota_records(
        &self,
        entity: &QuotaEntity,
        ops: &[(String, Option<f64>)],
    ) -> Result<Vec<Record>, ApiError> {
        check_entity(entity)?;
        let current = self.image.quotas().get(entity).cloned().unwrap_or_default();
        let of_ip = entity.0.contains_key("ip");
        let mut records = Vec::new();
        for (key, value) in ops {
            let record = |value: f64, remove| {
                Record::new(ClientQuotaRecord {
                    entity: entity.to_data(),
                    key: key.as_str().into(),
                    value,
                    remove,
                })
            };
            match value {
                None if current.contains_key(key) => records.push(record(0.0, true)),
                None => {}
                Some(value) => {
                    check_quota(of_ip, key, *value)?;
                    if current.get(key) != Some(value) {
                        records.push(record(*value, false));
                    }
                }
            }
        }
        Ok(records)
    }

    /// AllocateProducerIds.
    pub(super) fn allocate_producer_ids(
        &mut self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<Response, ApiError> {
        self.check_broker_epoch(broker, epoch)?;
        let first = self.image.next_producer_id().unwrap_or_default();
        let next = first.0 + u64::from(PRODUCER_ID_BLOCK);
        if i64::try_from(next).is_err() {
            let text = "Exhausted all producerIds as the next block's end producerId has exceeded \
                        the int64 type limit";
            return Err(ApiError::new(ErrorCode::UnknownServerError, text));
        }
        self.add(ProducerIdsRecord {
            broker_id: broker.to_wire(),
            broker_epoch: epoch.to_wire(),
            next_producer_id: ProducerId(next).to_wire(),
        });
        Ok(Response::ProducerIds { first, len: PRODUCER_ID_BLOCK })
    }
}

fn check_entity(entity: &QuotaEntity) -> Outcome {
    let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if entity.0.is_empty() {
        return invalid("Invalid empty client quota entity".to_owned());
    }
    for (kind, name) in &entity.0 {
        if !["user", "client-id", "ip"].contains(&kind.as_str()) {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_deref() == Some("") {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    if let Some(ip) = entity.0.get("ip") {
        if entity.0.len() > 1 {
            let text = "Invalid quota entity combination, IP entity shouldnot be combined with \
                        User or ClientId";
            return invalid(text.to_owned());
        }
        // A host name would have to be resolved, and a core asks nobody; addresses are enough.
        if let Some(ip) = ip.as_ref().filter(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
            return invalid(format!("{ip} is not a valid IP or resolvable host."));
        }
    }
    Ok(())
}

fn check_quota(of_ip: bool, key: &str, value: f64) -> Outcome {
    let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let kind = match (of_ip, key) {
        (false, "producer_byte_rate" | "consumer_byte_rate") => QuotaType::Long,
        (false, "request_percentage" | "controller_mutation_rate") => QuotaType::Double,
        (true, "connection_creation_rate") => QuotaType::Int,
        _ => return invalid(format!("Invalid configuration key {key}")),
    };
    if value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    let (max, name) = match kind {
        QuotaType::Double => return Ok(()),
        QuotaType::Int => (f64::from(i32::MAX), "an INT"),
        // The largest 64-bit number has no exact double; Kafka compares with its rounding.
        QuotaType::Long => (9_223_372_036_854_775_807.0, "a LONG"),
    };
    if value > max {
        return invalid(format!("Proposed value for {key} is too large for {name}."));
    }
    if (value % 1.0).abs() > 1e-6 {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}
