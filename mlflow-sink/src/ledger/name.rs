//! The name of a sink, kept beside its ledger.

use std::path::Path;

use service_kit::error::CliError;

use super::cannot_open;

/// The name of the sink that uses a directory: the same after every restart. The ledger's lock on the directory proves
/// that no other living process has it.
///
/// # Errors
/// When the directory cannot be used: exit code 7.
pub fn name_of_this_sink(dir: &Path) -> Result<String, CliError> {
    let path = dir.join("sink-name");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let (name, place) = known.trim().split_once(' ').unwrap_or((known.trim(), ""));
    // In a copy of a directory the file is another one, whatever it says.
    let is_copied = !place.is_empty() && place_of(&path).is_some_and(|here| here != place);
    if !name.is_empty() && !place.is_empty() && !is_copied {
        return Ok(name.to_owned());
    }
    let name = if name.is_empty() || is_copied {
        uuid::Uuid::now_v7().simple().to_string()
    } else {
        name.to_owned()
    };
    // The file has to be there before it has a place.
    std::fs::write(&path, &name).map_err(|error| cannot_open(dir, &error))?;
    let place = place_of(&path).unwrap_or_else(|| "unknown".to_owned());
    std::fs::write(&path, format!("{name} {place}")).map_err(|error| cannot_open(dir, &error))?;
    Ok(name)
}

/// Tells a file from a copy of it.
fn place_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata(path).ok().map(|file| file.ino().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_has_its_name_after_every_restart_and_a_copy_of_its_directory_has_another() {
        let dir = testkit::Scratch::new();
        let (here, copy) = (dir.join("here"), dir.join("copy"));
        for dir in [&here, &copy] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let name = name_of_this_sink(&here).unwrap();
        assert_eq!(name_of_this_sink(&here).unwrap(), name);
        std::fs::copy(here.join("sink-name"), copy.join("sink-name")).unwrap();
        let other = name_of_this_sink(&copy).unwrap();
        assert_ne!(other, name);
        assert_eq!(name_of_this_sink(&copy).unwrap(), other);
        // As a version before this one left it.
        std::fs::write(here.join("sink-name"), "old").unwrap();
        assert_eq!(
            (name_of_this_sink(&here).unwrap(), name_of_this_sink(&here).unwrap()),
            ("old".into(), "old".into())
        );
    }
}
