//! What the kernel knows about a process: its resident memory and the processor time it used. Linux.

use std::path::PathBuf;
use std::time::Duration;

use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::table::{Figure, Unit};

/// `utime` and `stime` are counted in ticks of this many a second; Linux has shown 100 to programs for decades.
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory of one process, its children not counted.
pub(crate) fn resident(pid: u32) -> Result<Figure, CliError> {
    let text = read(pid, "status")?;
    let kilobytes = parse_kilobytes(&text, "VmRSS:").ok_or_else(|| unreadable(pid, "status", "no VmRSS"))?;
    Ok(Figure::new(kilobytes / 1024.0, Unit::Megabytes))
}

/// The most one process ever had resident.
pub(crate) fn most_resident(pid: u32) -> Result<Figure, CliError> {
    let text = read(pid, "status")?;
    let kilobytes = parse_kilobytes(&text, "VmHWM:").ok_or_else(|| unreadable(pid, "status", "no VmHWM"))?;
    Ok(Figure::new(kilobytes / 1024.0, Unit::Megabytes))
}

/// Processor time of one process and of its children that ended and were waited for.
pub(crate) fn processor_time(pid: u32) -> Result<Duration, CliError> {
    let text = read(pid, "stat")?;
    let ticks = parse_ticks(&text).ok_or_else(|| unreadable(pid, "stat", "not the fields of a process"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn parse_kilobytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 (`utime`, `stime`) and 16 and 17 (the same of children), counted after the name in parentheses.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

fn read(pid: u32, file: &str) -> Result<String, CliError> {
    let path: PathBuf = ["/proc", &pid.to_string(), file].iter().collect();
    std::fs::read_to_string(path).map_err(|error| unreadable(pid, file, error))
}

fn unreadable(pid: u32, file: &str, because: impl std::fmt::Display) -> CliError {
    CliError::new("no-process-facts", Exit::LocalResource, format!("/proc/{pid}/{file} cannot be read"))
        .because(because)
        .help("this measurement needs Linux, and the process to be alive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_and_processor_time_are_read_past_any_name() {
        let status = "Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(["VmRSS:", "VmHWM:"].map(|name| parse_kilobytes(status, name)), [Some(2048.0), Some(9.0)]);
        assert_eq!(parse_ticks("7 (a) b) S 1 7 7 0 -1 4 5 6 7 8 100 20 3 1 20 0"), Some(124));
    }

    #[test]
    fn this_process_has_both() {
        let own = std::process::id();
        assert!(resident(own).is_ok() && processor_time(own).is_ok());
    }
}
