//! SCRAM credentials of users (KIP-554): describe, set, delete.
//!
//! A password never leaves the process: it is salted and hashed here, and only the result is sent.

use std::fmt;

use bytes::Bytes;
use ottla_codec::Str;
use ottla_protocol::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
    describe_user_scram_credentials_request,
};
use ottla_types::ErrorCode;
use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha512};

use super::Admin;
use crate::error::{ClientError, Refusal};

/// How a password is hashed; the numbers are Kafka's `ScramMechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
    /// One that this client does not know.
    Unknown,
}

impl ScramMechanism {
    /// Those that credentials can be made for.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    const fn code(self) -> i8 {
        match self {
            Self::Unknown => 0,
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// Its name, as Kafka's tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// RFC 5802's `Hi`.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Result<Bytes, ClientError> {
        let mut long = [0; 64];
        let mut short = [0; 32];
        let salted: &[u8] = match self {
            Self::Sha256 => {
                pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut short);
                &short
            }
            Self::Sha512 => {
                pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut long);
                &long
            }
            Self::Unknown => {
                return Err(ClientError::Invalid("an unknown SCRAM mechanism".to_owned()));
            }
        };
        Ok(Bytes::copy_from_slice(salted))
    }
}

/// A SCRAM credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScramCredential {
    /// How the password is hashed.
    pub mechanism: ScramMechanism,
    /// Rounds of hashing.
    pub iterations: i32,
}

/// A change of a user's credentials.
#[derive(Clone, Copy)]
pub enum ScramAlteration<'a> {
    /// Removes the credential of this mechanism.
    Delete(ScramMechanism),
    /// Makes one, or puts it in the place of the one that is there.
    Set {
        /// How the password is hashed.
        mechanism: ScramMechanism,
        /// Rounds of hashing.
        iterations: u32,
        /// Random bytes that nobody can guess.
        salt: &'a [u8],
        /// The password.
        password: &'a [u8],
    },
}

/// Without the password.
impl fmt::Debug for ScramAlteration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(mechanism) => f.debug_tuple("Delete").field(mechanism).finish(),
            Self::Set { mechanism, iterations, .. } => f
                .debug_struct("Set")
                .field("mechanism", mechanism)
                .field("iterations", iterations)
                .finish_non_exhaustive(),
        }
    }
}

impl Admin {
    /// Credentials of these users, or of all that have some; a user without any is left out.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn describe_scram_credentials(
        &self,
        users: &[&str],
    ) -> Result<Vec<(String, Result<Vec<ScramCredential>, Refusal>)>, ClientError> {
        let name = |user: &&str| describe_user_scram_credentials_request::UserName {
            name: Str::from(*user),
        };
        let chosen = (!users.is_empty()).then(|| users.iter().map(name).collect());
        let request = DescribeUserScramCredentialsRequest { users: chosen };
        let response = self.client.any(&request).await?;
        let what = || "SCRAM credentials".to_owned();
        Refusal::check(response.error_code, response.error_message.as_deref(), what)?;
        let has_some = |code: i16| code != ErrorCode::ResourceNotFound.code();
        let found = response.results.into_iter().filter(|result| has_some(result.error_code));
        let described = found.map(|result| {
            let refused = Refusal::check(result.error_code, result.error_message.as_deref(), what);
            let credentials = result.credential_infos.iter().map(|info| {
                let known =
                    ScramMechanism::ALL.into_iter().find(|one| one.code() == info.mechanism);
                ScramCredential {
                    mechanism: known.unwrap_or(ScramMechanism::Unknown),
                    iterations: info.iterations,
                }
            });
            (result.user.as_str().to_owned(), refused.map(|()| credentials.collect()))
        });
        Ok(described.collect())
    }

    /// Changes credentials of one user.
    ///
    /// # Errors
    /// When a password is empty, and when no broker answers or it refuses.
    pub async fn alter_scram_credentials(
        &self,
        user: &str,
        changes: &[ScramAlteration<'_>],
    ) -> Result<(), ClientError> {
        let mut request = AlterUserScramCredentialsRequest::default();
        for change in changes {
            let name = Str::from(user);
            match *change {
                ScramAlteration::Delete(mechanism) => {
                    let mechanism = mechanism.code();
                    request.deletions.push(ScramCredentialDeletion { name, mechanism });
                }
                ScramAlteration::Set { password: [], .. } => return Err(no_password(user).into()),
                ScramAlteration::Set { mechanism, iterations, salt, password } => {
                    let wire = i32::try_from(iterations);
                    request.upsertions.push(ScramCredentialUpsertion {
                        name,
                        mechanism: mechanism.code(),
                        iterations: wire
                            .map_err(|_| ClientError::Invalid("too many iterations".to_owned()))?,
                        salt: Bytes::copy_from_slice(salt),
                        salted_password: mechanism.salted(password, salt, iterations)?,
                    });
                }
            }
        }
        let response = self.client.any(&request).await?;
        for result in &response.results {
            let what = || format!("SCRAM credentials of {}", result.user);
            Refusal::check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}

/// Brokers could not tell: they get what was made of the password.
fn no_password(user: &str) -> Refusal {
    Refusal {
        what: format!("SCRAM credentials of {user}"),
        code: ErrorCode::UnacceptableCredential,
        message: Some("Password must not be empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_salted_as_everywhere() {
        // The salt and password of RFC 7677's example; the results are Python's `hashlib.pbkdf2_hmac`.
        let check = |mechanism: ScramMechanism, salt: &[u8], expected: &str| {
            let salted = mechanism.salted(b"pencil", salt, 4096).unwrap();
            let hex: String = salted.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{}", mechanism.name());
        };
        let salt = [91, 109, 153, 104, 157, 18, 53, 142, 236, 160, 75, 20, 18, 54, 250, 129];
        check(
            ScramMechanism::Sha256,
            &salt,
            "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d",
        );
        check(
            ScramMechanism::Sha512,
            &salt,
            "f16efe1be67f1d09502ebd5ed9262fddffba5a377ab4f0b687e5ed5ba0f50686b8a4ae166476da8ab3b951d2fa9238b63998f45461bc33a464814949cec9631d",
        );
        assert!(ScramMechanism::Unknown.salted(b"", b"", 1).is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let change = ScramAlteration::Set {
            mechanism: ScramMechanism::Sha256,
            iterations: 4096,
            salt: b"salt",
            password: b"pencil",
        };
        assert_eq!(format!("{change:?}"), "Set { mechanism: Sha256, iterations: 4096, .. }");
    }
}
