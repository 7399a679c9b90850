//! Data sets by name: what is bundled, what a path may look like, which file of a trial is meant.
//!
//! ```text
//! digits                               bundled
//! churn/2024.parquet                   a file, relative to the directory the operator allowed
//! artifact:<run>/<trial>/train.csv     a file another trial has left behind
//! ...#sha256=<64 hexadecimal digits>   either, if its content is exactly this
//! ```

/// Data sets every worker has.
pub const BUNDLED: [&str; 5] = ["digits", "iris", "wine", "breast_cancer", "diabetes"];
/// File types a path may name.
pub const FILE_TYPES: [&str; 3] = ["csv", "npz", "parquet"];

/// What begins the name of a file in the artefact store.
const ARTIFACT: &str = "artifact:";
/// What stands between a name and its checksum.
const CHECKSUM: &str = "#sha256=";
/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// Where a data set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// One of [`BUNDLED`].
    Bundled(&'a str),
    /// A file, relative to the directory the operator allowed.
    File(&'a str),
    /// A file of the artefact store: `<run>/<trial>/<name>`.
    Artifact(&'a str),
}

/// A data set as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetRef<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// What the SHA-256 of its content must be, in hexadecimal digits of either case.
    pub sha256: Option<&'a str>,
}

/// Why a name is no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// Neither bundled nor a file of a known type.
    #[error(
        "unknown data set \"{name}\"; there are {}, or a .csv, .npz or .parquet file: a path under the data set directory, or artifact:<run>/<trial>/<name>",
        BUNDLED.join(", ")
    )]
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
    /// A checksum that is none, or of something that has none.
    #[error("the checksum of data set \"{name}\" cannot be used: {reason}")]
    Checksum {
        /// What was asked.
        name: String,
        /// Why not.
        reason: &'static str,
    },
}

impl<'a> DatasetRef<'a> {
    /// Reads a data set name. The file itself is looked for by the worker, whose machine has it.
    ///
    /// # Errors
    /// The name can be no data set's, on any worker.
    pub fn parse(text: &'a str) -> Result<Self, DatasetError> {
        let (name, sha256) = match text.rsplit_once(CHECKSUM) {
            Some((name, sha256)) => (name, Some(sha256)),
            None => (text, None),
        };
        let place = place(name)?;
        let wrong = |reason| Err(DatasetError::Checksum { name: text.to_owned(), reason });
        match (sha256, place) {
            (Some(_), Place::Bundled(_)) => {
                wrong("bundled data sets come with scikit-learn and are no files")
            }
            (Some(digits), _) if !is_sha256(digits) => {
                wrong("#sha256= is followed by 64 hexadecimal digits, as `sha256sum` prints them")
            }
            (_, place) => Ok(Self { place, sha256 }),
        }
    }
}

fn is_sha256(digits: &str) -> bool {
    digits.len() == SHA256_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn place(name: &str) -> Result<Place<'_>, DatasetError> {
    if BUNDLED.contains(&name) {
        return Ok(Place::Bundled(name));
    }
    let name_of = || name.to_owned();
    if let Some(object) = name.strip_prefix(ARTIFACT) {
        let is_known = is_object(object) && has_known_type(object);
        return if is_known {
            Ok(Place::Artifact(object))
        } else {
            Err(DatasetError::Unknown { name: name_of() })
        };
    }
    if leaves(name) {
        return Err(DatasetError::Outside { name: name_of() });
    }
    let is_known = has_known_type(name) && !name.contains('\0');
    if is_known { Ok(Place::File(name)) } else { Err(DatasetError::Unknown { name: name_of() }) }
}

fn leaves(path: &str) -> bool {
    let is_absolute = path.starts_with(['/', '\\', '~']) || path.get(1..2) == Some(":");
    is_absolute || path.split(['/', '\\']).any(|part| part == "..")
}

fn has_known_type(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    FILE_TYPES.iter().any(|kind| {
        lower.strip_suffix(kind).and_then(|rest| rest.strip_suffix('.')).is_some_and(|stem| !stem.is_empty())
    })
}

/// The run, the trial and the file: three names and nothing else.
fn is_object(object: &str) -> bool {
    let mut parts = object.split('/');
    let is_name = |part: Option<&str>| {
        part.is_some_and(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']))
    };
    is_name(parts.next()) && is_name(parts.next()) && is_name(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";

    fn place_of(name: &str) -> Place<'_> {
        DatasetRef::parse(name).unwrap().place
    }

    #[test]
    fn bundled_sets_and_relative_files_are_known() {
        assert_eq!(place_of("digits"), Place::Bundled("digits"));
        assert_eq!(place_of("a/b.CSV"), Place::File("a/b.CSV"));
        assert_eq!(place_of("c.parquet"), Place::File("c.parquet"));
        for unknown in ["cifar10", ".csv", "a.csv.gz", "ünïcödé", ""] {
            assert!(matches!(DatasetRef::parse(unknown), Err(DatasetError::Unknown { .. })), "{unknown}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_allowed_directory() {
        for outside in ["/etc/passwd.csv", "../x.csv", "a/../../x.npz", "~/x.csv", "C:\\x.csv", "/etc/passwd"]
        {
            assert!(matches!(DatasetRef::parse(outside), Err(DatasetError::Outside { .. })), "{outside}");
        }
    }

    #[test]
    fn a_file_of_a_trial_is_named_by_run_trial_and_name() {
        assert_eq!(place_of("artifact:run/run-1/a.csv"), Place::Artifact("run/run-1/a.csv"));
        for wrong in
            ["artifact:a.csv", "artifact:run/trial/", "artifact:run/../a.csv", "artifact:r/t/d/a.csv"]
        {
            assert!(matches!(DatasetRef::parse(wrong), Err(DatasetError::Unknown { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_checksum_stands_behind_a_file_and_is_whole() {
        let text = format!("a#b.csv#sha256={SHA256}");
        let read = DatasetRef::parse(&text).unwrap();
        assert_eq!((read.place, read.sha256), (Place::File("a#b.csv"), Some(SHA256)));
        for wrong in ["a.csv#sha256=12", "a.csv#sha256=", &format!("digits#sha256={SHA256}")] {
            assert!(matches!(DatasetRef::parse(wrong), Err(DatasetError::Checksum { .. })), "{wrong}");
        }
    }
}
