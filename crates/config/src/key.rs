//! What one configuration key is: name, type, default, allowed values, scope and status here.
//!
//! The rows themselves are in [`crate::table`]; this file only says what a row may say.

/// One configuration key. Rows are written with the builder functions below, as constants.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name as it is written in a file.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Value when it is not set.
    pub default: Fallback,
    /// Which values are allowed.
    pub check: Check,
    /// How much it matters to most people, as Kafka rates it.
    pub importance: Importance,
    /// Whether it can be changed while the server runs.
    pub scope: Scope,
    /// What this server does with it.
    pub status: Status,
    /// Hidden from documentation and DescribeConfigs unless it is set.
    pub internal: bool,
    /// One sentence.
    pub doc: &'static str,
    /// Broker keys that provide the default of a topic or group key, first one first.
    pub synonyms: &'static [Synonym],
}

/// Type of a value; the discriminant is the code in DescribeConfigs answers (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32-bit number.
    Int = 3,
    /// 16-bit number.
    Short = 4,
    /// 64-bit number.
    Long = 5,
    /// Floating point number.
    Double = 6,
    /// Comma-separated list.
    List = 7,
    /// Name of a Java class.
    Class = 8,
    /// Secret text.
    Password = 9,
}

impl Kind {
    /// Code in DescribeConfigs answers.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// Name as Kafka's documentation and error messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// What a key's value is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It must be set.
    Required,
    /// It has no value.
    Null,
    /// This text.
    Text(&'static str),
}

/// Which values are allowed, beyond the type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Every value of the type.
    Any,
    /// At least this number.
    AtLeast(i64),
    /// Between these numbers, both included.
    Between(i64, i64),
    /// Between these fractions, both included.
    BetweenF(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words in upper or lower case.
    OneOfAnyCase(&'static [&'static str]),
    /// Not the empty text.
    NonEmpty,
    /// A list without empty entries, in which repeats count once; of these words, or of any when there are none.
    List {
        /// Allowed entries; none means any.
        of: &'static [&'static str],
        /// Whether the list may be empty.
        empty: bool,
    },
    /// 1 to 9, or -1.
    GzipLevel,
    /// `*`, or entries `partition:broker`.
    ThrottledReplicas,
    /// Entries `id@host:port`.
    Voters,
    /// Entries `host:port`.
    HostPorts,
    /// `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration (KIP-932).
    ShareOffsetReset,
    /// `none`, or `host:port`.
    HttpListener,
}

/// How much a key matters to most people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Most installations set or should know it.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

/// Whether and how a key can be changed while the server runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only in the file, before the start.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

impl Scope {
    /// Name as Kafka's documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// What this server does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has the effect that its description says.
    Used,
    /// Accepted without effect, for this reason.
    Meaningless(&'static str),
    /// Accepted without effect until this feature exists.
    NotYet(&'static str),
    /// A value other than the default refuses the start, because this protection does not exist.
    Refused(&'static str),
}

/// A broker key that provides the default of a topic or group key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Name of the broker key.
    pub name: &'static str,
    /// How its value becomes the other key's value.
    pub convert: Convert,
}

/// Conversion from a broker key's unit to a topic key's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// Taken as it is.
    Same,
    /// Hours become milliseconds.
    Hours,
    /// Minutes become milliseconds.
    Minutes,
}

pub(crate) const fn same(name: &'static str) -> Synonym {
    Synonym { name, convert: Convert::Same }
}

pub(crate) const fn hours(name: &'static str) -> Synonym {
    Synonym { name, convert: Convert::Hours }
}

pub(crate) const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, convert: Convert::Minutes }
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        default: Fallback::Null,
        check: Check::Any,
        importance: Importance::Medium,
        scope: Scope::ReadOnly,
        status: Status::Used,
        internal: false,
        doc: "",
        synonyms: &[],
    }
}

macro_rules! starters {
    ($($name:ident $kind:ident)*) => {
        $(pub(crate) const fn $name(name: &'static str) -> Key {
            key(name, Kind::$kind)
        })*
    };
}

starters! {
    boolean Boolean string String int Int short Short long Long double Double list List
    class Class password Password
}

impl Key {
    /// Whether its value must never be shown.
    pub fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Text of the default, if it has one.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Fallback::Text(text) => Some(text),
            Fallback::Null | Fallback::Required => None,
        }
    }

    pub(crate) const fn or(mut self, text: &'static str) -> Self {
        self.default = Fallback::Text(text);
        self
    }

    pub(crate) const fn null(mut self) -> Self {
        self.default = Fallback::Null;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.default = Fallback::Required;
        self
    }

    pub(crate) const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    pub(crate) const fn at_least(self, min: i64) -> Self {
        self.check(Check::AtLeast(min))
    }

    pub(crate) const fn between(self, min: i64, max: i64) -> Self {
        self.check(Check::Between(min, max))
    }

    pub(crate) const fn between_f(self, min: f64, max: f64) -> Self {
        self.check(Check::BetweenF(min, max))
    }

    pub(crate) const fn one_of(self, words: &'static [&'static str]) -> Self {
        self.check(Check::OneOf(words))
    }

    pub(crate) const fn one_of_any_case(self, words: &'static [&'static str]) -> Self {
        self.check(Check::OneOfAnyCase(words))
    }

    pub(crate) const fn list(self, of: &'static [&'static str], empty: bool) -> Self {
        self.check(Check::List { of, empty })
    }

    pub(crate) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }

    pub(crate) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }

    pub(crate) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(crate) const fn per_broker(mut self) -> Self {
        self.scope = Scope::PerBroker;
        self
    }

    pub(crate) const fn cluster_wide(mut self) -> Self {
        self.scope = Scope::ClusterWide;
        self
    }

    pub(crate) const fn meaningless(mut self, reason: &'static str) -> Self {
        self.status = Status::Meaningless(reason);
        self
    }

    pub(crate) const fn not_yet(mut self, feature: &'static str) -> Self {
        self.status = Status::NotYet(feature);
        self
    }

    pub(crate) const fn refused(mut self, feature: &'static str) -> Self {
        self.status = Status::Refused(feature);
        self
    }

    pub(crate) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(crate) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}
