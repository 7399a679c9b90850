//! Files user code names: opened without trust in what they are, and read no further than they may be large.
//!
//! What lies under a path may be a named pipe, which keeps whoever opens it waiting for ever, a device without end, or a
//! link put there a moment ago. So the file is opened without waiting and without following a last link, and what was
//! opened is looked at, not the path.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

/// Longest name a file may be kept under, in bytes; the runtime of a child has the same.
const MAX_NAME_BYTES: usize = 128;
const BLOCK_BYTES: usize = 256 * 1024;

/// An open regular file of no more than so many bytes.
#[derive(Debug)]
pub(crate) struct ForeignFile {
    file: File,
    /// Its size when it was opened.
    size: u64,
    most: u64,
}

impl ForeignFile {
    /// Opens a regular file of at most `most` bytes. Blocks for no longer than the file system does.
    ///
    /// # Errors
    /// Why it is not to be read, for a person.
    pub(crate) fn open(path: &Path, most: u64) -> Result<Self, String> {
        let careful = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = File::options().read(true).custom_flags(careful.bits()).open(path);
        let file = opened.map_err(|error| format!("{}: {error}", path.display()))?;
        let facts = file.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
        if !facts.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let size = facts.len();
        if size > most { Err(too_large(size, most)) } else { Ok(Self { file, size, most }) }
    }

    /// The same for a file below a directory, links on the way followed.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub(crate) fn open_in(directory: &Path, path: &Path, most: u64) -> Result<Self, String> {
        let describe = |error: io::Error| format!("{}: {error}", path.display());
        let real = path.canonicalize().map_err(describe)?;
        let home = directory.canonicalize().map_err(describe)?;
        if !real.starts_with(&home) {
            return Err("it lies outside the trial's directory".to_owned());
        }
        Self::open(&real, most)
    }

    /// Its content, and the hexadecimal SHA-256 of it.
    ///
    /// # Errors
    /// It cannot be read, or has grown too large meanwhile.
    pub(crate) fn read(self) -> Result<(Vec<u8>, String), String> {
        let mut content = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        let sha256 = self.each_block(|block| content.extend_from_slice(block))?;
        Ok((content, sha256))
    }

    /// The hexadecimal SHA-256 of its content, which is not kept.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub(crate) fn sha256(self) -> Result<String, String> {
        self.each_block(|_| {})
    }

    fn each_block(mut self, mut take: impl FnMut(&[u8])) -> Result<String, String> {
        let mut digest = Sha256::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut total = 0_u64;
        loop {
            let read = self.file.read(&mut block).map_err(|error| error.to_string())?;
            if read == 0 {
                return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            total = total.saturating_add(read as u64);
            if total > self.most {
                return Err(too_large(total, self.most));
            }
            digest.update(&block[..read]);
            take(&block[..read]);
        }
    }
}

fn too_large(bytes: u64, most: u64) -> String {
    format!("{bytes} bytes are over the limit of {most}")
}

/// Checks the name a file is to be kept under: one part of a path, and none that leads elsewhere. Children are held to
/// letters and digits; a forged message is not.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_legal = |letter: char| !letter.is_control() && !matches!(letter, '/' | '\\');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name == "." || name == ".." {
        return Err(format!("its name is empty, dots, or longer than {MAX_NAME_BYTES} bytes"));
    }
    if name.chars().all(is_legal) {
        Ok(())
    } else {
        Err("its name has a separator or a control character in it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    /// `printf x | sha256sum`
    const SHA256_OF_X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    #[test]
    fn a_regular_file_is_read_with_its_digest() {
        let scratch = testkit::Scratch::new();
        let path = scratch.write("x", "x");
        let (content, sha256) = ForeignFile::open(&path, 1).unwrap().read().unwrap();
        assert_eq!((content.as_slice(), sha256.as_str()), (&b"x"[..], SHA256_OF_X));
        assert_eq!(ForeignFile::open(&path, 1).unwrap().sha256().unwrap(), SHA256_OF_X);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let scratch = testkit::Scratch::new();
        let pipe = scratch.join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let link = scratch.join("link");
        std::os::unix::fs::symlink(scratch.write("x", "x"), &link).unwrap();
        for path in [pipe, scratch.path().to_owned(), "/dev/zero".into(), link, scratch.join("gone")] {
            assert!(ForeignFile::open(&path, 1 << 20).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_too_large_is_not_read_whether_it_says_so_or_grows() {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("large");
        // No byte of it is on the disk; reading it would take its time all the same.
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(ForeignFile::open(&path, 1 << 20).unwrap_err().contains("over the limit"));
        let grows = scratch.write("grows", "x");
        let opened = ForeignFile::open(&grows, 4).unwrap();
        std::fs::write(&grows, "x".repeat(5)).unwrap();
        assert!(opened.read().unwrap_err().contains("over the limit"));
    }

    #[test]
    fn links_are_followed_within_the_directory_and_not_out_of_it() {
        let scratch = testkit::Scratch::new();
        let home = scratch.join("work");
        std::fs::create_dir_all(home.join("sub")).unwrap();
        let outside = scratch.write("outside", "x");
        std::fs::write(home.join("sub/inside"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, home.join("out")).unwrap();
        std::os::unix::fs::symlink(home.join("sub/inside"), home.join("in")).unwrap();
        for path in ["sub/inside", "in"] {
            assert!(ForeignFile::open_in(&home, &home.join(path), 1).is_ok(), "{path}");
        }
        for path in [outside, home.join("out"), home.join("sub"), home.join("gone")] {
            assert!(ForeignFile::open_in(&home, &path, 1).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        for name in ["model.bin", "my model", "..a", "ü"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in ["", ".", "..", "a/b", "/a", "../a", "a\\b", "a\0", "a\n", &long] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
