//! How this program was called, so that commands we print can be pasted as they are.

use std::path::Path;

/// The name this program was called by.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    program: String,
}

impl Invocation {
    /// As this process was called: a bare name when the shell found it on PATH, else the path that was typed.
    pub(crate) fn of_this_process() -> Self {
        let typed = std::env::args_os().next().map(|program| program.to_string_lossy().into_owned());
        Self { program: typed.filter(|program| !program.is_empty()).unwrap_or_else(|| "cerebros".to_owned()) }
    }

    #[cfg(test)]
    pub(crate) fn named(program: &str) -> Self {
        Self { program: program.to_owned() }
    }

    /// A command line that finds the stack in `data_dir` from the present directory.
    pub(crate) fn with(&self, command: &str, data_dir: &Path) -> String {
        let program = quoted(&self.program);
        if is_default(data_dir) {
            return format!("{program} {command}");
        }
        format!("{program} {command} --data-dir {}", quoted(&data_dir.to_string_lossy()))
    }
}

/// True when a command without flags, started here, looks there.
fn is_default(data_dir: &Path) -> bool {
    Path::new("./.cerebros").canonicalize().is_ok_and(|default| default == data_dir)
}

/// A word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_whatever_the_path() {
        let invocation = Invocation::named("./my programs/cerebros");
        assert_eq!(
            invocation.with("doctor", Path::new("/data/it's")),
            r"'./my programs/cerebros' doctor --data-dir '/data/it'\''s'"
        );
    }
}
