//! Kafka's uuids: 16 bytes, written in base64 without padding.

use std::fmt;
use std::str::FromStr;

/// 128-bit identifier, displayed as 22 characters of URL-safe base64 (Kafka's `Uuid`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// The text is not a uuid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid of 22 characters of URL-safe base64")]
pub struct ParseUuidError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zero; Kafka's "none".
    pub const ZERO: Self = Self([0; 16]);

    /// `(0, 1)`: the id of `__cluster_metadata`.
    pub const ONE: Self = Self::from_parts(0, 1);

    /// From the two halves, the more significant first.
    pub const fn from_parts(most: u64, least: u64) -> Self {
        Self(((most as u128) << 64 | least as u128).to_be_bytes())
    }

    /// The bytes, in wire order.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether Kafka reserves the value: the first hundred numbers mean something special, and a
    /// text must not start with a dash. No random id may be reserved.
    pub fn is_reserved(self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    /// Makes a random (version 4) uuid from 16 random bytes; `None` if Kafka would draw again,
    /// because the value is reserved or its text starts with a dash (which tools take for an
    /// option).
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let uuid = Self(bytes);
        let dash = bytes[0] >> 2 == 62;
        (!dash && !uuid.is_reserved()).then_some(uuid)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0_u8; 22];
        for (at, slot) in text.iter_mut().enumerate() {
            // 21 characters of six bits; the last carries the remaining two and four zero bits.
            let sextet = if at < 21 { value >> (122 - 6 * at) & 63 } else { (value & 3) << 4 };
            let index = usize::try_from(sextet).unwrap_or_default();
            *slot = ALPHABET.get(index).copied().unwrap_or_default();
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.strip_suffix("==").unwrap_or(text);
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut value = 0_u128;
        for (at, byte) in text.bytes().enumerate() {
            let sextet = ALPHABET.iter().position(|&a| a == byte).ok_or(ParseUuidError)?;
            let sextet = u128::try_from(sextet).map_err(|_| ParseUuidError)?;
            value = if at < 21 { value << 6 | sextet } else { value << 2 | sextet >> 4 };
        }
        Ok(Self(value.to_be_bytes()))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Identity of a topic (KIP-516): a topic deleted and made again has another one.
    TopicId
}
id! {
    /// Identity of a log directory (KIP-858).
    DirectoryId
}
id! {
    /// Identity of one run of a broker process.
    IncarnationId
}

impl TopicId {
    /// The id of `__cluster_metadata`.
    pub const METADATA: Self = Self(Uuid::ONE);
}

impl DirectoryId {
    /// The directory of a replica in a cluster that is still being migrated to directory ids.
    pub const MIGRATING: Self = Self(Uuid::ZERO);
    /// The broker has not said yet where the replica lives.
    pub const UNASSIGNED: Self = Self(Uuid::ONE);
    /// The replica's directory is lost or offline.
    pub const LOST: Self = Self(Uuid::from_parts(0, 2));

    /// Whether it names a real directory.
    pub fn is_real(self) -> bool {
        !self.0.is_reserved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let all = Uuid([0xff; 16]);
        assert_eq!(all.to_string(), "_____________________w");
        assert_eq!("_____________________w".parse(), Ok(all));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(Uuid::ONE));
        assert_eq!("short".parse::<Uuid>(), Err(ParseUuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAA!Q".parse::<Uuid>(), Err(ParseUuidError));
    }

    #[test]
    fn random_ids_are_version_4_and_never_start_with_a_dash() {
        assert_eq!(Uuid::from_random([0xfb; 16]), None);
        let uuid = Uuid::from_random([7; 16]).unwrap();
        assert_eq!((uuid.0[6] >> 4, uuid.0[8] >> 6), (4, 2));
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }
}
