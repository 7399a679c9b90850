//! The rules a schema and its next version have to keep.

use std::fmt;

use serde::Serialize;

/// What can be wrong with a schema, or between two versions of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The text is no schema.
    SchemaUnreadable,
    /// The text is longer, deeper or wider than any reader accepts.
    SchemaTooLarge,
    /// A type the contract does not use (fixed, decimal, durations, arrays of nothing, ...).
    TypeUnsupported,
    /// A type that contains itself: readers follow it until their stack ends.
    RecursiveType,
    /// A named type without namespace: it takes the one it happens to be used in.
    NamespaceMissing,
    /// A field or type nobody has explained.
    DocMissing,
    /// A field read under another name: the Rust library ignores field aliases and takes the default instead.
    FieldAlias,
    /// A union in which a value could be taken for two branches: the Rust library takes the first.
    AmbiguousUnion,
    /// A default that is no value of its type.
    DefaultInvalid,

    /// A new field without default: what was written before it cannot be read.
    FieldAddedWithoutDefault,
    /// A field without default is gone: who reads with the older version misses it.
    FieldRemovedWithoutDefault,
    /// A type was replaced by another, even by a wider one: one of the two directions cannot be read.
    TypeChanged,
    /// The same bytes mean something else (milliseconds for microseconds).
    LogicalTypeChanged,
    /// A named type has another name.
    NameChanged,
    /// A default changed: the same message means something else to each version.
    DefaultChanged,
    /// A union has a branch that the other version's has not.
    UnionChanged,
    /// A symbol the other version does not know, and no default to take instead.
    EnumSymbolUnknown,

    /// A version's number is missing between others.
    VersionGap,
    /// Two versions look the same on the wire.
    VersionIndistinct,
    /// A version that was published is gone.
    VersionRemoved,
    /// A version that was published now says something else.
    VersionAltered,
    /// Recorded bytes of a published version are gone.
    GoldenRemoved,
    /// Recorded bytes of a published version were altered.
    GoldenAltered,
    /// Reading generated data gave something else than the rules promise.
    DecodeDisagrees,
}

impl Rule {
    /// Its name, as reports show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SchemaUnreadable => "schema-unreadable",
            Self::SchemaTooLarge => "schema-too-large",
            Self::TypeUnsupported => "type-unsupported",
            Self::RecursiveType => "recursive-type",
            Self::NamespaceMissing => "namespace-missing",
            Self::DocMissing => "doc-missing",
            Self::FieldAlias => "field-alias",
            Self::AmbiguousUnion => "ambiguous-union",
            Self::DefaultInvalid => "default-invalid",
            Self::FieldAddedWithoutDefault => "field-added-without-default",
            Self::FieldRemovedWithoutDefault => "field-removed-without-default",
            Self::TypeChanged => "type-changed",
            Self::LogicalTypeChanged => "logical-type-changed",
            Self::NameChanged => "name-changed",
            Self::DefaultChanged => "default-changed",
            Self::UnionChanged => "union-changed",
            Self::EnumSymbolUnknown => "enum-symbol-unknown",
            Self::VersionGap => "version-gap",
            Self::VersionIndistinct => "version-indistinct",
            Self::VersionRemoved => "version-removed",
            Self::VersionAltered => "version-altered",
            Self::GoldenRemoved => "golden-removed",
            Self::GoldenAltered => "golden-altered",
            Self::DecodeDisagrees => "decode-disagrees",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
