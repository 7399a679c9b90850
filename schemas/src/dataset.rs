//! Data sets by name: what is bundled, and what a path may look like.

/// Data sets every worker has.
pub const BUNDLED: [&str; 5] = ["digits", "iris", "wine", "breast_cancer", "diabetes"];
/// File types a path may name.
pub const FILE_TYPES: [&str; 2] = ["csv", "npz"];

/// A data set as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetRef<'a> {
    /// One of [`BUNDLED`].
    Bundled(&'a str),
    /// A file, relative to the directory the operator allowed.
    File(&'a str),
}

/// Why a name is no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// Neither bundled nor a path to a known file type.
    #[error("unknown data set \"{name}\"; there are {}, or a .csv or .npz file under the data set directory", BUNDLED.join(", "))]
    Unknown {
        /// What was asked.
        name: String,
    },
    /// A path that leaves the allowed directory.
    #[error(
        "the data set path \"{name}\" leaves the data set directory; use a path relative to it without \"..\""
    )]
    Outside {
        /// What was asked.
        name: String,
    },
}

impl<'a> DatasetRef<'a> {
    /// Reads a data set name. The file itself is looked for by the worker, whose machine has it.
    pub fn parse(name: &'a str) -> Result<Self, DatasetError> {
        if BUNDLED.contains(&name) {
            return Ok(Self::Bundled(name));
        }
        let is_absolute = name.starts_with(['/', '\\', '~']) || name.get(1..2) == Some(":");
        if is_absolute || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(DatasetError::Outside { name: name.to_owned() });
        }
        let has_known_type = FILE_TYPES.iter().any(|kind| {
            name.len() > kind.len() + 1 && name.to_ascii_lowercase().ends_with(&format!(".{kind}"))
        });
        if has_known_type && !name.contains('\0') {
            Ok(Self::File(name))
        } else {
            Err(DatasetError::Unknown { name: name.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_sets_and_relative_files_are_known() {
        assert_eq!(DatasetRef::parse("digits"), Ok(DatasetRef::Bundled("digits")));
        assert_eq!(DatasetRef::parse("a/b.CSV"), Ok(DatasetRef::File("a/b.CSV")));
        assert!(matches!(DatasetRef::parse("cifar10"), Err(DatasetError::Unknown { .. })));
        assert!(matches!(DatasetRef::parse(".csv"), Err(DatasetError::Unknown { .. })));
    }

    #[test]
    fn a_path_cannot_leave_the_allowed_directory() {
        for outside in ["/etc/passwd.csv", "../x.csv", "a/../../x.npz", "~/x.csv", "C:\\x.csv"] {
            assert!(matches!(DatasetRef::parse(outside), Err(DatasetError::Outside { .. })), "{outside}");
        }
    }
}
