//! DescribeUserScramCredentials (50): which SCRAM credentials the metadata hold (KIP-554).
//!
//! Read-only: credentials are there when another implementation wrote them into the metadata log.
//! No listener checks one yet, and none can be changed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::{ClusterImage, KeptKey, MetadataRecord};
use ottla_protocol::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use ottla_protocol::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> Reply<DescribeUserScramCredentialsResponse> {
    Reply::Now(describe(&shared.image.load(), &request))
}

fn describe(
    image: &ClusterImage,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut known = credentials(image);
    let asked = request.users.as_deref().unwrap_or_default();
    let results = if asked.is_empty() {
        known.into_iter().map(|(user, infos)| found(user.into(), infos)).collect()
    } else {
        // Each user is answered once, however often the request names it.
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for user in asked {
            *times.entry(user.name.as_str()).or_default() += 1;
        }
        let one = |(user, times)| match known.remove(user) {
            _ if times > 1 => refused(
                user,
                ErrorCode::DuplicateResource,
                "Cannot describe SCRAM credentials for the same user twice in a single request: ",
            ),
            Some(infos) => found(user.into(), infos),
            None => refused(
                user,
                ErrorCode::ResourceNotFound,
                "Attempt to describe a user credential that does not exist: ",
            ),
        };
        times.into_iter().map(one).collect()
    };
    DescribeUserScramCredentialsResponse { error_message: None, results, ..Default::default() }
}

/// What every user has, by name.
fn credentials(image: &ClusterImage) -> BTreeMap<&str, Vec<CredentialInfo>> {
    let mut users: BTreeMap<&str, Vec<CredentialInfo>> = BTreeMap::new();
    for (key, record) in image.kept() {
        let (KeptKey::Scram(mechanism, user), MetadataRecord::UserScramCredential(credential)) =
            (key, &**record)
        else {
            continue;
        };
        let info = CredentialInfo { mechanism: *mechanism, iterations: credential.iterations };
        users.entry(user).or_default().push(info);
    }
    users
}

fn found(user: Str, credential_infos: Vec<CredentialInfo>) -> DescribeUserScramCredentialsResult {
    let error_message = None;
    DescribeUserScramCredentialsResult {
        user,
        error_message,
        credential_infos,
        ..Default::default()
    }
}

fn refused(user: &str, code: ErrorCode, text: &str) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        user: user.into(),
        error_code: code.code(),
        error_message: Some(Str::from(format!("{text}{user}"))),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::generated::{RemoveUserScramCredentialRecord, UserScramCredentialRecord};
    use ottla_protocol::describe_user_scram_credentials_request::UserName;
    use ottla_types::Offset;

    use super::*;

    /// Asks for these users and writes each answer as a line.
    fn check(asked: Option<&[&str]>, expected: &[&str]) {
        let mut image = ClusterImage::new();
        for (name, mechanism, iterations) in
            [("ada", 1, 4096), ("bob", 2, 8192), ("ada", 2, 5000), ("gone", 1, 4096)]
        {
            let record = UserScramCredentialRecord {
                name: name.into(),
                mechanism,
                iterations,
                ..Default::default()
            };
            image.apply(&record.into(), Offset(1)).unwrap();
        }
        let gone = RemoveUserScramCredentialRecord { name: "gone".into(), mechanism: 1 };
        image.apply(&gone.into(), Offset(2)).unwrap();
        let names =
            |users: &[&str]| users.iter().map(|&name| UserName { name: name.into() }).collect();
        let request = DescribeUserScramCredentialsRequest { users: asked.map(names) };
        let said: Vec<String> = describe(&image, &request)
            .results
            .iter()
            .map(|result| {
                let infos: Vec<_> =
                    result.credential_infos.iter().map(|i| (i.mechanism, i.iterations)).collect();
                format!("{} {} {infos:?}", result.user, result.error_code)
            })
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn everybody_or_who_is_asked_for() {
        let all = ["ada 0 [(1, 4096), (2, 5000)]", "bob 0 [(2, 8192)]"];
        check(None, &all);
        check(Some(&[]), &all);
        check(Some(&["bob"]), &["bob 0 [(2, 8192)]"]);
        check(Some(&["bob", "gone"]), &["bob 0 [(2, 8192)]", "gone 91 []"]);
        check(Some(&["bob", "ada", "bob", "bob"]), &["ada 0 [(1, 4096), (2, 5000)]", "bob 92 []"]);
    }
}
